"""How what two sources say of one exchange or step becomes one row: the wire is right about the wire, and nothing
that is known is ever replaced by something unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from traces.importing.texts import Laid
from traces.models import Exchange, Step
from traces.readers.base import ExchangeRecord

# Who is right where two disagree: who saw the bytes.
WIRE = ("proxy", "original")
_TRUST = {"proxy": 4, "original": 3, "codex": 2, "claude_code": 2, "atif": 0}
COUNTS = ("tokens_input", "tokens_cached", "tokens_cache_write", "tokens_output", "tokens_reasoning")
_TEXTS = {"method": 10, "url": 1000, "provider": 60, "model": 120, "response_id": 200, "request_id": 200}
_TEXTS |= {"stop_reason": 60, "error": 1000}
_TIMES = ("started_at", "first_byte_at", "ended_at")


def trust(source: str) -> int:
    """Return how far a source is believed about requests; a plug-in's is a transcript."""
    return _TRUST.get(source, 1)


def when(seconds: float | None) -> datetime | None:
    """Return a time in UTC from seconds since the epoch."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def exchange_fields(record: ExchangeRecord, source: str) -> dict[str, Any]:
    """Return the columns that a record knows; unknown ones are None or ""."""
    fields: dict[str, Any] = {name: getattr(record, name)[:limit] for name, limit in _TEXTS.items()}
    fields |= {name: when(getattr(record, name)) for name in _TIMES}
    fields |= {name: getattr(record, name) for name in (*COUNTS, "status", "request_bytes", "response_bytes")}
    fields["wire_id"] = record.key[:100] if source in WIRE else ""
    return fields


def merge_exchange(row: Exchange, fields: dict[str, Any], source: str) -> bool:
    """Bring what a source knows into a row that is there already; return whether that changed it."""
    better, same = trust(source) > trust(row.source), source == row.source
    changed = False
    for name, new in fields.items():
        old = getattr(row, name)
        if new in (None, "") or new == old:
            continue
        # Lines of one answer that were written early count what had been written by then.
        grown = same and name in COUNTS and old is not None and new > old
        if old not in (None, "") and not better and not grown:
            continue
        setattr(row, name, new)
        changed = True
    if better:
        row.source = source
        changed = True
    return changed


def fill_step(row: Step, fields: dict[str, Any]) -> bool:
    """Bring what a record says into a step; None says nothing. Return whether that changed it."""
    changed = False
    for name, new in fields.items():
        old = getattr(row, name)
        if new is None or new == old:
            continue
        if name == "at" and old is not None:
            continue
        # What was a patch stays one when its plain result comes.
        if name == "meta":
            new = {**old, **new}
            if new == old:
                continue
        setattr(row, name, new)
        changed = True
    return changed


def set_text(row: Step, laid: Laid | None) -> bool:
    """Give a step its text. The same text again, which may lie elsewhere by now, is no change."""
    if laid is None or (row.pk and row.preview == laid.preview and row.body_bytes == laid.size):
        return False
    row.preview, row.body_ref, row.body_bytes = laid.preview, laid.ref, laid.size
    return True


def set_result(row: Step, laid: Laid | None) -> bool:
    """Give a step its result, as `set_text`."""
    if laid is None or (row.pk and row.result_preview == laid.preview and row.result_bytes == laid.size):
        return False
    row.result_preview, row.result_ref, row.result_bytes = laid.preview, laid.ref, laid.size
    return True
