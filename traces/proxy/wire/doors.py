"""Doors of runs: each lets one sandbox ask one model service until its time, tokens or money are spent.

A door is a row, and whoever listens serves it. Only the token's hash is kept, so the database opens no door.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .schema import connect
from .usage import BUDGET_CODE, COST_CODE, Tokens

# How long a request may wait for another writer before its count is kept in memory and written later.
WRITE_WAIT_S = 0.25
MOST_UNKNOWN = 10
KEEP_CLOSED_S = 30 * 86400
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}\Z")
_MILLION = Decimal(1_000_000)

Prices = Mapping[str, Mapping[str, str | Decimal | None]]


@dataclass(frozen=True, kw_only=True)
class DoorSpec:
    """What a door leads to. Times are seconds since 1970; budgets of None are none.

    `key_env` names the variable that holds the service's key where the door is served ("" for none). `token_budget`
    counts input that was not cached, and output. `prices` are USD per million tokens by model or shell pattern:
    {pattern: {input, cached_input, cache_write, output}}, None or missing for unknown.
    """

    run: str
    provider: str
    base_url: str
    key_env: str = ""
    header: str = "Authorization"
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    token_budget: int | None = None
    cost_budget_usd: Decimal | None = None
    prices: Prices = field(default_factory=dict)
    expires_at: float = 0.0


@dataclass
class Spent:
    """What passed through a door so far. Tokens and cost are None until an answer said them."""

    requests: int = 0
    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None
    cost_usd: Decimal | None = None
    unknown_usage: int = 0
    unknown_cost: int = 0
    refused: int = 0

    def add(self, more: Spent) -> None:
        """Add what came later."""
        for name in ("requests", "unknown_usage", "unknown_cost", "refused"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        for name in ("input", "cached", "cache_write", "output", "cost_usd"):
            old, new = getattr(self, name), getattr(more, name)
            setattr(self, name, old if new is None else (old or 0) + new)


# Counts that could not be written yet, by (database, token's hash); shared by all threads of this process.
_unwritten: dict[tuple[Path, str], Spent] = {}
_lock = threading.RLock()
# By process too: a connection must not be used, nor closed, on the other side of a fork.
_connections: dict[tuple[int, int, Path], sqlite3.Connection] = {}


class OpenDoor:
    """A door that a token opened. `spent` is the newest known: the row's counts and those not written yet."""

    def __init__(self, path: Path, token_hash: str, spec: DoorSpec, spent: Spent) -> None:
        self.path = path
        self.token_hash = token_hash
        self.spec = spec
        self.spent = spent

    def refusal(self) -> tuple[str, str] | None:
        """Return (code, message) when the door's budget is spent, for an answer with status 400; None when not."""
        spec, spent = self.spec, self.spent
        used = (spent.input or 0) - (spent.cached or 0) + (spent.output or 0)
        if spec.token_budget is not None and used >= spec.token_budget:
            return BUDGET_CODE, f"The run's budget of {spec.token_budget} tokens is spent ({used} used)."
        if spec.cost_budget_usd is not None:
            if (spent.cost_usd or 0) >= spec.cost_budget_usd:
                return COST_CODE, f"The run's budget of {spec.cost_budget_usd} USD is spent ({spent.cost_usd} used)."
            # Answers that broke off say no tokens either; a few of those are bad luck.
            if spent.unknown_cost > spent.unknown_usage or spent.unknown_usage > MOST_UNKNOWN:
                return COST_CODE, (
                    "The cost of an answer is unknown, so the run's budget in USD cannot be kept. "
                    "Add the model's price, or set a budget in tokens."
                )
        return None

    def count(self, tokens: Tokens | None, model: str) -> None:
        """Count one answer; None when it did not say its tokens. Never raises: what cannot be written is kept."""
        more = Spent(requests=1)
        if tokens is None:
            more.unknown_usage = more.unknown_cost = 1
        else:
            more.input, more.cached = tokens.input, tokens.cached
            more.cache_write, more.output = tokens.cache_write, tokens.output
            more.cost_usd = cost_of(model, tokens, self.spec.prices)
            more.unknown_cost = int(more.cost_usd is None)
        self._add(more)

    def count_refusal(self) -> None:
        """Count a request that was refused because the budget is spent."""
        self._add(Spent(refused=1))

    def _add(self, more: Spent) -> None:
        with _lock:
            self.spent.add(more)
            _unwritten.setdefault((self.path, self.token_hash), Spent()).add(more)
            write_counts(self.path)


def open_door(path: Path, spec: DoorSpec) -> str:
    """Make a door and return its token, which is kept nowhere. Raises sqlite3.Error, OSError or schema.NotOurs."""
    token = secrets.token_urlsafe(32)
    with contextlib.closing(connect(path)) as db:
        db.execute("DELETE FROM door WHERE expires_at < ?", (time.time() - KEEP_CLOSED_S,))
        db.execute(
            "INSERT INTO door(token_hash, run, spec, opened_at, expires_at) VALUES(?,?,?,?,?)",
            (hash_of(token), spec.run, json.dumps(asdict(spec), default=str), time.time(), spec.expires_at),
        )
    return token


