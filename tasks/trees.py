"""What a commit holds, chosen by sub-directory and sparse patterns, and written as one archive.

The archive is the same byte for byte wherever it is made: sorted, no owner, fixed times, three modes.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from oneshot.errors import InfraError, TaskError
from tasks.gitcommand import Alive, clean_environment, git

MOST_FILES = 200_000
MOST_BYTES = 2_000_000_000
# 2000-01-01 UTC: any fixed time after 1980 will do, which zip files cannot be older than.
TIME = 946_684_800
NAMES = {"encoding": "utf-8", "errors": "surrogateescape"}


@dataclass(frozen=True)
class Entry:
    """One file, link or submodule of a tree. `path` keeps bytes that are no UTF-8 as surrogates."""

    path: str
    kind: str  # "file", "link" or "module"
    executable: bool = False
    blob: str = ""
    size: int = 0
    # Content that comes from elsewhere than the repository; None for a blob.
    data: bytes | None = None


def entries_of(git_dir: Path, commit: str, alive: Alive) -> list[Entry]:
    """Return everything in a commit's tree. Raises TaskError for a tree that cannot be laid out on a disk."""
    listed = git(["ls-tree", "-r", "-z", "--long", "--full-tree", commit], directory=git_dir, alive=alive)
    if not listed.ok:
        raise InfraError(f"The tree of {commit[:12]} cannot be read: {listed.stderr.strip()[-300:]}")
    entries = []
    for row in listed.stdout.split(b"\0"):
        if row:
            head, _, raw = row.partition(b"\t")
            mode, _, blob, size = head.decode().split()
            kind = {"120000": "link", "160000": "module"}.get(mode, "file")
            path = raw.decode("utf-8", "surrogateescape")
            entries.append(Entry(path, kind, mode == "100755", blob, int(size) if size != "-" else 0))
    return entries


def check(entries: Sequence[Entry]) -> None:
    """Raise TaskError for too many files or bytes, and for a path that leaves the tree or goes through a link."""
    total = sum(entry.size for entry in entries)
    if len(entries) > MOST_FILES or total > MOST_BYTES:
        raise TaskError(
            f"The base has {len(entries)} files and {total / 1e9:.2f} GB; at most {MOST_FILES} files "
            f"and {MOST_BYTES / 1e9:.0f} GB can be prepared. Name a part in repo.subdir or repo.sparse_checkout."
        )
    leaves = {entry.path for entry in entries}
    for entry in entries:
        parts = entry.path.split("/")
        if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in entry.path:
            raise TaskError(f"The repository holds the path {entry.path!r}, which no checkout may have.")
        if any("/".join(parts[:depth]) in leaves for depth in range(1, len(parts))):
            raise TaskError(f"The repository holds {entry.path!r} below something that is no directory.")


def below(entries: Sequence[Entry], subdir: str) -> list[Entry]:
    """Return what lies in `subdir`, with paths relative to it. Raises TaskError when nothing does."""
    prefix = subdir.strip("/") + "/"
    found = [replace(entry, path=entry.path[len(prefix) :]) for entry in entries if entry.path.startswith(prefix)]
    if not found:
        raise TaskError(f"The base has no directory {subdir!r}. Correct repo.subdir of the task.")
    return found


def sparse(entries: Sequence[Entry], patterns: Sequence[str]) -> list[Entry]:
    """Return what a sparse checkout with these patterns has, as git understands them.

    Plain directories mean what `git sparse-checkout set` makes of them: their files, those at the top, and those
    directly in the directories above them. Anything else is a list of patterns in the syntax of .gitignore.
    """
    if any(re.search(r"[*?\[\\!]", pattern) for pattern in patterns):
        rules = [rule for pattern in patterns if (rule := _rule(pattern))]
        found = [entry for entry in entries if _matched(entry.path, rules)]
    else:
        found = [entry for entry in entries if _in_cone(entry.path, [pattern.strip("/") for pattern in patterns])]
    if not found:
        raise TaskError(f"No file of the base fits repo.sparse_checkout ({', '.join(patterns)[:200]}).")
    return found


def without(entries: Sequence[Entry], patterns: Sequence[str]) -> list[Entry]:
    """Return what is left when the named paths are taken out: a plain path with all below it, from the top on;
    one with wildcards as in .gitignore."""
    anchored = [pattern if re.search(r"[*?\[]", pattern) else f"/{pattern.strip('/')}" for pattern in patterns]
    rules = [rule for pattern in anchored if (rule := _rule(pattern))]
    return [entry for entry in entries if not _matched(entry.path, rules)]


def _in_cone(path: str, directories: Sequence[str]) -> bool:
    parent = str(PurePosixPath(path).parent)
    if parent == ".":
        return True
    return any(
        not directory or path == directory or path.startswith(directory + "/") or directory.startswith(parent + "/")
        for directory in directories
    )


