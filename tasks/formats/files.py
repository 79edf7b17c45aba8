"""Reads the files of a task's directory without ever leaving it: no link is followed, every size is bounded."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from tasks.problems import Problem, shown

MAX_TEXT_BYTES = 2_000_000
MAX_JSON_BYTES = 64_000_000
MAX_FILE_BYTES = 64_000_000
MAX_TREE_FILES = 20_000
MAX_TREE_BYTES = 256_000_000

# Left by editors, file managers and interpreters; never part of a task.
LITTER = {".DS_Store", "Thumbs.db", "__pycache__"}


class Unreadable(Exception):
    """A file cannot be used; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class TaskFiles:
    """The files below one directory, by their relative paths with forward slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def kind(self, path: str) -> str:
        """Return "file", "directory", "other" (a link, a device …), or "" when nothing is there."""
        try:
            mode = (self.root / path).lstat().st_mode
        except (OSError, ValueError):
            return ""
        return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"

    def has(self, path: str) -> bool:
        """Return whether anything is at this path, a link too."""
        return bool(self.kind(path))

    def read(self, path: str, *, most: int = MAX_FILE_BYTES) -> bytes:
        """Return a regular file's bytes. Raises Unreadable for a link at any step, a special file, or a large one."""
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            part = "/".join(parts[:end])
            if (self.root / part).is_symlink():
                raise Unreadable(Problem(path, "", _target(self.root / part), LINK))
        try:
            # A pipe would block without O_NONBLOCK; O_NOFOLLOW closes the gap between the check and the opening.
            handle = os.open(self.root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise Unreadable(Problem(path, "", "", f"It cannot be read: {error.strerror}.")) from None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Unreadable(Problem(path, "", "", "It is no regular file. Put the file itself there."))
            data = file.read(most + 1)
        if len(data) > most:
            message = f"It is larger than {most:,} bytes, the most that is read. Leave generated content out of it."
            raise Unreadable(Problem(path, "", "", message))
        return data

    def read_text(self, path: str, *, most: int = MAX_TEXT_BYTES) -> str:
        """Return a text file with its line ends as \\n and without a byte order mark. Raises Unreadable."""
        return decode_text(path, self.read(path, most=most))

    def read_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object in a file. Raises Unreadable with line and column of the first fault."""
        text = self.read_text(path, most=MAX_JSON_BYTES)
        try:
            document = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            here = text[max(0, error.pos - 10) : error.pos + 20]
            raise Unreadable(Problem(path, place, shown(here), f"It is no JSON: {error.msg}.")) from None
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise Unreadable(Problem(path, "", "", f"It is no JSON that can be read: {why}.")) from None
        if not isinstance(document, dict):
            message = f'It holds a {_json_kind(document)}, not an object. Write {{"task_id": …}}.'
            raise Unreadable(Problem(path, "", shown(document), message))
        return document

    def walk(self, path: str) -> list[str]:
        """Return the files below a directory, relative to it, in order. Links are listed, so that reading refuses
        them. Raises Unreadable when there are too many, or a name is no text."""
        found: list[str] = []
        pending = [path]
        while pending:
            directory = pending.pop()
            for entry in sorted(os.scandir(self.root / directory), key=lambda entry: entry.name):
                name = f"{directory}/{entry.name}"
                if entry.name in LITTER and not entry.is_symlink():
                    continue
                if not entry.name.isprintable():
                    raise Unreadable(Problem(shown(name), "", "", "Its name is no plain UTF-8 text. Rename it."))
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)
                else:
                    found.append(name[len(path) + 1 :])
                if len(found) + len(pending) > MAX_TREE_FILES:
                    message = f"It holds more than {MAX_TREE_FILES:,} files. Put generated ones into the set-up."
                    raise Unreadable(Problem(path, "", "", message))
        return sorted(found)

    def is_program(self, path: str) -> bool:
        """Return whether its owner may execute it."""
        return bool((self.root / path).lstat().st_mode & stat.S_IXUSR)


LINK = "It is a symbolic link, which could lead out of the task. Put the file itself there."


def decode_text(path: str, data: bytes) -> str:
    """Return UTF-8 text with line ends as \\n and no byte order mark. Raises Unreadable for anything else."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(Problem(path, "", "", "It is UTF-16. Save it as UTF-8."))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise Unreadable(Problem(path, f"line {line}", byte, "It is not UTF-8. Save it as UTF-8.")) from None
    if "\0" in text:
        raise Unreadable(Problem(path, "", "", "It holds a NUL character, so it is no text."))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _target(link: Path) -> str:
    try:
        return shown(f"-> {link.readlink()}")
    except OSError:
        return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _json_kind(value: object) -> str:
    kinds = {list: "list", str: "text", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")
