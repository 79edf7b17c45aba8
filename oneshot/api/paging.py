"""Lists, a page at a time: `next` of one answer is `after` of the following request."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime

from oneshot.api.errors import invalid

_PLACE = re.compile(r"(?P<moment>[^~]{0,40})~[0-9a-f]{32}")


def as_cursor(place: str) -> str | None:
    """Return where a page ended as a word that fits into an address; None at the end of a list."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=") or None


def as_place(cursor: str) -> str:
    """Return the place that a cursor names. Raises ApiError for one that no answer gave."""
    if not cursor:
        return ""
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        found = _PLACE.fullmatch(place)
        if found is None or (found["moment"] and datetime.fromisoformat(found["moment"]).tzinfo is None):
            raise ValueError(place)
    except (ValueError, binascii.Error):
        raise invalid("This is no `next` of an answer of this list.", "after") from None
    return place
