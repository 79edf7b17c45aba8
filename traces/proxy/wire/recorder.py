"""Writes exchanges into the proxy database from a thread of its own, so that no client ever waits for a disk.

When it cannot write, it keeps what it has within bounds, counts what it must let go, and says so in a gap once it can
write again. Nothing here raises to whoever records.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...redaction import HEADERS
from . import doors
from .bodies import Messages, canonical, kept_answer, parsed, redacted
from .identity import identify
from .schema import EXCHANGE_COLUMNS, connect
from .usage import Tokens

MOST_PENDING_BYTES = 96 * 1024 * 1024
MOST_PENDING = 20_000
BATCH = 64
BATCH_BYTES = 16 * 1024 * 1024
RETRY_S = 0.5
WRITE_WAIT_S = 2.0
BEAT_S = 5.0
# So long it lets exchanges gather: one batch costs less than many, and clients feel each as a moment's wait.
GATHER_S = 0.02
# Beside the single names of the allow-list.
HEADER_FAMILIES = ("x-stainless-", "x-ratelimit-", "anthropic-ratelimit-", "x-codex-")
_INSERT = (
    f"INSERT OR IGNORE INTO exchange({','.join(EXCHANGE_COLUMNS)}) VALUES({','.join('?' * len(EXCHANGE_COLUMNS))})"
)


@dataclass(kw_only=True)
class Exchange:
    """One request and its answer, as they were; the recorder redacts and packs them. "" and None are unknown.

    Headers may be all that there were: only those of the allow-list are kept. What the request says of its sender and
    its model is filled in where it is not given. `request` is the body as decoded. `response` is the answer's first
    part as decoded (`truncated` when there was more); `is_stream` when it is a stream of events. `secrets` are exact
    values that must not be kept.
    """

    door: str
    method: str
    url: str
    t_start: float
    id: str = ""
    run: str = ""
    session: str = ""
    turn: str = ""
    agent: str = ""
    client: str = ""
    provider: str = ""
    status: int | None = None
    model: str = ""
    t_first: float | None = None
    t_end: float | None = None
    request_headers: list[tuple[str, str]] = field(default_factory=list)
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    request: bytes = b""
    request_wire_bytes: int | None = None
    response: bytes = b""
    is_stream: bool = False
    response_bytes: int | None = None
    response_id: str = ""
    request_id: str = ""
    stop_reason: str = ""
    usage: dict[str, Any] | None = None
    tokens: Tokens | None = None
    events: int = 0
    truncated: bool = False
    error: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return len(self.request) + len(self.response) + 2000


@dataclass
class Counts:
    """What a recorder has done so far: exchanges kept, exchanges let go, those that wait."""

    recorded: int = 0
    lost: int = 0
    pending: int = 0
    # Why it cannot write just now; "" when it can.
    trouble: str = ""


@dataclass
class _Gap:
    t_from: float
    t_to: float
    session: str
    reason: str
    count: int


class Recorder:
    """Records into the database at `path` until `close`. `name` is given by the one process that keeps a heartbeat
    there, so that its sudden end is found at its next start and said as a gap."""

    def __init__(self, path: Path, *, name: str = "", say: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.counts = Counts()
        self._name = name
        self._say = say or _to_stderr
        lock = threading.RLock()
        self._wake = threading.Condition(lock)
        # Shares the lock; nobody but `close` cuts the gathering short.
        self._gather = threading.Condition(lock)
        self._queue: deque[Exchange] = deque()
        self._bytes = 0
        self._gaps: dict[tuple[str, str], _Gap] = {}
        self._closing = False
        self._clean = True
        self._deadline = 0.0
        self._messages = Messages()
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._beat_at = 0.0
        self._first_beat = True
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def record(self, exchange: Exchange) -> None:
        """Keep an exchange, soon. Does not wait, does not raise; without room it is counted as lost."""
        exchange.id = exchange.id or new_id()
        with self._wake:
            if self._bytes + exchange.size > MOST_PENDING_BYTES or len(self._queue) >= MOST_PENDING:
                reason = self.counts.trouble or "the recorder could not keep up"
                self._note_gap(exchange.t_start, time.time(), exchange.session, reason, 1)
                return
            self._queue.append(exchange)
            self._bytes += exchange.size
            self.counts.pending = len(self._queue)
            self._wake.notify()

    def gap(self, t_from: float, t_to: float, *, reason: str, session: str = "", count: int = 0) -> None:
        """Say that something passed that is not kept. `count` is 0 when nobody knows how much."""
        with self._wake:
            self._note_gap(t_from, t_to, session, reason, count)
            self._wake.notify()

    def close(self, timeout: float = 10.0, *, clean: bool = True) -> bool:
        """Write what waits, for at most so many seconds. Return whether all of it is kept.

        Not `clean`: the process that this records for was killed, and the next start shall say so.
        """
        with self._wake:
            self._closing, self._clean = True, clean
            self._deadline = time.monotonic() + timeout
            self._wake.notify()
            self._gather.notify()
        self._thread.join(timeout + WRITE_WAIT_S + 1)
        left = len(self._queue)
        if left:
            self._say(f"{left} exchanges could not be recorded: {self.counts.trouble or 'no time'}")
        return not left

    def _note_gap(self, t_from: float, t_to: float, session: str, reason: str, count: int) -> None:
        self.counts.lost += count
        gap = self._gaps.setdefault((session, reason), _Gap(t_from, t_to, session, reason, 0))
        gap.t_from, gap.t_to, gap.count = min(gap.t_from, t_from), max(gap.t_to, t_to), gap.count + count

    # The thread

    def _work(self) -> None:
        while True:
            with self._wake:
                if not (self._queue or self._gaps or self._closing or (self._name and self._first_beat)):
                    self._wake.wait(BEAT_S if self._name else None)
                if not self._closing and len(self._queue) < BATCH:
                    self._gather.wait(GATHER_S)
                closing = self._closing
                batch = self._next_batch()
                gaps = list(self._gaps.values())
            written = self._write(batch, gaps, clean_end=closing and self._clean)
            with self._wake:
                if written:
                    for exchange in batch:
                        self._queue.popleft()
                        self._bytes -= exchange.size
                    for gap in gaps:
                        if self._gaps.get((gap.session, gap.reason)) is gap:
                            del self._gaps[gap.session, gap.reason]
                    self.counts.pending = len(self._queue)
                if closing and ((written and not self._queue) or time.monotonic() > self._deadline):
                    break
                if not written:
                    self._wake.wait(RETRY_S)
        self._disconnect()

    def _next_batch(self) -> list[Exchange]:
        batch: list[Exchange] = []
        size = 0
        for exchange in self._queue:
            if batch and (len(batch) >= BATCH or size + exchange.size > BATCH_BYTES):
                break
            batch.append(exchange)
            size += exchange.size
        return batch

    def _write(self, batch: list[Exchange], gaps: list[_Gap], *, clean_end: bool) -> bool:
        """Write a batch in one transaction. Return whether it is done; when not, `counts.trouble` says why."""
        try:
            db = self._connected()
            rows = [self._row(exchange) for exchange in batch]
            db.execute("BEGIN IMMEDIATE")
            for row, messages in rows:
                db.executemany("INSERT OR IGNORE INTO message VALUES(?,?)", messages.items())
                db.execute(_INSERT, row)
            for gap in gaps:
                _insert_gap(db, gap)
            if self._name and (clean_end or time.monotonic() > self._beat_at + BEAT_S):
                self._beat(db, clean_end=clean_end)
            db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, clients must not feel it
            self._failed(error)
            return False
        if self.counts.trouble:
            self._say("The gateway records again.")
        self.counts.trouble = ""
        self.counts.recorded += len(batch)
        doors.write_counts(self.path)
        return True

    def _failed(self, error: Exception) -> None:
        trouble = str(error) or type(error).__name__
        if trouble != self.counts.trouble:
            self._say(f"The gateway cannot record: {trouble}. Clients go on; it tries again and counts what it loses.")
        self.counts.trouble = trouble
        # What was seen may not have been written.
        self._messages.forget()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError | sqlite3.IntegrityError
        ):
            self._move_broken_away()
        self._disconnect()

    def _move_broken_away(self) -> None:
        """Take a file that is no database out of the way, so that there can be a new one; it is kept."""
        away = self.path.with_name(f"{self.path.name}.broken-{int(time.time())}")
        self._disconnect()
        with contextlib.suppress(OSError):
            self.path.rename(away)
            for suffix in ("-wal", "-shm"):
                beside = self.path.with_name(self.path.name + suffix)
                if beside.exists():
                    beside.rename(away.with_name(away.name + suffix))
            self._say(f"The proxy database was damaged; it lies in {away}, and a new one begins.")
            now = time.time()
            with self._wake:
                self._note_gap(now, now, "", f"the database was damaged and was moved to {away.name}", 0)

    def _connected(self) -> sqlite3.Connection:
        try:
            inode = self.path.stat().st_ino
        except OSError:
            inode = 0
        if self._db is None or inode != self._inode:
            # Someone removed the file: what is written into the old one would be seen by nobody.
            self._disconnect()
            self._messages.forget()
            self._db = connect(self.path, timeout_s=WRITE_WAIT_S)
            self._inode = self.path.stat().st_ino
            self._beat_at = 0.0
        return self._db

    def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _beat(self, db: sqlite3.Connection, *, clean_end: bool) -> None:
        """Say that this process is alive; at first, find out whether the one before ended without a word."""
        now = time.time()
        if self._first_beat:
            row = db.execute("SELECT value FROM state WHERE key = ?", (self._name,)).fetchone()
            before = json.loads(row[0]) if row else {}
            if before and not before.get("ended") and before.get("pid") != os.getpid():
                _insert_gap(db, _Gap(before["alive"], now, "", "the gateway ended suddenly", 0))
            self._first_beat = False
        value = {"pid": os.getpid(), "alive": now, "ended": clean_end, "recorded": self.counts.recorded}
        db.execute("INSERT OR REPLACE INTO state VALUES(?,?)", (self._name, json.dumps(value)))
        self._beat_at = time.monotonic()

    def _row(self, exchange: Exchange) -> tuple[list[Any], dict[str, bytes]]:
        document = parsed(exchange.request)
        identity = identify(exchange.request_headers, document)
        head, hashes, messages = self._messages.take_apart(exchange.request, document, exchange.secrets)
        tokens = exchange.tokens or Tokens(input=None, cached=None, output=None)
        model = exchange.model or (document or {}).get("model")
        made = {
            "session": exchange.session or identity.session,
            "turn": exchange.turn or identity.turn,
            "agent": exchange.agent or identity.agent,
            "client": exchange.client or identity.client,
            "model": model[:120] if isinstance(model, str) else "",
            "url": exchange.url.partition("?")[0][:2000],
            "error": exchange.error[:1000],
            "request_headers": [pair for pair in exchange.request_headers if is_safe_header(pair[0])],
            "response_headers": [pair for pair in exchange.response_headers if is_safe_header(pair[0])],
            "usage": exchange.usage,
            "details": exchange.details,
        }
        # Redaction costs by the call more than by the letter.
        made = redacted(made, canonical(made, sort=False), exchange.secrets)
        made |= {name: json.dumps(made[name]) for name in ("request_headers", "response_headers", "details")} | {
            "usage": None if exchange.usage is None else json.dumps(made["usage"]),
            "request_head": head,
            "request_messages": json.dumps(hashes, separators=(",", ":")),
            "request_bytes": len(exchange.request),
            "response_body": kept_answer(exchange.response, exchange.secrets, is_stream=exchange.is_stream),
            "tokens_input": tokens.input,
            "tokens_cached": tokens.cached,
            "tokens_cache_write": tokens.cache_write,
            "tokens_output": tokens.output,
            "tokens_reasoning": tokens.reasoning,
            "truncated": int(exchange.truncated),
        }
        return [made[name] if name in made else getattr(exchange, name) for name in EXCHANGE_COLUMNS], messages


def is_safe_header(name: str) -> bool:
    """Return whether a header's value, redacted, may be kept."""
    lower = name.lower()
    return lower in HEADERS or lower.startswith(HEADER_FAMILIES)


def _insert_gap(db: sqlite3.Connection, gap: _Gap) -> None:
    db.execute(
        "INSERT INTO gap(t_from, t_to, session, reason, count) VALUES(?,?,?,?,?)",
        (gap.t_from, gap.t_to, gap.session, gap.reason[:300], gap.count),
    )


def new_id() -> str:
    """Return an id of an exchange: hexadecimal, in order of time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the gateway's log