def close_door(path: Path, token: str) -> None:
    """End a door; its counts stay. A token that is not known is no error."""
    with _lock:
        write_counts(path)
    with contextlib.closing(connect(path)) as db:
        db.execute(
            "UPDATE door SET closed_at = ? WHERE token_hash = ? AND closed_at IS NULL", (time.time(), hash_of(token))
        )


def find(path: Path, token: str) -> OpenDoor | None:
    """Return the door that a token opens; None when it is unknown, expired or closed.

    Raises sqlite3.Error, OSError or schema.NotOurs when nobody can tell.
    """
    if not _TOKEN.match(token):
        return None
    hashed = hash_of(token)
    with _lock:
        row = _read(path, hashed)
        if row is None or row[2] is not None or row[1] <= time.time():
            return None
        spent = _spent_of(row[3:])
        if (path, hashed) in _unwritten:
            spent.add(_unwritten[path, hashed])
    return OpenDoor(path, hashed, _spec_of(json.loads(row[0])), spent)


def spent_by(path: Path, token: str) -> Spent | None:
    """Return what passed through a door, closed or not; None when it is unknown. Raises as `find`."""
    hashed = hash_of(token)
    with _lock:
        row = _read(path, hashed)
        if row is None:
            return None
        spent = _spent_of(row[3:])
        if (path, hashed) in _unwritten:
            spent.add(_unwritten[path, hashed])
    return spent


def hash_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def cost_of(model: str, tokens: Tokens, prices: Prices) -> Decimal | None:
    """Return an answer's cost in USD; None when a count or a price that matters is unknown."""
    price = _price_of(model, prices)
    if price is None or tokens.input is None or tokens.output is None:
        return None
    cached, written = tokens.cached or 0, tokens.cache_write or 0
    total = Decimal(0)
    for count, name in (
        (max(tokens.input - cached - written, 0), "input"),
        (cached, "cached_input"),
        (written, "cache_write"),
        (tokens.output, "output"),
    ):
        if not count:
            continue
        each = _decimal(price.get(name))
        if each is None:
            return None
        total += each * count / _MILLION
    return total


def write_counts(path: Path) -> None:
    """Write counts that are only in memory, as far as the database lets; never raises."""
    with _lock:
        for (where, hashed), more in list(_unwritten.items()):
            if where != path:
                continue
            try:
                _write(path, hashed, more)
            except (sqlite3.Error, OSError, ValueError):
                _forget_connection(path)
                return
            del _unwritten[where, hashed]


# In the order of Spent's fields.
_COUNTS = (
    "requests, tokens_input, tokens_cached, tokens_cache_write, tokens_output, cost_usd,"
    " unknown_usage, unknown_cost, refused"
)


def _write(path: Path, hashed: str, more: Spent) -> None:
    db = _connection(path)
    db.execute("BEGIN IMMEDIATE")
    try:
        row = db.execute(f"SELECT {_COUNTS} FROM door WHERE token_hash = ?", (hashed,)).fetchone()  # noqa: S608
        if row is not None:
            total = _spent_of(row)
            total.add(more)
            values = list(vars(total).values())
            values[5] = None if total.cost_usd is None else str(total.cost_usd)
            db.execute(
                "UPDATE door SET requests=?, tokens_input=?, tokens_cached=?, tokens_cache_write=?, tokens_output=?,"
                " cost_usd=?, unknown_usage=?, unknown_cost=?, refused=? WHERE token_hash=?",
                (*values, hashed),
            )
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _read(path: Path, hashed: str) -> tuple[Any, ...] | None:
    sql = f"SELECT spec, expires_at, closed_at, {_COUNTS} FROM door WHERE token_hash = ?"  # noqa: S608 - a constant
    try:
        return _connection(path).execute(sql, (hashed,)).fetchone()
    except sqlite3.Error:
        _forget_connection(path)
        return _connection(path).execute(sql, (hashed,)).fetchone()


def _connection(path: Path) -> sqlite3.Connection:
    """Return this process's connection, a new one when the file is another than the one that was opened."""
    inode = path.stat().st_ino if path.exists() else 0
    key = (os.getpid(), inode, path)
    if key not in _connections:
        _forget_connection(path)
        connection = connect(path, timeout_s=WRITE_WAIT_S)
        _connections[os.getpid(), path.stat().st_ino, path] = connection
        return connection
    return _connections[key]


def _forget_connection(path: Path) -> None:
    for key in [key for key in _connections if key[0] == os.getpid() and key[2] == path]:
        _connections.pop(key).close()


def _spent_of(row: tuple[Any, ...]) -> Spent:
    requests, read, cached, written, output, cost, *rest = row
    return Spent(requests, read, cached, written, output, None if cost is None else Decimal(cost), *rest)


def _spec_of(document: dict[str, Any]) -> DoorSpec:
    budget = document.get("cost_budget_usd")
    return DoorSpec(**{**document, "cost_budget_usd": None if budget is None else Decimal(budget)})


def _price_of(model: str, prices: Prices) -> Mapping[str, str | Decimal | None] | None:
    """Return the price of the longest pattern that fits: the most telling one."""
    if model in prices:
        return prices[model]
    fitting = [pattern for pattern in prices if fnmatchcase(model, pattern)]
    return prices[max(fitting, key=len)] if fitting else None


def _decimal(value: str | Decimal | float | None) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None
