"""What a run's door keeps: its row with budgets and counts, and every exchange that passed, in the proxy database.

A database that cannot be written never stops a run: budgets are then held in memory, and what was lost is counted.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from runs.agents.base import ModelNeed
from runs.relay.upstream import Upstream
from traces.proxy import database_path
from traces.proxy.wire import doors
from traces.proxy.wire.doors import DoorSpec, OpenDoor, Prices, Spent
from traces.proxy.wire.identity import identify
from traces.proxy.wire.recorder import Exchange, Recorder
from traces.proxy.wire.schema import NotOurs
from traces.proxy.wire.usage import Answer, AnswerReader, Failure
from traces.redaction import redact, safe_headers

logger = logging.getLogger(__name__)

# Of an answer longer than this only the first part is kept, so that memory stays flat.
KEPT_ANSWER_BYTES = 4 * 1024 * 1024
_REQUEST_IDS = ("x-request-id", "request-id", "x-oai-request-id")


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a run's door came to. `lost` are exchanges that could not be recorded, `trouble` says why."""

    spent: Spent
    lost: int = 0
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Whose door it is, and until when (seconds since 1970). `run` is "" for a door of nobody, as in tests."""

    run: str = ""
    attempt: int = 0
    prices: Prices = field(default_factory=dict)
    expires_at: float = 0.0


class Ledger:
    """The books of one door. Methods may be called from several threads, and none of them raises."""

    def __init__(self, need: ModelNeed, upstream: Upstream, key: str, holder: Holder) -> None:
        self.need = need
        self.holder = holder
        self.path = database_path()
        self.trouble = ""
        self._origin = upstream.origin
        spec = DoorSpec(
            run=holder.run,
            provider=need.provider,
            base_url=need.base_url,
            key_env=need.key_env,
            header=need.header,
            extra_headers=dict(need.extra_headers),
            token_budget=need.token_budget,
            cost_budget_usd=need.cost_budget_usd,
            prices=holder.prices,
            expires_at=holder.expires_at or time.time() + 86400,
        )
        self.token, self._door = self._open(spec)
        self.secrets = tuple(secret for secret in (key, self.token) if secret)
        self._recorder = Recorder(self.path, say=logger.warning)

    def _open(self, spec: DoorSpec) -> tuple[str, OpenDoor]:
        try:
            token = doors.open_door(self.path, spec)
        except (sqlite3.Error, OSError, NotOurs) as error:
            self.trouble = str(error) or type(error).__name__
            logger.warning("The door of run %s has no row in %s: %s", spec.run, self.path, error)
            token = secrets.token_urlsafe(32)
        return token, OpenDoor(self.path, doors.hash_of(token), spec, Spent())

    @property
    def spent(self) -> Spent:
        """What passed so far."""
        return self._door.spent

    def refusal(self) -> tuple[str, str] | None:
        """Return (code, message) when a budget is spent, else None."""
        found = self._door.refusal()
        if found:
            self._door.count_refusal()
        return found

    def begin(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Passage:
        """Begin to keep an exchange. `target` is the request target at the service."""
        document = _parsed(body)
        who = identify(headers, document)
        exchange = Exchange(
            door="run",
            method=method,
            url=self._origin + target.partition("?")[0],
            t_start=time.time(),
            run=self.holder.run,
            session=who.session,
            turn=who.turn,
            agent=who.agent,
            client=who.client,
            provider=self.need.provider,
            model=str(document.get("model") or "")[:200],
            request_headers=safe_headers(headers),
            request=body,
            request_wire_bytes=len(body),
            details={"try": self.holder.attempt} if self.holder.attempt else {},
            secrets=self.secrets,
        )
        return Passage(self, exchange)

    def count(self, answer: Answer, model: str) -> None:
        """Count an answer against the budgets."""
        self._door.count(answer.tokens, answer.model or model)

    def keep(self, exchange: Exchange) -> None:
        """Record an exchange; lists of models and such say nothing about a run."""
        if exchange.method == "POST":
            exchange.error = redact(exchange.error, extra=self.secrets)[:1000]
            self._recorder.record(exchange)

    def close(self, wait_s: float) -> Account:
        """End the door and write what waits, for so long at most. Return what it came to."""
        complete = self._recorder.close(wait_s)
        counts = self._recorder.counts
        try:
            doors.close_door(self.path, self.token)
        except (sqlite3.Error, OSError, NotOurs) as error:
            self.trouble = self.trouble or str(error)
            logger.warning("The door of run %s was not closed in %s: %s", self.holder.run, self.path, error)
        lost = counts.lost + (0 if complete else counts.pending)
        return Account(spent=self.spent, lost=lost, trouble=counts.trouble or self.trouble)


class Passage:
    """One exchange on its way. `finish` keeps it; only the first call counts."""

    def __init__(self, ledger: Ledger, exchange: Exchange) -> None:
        self._ledger = ledger
        self._exchange = exchange
        self._kept = bytearray()
        self._size = 0
        self._finished = False

    def answered(self, status: int, headers: list[tuple[str, str]], *, is_stream: bool = False) -> None:
        """Note the head of the answer."""
        exchange = self._exchange
        exchange.status, exchange.is_stream = status, is_stream
        exchange.response_headers = safe_headers(headers)
        named = {name.lower(): value for name, value in headers}
        exchange.request_id = next((named[name][:200] for name in _REQUEST_IDS if name in named), "")

    def feed(self, data: bytes) -> None:
        """Take a piece of the answer as it passes."""
        if self._exchange.t_first is None:
            self._exchange.t_first = time.time()
        self._size += len(data)
        room = KEPT_ANSWER_BYTES - len(self._kept)
        if room > 0:
            self._kept += data[:room]

    def counted(self, reader: AnswerReader, answer: Answer) -> None:
        """Take what the answer says of itself, and count it against the budgets."""
        exchange = self._exchange
        exchange.model = answer.model or exchange.model
        exchange.response_id, exchange.stop_reason = answer.response_id, answer.stop_reason
        exchange.usage, exchange.tokens, exchange.events = answer.usage, answer.tokens, reader.events
        if answer.failure:
            exchange.error = str(answer.failure)
        self._ledger.count(answer, exchange.model)

    def finish(self, failure: Failure | None = None) -> None:
        """Keep it as far as it came."""
        if self._finished:
            return
        self._finished = True
        exchange = self._exchange
        exchange.t_end = time.time()
        exchange.response, exchange.response_bytes = bytes(self._kept), self._size
        exchange.truncated = self._size > len(self._kept)
        if failure:
            exchange.error = str(failure)
        self._ledger.keep(exchange)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
