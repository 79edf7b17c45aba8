"""Where requests go: base URLs of services, and what may be asked below them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PATH = re.compile(r"(?:/[A-Za-z0-9._~:@%-]+)*/?\Z")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A service's base URL, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    def below(self, asked: str) -> str | None:
        """Return the path and query to ask for; None when `asked` would leave the base URL.

        `asked` begins with /v1, which stands for the base URL's own path; a base URL without one keeps it.
        """
        path, mark, query = asked.partition("?")
        if any(set(part) == {"."} for part in path.replace("%2e", ".").replace("%2E", ".").split("/")):
            return None
        if not _PATH.match(path) or any(ord(letter) < 33 or ord(letter) > 126 for letter in query):
            return None
        if path != "/v1" and not path.startswith("/v1/"):
            return None
        return (self.path + path.removeprefix("/v1") if self.path else path) + mark + query


def target_of(base_url: str) -> Target:
    """Take a base URL apart. Raises ValueError with a sentence that says what is wrong with it."""
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{base_url!r} is no URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is no http or https URL, such as https://api.openai.com/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{base_url!r} has more than a host and a path; keys come from the client or a variable.")
    return Target(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
        path=parts.path.rstrip("/"),
    )
