"""Reads the gateway's database, also while it is written: every exchange once, by its running number."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.proxy.wire import schema
from traces.readers import databases, values, wire
from traces.readers.base import Batch, ExchangeRecord, Gap, NotReadable, Problem, SessionRecords

BATCH_ROWS = 1000
BATCH_BYTES = 32 * 1024 * 1024
BODY_LIMIT = 64 * 1024 * 1024
# Exchanges that do not say whose they are make a new session after such a pause.
IDLE_S = 30 * 60
# The history of so many earlier exchanges is taken for known.
LOOK_BACK = 4

_COLUMNS = (
    *("seq", "id", "door", "run", "session", "agent", "client", "provider", "method", "url", "status", "model"),
    *("t_start", "t_first", "t_end", "request_head", "request_messages", "request_bytes", "response_body"),
    *("response_bytes", "response_id", "request_id", "stop_reason", "tokens_input", "tokens_cached"),
    *("tokens_cache_write", "tokens_output", "tokens_reasoning", "truncated", "error"),
)


class ProxyReader:
    """The gateway's database."""

    name = "proxy"
    label = "gateway"

    def recognises(self, path: Path) -> bool:
        return databases.application_id(path) == schema.APPLICATION_ID

    def read(self, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
        """Yield what people's sessions have that is new; exchanges of runs are theirs to import."""
        yield from self._batches(path, dict(position), "run = ''", ())

    def read_thread(self, path: Path, thread_id: str, *, after: str = "") -> Iterator[Batch]:
        """Yield the exchanges of one of people's sessions, those after the exchange of this id."""
        yield from self._batches(path, {"after": after}, "run = '' AND session = ?", (thread_id,))

    def read_run(self, path: Path, run_id: str) -> Iterator[Batch]:
        """Yield all exchanges of a run; those without a thread id make one session named for the run."""
        yield from self._batches(path, {}, "run = ? AND run <> ''", (run_id,), run_id=run_id)

    def _batches(
        self, path: Path, position: dict[str, Any], where: str, values_: tuple[str, ...], *, run_id: str = ""
    ) -> Iterator[Batch]:
        with databases.opened(path) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > schema.VERSION:
                raise NotReadable(
                    f"it was written by a newer OneShot (format {version}, here {schema.VERSION}). Update this one."
                )
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'exchange'").fetchone():
                return
            reading = _Reading(connection, path, position, run_id)
            query = f"SELECT {', '.join(_COLUMNS)} FROM exchange WHERE seq > ? AND {where} ORDER BY seq LIMIT ?"  # noqa: S608
            while rows := connection.execute(query, (reading.seq(), *values_, BATCH_ROWS)).fetchall():
                yield reading.batch([dict(zip(_COLUMNS, row, strict=True)) for row in rows])
            if where == "run = ''" and (batch := reading.rest()):
                yield batch


class _Reading:
    """One reading of the database, from where the last one ended."""

    def __init__(self, connection: sqlite3.Connection, path: Path, position: dict[str, Any], run_id: str) -> None:
        self.connection = connection
        self.path = path
        self.run_id = run_id
        self.position = position
        self.gaps = self._gaps()
        if after := position.pop("after", ""):
            found = connection.execute("SELECT seq FROM exchange WHERE id = ?", (after,)).fetchone()
            position |= {"seq": found[0] if found else 0, "id": after if found else ""}
        elif (seq := int(position.get("seq", 0))) and not self._is_same(seq, str(position.get("id", ""))):
            position.clear()

    def _is_same(self, seq: int, exchange_id: str) -> bool:
        """Whether this is the database that was read before, not another one in its place."""
        found = self.connection.execute("SELECT id FROM exchange WHERE seq = ?", (seq,)).fetchone()
        if found:
            return bool(found[0] == exchange_id)
        # Old rows may have been removed, but numbers are never given again.
        [last] = self.connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'exchange'"
        ).fetchone()
        return int(last) >= seq

    def seq(self) -> int:
        return int(self.position.get("seq", 0))

    def _gaps(self) -> list[tuple[int, float, float, str, str, int]]:
        return self.connection.execute(
            "SELECT seq, t_from, t_to, session, reason, count FROM gap ORDER BY seq DESC LIMIT 2000"
        ).fetchall()[::-1]

    def batch(self, rows: list[dict[str, Any]]) -> Batch:
        """Turn rows into records, as many as fit into memory's share."""
        sessions: dict[tuple[str, str], _WireSession] = {}
        problems: list[Problem] = []
        size = 0
        for row in rows:
            try:
                key = self._session_of(row)
                session = sessions.get(key)
                if session is None:
                    session = sessions[key] = _WireSession(self, row, *key)
                size += session.take(row)
            except (zlib.error, ValueError, TypeError) as error:
                message = f"cannot be read ({str(error)[:200]}) and was left out"
                problems.append(Problem(file=str(self.path), place=f"exchange {row['seq']}", message=message))
            self.position |= {"seq": row["seq"], "id": row["id"]}
            if size > BATCH_BYTES:
                break
        for session in sessions.values():
            session.add_gaps(self.gaps)
        records = [session.records for session in sessions.values()]
        return Batch(sessions=records, position=json.loads(json.dumps(self.position)), problems=problems)

    def rest(self) -> Batch | None:
        """Return new gaps of sessions that have nothing else new."""
        known = int(self.position.get("gap", 0))
        fresh = [gap for gap in self.gaps if gap[0] > known]
        if not fresh:
            return None
        self.position["gap"] = fresh[-1][0]
        sessions = []
        for _, start, end, session, reason, count in fresh:
            found = (
                session
                and self.connection.execute(
                    "SELECT agent, client FROM exchange WHERE session = ? AND run = '' LIMIT 1", (session,)
                ).fetchone()
            )
            if found:
                records = SessionRecords(
                    agent=_agent(*found), thread_id=values.safe_id(session), source="proxy", label=self.path.name
                )
                records.gaps.append(_gap(start, end, reason, count))
                sessions.append(records)
        return Batch(sessions=sessions, position=json.loads(json.dumps(self.position)))

    def _session_of(self, row: dict[str, Any]) -> tuple[str, str]:
        """Return agent and thread id of a row; what does not say whose it is goes with its neighbours in time."""
        agent, thread = _agent(row["agent"], row["client"]), values.safe_id(row["session"])
        if thread:
            return agent, thread
        if self.run_id:
            return agent, f"run-{self.run_id}"
        unknown = self.position.setdefault("unknown", {})
        known = unknown.get(agent)
        at = float(row["t_start"])
        if known is None or at - known[1] > IDLE_S:
            unknown[agent] = known = [f"unknown-{values.digest(str(row['id']))[:32]}", at]
        known[1] = max(known[1], at)
        return agent, known[0]


