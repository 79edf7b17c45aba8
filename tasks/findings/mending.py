"""Mends findings where they stand: a secret or a name becomes a placeholder, a leaking sentence goes."""

from __future__ import annotations

import re
from typing import Any

from oneshot import store
from oneshot.accounts.models import User
from tasks.curation.editing import edit
from tasks.findings.scan import rescan
from tasks.models import CurationDraft, Finding

PLACEHOLDERS = {"secret": "[redacted]", "personal": "[removed]"}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


class CannotMend(ValueError):
    """The finding is not mended by a button; the message says what to do instead."""


def mend(draft: CurationDraft, finding: Finding, *, by: User) -> None:
    """Mend a finding of the draft everywhere it stands in its part, and look through the draft anew.

    Raises CannotMend when a person must do it, EditConflict when someone else is at it.
    """
    draft.refresh_from_db()
    place = finding.place
    part = place.get("part", "")
    if place.get("mend") == "cut" and part == "instructions":
        text = draft.content["instructions"]
        _write(draft, "instructions", _without_sentence(text, place.get("start", 0), place.get("end", 0)), by)
    elif place.get("mend") == "redact" and part in ("title", "instructions"):
        _write(draft, part, _redacted(draft.content[part], finding), by)
    elif place.get("mend") == "redact" and part == "tests":
        _write(draft, "tests", _redacted_tests(draft.content["tests"], finding), by)
    elif part == "reference":
        raise CannotMend(
            "A secret in the reference diff cannot be replaced without changing what is asked. "
            "Take it out of the repository's files, and put the new diff in."
        )
    elif part == "trace":
        raise CannotMend("The trace is a record. Import it again: newer rules redact more, or remove the session.")
    else:
        raise CannotMend("This is for a person to mend: change the text, and the finding goes by itself.")
    rescan(draft)


def _write(draft: CurationDraft, field: str, value: Any, by: User) -> None:
    edit(draft, field, value, seen=draft.revision, by=by)


def _redacted(text: str, finding: Finding) -> str:
    start, end = finding.place.get("start", 0), finding.place.get("end", 0)
    value = text[start:end]
    if not value.strip():
        raise CannotMend("The text has changed since. Load the page again.")
    return text.replace(value, PLACEHOLDERS.get(finding.kind, "[removed]"))


def _redacted_tests(tests: list[dict[str, Any]], finding: Finding) -> list[dict[str, Any]]:
    path = finding.place.get("path", "")
    return [
        {**test, "digest": store.put_text(_redacted(store.get_text(test["digest"]), finding))}
        if test["path"] == path
        else test
        for test in tests
    ]


def _without_sentence(text: str, start: int, end: int) -> str:
    """Cut the sentences that touch text[start:end], and the space that they leave."""
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    first = max(position for position in ends if position <= start)
    last = min(position for position in ends if position >= end)
    before, after = text[:first].rstrip(" "), text[last:]
    joined = before + (" " if before and after and not before.endswith("\n") and not after.startswith("\n") else "")
    return (joined + after.lstrip(" ")).strip("\n") + "\n"
