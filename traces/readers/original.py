"""Reads the databases of the original OneShot: raw (every request of its proxy) and clean (by session).

Both keep request and answer as JSON, and {"_raw": text} for what was none; so every stream of events is one such text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.proxy.wire import identity, usage
from traces.readers import databases, lines, values, wire
from traces.readers.base import Batch, ExchangeRecord, NotReadable, Problem, SessionRecords
from traces.readers.values import items, mapping, text

BATCH_ROWS = 200
ROW_LIMIT = 64 * 1024 * 1024
# Its proxy calls every session this when it was started without a run's id; a pause then parts them.
UNKNOWN = "session_unknown"
IDLE_S = 30 * 60
_FILE_LIMIT = 256 * 1024 * 1024
_TABLES = {"traces", "cleaned_sessions"}


class OriginalReader:
    """Databases and exports of the original OneShot."""

    name = "original"
    label = "original OneShot"

    def recognises(self, path: Path) -> bool:
        if path.suffix == ".json":
            return _is_export(path)
        return bool(databases.application_id(path) == 0 and databases.tables(path) & _TABLES)

    def read(self, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
        position = dict(position)
        if path.suffix == ".json":
            if not lines.unchanged(path, position):
                yield _export_batch(path)
            return
        with databases.opened(path) as connection:
            names = databases.tables(path)
            if "traces" in names:
                yield from _raw_batches(connection, path, position)
            if "cleaned_sessions" in names:
                yield from _clean_batches(connection, path, position)


def _raw_batches(connection: sqlite3.Connection, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(traces)")}
    if not {"id", "ts_ms", "request_json", "response_json", "meta_json"} <= columns:
        raise NotReadable("its table of traces has other columns than the original OneShot's.")
    last = connection.execute("SELECT max(rowid) FROM traces").fetchone()[0] or 0
    if last < int(position.get("rowid", 0)):
        position.clear()
    query = (
        "SELECT rowid, ts_ms, method, url, request_json, response_json, meta_json,"
        " length(request_json) + length(response_json) FROM traces WHERE rowid > ? ORDER BY rowid LIMIT ?"
    )
    while rows := connection.execute(query, (int(position.get("rowid", 0)), BATCH_ROWS)).fetchall():
        reading = _Reading(path, position)
        for rowid, ts_ms, method, url, request, response, meta, size in rows:
            place = f"row {rowid}"
            if (size or 0) > ROW_LIMIT:
                reading.complain(place, f"holds {size // 1024 // 1024} MB and was left out")
            else:
                try:
                    facts = mapping(values.parsed(meta or "{}"))
                    reading.take(
                        ts_ms,
                        values.parsed(request or "{}"),
                        values.parsed(response or "{}"),
                        text(method),
                        text(url),
                        facts,
                    )
                except (ValueError, TypeError) as error:
                    reading.complain(place, f"cannot be read ({str(error)[:200]}) and was left out")
            position["rowid"] = rowid
        yield reading.batch(position)


def _clean_batches(connection: sqlite3.Connection, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
    """Its cleaner writes every session again and again, so what tells a changed one is its text."""
    known: dict[str, str] = position.setdefault("cleaned", {})
    query = "SELECT session_id, formatted_json FROM cleaned_sessions WHERE length(formatted_json) <= ?"
    for session_id, document in connection.execute(query, (ROW_LIMIT * 4,)).fetchall():
        digest = values.digest(text(document))[:16]
        if known.get(str(session_id)) == digest:
            continue
        reading = _Reading(path, position)
        try:
            reading.take_all(mapping(values.parsed(document)), str(session_id))
        except (ValueError, TypeError) as error:
            reading.complain(f"session {str(session_id)[:80]}", f"cannot be read ({str(error)[:200]}) and was left out")
        known[str(session_id)[:200]] = digest
        yield reading.batch(position)


def _is_export(path: Path) -> bool:
    try:
        with lines.opened(path) as file:
            head = file.read(4096)
    except NotReadable:
        return False
    return b'"session_id"' in head and b'"traces"' in head


def _export_batch(path: Path) -> Batch:
    stat = lines.stat_of(path)
    if stat[0] > _FILE_LIMIT:
        raise NotReadable(
            f"it has {stat[0] // 1024 // 1024} MB, more than the {_FILE_LIMIT // 1024 // 1024} that are read."
        )
    reading = _Reading(path, {})
    try:
        document = mapping(values.parsed(path.read_bytes()))
        reading.take_all(document, text(document.get("session_id")))
    except (ValueError, OSError) as error:
        raise NotReadable(f"it is not JSON ({str(error)[:200]}).") from error
    return reading.batch({"stat": stat})


class _Reading:
    """The records of one batch, by session."""

    def __init__(self, path: Path, position: dict[str, Any]) -> None:
        self.path = path
        self.position = position
        self.sessions: dict[tuple[str, str], SessionRecords] = {}
        self.problems: list[Problem] = []

    def complain(self, place: str, message: str) -> None:
        self.problems.append(Problem(file=str(self.path), place=place, message=message))

    def batch(self, position: dict[str, Any]) -> Batch:
        return Batch(sessions=list(self.sessions.values()), position=dict(position), problems=self.problems)

    def take_all(self, document: dict[str, Any], session_id: str) -> None:
        """Take a session of the clean form: {session_id, created_at, traces: [{request, response, ts_ms}]}."""
        for number, trace in enumerate(items(document.get("traces"))):
            trace = mapping(trace)
            try:
                facts = {"session_id": session_id}
                self.take(trace.get("ts_ms"), trace.get("request"), trace.get("response"), "", "", facts)
            except (ValueError, TypeError) as error:
                self.complain(f"session {session_id[:80]}, trace {number}", f"cannot be read ({str(error)[:200]})")

    def take(
        self, ts_ms: object, request: object, response: object, method: str, url: str, facts: dict[str, Any]
    ) -> None:
        """Take one request and its answer. The time is that of the answer."""
        at = values.moment(ts_ms)
        body = response if not _is_raw(response) else None
        answer = text(mapping(response).get("_raw")) if _is_raw(response) else values.compact(body)
        asked = {} if _is_raw(request) else mapping(request)
        # Exports do not say what was asked for where: what has a model was a request to one.
        if not url and not asked.get("model"):
            return
        answered = wire.read_answer(answer)
        head, history = wire.split_request(asked)
        own = values.digest(f"{ts_ms}:{values.canonical(request)}")[:40]
        records = self._session(asked, facts, own, at)
        exchange = ExchangeRecord(
            key=f"original-{own}",
            ended_at=at,
            method=method,
            url=url.partition("?")[0],
            status=values.small(facts.get("status_code"), 32767),
            model=answered.model or text(asked.get("model"))[:120],
            response_id=answered.response_id,
            stop_reason=answered.stop_reason,
            error=answered.error,
            request_head=values.compact(head or mapping(request)),
            response=answer,
            response_bytes=len(answer.encode("utf-8", "replace")),
        )
        _count(exchange, answered)
        exchange.messages = self._take_history(records, history, at)
        records.exchanges.append(exchange)
        for index, block in enumerate(answered.blocks):
            records.steps.append(wire.step_of(block, f"{exchange.key}:{index}", at, exchange.key))

    def _take_history(self, records: SessionRecords, history: list[Any], at: float | None) -> list[str]:
        digests: list[str] = []
        for message in history:
            body = values.canonical(message)
            digest = values.digest(body)
            number = digests.count(digest)
            digests.append(digest)
            if digest in records.messages and not number:
                continue
            records.messages[digest] = body
            for index, block in enumerate(wire.message_blocks(message)):
                # What the model said stands in the answers.
                if block.kind not in ("assistant", "reasoning", "call"):
                    records.steps.append(wire.step_of(block, f"msg:{digest}:{number}:{index}", at))
        return digests

    def _session(self, asked: dict[str, Any], facts: dict[str, Any], own: str, at: float | None) -> SessionRecords:
        found = identity.identify([], asked)
        thread = values.safe_id(found.session) or self._named(text(facts.get("session_id")), own, at)
        agent = found.agent or ("codex" if "prompt_cache_key" in asked else "unknown")
        key = (agent, thread)
        if key not in self.sessions:
            self.sessions[key] = SessionRecords(
                agent=agent, thread_id=thread, source=OriginalReader.name, label=self.path.name
            )
        return self.sessions[key]

    def _named(self, session_id: str, own: str, at: float | None) -> str:
        """Return the id of the session; those of no name are parted by pauses."""
        if session_id and session_id != UNKNOWN:
            return values.safe_id(session_id)
        state = self.position.get("unknown")
        if state is None or (at is not None and at - state[1] > IDLE_S):
            state = self.position["unknown"] = [f"unknown-{own}", at or 0.0]
        state[1] = max(state[1], at or 0.0)
        return str(state[0])


def _is_raw(document: object) -> bool:
    return isinstance(document, dict) and set(document) == {"_raw"}


def _count(exchange: ExchangeRecord, answered: wire.Answered) -> None:
    tokens = usage.tokens_of(answered.usage)
    if tokens is not None:
        exchange.tokens_input, exchange.tokens_cached = tokens.input, tokens.cached
        exchange.tokens_cache_write, exchange.tokens_output = tokens.cache_write, tokens.output
        exchange.tokens_reasoning = tokens.reasoning