def _matched(path: str, rules: Sequence[tuple[re.Pattern[str], bool, bool]]) -> bool:
    """Return whether the last rule that fits the path, or else the nearest directory above it, takes it in."""
    is_directory = False
    while path and path != ".":
        for pattern, wanted, only_directories in reversed(rules):
            if (is_directory or not only_directories) and pattern.fullmatch(path):
                return wanted
        path, is_directory = path.rpartition("/")[0], True
    return False


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    """Read one line in the syntax of .gitignore as (pattern of whole paths, wanted, only for directories)."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    wanted = not line.startswith("!")
    line = line.removeprefix("!")
    only_directories = line.endswith("/")
    line = line.rstrip("/")
    anchored = "/" in line
    body = _translated(line.lstrip("/"))
    return re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL), wanted, only_directories


def _translated(glob: str) -> str:
    """Return a regular expression for git's wildcards: `*` and `?` stop at a slash, `**` does not."""
    out = ""
    while glob:
        if match := re.match(r"\*\*/", glob):
            out += "(?:.*/)?"
        elif match := re.match(r"/\*\*$", glob):
            out += "/.*"
        elif match := re.match(r"\*+", glob):
            out += "[^/]*"
        elif match := re.match(r"\?", glob):
            out += "[^/]"
        elif match := re.match(r"\[(!|\^)?(\]?[^\]]*)\]", glob):
            inside = match[2].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
            out += f"[{'^' if match[1] else ''}{inside}]"
        else:
            match = re.match(r"\\?(.)", glob, re.DOTALL)
            out += re.escape(match[1]) if match else ""
        glob = glob[match.end() if match else 1 :]
    return out


def write_archive(target: Path, entries: Sequence[Entry], git_dir: Path | None, alive: Alive) -> int:
    """Write the entries as one archive and return how many of them are pointers to files kept by Git LFS."""
    pointers = 0
    entries = sorted(entries, key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))
    blobs = [entry.blob for entry in entries if entry.data is None and entry.kind != "module"]
    with (
        target.open("wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, **NAMES) as archive,  # type: ignore[call-overload]
        _blob_contents(git_dir, blobs) as contents,
    ):
        for position, entry in enumerate(entries):
            if position % 500 == 0:
                alive()
            data = b"" if entry.kind == "module" else entry.data if entry.data is not None else next(contents)
            pointers += entry.kind == "file" and data.startswith(b"version https://git-lfs.github.com/spec/")
            _add(archive, entry, data)
    return pointers


def _add(archive: tarfile.TarFile, entry: Entry, data: bytes) -> None:
    member = tarfile.TarInfo(entry.path)
    member.mtime = TIME
    member.mode = 0o755 if entry.executable else 0o644
    if entry.kind == "link":
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = data.decode("utf-8", "surrogateescape")
        archive.addfile(member)
    elif entry.kind == "module":
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    else:
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


@contextmanager
def _blob_contents(git_dir: Path | None, blobs: Sequence[str]) -> Iterator[Iterator[bytes]]:
    """Give the contents of blobs in order. One git answers for all; its questions wait in a file, never in a pipe."""
    if git_dir is None or not blobs:
        yield iter(())
        return
    with TemporaryDirectory(prefix="oneshot-blobs-") as directory:
        questions = Path(directory) / "ids"
        questions.write_text("\n".join(blobs) + "\n", encoding="ascii")
        with questions.open("rb") as source:
            process = subprocess.Popen(
                ["git", f"--git-dir={git_dir}", "cat-file", "--batch", "--buffer"],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=clean_environment(),
                start_new_session=True,
            )
        try:
            yield _answers(process)
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def _answers(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    stream = process.stdout
    if stream is None:
        return
    while head := stream.readline().split():
        if len(head) != 3:
            raise InfraError(f"The mirror lacks the object {head[0].decode()}. Remove its directory and prepare again.")
        data = stream.read(int(head[2]))
        stream.read(1)
        yield data


@contextmanager
def open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive that `write_archive` made."""
    with tarfile.open(path, mode="r:", **NAMES) as archive:  # type: ignore[call-overload]
        yield archive


def unpack(path: Path, directory: Path) -> None:
    """Lay an archive out in an empty directory. Links are made as they are and never followed."""
    directory.mkdir(parents=True, exist_ok=True)
    with open_archive(path) as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            if member.name.startswith("/") or ".." in parts or ".git" in (part.lower() for part in parts):
                raise InfraError(f"The snapshot holds the path {member.name!r}; the content store was tampered with.")
            target = directory / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.issym():
                target.symlink_to(member.linkname)
            elif member.isdir():
                target.mkdir(exist_ok=True)
            else:
                _write(archive, member, target)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, member.mode)
    with os.fdopen(handle, "wb") as file:
        while source and (piece := source.read(1 << 20)):
            file.write(piece)
    target.chmod(member.mode)
    os.utime(target, (member.mtime, member.mtime))
