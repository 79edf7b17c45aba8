"""The certificate authorities that a site trusts beside the public ones (ONESHOT_EXTRA_CA)."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from oneshot.errors import InfraError

# Where the systems keep the public authorities, joined into one file.
PUBLIC_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def bundle() -> bytes:
    """Return the public authorities and the site's own in one PEM file; b"" when the site names none.

    Programs take such a file in place of their own list, so the public ones must be in it. Raises InfraError
    when the file of the setting cannot be read or holds no certificate.
    """
    if not settings.EXTRA_CA:
        return b""
    path = Path(settings.EXTRA_CA)
    try:
        own = path.read_bytes()
    except OSError as error:
        raise InfraError(f"ONESHOT_EXTRA_CA={path} cannot be read: {error.strerror}.") from error
    if b"-----BEGIN CERTIFICATE-----" not in own and b"-----BEGIN TRUSTED CERTIFICATE-----" not in own:
        raise InfraError(f"ONESHOT_EXTRA_CA={path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).")
    public = next((Path(name) for name in PUBLIC_BUNDLES if Path(name).is_file()), None)
    if public is None or public.resolve() == path.resolve():
        return own
    return public.read_bytes() + b"\n" + own
