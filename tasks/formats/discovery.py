"""Finds task directories in what a person names: one, a folder of them, or an archive of either."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.formats.archives import SUFFIXES, ArchiveRefused, is_archive, unpack
from tasks.formats.base import recognise
from tasks.formats.files import LINK
from tasks.problems import Problem, shown

# data/tasks/created/<task> and data/tasks/prepared/<task> below one named folder.
MAX_LEVELS = 3
MAX_DIRECTORIES = 20_000
SKIPPED = {"node_modules", "codex-files", "__pycache__", "__MACOSX"}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A place that holds a task, or that should have: then `directory` is None and `problems` say why.

    `path` is for people. An archived one lies in a directory that is gone after the iteration's next step.
    """

    path: str
    directory: Path | None = None
    problems: list[Problem] = field(default_factory=list)
    archived: bool = False


def find_tasks(given: str | Path) -> Iterator[Candidate]:
    """Yield what is found at one path, in the order of names; at least one candidate, be it a refused one."""
    path, label = Path(given), str(given)
    if not path.exists():
        yield _refused(label, "There is nothing at this path. Check the spelling, and where you are.")
    elif path.is_dir():
        yield from _in_directory(path, label)
    elif is_archive(path):
        yield from _in_archive(path, label)
    elif path.name == "tb_meta.json":
        yield Candidate(path=str(path.parent), directory=path.parent)
    else:
        message = f"It is neither a directory nor an archive ({', '.join(SUFFIXES)}). Name a task's directory."
        yield _refused(label, message)


def _in_directory(path: Path, label: str) -> Iterator[Candidate]:
    if recognise(path):
        yield Candidate(path=label, directory=path)
        return
    found = False
    for candidate in _Folder(label).search(path, label, 1):
        found = True
        yield candidate
    if not found:
        message = "It holds no task: there is no tb_meta.json in it, nor in the folders below it."
        yield _refused(label, message)


class _Folder:
    """One search below a folder that is no task itself."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.visited = 0

    def search(self, folder: Path, label: str, level: int) -> Iterator[Candidate]:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            name = f"{label.rstrip('/')}/{shown(entry.name, 200)}"
            if entry.name.startswith(".") or entry.name in SKIPPED:
                continue
            if entry.is_symlink():
                if entry.is_dir() and recognise(entry):
                    yield Candidate(path=name, problems=[Problem("", "", shown(str(entry.readlink())), LINK)])
            elif entry.is_dir():
                yield from self._directory(entry, name, level)
            elif is_archive(entry):
                yield from _in_archive(entry, name)

    def _directory(self, entry: Path, name: str, level: int) -> Iterator[Candidate]:
        self.visited += 1
        if self.visited == MAX_DIRECTORIES:
            yield _refused(self.label, f"It holds more than {MAX_DIRECTORIES:,} folders. Name the tasks' own folder.")
        if self.visited >= MAX_DIRECTORIES:
            return
        if recognise(entry):
            yield Candidate(path=name, directory=entry)
        elif level < MAX_LEVELS:
            yield from self.search(entry, name, level + 1)


def _in_archive(archive: Path, label: str) -> Iterator[Candidate]:
    with tempfile.TemporaryDirectory(prefix="oneshot-import-") as name:
        # A task without an id is called after its directory, so that one is called after the archive.
        stem = next(archive.name[: -len(suffix)] for suffix in SUFFIXES if archive.name.lower().endswith(suffix))
        top = Path(name) / (stem or "archive")
        top.mkdir()
        try:
            left_out = unpack(archive, top)
        except ArchiveRefused as error:
            yield Candidate(path=label, problems=[error.problem])
            return
        reported: set[Problem] = set()
        for candidate in _in_directory(top, label):
            inside = "" if candidate.directory in (None, top) else f"{_relative(candidate.directory, top)}/"
            if candidate.directory is None and left_out:
                continue
            own = [problem for problem in left_out if problem.file.startswith(inside)]
            reported.update(own)
            problems = [Problem(p.file.removeprefix(inside), p.field, p.value, p.message) for p in own]
            yield Candidate(
                path=candidate.path,
                directory=candidate.directory,
                problems=[*candidate.problems, *problems],
                archived=True,
            )
        for problem in left_out:
            if problem not in reported and "/.git/" not in f"/{problem.file}/":
                yield Candidate(path=f"{label}/{shown(problem.file, 200)}", problems=[problem])


def _relative(directory: Path | None, top: Path) -> str:
    return directory.relative_to(top).as_posix() if directory else ""


def _refused(label: str, message: str) -> Candidate:
    return Candidate(path=label, problems=[Problem("", "", shown(label), message)])
