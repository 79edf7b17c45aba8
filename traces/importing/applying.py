"""Brings batches of records into the database: redacted, texts laid down first, then one transaction per session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from traces.importing import rows, totals
from traces.importing.inserting import insert
from traces.importing.preparing import Into, Prepared, prepare
from traces.importing.texts import clean
from traces.models import Exchange, Session, Step, StoredMessage
from traces.prices import PriceList, cost_of_exchange
from traces.readers.base import ExchangeRecord, SessionRecords, StepRecord

_FACTS = {"agent_version": 60, "parent_thread_id": 200, "cwd": 1000, "repository": 500, "branch": 300, "commit": 64}
_STEP_COLUMNS = ("kind", "name", "call_id", "agent_path", "at", "seconds", "exit_code", "failed", "exchange_id", "meta")
_STEP_TEXTS = ("preview", "body_ref", "body_bytes", "result_preview", "result_ref", "result_bytes")
GAPS_KEPT = 200
SOURCES_KEPT = 50
CHUNK = 500
# A request that a transcript tells without an id is the wire's when the counts agree and it ended near it.
NEAR_S = 120.0


@dataclass(kw_only=True)
class Applied:
    """What a batch did to one session."""

    session: Session
    created: bool = False
    exchanges: int = 0
    steps: int = 0
    changed: bool = False
    fresh_steps: list[Step] = field(default_factory=list)


def apply(sessions: Sequence[SessionRecords], into: Into) -> list[Applied]:
    """Store the records of some sessions. May be called again with the same ones, and from many processes."""
    prepared = prepare(sessions, into)
    prices = PriceList()
    return [_apply_one(one, into, prices) for one in prepared]


# Rows


def _apply_one(prepared: Prepared, into: Into, prices: PriceList) -> Applied:
    with transaction.atomic():
        session, created = _locked(prepared.records, into)
        applied = Applied(session=session, created=created, changed=created)
        facts = _take_facts(session, prepared.records)
        by_key = _take_exchanges(session, prepared, prices, applied)
        _take_messages(session, prepared, created)
        has_steps = _take_steps(session, prepared, by_key, applied)
        gaps = _take_gaps(session, prepared.records)
        applied.changed |= facts or gaps or has_steps
        if applied.changed:
            _note_source(session, prepared.records)
            _reckon(applied, prepared, by_key, steps_changed=has_steps or facts or created)
    return applied


def _reckon(applied: Applied, prepared: Prepared, by_key: dict[str, Exchange], *, steps_changed: bool) -> None:
    """Reckon the session's sums; those of a new one from the rows at hand, unless some need what the database gave."""
    rows_ = list(dict.fromkeys(by_key.values()))
    at_hand = applied.created and not any(totals.has_failed(row) for row in rows_)
    if at_hand:
        totals.refresh(applied.session, exchanges=rows_, steps=applied.fresh_steps)
    else:
        totals.refresh(applied.session, steps_changed=steps_changed)


def _locked(records: SessionRecords, into: Into) -> tuple[Session, bool]:
    """Return the session's row, locked until the transaction ends, made if need be."""
    same = {"team": into.team, "agent": clean(records.agent, 40), "thread_id": clean(records.thread_id, 200)}
    found = Session.objects.select_for_update().filter(**same).first()
    if found is not None:
        return found, False
    try:
        with transaction.atomic():
            made = Session.objects.create(**same, user=into.user, origin=into.origin, public=into.public)
            return made, True
    except IntegrityError:
        # Another importer was faster.
        return Session.objects.select_for_update().get(**same), False


def _take_facts(session: Session, records: SessionRecords) -> bool:
    """Fill in what was unknown; a better source that is new to the session replaces what a worse one said."""
    first_time = records.source not in {source["kind"] for source in session.sources}
    better = first_time and totals.rank(records.source) < totals.rank(session.steps_from)
    changed = False
    for name, limit in _FACTS.items():
        value = clean(records.facts.get(name, ""), limit)
        if value and value != getattr(session, name) and (better or not getattr(session, name)):
            setattr(session, name, value)
            changed = True
    if not session.repository and session.cwd:
        session.repository = session.cwd.rstrip("/").rpartition("/")[2][:500]
        changed = True
    ending = records.facts.get("ending")
    if ending is not None and ending != session.ending:
        session.ending = ending[:20]
        changed = True
    return changed


