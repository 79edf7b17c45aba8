"""A draft as the API shows it: with texts where the row names digests, and changed by texts alone.

A client never names a digest: who knows that of another team's content could otherwise read it.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from oneshot import store
from oneshot.accounts.models import User
from oneshot.api.documents import DraftGiven, TestGiven
from oneshot.api.errors import invalid
from tasks.curation import claims, editing
from tasks.curation.publishing import blockers
from tasks.findings.scan import open_findings
from tasks.models import CurationDraft

MOST_DIFF_BYTES = 2_000_000
MOST_TEST_BYTES = 300_000
FIELDS = ("title", "instructions", "tags", "environment", "sensitivity", "reference_diff", "tests", "criteria")


def as_document(draft: CurationDraft) -> dict[str, Any]:
    """Return the draft with everything that a curator's page says about it."""
    holder = claims.holder(draft.task)
    return {
        "slug": draft.task.slug,
        "revision": draft.revision,
        "version": draft.base_version.number if draft.base_version else None,
        "changed": editing.is_changed(draft),
        "held_by": holder.username if holder else None,
        "against_publishing": blockers(draft, open_findings(draft)),
        "fields": {field: shown(field, draft.content[field]) for field in FIELDS},
    }


def shown(field: str, value: Any) -> Any:
    """Return the value of a field with texts for digests."""
    if field == "reference_diff":
        return _text(value, MOST_DIFF_BYTES)[0] if value else ""
    if field == "tests":
        return [_test(test) for test in value]
    return value


def _test(test: dict[str, Any]) -> dict[str, Any]:
    content, size = _text(test["digest"], MOST_TEST_BYTES)
    return {
        "path": test["path"],
        "content": content,
        "bytes": size,
        "mode": test.get("mode") or "100644",
        "rubric_id": test.get("rubric_id"),
    }


def _text(digest: str, most: int) -> tuple[str | None, int]:
    """Return the text of a digest and its bytes; None for what is no text or more than `most`."""
    data = store.get(digest)
    if len(data) > most or b"\0" in data:
        return None, len(data)
    try:
        return data.decode(), len(data)
    except UnicodeDecodeError:
        return None, len(data)


@transaction.atomic
def change(draft: CurationDraft, given: DraftGiven, *, by: User) -> None:
    """Set the fields that are given. Raises ApiError for a value that one cannot have, and EditConflict."""
    if given.seen > draft.revision:
        raise invalid(f"The draft is at revision {draft.revision}; it has not been seen at {given.seen} yet.", "seen")
    for field in FIELDS:
        if field not in given.model_fields_set:
            continue
        value = getattr(given, field)
        if value is None:
            raise invalid("It cannot be null. Leave out a field that stays as it is.", field)
        try:
            editing.edit(draft, field, _stored(draft, field, value), seen=given.seen, by=by)
        except ValueError as error:
            raise invalid(str(error), field) from error


def _stored(draft: CurationDraft, field: str, value: Any) -> Any:
    """Return the value as a draft keeps it, with the digests of what came as text."""
    if field == "reference_diff":
        return store.put_text(value) if value.strip() else ""
    if field == "tests":
        kept = {test["path"]: test for test in draft.content["tests"]}
        return [_stored_test(test, kept) for test in value]
    if field == "criteria":
        return [criterion.model_dump() for criterion in value]
    return value


def _stored_test(test: TestGiven, kept: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if test.content is not None:
        digest = store.put_text(test.content)
    elif test.path in kept:
        digest = kept[test.path]["digest"]
    else:
        raise ValueError(f"The draft has no test {test.path!r} yet: give its content.")
    return {"path": test.path, "digest": digest, "rubric_id": test.rubric_id, "mode": test.mode}
