"""What the routes share."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from oneshot.accounts.models import User
from oneshot.api.errors import invalid


class Request(HttpRequest):
    """What a route gets: its token was good, so there is a user."""

    user: User
    auth: Any


def routes(tag: str) -> Router:
    """Return an empty router whose routes stand under `tag` in the reference."""
    return Router(tags=[tag])


def refuse_unknown(request: HttpRequest, known: Any) -> None:
    """Raise ApiError for a name in the address that a query does not know: a filter with a typo would show all."""
    for name in request.GET:
        if name not in known.model_fields:
            raise invalid(
                f"There is no parameter {name[:100]!r}; there are {', '.join(known.model_fields)}.", name[:100]
            )
        if "\0" in request.GET[name]:
            raise invalid("A text may hold no NUL.", name)
