"""Makes and reads the tar archives in which files enter and leave a container."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from collections.abc import Iterable, Mapping

from runs.errors import InfraError
from runs.sandboxes.base import FileTooLarge


def relative_names(files: Iterable[str]) -> None:
    """Raise InfraError for a name that is absolute, empty, or leaves its directory."""
    for name in files:
        parts = name.split("/")
        if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise InfraError(f"{name!r} is not a plain relative file name, so it is not written into the sandbox.")


def parents_of(files: Iterable[str]) -> list[str]:
    """Return the directories above all `files`, each after the one that holds it."""
    found: set[str] = set()
    for name in files:
        while name := posixpath.dirname(name):
            found.add(name)
    return sorted(found)


def pack(files: Mapping[str, bytes], mode: int) -> bytes:
    """Return a tar archive of regular files."""
    buffer = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), mode, now
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class _Pieces(io.RawIOBase):
    """Reads from an iterator of bytes, and fails once more than `most` bytes have come."""

    def __init__(self, pieces: Iterable[bytes], most: int) -> None:
        self._pieces = iter(pieces)
        self._rest = b""
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left -= len(piece)
            if self._left < 0:
                raise FileTooLarge("The file grew while it was read.")
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def unpack_one(pieces: Iterable[bytes], path: str, max_bytes: int) -> bytes | None:
    """Return the one regular file of a tar stream, None for a link, a directory or a device. Raises FileTooLarge."""
    # Headers, padding and extended attributes of one file stay far below the allowance.
    source = io.BufferedReader(_Pieces(pieces, max_bytes + 1_000_000))
    with tarfile.open(fileobj=source, mode="r|") as archive:
        member = archive.next()
        if member is None or not member.isreg():
            return None
        if member.size > max_bytes:
            raise FileTooLarge(f"{path} in the sandbox has {member.size} bytes; at most {max_bytes} are read.")
        content = archive.extractfile(member)
        return content.read(max_bytes + 1) if content else None
