"""The model service behind a relay: where it is, which key opens it, and what may be asked of it."""

from __future__ import annotations

import http.client
import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings

from oneshot.env import SettingError, env_secret
from runs.agents.base import ModelNeed
from runs.errors import AgentError, InfraError

# A model may think for minutes before its first byte.
READ_TIMEOUT_S = 900
CONNECT_TIMEOUT_S = 15
_PATH = re.compile(r"(?:/[A-Za-z0-9._~:@-]+)*/?\Z")
_QUERY = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,;=/?%-]*\Z")
_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:KEY|TOKEN)\Z")


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A service's base URL, taken apart."""

    secure: bool
    host: str
    port: int | None
    path: str
    query: str

    @property
    def origin(self) -> str:
        """The URL without its path, such as https://api.openai.com."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}" + (f":{self.port}" if self.port else "")

    def connect(self) -> http.client.HTTPConnection:
        """Return an open connection. Raises OSError (ssl.SSLError among them)."""
        connection: http.client.HTTPConnection
        if self.secure:
            connection = http.client.HTTPSConnection(
                self.host, self.port, timeout=CONNECT_TIMEOUT_S, context=trust(settings.EXTRA_CA)
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        connection.sock.settimeout(READ_TIMEOUT_S)
        return connection

    def target(self, asked: str) -> str | None:
        """Return the request target for a path below /v1, or None when it would leave the base URL."""
        path, _, query = asked.partition("?")
        if not path.startswith("/v1"):
            return None
        path = path.removeprefix("/v1")
        dotted = any(set(part) == {"."} for part in path.split("/"))
        if dotted or not _PATH.match(path) or not _QUERY.match(query):
            return None
        queries = "&".join(part for part in (self.query, query) if part)
        return (self.path + path or "/") + (f"?{queries}" if queries else "")


def upstream_of(base_url: str) -> Upstream:
    """Take a base URL apart. Raises ValueError with a sentence that says what is wrong with it."""
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{base_url!r} is no URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is no http or https URL, such as https://api.openai.com/v1.")
    if parts.username or parts.password:
        raise ValueError("The base URL carries a user name or password; name the variable with the key in key_env.")
    if not _PATH.match(parts.path) or not _QUERY.match(parts.query) or parts.fragment:
        raise ValueError(f"{base_url!r} has a path that the relay does not forward to.")
    return Upstream(
        secure=parts.scheme == "https",
        host=parts.hostname,
        port=port,
        path=parts.path.rstrip("/"),
        query=parts.query,
    )


def problem_with_key_name(name: str) -> str:
    """Return "" when a variable of this name may hold a service's key, else a sentence that says why not.

    Whoever may write a configuration could otherwise have any variable of the worker sent to any address.
    """
    if not _KEY_NAME.match(name) or name.upper().startswith(("ONESHOT_", "DJANGO_")):
        return f"{name!r} cannot name a model key: the variable must end in KEY or TOKEN and not be OneShot's own."
    return ""


def key_of(need: ModelNeed) -> str:
    """Return the key from this process's environment, "" when the service needs none.

    Raises AgentError when the variable is not allowed, not set, or holds what cannot be a key.
    """
    if not need.key_env:
        return ""
    if problem := problem_with_key_name(need.key_env):
        raise AgentError(problem)
    try:
        key = env_secret(need.key_env)
    except SettingError as error:
        raise AgentError(str(error)) from None
    if not key:
        raise AgentError(
            f"The agent needs the key of {need.base_url} in {need.key_env}, which is not set here. "
            f"Set {need.key_env} (or {need.key_env}_FILE) in the worker's environment or its .env file."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise AgentError(f"{need.key_env} holds spaces or unprintable characters, so it is no key.")
    return key


@lru_cache(maxsize=4)
def trust(extra_ca: str) -> ssl.SSLContext:
    """Return what verifies services: the usual authorities and those of `extra_ca`. Raises InfraError."""
    context = ssl.create_default_context()
    if extra_ca:
        try:
            context.load_verify_locations(extra_ca)
        except (OSError, ssl.SSLError) as error:
            raise InfraError(
                f"ONESHOT_EXTRA_CA={extra_ca!r} cannot be read as certificates ({error}). Name a PEM file."
            ) from None
    return context
