"""Unpacks zip and tar archives of tasks into a directory, against everything an archive can try.

Names that leave the directory, bombs and broken data refuse the whole archive. Links and devices are left out and
reported by their path, so that only the task they belong to is refused.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from tasks.patches import IN_GIT, unsafe_path
from tasks.problems import Problem, shown

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

MAX_ARCHIVE_BYTES = 256_000_000
MAX_MEMBERS = 50_000
MAX_MEMBER_BYTES = 64_000_000
MAX_TOTAL_BYTES = 512_000_000
# Text packs 5 to 20 times; what packs far better than this beyond the first megabytes is a bomb.
MAX_RATIO = 150
RATIO_FREE_BYTES = 16_000_000
MAX_DEPTH = 40
CHUNK = 1_000_000


class ArchiveRefused(Exception):
    """The archive as a whole cannot be used; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def is_archive(path: Path) -> bool:
    """Return whether the name is that of an archive that `unpack` reads."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, directory: Path) -> list[Problem]:
    """Unpack into an empty `directory`; return the members that were left out. Raises ArchiveRefused.

    Of permissions only "executable" is kept. On a refusal the directory may hold a part of the archive.
    """
    try:
        size = archive.stat().st_size
        if size > MAX_ARCHIVE_BYTES:
            message = f"It has {size:,} bytes; at most {MAX_ARCHIVE_BYTES:,} are read. Split it, or unpack it first."
            raise ArchiveRefused(Problem(archive.name, "", "", message))
        return _Unpacking(archive.name, size, directory).run(archive)
    except OSError as error:
        why = error.strerror or str(error)
        raise ArchiveRefused(Problem(archive.name, "", "", f"It could not be unpacked: {why}. Make it anew.")) from None
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        message = f"It is no archive that can be read: {str(error) or type(error).__name__}. Make it anew."
        raise ArchiveRefused(Problem(archive.name, "", "", message)) from None


class _Counted:
    """A stream of unpacked bytes that ends the reading when they become too many."""

    def __init__(self, unpacking: _Unpacking, source: IO[bytes]) -> None:
        self.unpacking = unpacking
        self.source = source

    def read(self, size: int) -> bytes:
        data = self.source.read(size)
        self.unpacking.count(len(data))
        return data


class _Unpacking:
    def __init__(self, name: str, packed_bytes: int, directory: Path) -> None:
        self.name = name
        self.packed_bytes = packed_bytes
        self.directory = directory
        self.seen: set[str] = set()
        self.members = 0
        self.total = 0
        self.left_out: list[Problem] = []

    def run(self, archive: Path) -> list[Problem]:
        if zipfile.is_zipfile(archive) and archive.name.lower().endswith(".zip"):
            self._zip(archive)
        else:
            self._tar(archive)
        return self.left_out

    def refuse(self, field: str, value: str, message: str) -> ArchiveRefused:
        return ArchiveRefused(Problem(self.name, shown(field), shown(value), message))

    def count(self, amount: int) -> None:
        """Add unpacked bytes. Raises ArchiveRefused at a bomb."""
        self.total += amount
        if self.total > MAX_TOTAL_BYTES:
            raise self.refuse("", "", f"It unpacks to more than {MAX_TOTAL_BYTES:,} bytes. Split it.")
        if self.total > RATIO_FREE_BYTES and self.total > MAX_RATIO * self.packed_bytes:
            message = f"It unpacks to more than {MAX_RATIO} times its size, as a bomb does. Unpack it and import that."
            raise self.refuse("", "", message)

    def _zip(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                path = self.admit(member.filename, member.is_dir())
                mode = member.external_attr >> 16
                if path is None or member.is_dir():
                    continue
                if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    self.leave_out(path, "link" if stat.S_ISLNK(mode) else "special file")
                elif member.flag_bits & 1:
                    raise self.refuse(path, "", "It is encrypted. Make the archive without a password.")
                elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise self.refuse(path, "", "It is packed in an unusual way. Make the archive with plain zip.")
                else:
                    with file.open(member) as source:
                        self.write(path, source, bool(mode & 0o100), counted=False)

    def _tar(self, archive: Path) -> None:
        with archive.open("rb") as packed:
            zipped = packed.read(2) == b"\x1f\x8b"
            packed.seek(0)
            plain: IO[bytes] = gzip.GzipFile(fileobj=packed) if zipped else packed  # type: ignore[assignment]
            # As a stream, so that what counts is every byte that is unpacked, headers too.
            with tarfile.open(fileobj=_Counted(self, plain), mode="r|") as file:  # type: ignore[call-overload]
                for member in file:
                    self._tar_member(file, member)

    def _tar_member(self, file: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self.admit(member.name, member.isdir())
        if path is None or member.isdir():
            return
        if member.issym() or member.islnk():
            self.leave_out(path, "link")
        elif not member.isreg() or member.sparse is not None:
            self.leave_out(path, "special file")
        elif source := file.extractfile(member):
            self.write(path, source, bool(member.mode & 0o100), counted=True)

    def admit(self, name: str, directory: bool) -> str | None:
        """Return the member's path with plain parts, or None when it is not written. Raises ArchiveRefused."""
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise self.refuse("", "", f"It holds more than {MAX_MEMBERS:,} members. Split it.")
        path = re.sub(r"^(\./)+", "", name)
        path = path.rstrip("/") if directory else path
        if path in ("", "."):
            return None
        why = "holds a backslash" if "\\" in path else unsafe_path(path)
        if why == IN_GIT:
            self.leave_out(path, "part of a .git directory")
            return None
        if why:
            raise self.refuse("member name", name, f"The name {why}. Make the archive from inside the folder of tasks.")
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            raise self.refuse("member name", name, "The name is not UTF-8. Rename the file.") from None
        if path.count("/") > MAX_DEPTH or len(path) > 1000:
            raise self.refuse("member name", name, "The path is too deep. Make the archive from the folder of tasks.")
        if path in self.seen and not directory:
            raise self.refuse("member name", name, "The name occurs twice, so its content is ambiguous.")
        self.seen.add(path)
        return path

    def leave_out(self, path: str, kind: str) -> None:
        message = f"It is a {kind}, which is never unpacked. Leave it out of the archive, or put a plain file there."
        self.left_out.append(Problem(path, "", "", message))

    def write(self, path: str, source: IO[bytes], program: bool, *, counted: bool) -> None:
        """Write one member chunk by chunk. Everything above it was made by us, so no link can be in its way."""
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > MAX_MEMBER_BYTES:
                    raise self.refuse(path, "", f"It unpacks to more than {MAX_MEMBER_BYTES:,} bytes.")
                if not counted:
                    self.count(len(chunk))
                file.write(chunk)
        target.chmod(0o700 if program else 0o600)