def _take_exchanges(session: Session, prepared: Prepared, prices: PriceList, applied: Applied) -> dict[str, Exchange]:
    """Make or complete the rows of the requests; return them by all the names that steps may call them."""
    records = prepared.records
    known = {} if applied.created else _known_exchanges(session, records)
    by_key: dict[str, Exchange] = dict(known)
    fresh: dict[str, Exchange] = {}
    touched: dict[int, Exchange] = {}
    for index, record in enumerate(records.exchanges):
        fields = rows.exchange_fields(record, records.source)
        row = _same_exchange(by_key, record, fields["wire_id"])
        if row is None:
            key = _key_of(record, by_key)
            row = Exchange(session_id=session.pk, key=key, source=records.source, **fields)
            fresh[key] = row
            changed = True
        else:
            changed = rows.merge_exchange(row, fields, records.source)
        changed |= _attach(row, prepared, index)
        if changed:
            cost = cost_of_exchange(row, prices)
            row.cost_usd = cost if cost is not None else row.cost_usd if row.cost_usd is not None else record.cost_usd
            if row.pk:
                touched[row.pk] = row
        for name in (row.key, record.key, record.response_id, record.request_id, row.wire_id):
            if name:
                by_key[name] = row
    _insert_exchanges(session, list(fresh.values()), applied.created)
    if touched:
        names = [f.name for f in Exchange._meta.concrete_fields if f.name not in ("id", "session", "key")]
        Exchange.objects.bulk_update(touched.values(), names, batch_size=100)
    applied.exchanges += len(fresh)
    applied.changed |= bool(fresh or touched)
    if records.exchanges and not applied.created:
        applied.changed |= _drop_told_twice(session, records.source, by_key)
    return by_key


def _insert_exchanges(session: Session, fresh: list[Exchange], created: bool) -> None:
    """Insert rows and learn their primary keys, which steps refer to."""
    insert(fresh)
    by_key = {row.key: row for row in fresh}
    stored = session.exchanges.order_by()
    pieces = [stored] if created else [stored.filter(key__in=keys) for keys in _pieces(list(by_key))]
    for piece in pieces:
        for key, pk in piece.values_list("key", "pk"):
            by_key[key].pk = pk


def _pieces(names: list[str]) -> list[list[str]]:
    return [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]


def _known_exchanges(session: Session, records: SessionRecords) -> dict[str, Exchange]:
    """Return the session's rows that the records may mean."""
    names: set[str] = {step.exchange for step in records.steps if step.exchange}
    for record in records.exchanges:
        names |= {record.key[:200], record.response_id[:200], record.request_id[:200]}
    names.discard("")
    found: dict[str, Exchange] = {}
    for some in _pieces(sorted(names)):
        same = Q(key__in=some) | Q(request_id__in=some) | Q(wire_id__in=some) | Q(response_id__in=some)
        for row in session.exchanges.filter(same):
            for name in (row.request_id, row.response_id, row.wire_id, row.key):
                if name:
                    found[name] = row
    return found


def _same_exchange(by_key: dict[str, Exchange], record: ExchangeRecord, wire_id: str) -> Exchange | None:
    """Return the row of the same request. Two that were recorded apart are two, whatever ids their answers bear."""
    for name in (wire_id, record.response_id[:200], record.request_id[:200], record.key[:200]):
        row = by_key.get(name) if name else None
        if row is not None and not (wire_id and row.wire_id and row.wire_id != wire_id):
            return row
    return None


def _key_of(record: ExchangeRecord, by_key: dict[str, Exchange]) -> str:
    key = (record.response_id or record.key)[:200]
    taken = by_key.get(key)
    return record.key[:200] if taken is not None and taken.key == key else key


def _attach(row: Exchange, prepared: Prepared, index: int) -> bool:
    """Give a row its request and answer, unless it has them."""
    request, answer = prepared.refs[index]
    changed = False
    if request and not row.request_ref:
        row.request_ref, row.request_digest = request, prepared.digests[index]
        changed = True
    if answer and not row.response_ref:
        row.response_ref, row.truncated = answer, prepared.records.exchanges[index].truncated
        changed = True
    return changed


def _drop_told_twice(session: Session, source: str, by_key: dict[str, Exchange]) -> bool:
    """Remove requests that a transcript told without an id and that the wire has seen as well."""
    nameless = list(session.exchanges.filter(response_id="", request_id="", wire_id="", key__startswith="at:"))
    if not nameless:
        return False
    seen = list(session.exchanges.exclude(wire_id="").exclude(tokens_output=None).order_by("ended_at", "id"))
    changed = False
    for row in nameless:
        same = next((wire for wire in seen if _agree(row, wire)), None)
        if same is None:
            continue
        seen.remove(same)
        row.steps.update(exchange=same)
        for name, other in list(by_key.items()):
            if other.pk == row.pk:
                by_key[name] = same
        row.delete()
        changed = True
    return changed


