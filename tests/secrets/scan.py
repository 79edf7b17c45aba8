"""Looks for a value everywhere that OneShot keeps anything: rows, the content store, databases, files."""

from __future__ import annotations

import base64
import re
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import zstandard
from django.db import connection

BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
PACKED = (b"\x28\xb5\x2f\xfd", b"\x78")  # zstandard, zlib


def places_of(value: str, data_dir: Path) -> list[str]:
    """Return where `value` stands, in words; [] when it is nowhere."""
    found = [f"row of {table}.{column}" for table, column, content in rows() if holds(content, value)]
    for path in sorted(data_dir.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        name = str(path.relative_to(data_dir))
        content = path.read_bytes()
        if content.startswith(b"SQLite format 3"):
            found += [f"{name}: {table}.{column}" for table, column, row in rows_of_sqlite(path) if holds(row, value)]
        if any(holds(part, value) for part in (content, *unpacked(content))):
            found.append(name)
    return found


def holds(content: bytes, value: str) -> bool:
    """Return whether the bytes hold the value, plain, in a URL, in base64, or packed in one of these."""
    raw = value.encode()
    if raw in content or quote(value, safe="").encode() in content:
        return True
    for match in BASE64.finditer(content):
        word = match[0].replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
        if raw in base64.b64decode(word + b"=" * (-len(word) % 4), validate=False) if len(word) % 4 != 1 else False:
            return True
    return any(raw in part for part in unpacked(content))


def unpacked(content: bytes) -> Iterator[bytes]:
    if content.startswith(PACKED[0]):
        with zstandard.ZstdDecompressor().stream_reader(content) as reader:
            yield reader.read()
    elif content.startswith(PACKED[1]):
        try:
            yield zlib.decompress(content)
        except zlib.error:
            return


def rows() -> Iterator[tuple[str, str, bytes]]:
    """Yield every value of every row of the database."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, field in zip(columns, row, strict=True):
                    yield table, column, as_bytes(field)


def rows_of_sqlite(path: Path) -> Iterator[tuple[str, str, bytes]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = db.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                for column, field in zip(columns, row, strict=True):
                    yield table, column, as_bytes(field)
    db.close()


def as_bytes(field: object) -> bytes:
    return bytes(field) if isinstance(field, bytes | memoryview) else str(field).encode("utf-8", "replace")
