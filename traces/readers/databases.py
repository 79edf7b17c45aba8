"""Opens other programs' SQLite files for reading: never written, never waited for without end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from traces.readers.base import NotReadable

MAGIC = b"SQLite format 3\x00"
WAIT_S = 5.0


def header(path: Path) -> bytes:
    """Return the first 100 bytes of a file that is a SQLite database, else b""."""
    try:
        if path.is_symlink() or not path.is_file():
            return b""
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return b""
    return head if head.startswith(MAGIC) else b""


def application_id(path: Path) -> int:
    """Return what program a database says it belongs to; 0 for none, and for what is no database.

    The header may be older than what lies in the write-ahead log, so an empty one is asked through SQLite.
    """
    head = header(path)
    if not head:
        return 0
    if found := int.from_bytes(head[68:72], "big"):
        return found
    try:
        with opened(path) as connection:
            return int(connection.execute("PRAGMA application_id").fetchone()[0])
    except NotReadable:
        return 0


def tables(path: Path) -> set[str]:
    """Return the names of a database's tables; none for what cannot be read."""
    if not header(path):
        return set()
    try:
        with opened(path) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except NotReadable:
        return set()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading alone. Raises NotReadable, also for what goes wrong while it is read."""
    if not header(path):
        raise NotReadable("it is not a SQLite database.")
    try:
        with closing(_connect(path)) as connection:
            connection.execute("PRAGMA query_only = 1")
            yield connection
    except sqlite3.Error as error:
        locked = "locked" in str(error) or "busy" in str(error)
        said = "another program holds it locked; try again later." if locked else f"it cannot be read ({error})."
        raise NotReadable(said) from error


def _connect(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=WAIT_S)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        # A database that was in WAL mode cannot be opened where no file may be made beside it.
        if "unable to open" not in str(error) or Path(f"{path}-wal").exists():
            raise
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True, timeout=WAIT_S)
    return connection
