"""Runs the gateway's process: what it is told, whether it answers, and what clients need to trust it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import ssl
import sys
import tomllib
from pathlib import Path
from typing import Any

from django.conf import settings

from oneshot.processes import Child
from traces.proxy import database_path
from traces.proxy.wire.targets import target_of

PROVIDERS = {
    "openai": "https://api.openai.com",
    "chatgpt": "https://chatgpt.com",
    "anthropic": "https://api.anthropic.com",
}
RESERVED = ("health", "metrics", "run")
SERVICE = "oneshot-gateway"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")


class BadProviders(ValueError):
    """The file of providers cannot be used; the message names file, field and value."""


def directory() -> Path:
    """Return where everything of the gateway lies."""
    return database_path().parent


def ca_path() -> Path:
    """Return the certificate that clients of the forward door must trust; made when the gateway first starts."""
    return directory() / "ca" / "mitmproxy-ca-cert.pem"


def address(host: str = "", port: int = 0) -> str:
    """Return the gateway's URL as this machine reaches it."""
    return f"http://{_reachable(host or settings.GATEWAY_HOST)}:{port or settings.GATEWAY_PORT}"


def _reachable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - comparison
    return f"[{host}]" if ":" in host else host


def health(host: str = "", port: int = 0, *, timeout_s: float = 1.0) -> dict[str, Any] | None:
    """Return what a gateway says of itself; None when none answers there, or another service does."""
    host, port = _reachable(host or settings.GATEWAY_HOST).strip("[]"), port or settings.GATEWAY_PORT
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        document = json.loads(connection.getresponse().read(65536))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return document if isinstance(document, dict) and document.get("service") == SERVICE else None


def providers() -> dict[str, str]:
    """Return base URLs by name: the known services, and those of ONESHOT_PROVIDERS_FILE.

    The file is TOML: [providers.NAME] with base_url. Raises BadProviders.
    """
    if not settings.PROVIDERS_FILE:
        return dict(PROVIDERS)
    path = Path(settings.PROVIDERS_FILE)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadProviders(f"ONESHOT_PROVIDERS_FILE={str(path)!r} cannot be read: {error}") from error
    found = dict(PROVIDERS)
    tables = document.get("providers")
    if not isinstance(tables, dict):
        raise BadProviders(f"{path}: there is no [providers.NAME] in it.")
    for name, table in tables.items():
        if not _NAME.match(name) or name in RESERVED:
            raise BadProviders(f"{path}: {name!r} cannot name a provider; take lower-case letters and digits.")
        if not isinstance(table, dict) or set(table) != {"base_url"} or not isinstance(table["base_url"], str):
            raise BadProviders(f'{path}: [providers.{name}] has one field, base_url = "https://…".')
        try:
            target_of(table["base_url"])
        except ValueError as error:
            raise BadProviders(f"{path}: [providers.{name}] base_url: {error}") from None
        found[name] = table["base_url"]
    return found


def child(python: Path, *, host: str, port: int, open_to_all: bool, log_path: Path) -> Child:
    """Return the process that serves, ready to start. Raises BadProviders."""
    folder = directory()
    confdir = folder / "ca"
    confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = {
        **{"host": host, "port": port, "open": open_to_all, "providers": providers()},
        **{"database": str(database_path()), "confdir": str(confdir), "upstream_ca": _upstream_ca(python, folder)},
    }
    environment = {**os.environ, "ONESHOT_GATEWAY_CONFIG": json.dumps(config), "PYTHONUNBUFFERED": "1"}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE"):
        environment.pop(name, None)
    serve = Path(__file__).with_name("serve.py")
    return Child("gateway", [str(python), "-P", str(serve)], environment, log_path)


def _upstream_ca(python: Path, folder: Path) -> str:
    """Return a file with the authorities that services are verified by; "" when mitmproxy's own are enough."""
    more = [Path(path) for path in (settings.EXTRA_CA, os.environ.get("SSL_CERT_FILE", "")) if path]
    more = [path for path in dict.fromkeys(more) if path != ca_path()]
    if not more:
        return ""
    usual = [*python.parent.parent.glob("lib/python*/site-packages/certifi/cacert.pem")]
    if default := ssl.get_default_verify_paths().cafile:
        usual.append(Path(default))
    texts = []
    for path in [*usual, *more]:
        try:
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            if path == Path(settings.EXTRA_CA or "/nowhere"):
                raise BadProviders(f"ONESHOT_EXTRA_CA={str(path)!r} cannot be read: {error.strerror}.") from error
    bundle = folder / "upstream-ca.pem"
    fresh = bundle.with_name(f"{bundle.name}.{os.getpid()}")
    fresh.write_text("\n".join(texts), encoding="utf-8")
    fresh.replace(bundle)
    return str(bundle)


def trust_words(host: str, port: int) -> list[str]:
    """Return what a person types so that clients use the forward door, line by line."""
    ca, url = ca_path(), address(host, port)
    return [
        f"  Codex        HTTPS_PROXY={url} CODEX_CA_CERTIFICATE={ca} codex",
        f"  Claude Code  HTTPS_PROXY={url} NODE_EXTRA_CA_CERTS={ca} claude",
        f"  no CA        ANTHROPIC_BASE_URL={url}/anthropic claude",
        f"               codex -c openai_base_url={url}/openai/v1",
        f"  others       HTTPS_PROXY={url}; only model services are looked into, so git, pip and curl need nothing;",
        f"               for those services SSL_CERT_FILE={ca} (curl: --cacert, Python requests: REQUESTS_CA_BUNDLE)",
    ]


def secure_ca() -> None:
    """Let nobody else read the authority's key."""
    for path in (directory() / "ca").glob("*"):
        if path.is_file() and "cert" not in path.name:
            with contextlib.suppress(OSError):
                path.chmod(0o600)


if sys.platform == "win32":  # pragma: no cover
    raise ImportError("The gateway needs a Unix system.")
