"""The proxy database: one SQLite file that gateways and workers write at once and the import reads meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

VERSION = 1
# "OneS", so that `file` and we know the file for ours.
APPLICATION_ID = 0x4F6E6553

EXCHANGE_COLUMNS = (
    *("id", "door", "run", "session", "turn", "agent", "client", "provider", "method", "url", "status", "model"),
    *("t_start", "t_first", "t_end", "request_headers", "response_headers", "request_head", "request_messages"),
    *("request_bytes", "request_wire_bytes", "response_body", "response_bytes", "response_id", "request_id"),
    *("stop_reason", "usage", "tokens_input", "tokens_cached", "tokens_cache_write", "tokens_output"),
    *("tokens_reasoning", "events", "truncated", "error", "details"),
)

# Times are seconds since 1970. Bodies are zlib-compressed. A token count of NULL is unknown.
SCHEMA = """
CREATE TABLE IF NOT EXISTS exchange(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  door TEXT NOT NULL,                  -- forward, reverse, run
  run TEXT NOT NULL DEFAULT '',        -- id of the run, '' for a person's session
  session TEXT NOT NULL DEFAULT '',    -- the agent's thread id
  turn TEXT NOT NULL DEFAULT '',
  agent TEXT NOT NULL DEFAULT '',      -- codex, claude_code, ''
  client TEXT NOT NULL DEFAULT '',     -- user agent
  provider TEXT NOT NULL DEFAULT '',
  method TEXT NOT NULL,                -- WS for one turn over a WebSocket
  url TEXT NOT NULL,                   -- without its query
  status INTEGER,                      -- NULL when there was no HTTP answer
  model TEXT NOT NULL DEFAULT '',
  t_start REAL NOT NULL, t_first REAL, t_end REAL,
  request_headers TEXT NOT NULL DEFAULT '[]',   -- JSON [[name, value]] of an allow-list
  response_headers TEXT NOT NULL DEFAULT '[]',
  request_head BLOB,                   -- JSON of the body without its messages; {"_raw": text} when it is no JSON
  request_messages TEXT NOT NULL DEFAULT '[]',  -- JSON list of hashes in message, in order
  request_bytes INTEGER, request_wire_bytes INTEGER,
  response_body BLOB,                  -- text as decoded and redacted; runs of deltas of a stream are joined to one
  response_bytes INTEGER,
  response_id TEXT NOT NULL DEFAULT '', request_id TEXT NOT NULL DEFAULT '', stop_reason TEXT NOT NULL DEFAULT '',
  usage TEXT,                          -- JSON as the service said it
  tokens_input INTEGER,                -- with those read from the cache and written to it
  tokens_cached INTEGER, tokens_cache_write INTEGER,
  tokens_output INTEGER,               -- with those of reasoning
  tokens_reasoning INTEGER,
  events INTEGER NOT NULL DEFAULT 0,
  truncated INTEGER NOT NULL DEFAULT 0,  -- 1: response_body holds only the first part
  error TEXT NOT NULL DEFAULT '',
  details TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS exchange_session ON exchange(session, seq);
CREATE INDEX IF NOT EXISTS exchange_run ON exchange(run, seq) WHERE run <> '';
CREATE TABLE IF NOT EXISTS message(hash TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  t_from REAL NOT NULL, t_to REAL NOT NULL,
  session TEXT NOT NULL DEFAULT '',    -- '' when it is not known whose
  reason TEXT NOT NULL,
  count INTEGER NOT NULL DEFAULT 0     -- exchanges that were not kept; 0 when nobody knows how many
);
CREATE TABLE IF NOT EXISTS door(
  token_hash TEXT PRIMARY KEY,
  run TEXT NOT NULL,
  spec TEXT NOT NULL,
  opened_at REAL NOT NULL, expires_at REAL NOT NULL, closed_at REAL,
  requests INTEGER NOT NULL DEFAULT 0,
  tokens_input INTEGER, tokens_cached INTEGER, tokens_cache_write INTEGER, tokens_output INTEGER,
  cost_usd TEXT,
  unknown_usage INTEGER NOT NULL DEFAULT 0,   -- answers that did not say their tokens
  unknown_cost INTEGER NOT NULL DEFAULT 0,    -- answers whose cost cannot be known
  refused INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS state(key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class NotOurs(ValueError):
    """The file is a database, but none that this version can use; the message says why and what to do."""


def connect(path: Path, *, timeout_s: float = 20.0) -> sqlite3.Connection:
    """Open the proxy database for writing, making it when it is not there. The caller closes it.

    Raises NotOurs for another program's or a newer version's file, and sqlite3.Error or OSError otherwise.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path, *, timeout_s: float = 20.0) -> sqlite3.Connection:
    """Open the proxy database for reading alone. Raises as `connect`; a missing file is sqlite3.OperationalError."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout_s)
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the tables are there."""
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if application == 0 and version == 0:
        [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            return False
    if application != APPLICATION_ID:
        raise NotOurs(f"{path} is another program's database, not the gateway's. Move it away.")
    if version > VERSION:
        raise NotOurs(f"{path} was written by a newer OneShot (format {version}, here {VERSION}). Update this one.")
    return True


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    known = _check(connection, path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA journal_size_limit=67108864")
    if not known:
        # One transaction: another process that makes the same file meets all of it or nothing.
        connection.executescript(
            f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={VERSION};COMMIT;"
        )


def installation_of(database: Path) -> str:
    """Return what tells the gateway of one data directory from that of another on the same port."""
    return hashlib.sha256(str(database.resolve()).encode()).hexdigest()[:12]
