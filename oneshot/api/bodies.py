"""What comes in: JSON of bounded size and depth, with text that every database can keep."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser

from oneshot.api.errors import ApiError

# Django refuses a larger body by itself (DATA_UPLOAD_MAX_MEMORY_SIZE); this one is said before it is read.
MOST_BYTES = 2_500_000
MOST_DEPTH = 30


class StrictParser(Parser):
    """Reads JSON and refuses what Python's reader would let through."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the document. Raises ApiError."""
        if request.content_type != "application/json":
            raise ApiError(415, "not_json", "Send JSON, with `Content-Type: application/json`.")
        if len(request.body) > MOST_BYTES:
            raise ApiError(413, "too_large", f"A body may have {MOST_BYTES:,} bytes.")
        try:
            document = json.loads(request.body, parse_constant=_refuse, object_pairs_hook=_object)
        except RecursionError:
            raise ApiError(400, "bad_json", "The document is nested too deeply.") from None
        except ValueError as error:
            raise ApiError(400, "bad_json", f"The body is no JSON: {error}.") from None
        check(document)
        return document


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a field twice")
    return found


def check(document: Any) -> None:
    """Refuse a document that is too deep, or with text that is no Unicode or holds NUL. Raises ApiError."""
    waiting = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise ApiError(400, "bad_json", "The document is nested too deeply.")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
            raise ApiError(400, "bad_text", "A text may hold no NUL and no half of a surrogate pair.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
