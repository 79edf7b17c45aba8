"""What the exports share: the rows of a session in pieces, and texts that may have been lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from oneshot import store
from traces import bodies
from traces.models import Session, Step

CHUNK = 500


def steps_of(session: Session) -> Iterator[Step]:
    """Yield the steps that are shown, in order, with their exchanges."""
    yield from session.shown_steps().select_related("exchange").iterator(chunk_size=CHUNK)


def body_of(step: Step) -> str:
    """Return the whole text of a step; one that the content store has lost is the message that says so."""
    try:
        return step.body()
    except (store.ContentMissing, bodies.BadReference) as error:
        return f"[{error}]"


def result_of(step: Step) -> str | None:
    """Return the whole result of a call; None when none was seen."""
    if step.result_bytes is None and not step.result_preview:
        return None
    try:
        return step.result()
    except (store.ContentMissing, bodies.BadReference) as error:
        return f"[{error}]"


def iso(moment: datetime | None) -> str | None:
    """Return a time in UTC as ISO 8601; None for an unknown one."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def arguments_of(step: Step, text: str) -> dict[str, Any]:
    """Return a call's arguments as an object: its own, or its one text under a name that says what it is."""
    if step.kind == Step.Kind.PATCH:
        return {"patch": text}
    try:
        found = json.loads(text)
    except ValueError:
        return {"command": text}
    return found if isinstance(found, dict) else {"input": found}


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that are known: those that are neither None nor empty."""
    return {name: value for name, value in fields.items() if value is not None and value != "" and value != {}}
