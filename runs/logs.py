"""The live log of a run: lines reach the database within half a second, and end as one document.

A chatty agent cannot flood it: past a size, lines are held back and counted, and the last of them are kept.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction

from oneshot import store
from runs.models import LogChunk, Run
from traces.redaction import redact

LONGEST_LINE = 4_000
CHUNK_CHARS = 16_000
LIVE_CHARS = 4_000_000
TAIL_CHARS = 500_000
FLUSH_S = 0.4


@dataclass(frozen=True)
class LogLine:
    """One line: seconds since the epoch, where it came from (run, build, agent, grade), and its text."""

    t: float
    source: str
    text: str


@dataclass(frozen=True)
class LogPage:
    """Some lines, the cursor after them, how many lines stand between the cursor asked for and the first
    line given, and whether more will come."""

    lines: list[LogLine]
    next: str
    omitted: int
    live: bool


class RunLog:
    """Writes the log of one run. Call it with (source, text); safe from several threads."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._waiting_chars = 0
        self._written_chars = 0
        self._flushed_at = time.monotonic()
        self._tail: deque[str] = deque()
        self._tail_chars = 0
        self._held_back = 0

    def __call__(self, source: str, text: str) -> None:
        now = time.time()
        lines = redact(text).replace("\r\n", "\n").replace("\x00", "\N{REPLACEMENT CHARACTER}").split("\n")
        with self._lock:
            for line in lines[:-1] if lines[-1] == "" else lines:
                self._add(_pack(now, source, line))
            if self._waiting_chars >= CHUNK_CHARS:
                self._flush()

    def flush(self, *, only_if_due: bool = False) -> None:
        """Write what waits; with `only_if_due`, only when the last write is half a second ago."""
        with self._lock:
            if not only_if_due or time.monotonic() - self._flushed_at >= FLUSH_S:
                self._flush()

    def close(self) -> None:
        """Write everything, with the held-back tail and the count of lines that were left out."""
        with self._lock:
            left_out = self._held_back - len(self._tail)
            if left_out > 0:
                self._waiting.append(_pack(time.time(), "omitted", f"{left_out} lines were left out here"))
            self._waiting.extend(self._tail)
            self._tail.clear()
            self._tail_chars = self._held_back = 0
            self._flush()

    def _add(self, line: str) -> None:
        if self._written_chars + self._waiting_chars < LIVE_CHARS:
            self._waiting.append(line)
            self._waiting_chars += len(line)
            return
        self._tail.append(line)
        self._tail_chars += len(line)
        self._held_back += 1
        while self._tail_chars > TAIL_CHARS:
            self._tail_chars -= len(self._tail.popleft())

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        if not self._waiting:
            return
        waiting, self._waiting, self._waiting_chars = self._waiting, [], 0
        LogChunk.objects.bulk_create(LogChunk(run=self.run, text=text) for text in _in_chunks(waiting))
        self._written_chars += sum(map(len, waiting))


def _pack(at: float, source: str, text: str) -> str:
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]} … ({len(text) - LONGEST_LINE} more characters)"
    return json.dumps({"t": round(at, 3), "s": source, "x": text}, ensure_ascii=False)


def _in_chunks(lines: Iterable[str]) -> Iterator[str]:
    chunk: list[str] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_CHARS:
            yield "\n".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield "\n".join(chunk)


def unpack(text: str) -> list[LogLine]:
    """Read the lines of a chunk or of a whole log document."""
    lines = []
    for line in text.split("\n"):
        if line:
            row = json.loads(line)
            lines.append(LogLine(row["t"], row["s"], row["x"]))
    return lines


def read(run: Run, after: str = "", limit: int = 500) -> LogPage:
    """Return at most `limit` lines after the cursor `after` ("" for the beginning).

    The cursor counts lines and names the last chunk seen, so it stays good when the run ends and its chunks
    become one document. A reader that is far behind is taken to the last `limit` lines, and told how many it missed.
    """
    chunk_id, seen = _cursor(after)
    if run.log_digest:
        lines = unpack(store.get_text(run.log_digest))[seen:]
        newest_chunk = chunk_id
    else:
        chunks = list(LogChunk.objects.filter(run=run, id__gt=chunk_id).order_by("id").values_list("id", "text"))
        lines = [line for _, text in chunks for line in unpack(text)]
        newest_chunk = chunks[-1][0] if chunks else chunk_id
    omitted = max(0, len(lines) - limit)
    return LogPage(
        lines=lines[omitted:],
        next=f"{newest_chunk}-{seen + len(lines)}",
        omitted=omitted,
        live=not run.log_digest and not run.is_over,
    )


def _cursor(after: str) -> tuple[int, int]:
    chunk, _, seen = after.partition("-")
    return (int(chunk), int(seen)) if chunk.isdecimal() and seen.isdecimal() else (0, 0)


def whole(run: Run) -> bytes:
    """Return the whole log as text, one line each: UTC time, source, text."""
    if run.log_digest:
        lines = unpack(store.get_text(run.log_digest))
    else:
        chunks = LogChunk.objects.filter(run=run).order_by("id").values_list("text", flat=True)
        lines = [line for text in chunks for line in unpack(text)]
    rows = (f"{_clock(line.t)} {line.source:8} {line.text}" for line in lines)
    return ("\n".join(rows) + "\n").encode("utf-8", "replace") if lines else b""


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


@transaction.atomic
def settle(run: Run) -> None:
    """Turn the chunks of an ended run into one document in the content store. Safe to call again."""
    chunks = list(LogChunk.objects.filter(run=run).order_by("id").values_list("id", "text"))
    if not chunks:
        return
    before = [store.get_text(run.log_digest)] if run.log_digest else []
    run.log_digest = store.put_text("\n".join([*before, *(text for _, text in chunks)]))
    Run.objects.filter(pk=run.pk).update(log_digest=run.log_digest)
    LogChunk.objects.filter(run=run, id__lte=chunks[-1][0]).delete()
