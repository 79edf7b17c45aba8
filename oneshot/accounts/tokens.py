"""API tokens: 256 random bits that are shown once. A digest without salt is enough, since nobody can guess them."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from oneshot.accounts.models import ApiToken, User

# traces/secret_shapes.py knows this beginning, so that a token never reaches a trace.
BEGINNING = "oneshot_"
SHOWN = len(BEGINNING) + 8
MOST_LIVE = 50
USED_EVERY = timedelta(minutes=1)


def issue(*, user: User, name: str, scope: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Make a token; return its row, and the token itself, which nobody can read again.

    Raises ValueError for someone who has MOST_LIVE of them already.
    """
    if sum(token.is_live for token in user.api_tokens.all()) >= MOST_LIVE:
        raise ValueError(f"You have {MOST_LIVE} tokens. Revoke some that nothing uses any more.")
    token = BEGINNING + secrets.token_hex(32)
    row = ApiToken.objects.create(
        user=user, name=name, scope=scope, expires_at=expires_at, prefix=token[:SHOWN], digest=digest_of(token)
    )
    return row, token


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def find(token: str) -> ApiToken | None:
    """Return the row of a token, live or not. None for a token that never was, and for one of a closed account."""
    if not token.startswith(BEGINNING):
        return None
    rows = ApiToken.objects.select_related("user").filter(user__is_active=True)
    return rows.filter(digest=digest_of(token)).first()


def note_use(token: ApiToken) -> None:
    """Keep when a token was used last, with one write a minute at most."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at <= now - USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def revoke(token: ApiToken) -> None:
    """Shut a token out for ever."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
