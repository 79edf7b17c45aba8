"""Reads values out of documents that anybody may have written: what is not of the expected shape is None or ""."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

# Times outside of these are taken for a mistake: 2000-01-01 and 2100-01-01.
EARLIEST, LATEST = 946684800.0, 4102444800.0
COUNT_LIMIT = 10**12
# A thread id is a file's name and a part of URLs; anything else is replaced by a digest of it.
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,119}")


def parsed(line: str | bytes) -> Any:
    """Return what a JSON text holds. Raises ValueError, also for what is nested too deeply."""
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def mapping(value: object) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return the value if it is text, else ""."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """Return a believable number of tokens or bytes, or None."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < COUNT_LIMIT:
        return None
    return value


def small(value: object, limit: int = 2**31 - 1) -> int | None:
    """Return a whole number that fits a column, such as an exit code, or None."""
    if isinstance(value, bool) or not isinstance(value, int) or not -limit <= value <= limit:
        return None
    return value


def moment(value: object) -> float | None:
    """Return seconds since the epoch from an ISO time or a number of seconds or milliseconds; None when unlikely."""
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if value > LATEST else float(value)
    else:
        return None
    return seconds if EARLIEST <= seconds < LATEST else None


def safe_id(value: object) -> str:
    """Return an id that may stand in URLs and be compared with file names; "" for none.

    One that tries to be anything else, a path for instance, becomes a digest of itself.
    """
    if not isinstance(value, str) or not value:
        return ""
    if SAFE_ID.fullmatch(value) and ".." not in value:
        return value
    return "odd-" + digest(value)[:32]


def digest(value: str) -> str:
    """Return the sha256 of a text; lone surrogates do no harm."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def compact(value: object) -> str:
    """Return a value as JSON on one line; text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def canonical(value: object) -> str:
    """Return the one spelling of a JSON value, over which hashes are made."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def said(content: object) -> str:
    """Return the text of a message's content: a string, or parts of which the text ones count.

    Other parts leave a mark, so that an image is not lost silently.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    parts = []
    for part in items(content):
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            found = part.get("text") or part.get("refusal") or part.get("thinking")
            kind = text(part.get("type"))
            parts.append(found if isinstance(found, str) else f"[{kind[:40] or 'part'}]")
    return "\n".join(parts)
