"""What an image is made of, what a build may know that the image must not, and whose fault a failed step is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings

from runs.errors import Fault, InfraError, TaskError
from runs.sandboxes.base import ExecResult
from tasks import certificates
from tasks.models import TaskVersion

# A change of what the builders make must change this, so that images are made anew.
BUILDER_VERSION = 1
LAST_LINES = 20

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One build. `say` takes lines of the log, from any thread; `labels` go on whatever the build starts."""

    version: TaskVersion
    environment: dict[str, Any]
    digest: str
    labels: dict[str, str]
    say: Say
    site: Site
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished image: what the sandbox starts, and its size, None when nobody told."""

    reference: str
    size_bytes: int | None


class Builder(Protocol):
    """Makes images for one kind of sandbox."""

    def identity(self, environment: dict[str, Any]) -> dict[str, Any]:
        """Return what else than snapshot and environment tells two images apart here."""
        ...

    def find(self, digest: str) -> Built | None:
        """Return the finished image of this digest on this machine, or None."""
        ...

    def build(self, plan: Plan) -> Built:
        """Make the image. Raises TaskError or InfraError. Called in a thread that must not use the database."""
        ...

    def abort(self) -> None:
        """End a running `build` from another thread, within a second or two, and leave nothing of it behind."""
        ...

    def discard(self, labels: dict[str, str]) -> None:
        """Remove what a build with these labels left behind when its process died."""
        ...


@dataclass(frozen=True)
class Site:
    """What this site gives to builds and to nothing else: trusted authorities, package indexes, proxies."""

    bundle: bytes
    indexes: dict[str, str]
    proxies: dict[str, str]
    apt_mirror: str
    secrets: tuple[str, ...] = field(repr=False)

    def variables(self, bundle_path: str) -> dict[str, str]:
        """Return the environment variables that programs of a build read; `bundle_path` is the authorities' file."""
        variables = {**self.indexes, **self.proxies, **QUIET}
        if self.bundle:
            variables |= dict.fromkeys(CA_VARIABLES, bundle_path)
        if self.apt_mirror:
            variables["ONESHOT_APT_MIRROR"] = self.apt_mirror
        return variables


CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "NIX_SSL_CERT_FILE",
)
QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_PREFER_BINARY": "1",
    "PIP_RETRIES": "3",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_progress": "false",
    "CI": "true",
    "GIT_TERMINAL_PROMPT": "0",
}


def site() -> Site:
    """Return what the settings give to builds. Raises InfraError for an unreadable ONESHOT_EXTRA_CA."""
    indexes = {
        "PIP_INDEX_URL": settings.PIP_INDEX_URL,
        "UV_DEFAULT_INDEX": settings.PIP_INDEX_URL,
        "PIP_EXTRA_INDEX_URL": settings.PIP_EXTRA_INDEX_URL,
        "npm_config_registry": settings.NPM_REGISTRY,
    }
    indexes = {name: value for name, value in indexes.items() if value}
    proxies: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        value = os.environ.get(name) or os.environ.get(name.upper()) or ""
        # A proxy of this machine's own loopback is another machine's in a container.
        if value and not re.search(r"//(localhost|127\.|\[::1\])", value):
            proxies |= {name: value, name.upper(): value}
    secrets = {part for url in [*indexes.values(), *proxies.values()] for part in _secrets_in(url)}
    return Site(certificates.bundle(), indexes, proxies, settings.APT_MIRROR, tuple(sorted(secrets)))


def _secrets_in(urls: str) -> list[str]:
    """Return the password of each URL, or its user where there is no password: then it is a token."""
    found = []
    for url in urls.split():
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        secret = parts.password or parts.username or ""
        if len(secret) >= 4:
            found.append(secret)
    return found


def with_own_values(declared: dict[str, str], kept: dict[str, str]) -> dict[str, str]:
    """Return declared variables in which a variable's own name stands for what it is so far: `/opt/bin:$PATH`."""

    def filled(name: str, value: str) -> str:
        return re.sub(rf"\$(?:{name}\b|\{{{name}\}})", lambda _: kept.get(name, ""), value)

    return {name: filled(name, value) for name, value in declared.items()}


NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|ENOSPC", re.I)
NO_TRUST = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|unable to get local issuer|self.signed certificate"
    r"|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT|x509: certificate|certificate is NOT trusted"
    r"|SSL certificate problem|invalid peer certificate",
    re.I,
)
NO_NETWORK = re.compile(
    r"Temporary failure (in name resolution|resolving)|Could not resolve|Name or service not known"
    r"|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|Connection refused|Connection timed out"
    r"|Connection reset by peer|Network is unreachable|No route to host|Max retries exceeded"
    r"|NewConnectionError|ReadTimeoutError|dial tcp|Failed to establish a new connection|Unable to connect to"
    r"|failed to (fetch|download|get) .*(timed out|connect)|Failed to fetch|temporary error \(try again later\)"
    r"|network error|Could not connect to|502 Bad Gateway|503 Service|504 Gateway|429 Too Many",
    re.I,
)


def failure(
    what: str, result: ExecResult, lines: list[str], *, timeout_s: float, blame: type[Fault] = TaskError
) -> Fault:
    """Return the error for a step that failed: what it was, whose fault, the mend, and its last lines.

    `blame` is whose fault it is when the words do not tell.
    """
    last = lines[-LAST_LINES:]
    text = "\n".join(lines[-200:])
    said = "\n" + "\n".join(last) if last else ""
    if result.timed_out:
        return TaskError(
            f"{what} did not end within {timeout_s:.0f} s. Make the set-up shorter, or raise "
            f"ONESHOT_BUILD_TIMEOUT_S.{said}"
        )
    if result.limit == "memory":
        return TaskError(f"{what} ran out of memory. Give the task more in environment.memory_mb.{said}")
    if result.limit == "disk" or NO_SPACE.search(text):
        return InfraError(f"{what} ran out of disk space. Free some on this machine.{said}")
    ended = "was killed" if result.exit_code is None else f"failed with exit status {result.exit_code}"
    if NO_TRUST.search(text):
        return InfraError(
            f"{what} {ended}: a server's certificate is not trusted inside the build. "
            f"Set ONESHOT_EXTRA_CA to the file of your site's certificate authority.{said}"
        )
    if NO_NETWORK.search(text):
        return InfraError(
            f"{what} {ended}: a server could not be reached from inside the build. Check the network, and the "
            f"settings for package indexes (ONESHOT_PIP_INDEX_URL, ONESHOT_NPM_REGISTRY, ONESHOT_APT_MIRROR).{said}"
        )
    if result.exit_code is None:
        return InfraError(f"{what} {ended} from outside.{said}")
    return blame(f"{what} {ended}.{said}")


def check_guess(version: TaskVersion, gave_up: str) -> None:
    """Refuse an image for which a guessed set-up went on without a server: it would lack packages for ever.

    The lines of a guess go on when a package cannot be installed. A task's own lines do what their author wants.
    `gave_up` is what a program said about the server, "" when all were reached. Raises InfraError.
    """
    if gave_up and not version.environment.get("setup"):
        raise InfraError(
            "A server could not be reached from inside the build, so packages that the tests may need are missing. "
            "Check the network, and the settings for package indexes (ONESHOT_PIP_INDEX_URL, ONESHOT_EXTRA_CA).\n"
            + gave_up[:500]
        )