def _agree(told: Exchange, wire: Exchange) -> bool:
    if (told.tokens_input, told.tokens_output) != (wire.tokens_input, wire.tokens_output):
        return False
    if told.ended_at is None or wire.ended_at is None:
        return True
    return abs((told.ended_at - wire.ended_at).total_seconds()) <= NEAR_S


def _take_messages(session: Session, prepared: Prepared, created: bool) -> None:
    stored = [StoredMessage(session_id=session.pk, hash=d[:64], ref=ref) for d, ref in prepared.messages.items()]
    insert(stored, skip_known=not created)


def _take_steps(session: Session, prepared: Prepared, by_key: dict[str, Exchange], applied: Applied) -> bool:
    records = prepared.records
    if not records.steps:
        return False
    known = {} if applied.created else _known_steps(session, records)
    own = session.steps.filter(source=records.source)
    last = {} if applied.created else own.aggregate(position=Max("position"), turn=Max("turn", filter=Q(agent_path="")))
    position, turn = last.get("position") or 0, last.get("turn") or 0
    fresh: dict[str, Step] = {}
    touched: dict[str, Step] = {}
    for record, (said, result) in zip(records.steps, prepared.texts, strict=True):
        key = clean(record.key, 200)
        row = known.get(key) or fresh.get(key)
        if row is None:
            position += 1
            turn += record.kind == Step.Kind.USER and not record.agent_path
            place = {"source": records.source, "position": position, "turn": turn, "kind": Step.Kind.TOOL}
            given = {name: value for name, value in _step_fields(record, by_key).items() if value is not None}
            row = fresh[key] = Step(session_id=session.pk, key=key, **place | given)
            changed = True
        else:
            changed = rows.fill_step(row, _step_fields(record, by_key))
        changed |= rows.set_text(row, said)
        changed |= rows.set_result(row, result)
        if changed and row.pk:
            touched[key] = row
    applied.fresh_steps = list(fresh.values())
    insert(applied.fresh_steps)
    if touched:
        Step.objects.bulk_update(touched.values(), [*_STEP_COLUMNS, *_STEP_TEXTS], batch_size=100)
    applied.steps += len(fresh)
    return bool(fresh or touched)


def _known_steps(session: Session, records: SessionRecords) -> dict[str, Step]:
    keys = sorted({clean(step.key, 200) for step in records.steps})
    found: dict[str, Step] = {}
    for some in _pieces(keys):
        rows_ = session.steps.filter(source=records.source, key__in=some)
        found |= {row.key: row for row in rows_}
    return found


def _step_fields(record: StepRecord, by_key: dict[str, Exchange]) -> dict[str, Any]:
    exchange = by_key.get(record.exchange) if record.exchange else None
    return {
        "kind": record.kind,
        "name": None if record.name is None else clean(record.name, 200),
        "call_id": None if record.call_id is None else clean(record.call_id, 200),
        "agent_path": None if record.agent_path is None else clean(record.agent_path, 200),
        "at": rows.when(record.at),
        "seconds": record.seconds,
        "exit_code": record.exit_code,
        "failed": record.failed,
        "exchange_id": None if exchange is None else exchange.pk,
        "meta": record.meta,
    }


def _take_gaps(session: Session, records: SessionRecords) -> bool:
    changed = False
    for gap in records.gaps:
        start, end = rows.when(gap.start), rows.when(gap.end)
        entry = {
            "from": start.isoformat() if start else None,
            "to": end.isoformat() if end else None,
            "reason": clean(gap.reason, 300),
        }
        if entry not in session.gaps and len(session.gaps) < GAPS_KEPT:
            session.gaps = [*session.gaps, entry]
            changed = True
    return changed


def _note_source(session: Session, records: SessionRecords) -> None:
    """Remember what was read, and when it last brought something."""
    now: datetime = timezone.now()
    entry = {"kind": records.source, "label": clean(records.label, 300), "imported_at": now.isoformat()}
    others = [s for s in session.sources if (s["kind"], s["label"]) != (entry["kind"], entry["label"])]
    session.sources = [*others, entry][-SOURCES_KEPT:]