class _WireSession:
    """The records of one session in one batch."""

    def __init__(self, reading: _Reading, row: dict[str, Any], agent: str, thread_id: str) -> None:
        self.reading = reading
        self.native = row["session"]
        self.records = SessionRecords(
            agent=agent, thread_id=thread_id, source=ProxyReader.name, label=reading.path.name
        )
        if version := _version(row["client"], agent):
            self.records.facts["agent_version"] = version
        self.known: set[str] = set()
        self.has_answers = False
        self._look_back(row["seq"])

    def _look_back(self, seq: int) -> None:
        """Learn what the last exchanges before this batch held already."""
        if not self.native:
            return
        found = self.reading.connection.execute(
            "SELECT request_messages, response_id FROM exchange WHERE session = ? AND run = ? AND seq < ?"
            " ORDER BY seq DESC LIMIT ?",
            (self.native, self.reading.run_id, seq, LOOK_BACK),
        ).fetchall()
        for messages, response_id in found:
            self.known.update(key for key, _ in _numbered(messages))
            self.has_answers |= bool(response_id)

    def take(self, row: dict[str, Any]) -> int:
        """Take one exchange, and return about how many bytes it holds."""
        head = _unpacked(row["request_head"])
        response = _unpacked(row["response_body"])
        numbered = _numbered(row["request_messages"])
        size = len(head or "") + len(response or "") + self._take_messages(row, numbered)
        answered = wire.read_answer(response) if response else None
        exchange = ExchangeRecord(
            key=str(row["id"]),
            started_at=values.moment(row["t_start"]),
            first_byte_at=values.moment(row["t_first"]),
            ended_at=values.moment(row["t_end"]),
            method=row["method"],
            url=row["url"],
            provider=row["provider"],
            status=values.small(row["status"], 32767),
            model=row["model"],
            response_id=row["response_id"],
            request_id=row["request_id"],
            stop_reason=row["stop_reason"],
            error=row["error"],
            tokens_input=values.count(row["tokens_input"]),
            tokens_cached=values.count(row["tokens_cached"]),
            tokens_cache_write=values.count(row["tokens_cache_write"]),
            tokens_output=values.count(row["tokens_output"]),
            tokens_reasoning=values.count(row["tokens_reasoning"]),
            request_bytes=values.count(row["request_bytes"]),
            response_bytes=values.count(row["response_bytes"]),
            request_head=head,
            messages=[key.rpartition(":")[0] for key, _ in numbered],
            response=response,
            truncated=bool(row["truncated"]),
        )
        self.records.exchanges.append(exchange)
        for index, block in enumerate(answered.blocks if answered else []):
            step = wire.step_of(block, f"{exchange.key}:{index}", exchange.ended_at, exchange.key)
            self.records.steps.append(step)
            self.has_answers = True
        return size

    def _take_messages(self, row: dict[str, Any], numbered: list[tuple[str, str]]) -> int:
        """Take what the request tells that no request told before."""
        fresh = [(key, digest) for key, digest in numbered if key not in self.known]
        self.known.update(key for key, _ in fresh)
        bodies = self._bodies({digest for _, digest in fresh})
        self.records.messages.update(bodies)
        at = values.moment(row["t_start"])
        for key, digest in fresh:
            try:
                blocks = wire.message_blocks(values.parsed(bodies.get(digest, "null")))
            except ValueError:
                continue
            for index, block in enumerate(blocks):
                # What the model said comes back in the next request; it was taken from the answer.
                if self.has_answers and block.kind in ("assistant", "reasoning", "call"):
                    continue
                self.records.steps.append(wire.step_of(block, f"msg:{key}:{index}", at))
        return sum(map(len, bodies.values()))

    def _bodies(self, digests: set[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        wanted = sorted(digests)
        for start in range(0, len(wanted), 500):
            some = wanted[start : start + 500]
            marks = ",".join("?" * len(some))
            query = f"SELECT hash, body FROM message WHERE hash IN ({marks})"  # noqa: S608
            for digest, body in self.reading.connection.execute(query, some):
                found[digest] = _unpacked(body) or ""
        return found

    def add_gaps(self, gaps: list[tuple[int, float, float, str, str, int]]) -> None:
        """Take the gaps that lie within the session's time, or that are said to be its own."""
        if not gaps or not self.records.exchanges:
            return
        begun = min((e.started_at for e in self.records.exchanges if e.started_at), default=0.0)
        ended = max((e.ended_at or e.started_at or 0.0 for e in self.records.exchanges), default=0.0)
        if self.native:
            [first] = self.reading.connection.execute(
                "SELECT t_start FROM exchange WHERE session = ? ORDER BY seq LIMIT 1", (self.native,)
            ).fetchone()
            begun = min(begun, first)
        for _, start, end, session, reason, count in gaps:
            if (session and session == self.native) or (not session and start <= ended and end >= begun):
                self.records.gaps.append(_gap(start, end, reason, count))


def _gap(start: float, end: float, reason: str, count: int) -> Gap:
    lost = f" ({count} exchanges not kept)" if count else ""
    return Gap(start=values.moment(start), end=values.moment(end), reason=f"{reason}{lost}"[:300])


def _numbered(messages: str) -> list[tuple[str, str]]:
    """Return (hash:occurrence, hash) for the messages of a request, so that what is said twice counts twice."""
    seen: Counter[str] = Counter()
    numbered = []
    for digest in values.items(values.parsed(messages or "[]")):
        digest = str(digest)[:64]
        numbered.append((f"{digest}:{seen[digest]}", digest))
        seen[digest] += 1
    return numbered


def _unpacked(body: bytes | None) -> str | None:
    """Return a body's text. Raises zlib.error, or ValueError for one of an absurd size."""
    if body is None:
        return None
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(body, BODY_LIMIT)
    if unpacker.unconsumed_tail:
        raise ValueError(f"a body holds more than {BODY_LIMIT // 1024 // 1024} MB")
    return data.decode("utf-8", "replace")


def _agent(agent: str, client: str) -> str:
    """Return the agent's name, or how the client calls itself."""
    return (agent or client.partition("/")[0].partition(" ")[0] or "unknown")[:40]


def _version(client: str, agent: str) -> str:
    """Read the version out of a user agent such as codex_exec/0.169.0 (...)."""
    name, slash, rest = client.partition("/")
    return rest.split(" ")[0][:60] if slash and " " not in name and agent != "unknown" else ""
