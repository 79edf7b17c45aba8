"""Reads files of one JSON object per line while they may still be written: plain, gzip or zstd.

A last line that is cut waits for the next read. A line above LINE_LIMIT is told and left out, so that memory stays
bounded whatever a file holds.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from traces.readers import values
from traces.readers.base import NotReadable

LINE_LIMIT = 16 * 1024 * 1024
# Unpacked; more is a trap rather than a transcript.
PACKED_LIMIT = 4 * 1024 * 1024 * 1024
_MARK_BYTES = 512
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line at a byte offset of the (unpacked) file. `document` is None when `fault` says why there is none."""

    number: int
    offset: int
    document: dict[str, Any] | None
    fault: str = ""
    too_long: bool = False


def is_lines(path: Path) -> bool:
    """Return whether the file's name is that of JSON lines."""
    return path.name.endswith(SUFFIXES)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked. Raises NotReadable. A symbolic link is not followed."""
    try:
        # NONBLOCK, so that a pipe in the way is no place to wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise NotReadable(f"it cannot be opened ({getattr(error, 'strerror', None) or error}).") from error
    with os.fdopen(handle, "rb") as raw:
        try:
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(IO[bytes], unpacked)
            elif path.name.endswith(".zst"):
                stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
                with io.BufferedReader(cast(io.RawIOBase, stream), 1 << 18) as buffered:
                    yield buffered
            else:
                yield raw
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise NotReadable(f"it breaks off or is damaged ({error}).") from error


def unchanged(path: Path, position: dict[str, Any]) -> bool:
    """Return whether the file is still as it was when it was read to its end."""
    try:
        found = path.stat()
    except OSError:
        return False
    return position.get("stat") == [found.st_size, found.st_mtime_ns, found.st_ino]


def stat_of(path: Path) -> list[int]:
    """Return what tells whether a file has changed. Raises NotReadable when it has gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise NotReadable(f"it cannot be read ({error.strerror}).") from error
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def read_lines(path: Path, position: dict[str, Any]) -> Iterator[Line]:
    """Yield the lines since `position`, and keep it up to date as they are taken: offset, lines, mark.

    A file that is another than it was (shorter, or with another beginning) is read from its start.
    """
    _mark(path, position)
    offset, number = int(position.get("offset", 0)), int(position.get("lines", 0))
    with opened(path) as file:
        if not _forward(file, offset):
            position.clear()
            yield from read_lines(path, position)
            return
        while raw := file.readline(LINE_LIMIT + 1):
            start, length, line = offset, len(raw), None
            if len(raw) > LINE_LIMIT and raw[-1:] != b"\n":
                rest = _skip_line(file)
                if rest is None:
                    return
                length += rest
                line = Line(number=number + 1, offset=start, document=None, fault=_size(length), too_long=True)
            elif raw.strip():
                line = _line(raw, number + 1, start)
                if line.document is None and not raw.endswith(b"\n"):
                    return
            offset += length
            if offset > PACKED_LIMIT:
                raise NotReadable("it holds more than 4 GB; only the beginning was read.")
            # A line whose end is yet to come counts only once: what then comes first is its line feed.
            number += 1 if line or raw != b"\n" else 0
            position.update(offset=offset, lines=number)
            if line:
                yield line


def _line(raw: bytes, number: int, offset: int) -> Line:
    try:
        document = values.parsed(raw)
    except ValueError as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return Line(number=number, offset=offset, document=None, fault=f"is not JSON ({said[:100]})")
    if not isinstance(document, dict):
        return Line(number=number, offset=offset, document=None, fault="is JSON, but no object")
    return Line(number=number, offset=offset, document=document)


def _mark(path: Path, position: dict[str, Any]) -> None:
    """Forget the position when the file's beginning is another than it was; keep what the beginning is."""
    with opened(path) as file:
        head = file.read(_MARK_BYTES)
    size, known = position.get("mark") or [0, _hash(b"")]
    if len(head) < size or _hash(head[:size]) != known:
        position.clear()
    position["mark"] = [len(head), _hash(head)]


def _forward(file: IO[bytes], offset: int) -> bool:
    """Go on to where the last read ended; False when the file ends before."""
    if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
        file.seek(offset)
        return os.fstat(file.fileno()).st_size >= offset
    while offset and (data := file.read(min(offset, 1 << 20))):
        offset -= len(data)
    return not offset


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _skip_line(file: IO[bytes]) -> int | None:
    """Pass over the rest of a line; return its length, or None when its end is not written yet."""
    length = 0
    while piece := file.readline(1 << 20):
        length += len(piece)
        if piece.endswith(b"\n"):
            return length
    return None


def _size(length: int) -> str:
    megabytes, most = length / 1024 / 1024, LINE_LIMIT // 1024 // 1024
    return f"has {megabytes:.0f} MB, more than the {most} MB that are read, and was left out"
