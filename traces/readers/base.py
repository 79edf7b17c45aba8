"""What every reader of traces speaks: records of sessions, exchanges and steps, whatever source they come from.

A reader turns files into batches of records. It knows nothing of the database, and raises nothing for bad content:
what cannot be read becomes a `Problem`, and the rest is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

# So many problems are told of one source; the rest is counted.
PROBLEMS_TOLD = 50


class NotReadable(ValueError):
    """A source cannot be read at all; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing in a source that was left out. `place` is such as "line 17" or "row 3", or "" for the whole."""

    file: str
    place: str = ""
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"file": self.file, "place": self.place, "message": self.message}

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.place, self.message) if part)


@dataclass(slots=True, kw_only=True)
class StepRecord:
    """One thing said or done, or something more about one that was given before under the same key.

    None means that this record says nothing about the field, so that an earlier value stays. Times are seconds since
    the epoch. `text` is what was said, a call's arguments or command, a patch's diff. `exchange` is the key, answer id
    or request id of the exchange that it came from.
    """

    key: str
    kind: str | None = None
    text: str | None = None
    preview: str | None = None
    name: str | None = None
    call_id: str | None = None
    agent_path: str | None = None
    at: float | None = None
    seconds: float | None = None
    result: str | None = None
    exit_code: int | None = None
    failed: bool | None = None
    exchange: str | None = None
    meta: dict[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class ExchangeRecord:
    """One request to a model and its answer, as far as this source knows it. None and "" are unknown.

    `key` is the source's own id of it. `messages` are hashes of the request's messages; what new ones hold is in
    SessionRecords.messages. Input tokens include cached and cache-written ones, output includes reasoning.
    """

    key: str
    started_at: float | None = None
    first_byte_at: float | None = None
    ended_at: float | None = None
    method: str = ""
    url: str = ""
    provider: str = ""
    status: int | None = None
    model: str = ""
    response_id: str = ""
    request_id: str = ""
    stop_reason: str = ""
    error: str = ""
    tokens_input: int | None = None
    tokens_cached: int | None = None
    tokens_cache_write: int | None = None
    tokens_output: int | None = None
    tokens_reasoning: int | None = None
    # Only where the source itself says it.
    cost_usd: Decimal | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    # JSON of the request without its messages; None when the source does not have it.
    request_head: str | None = None
    messages: list[str] | None = None
    response: str | None = None
    truncated: bool = False


@dataclass(slots=True, kw_only=True)
class Gap:
    """A time in which the source may have missed exchanges. Seconds since the epoch; None is unknown."""

    start: float | None
    end: float | None
    reason: str


@dataclass(slots=True, kw_only=True)
class SessionRecords:
    """What one batch says about one session."""

    agent: str
    # The agent's own id, or one made up from what stays the same when the source is read again.
    thread_id: str
    # Reader's name, which the steps carry.
    source: str
    # Path and such, for people.
    label: str = ""
    # agent_version, parent_thread_id, cwd, repository, branch, commit, ending: text; only what is known.
    # `ending` may be "", which takes an earlier ending back.
    facts: dict[str, str] = field(default_factory=dict)
    steps: list[StepRecord] = field(default_factory=list)
    exchanges: list[ExchangeRecord] = field(default_factory=list)
    # JSON of messages of requests by their hash; those that the session has already may be left out.
    messages: dict[str, str] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Batch:
    """Some records, and how far the source has been read once they are stored."""

    sessions: list[SessionRecords]
    position: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)


class Reader(Protocol):
    """A source of traces: one module, registered under the entry-point group "oneshot.readers"."""

    # At most 20 characters; stored with the steps.
    name: str
    label: str

    def recognises(self, path: Path) -> bool:
        """Return whether the file is of this kind. Looks at a bounded part of it."""
        ...

    def read(self, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
        """Yield what is new since `position` ({} is the beginning), in pieces of bounded size.

        Raises NotReadable when the file as a whole cannot be read.
        """
        ...
