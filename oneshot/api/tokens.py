"""Who asks: an API token in the Authorization header, and nothing else. Cookies are not looked at."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security import HttpBearer

from oneshot.accounts import pauses, tokens
from oneshot.accounts.models import ApiToken
from oneshot.api.errors import NO_TOKEN, ApiError

SAFE = ("GET", "HEAD", "OPTIONS")


class Bearer(HttpBearer):
    """Lets a live token in, as its owner; one that only reads may only read."""

    def __call__(self, request: HttpRequest) -> ApiToken | None:
        if not request.headers.get(self.header):
            raise ApiError(401, "unauthorized", NO_TOKEN)
        return super().__call__(request)

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken:
        """Return the token's row. Raises ApiError for a token that does not open this."""
        row = tokens.find(token.strip())
        if row is None:
            _count_refusal(request, token)
            raise ApiError(401, "unauthorized", NO_TOKEN)
        if row.revoked_at is not None:
            raise ApiError(401, "token_revoked", f"The token {row.prefix}… was revoked. Make another one.")
        if row.has_expired:
            raise ApiError(401, "token_expired", f"The token {row.prefix}… has expired. Make another one.")
        if row.user.must_change_password:
            raise ApiError(403, "password_must_change", "Log in and choose a password of your own first.")
        if not row.writes and request.method not in SAFE:
            raise ApiError(403, "read_only", f"The token {row.prefix}… may only read.")
        tokens.note_use(row)
        request.user = row.user
        return row


def _count_refusal(request: HttpRequest, token: str) -> None:
    """Count a token that nobody has as a refused log-in; after some, an address has to wait.

    A token that is right is never made to wait: it cannot be guessed, and others may share its address.
    """
    address = pauses.address_of(request)
    name = f"token {token[: tokens.SHOWN]}".replace("\0", "")  # PostgreSQL takes no NUL in a text
    if not pauses.tries_left(name, address):
        raise ApiError(429, "too_many_tries", "Too many wrong tokens. Wait five minutes, then send one that is valid.")
    pauses.record_refusal(name, address)
