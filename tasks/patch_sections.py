"""Finds the file sections of a patch by git's own rules: header lines, hunk counts, base85 blocks.

A line that only looks like a header inside a hunk is content. Nothing here raises for bad bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
ESCAPE = re.compile(rb'\\([0-7]{3}|[abtnvfr"\\])')
ESCAPED = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


@dataclass(kw_only=True)
class FilePatch:
    """One file's section of a patch: `data[start:end]`. Paths are relative to the repository.

    `old_path` is None for a new file, `new_path` for a deleted one. Modes are git's ("100644") or "" where the
    patch does not say. A stub says that a binary file differs, but its content is lost.
    """

    start: int
    end: int = 0
    old_path: str | None = None
    new_path: str | None = None
    change: str = "modify"  # add, delete, rename, copy
    old_mode: str = ""
    new_mode: str = ""
    binary: bool = False
    stub: bool = False
    added: int = 0
    removed: int = 0
    faults: list[str] = field(default_factory=list)

    def named_paths(self) -> list[str]:
        """Return every path that the section names, the source of a copy too."""
        return list(dict.fromkeys(path for path in (self.old_path, self.new_path) if path is not None))

    def touched_paths(self) -> list[str]:
        """Return the paths that change when it is applied."""
        if self.change == "copy":
            return [self.new_path] if self.new_path is not None else []
        return self.named_paths()


def parse(data: bytes) -> list[FilePatch]:
    """Return the file sections of a patch in order; of every message, when it is a mailbox."""
    return Scanner(data).sections()


def _decoded(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _unquoted(text: bytes) -> tuple[bytes, bytes] | None:
    """Read a C-quoted name at the start of `text`; return (name, what follows), or None when it is not closed."""
    match = re.match(rb'"((?:[^"\\]|\\.)*)"', text)
    if not match:
        return None

    def replace(escape: re.Match[bytes]) -> bytes:
        code = escape.group(1)
        return bytes([int(code, 8) & 255]) if code[:1].isdigit() else ESCAPED.get(code, code)

    return ESCAPE.sub(replace, match.group(1)), text[match.end() :]


def _name(text: bytes) -> bytes:
    """Return the name on a header line, where a tab ends an unquoted one (git adds it after names with spaces)."""
    if text.startswith(b'"') and (quoted := _unquoted(text)):
        return quoted[0]
    return text.split(b"\t", 1)[0]


def _without_prefix(name: bytes) -> bytes | None:
    """Drop the first part ("a/"), as `git apply -p1` does; None when there is none."""
    head, slash, rest = name.partition(b"/")
    return rest if slash and (head or rest) else None


def _names_of_header(text: bytes) -> tuple[bytes, bytes] | None:
    """Split what follows "diff --git " into its two names, prefixes kept; None when it cannot be told."""
    if text.startswith(b'"'):
        quoted = _unquoted(text)
        if quoted is None or not quoted[1].startswith(b" "):
            return None
        return quoted[0], _name(quoted[1][1:])
    if text.endswith(b'"') and (at := text.find(b' "')) > 0:
        second = _unquoted(text[at + 1 :])
        return (text[:at], second[0]) if second else None
    half = len(text) // 2
    candidates = [half, *(i for i in range(len(text)) if i != half)] if len(text) < 5000 else [half]
    for i in candidates:
        if text[i : i + 1] == b" ":
            first, second_name = text[:i], text[i + 1 :]
            stripped = _without_prefix(first)
            if stripped is not None and stripped == _without_prefix(second_name):
                return first, second_name
    first, _, second_name = text.partition(b" ")
    return (first, second_name) if first == second_name else None


class Scanner:
    """Walks over a patch line by line. Offsets are those of the whole data."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def sections(self) -> list[FilePatch]:
        return list(self._sections())

    def _sections(self) -> Iterator[FilePatch]:
        while self.at < len(self.data):
            if self._starts(b"diff --git "):
                yield self._git_section()
            elif self._starts(b"--- ") and self._is_plain_header():
                yield self._plain_section()
            else:
                # Text between sections (mail headers, messages, "Only in …") is skipped, as git does.
                self._next()

    def _starts(self, prefix: bytes | tuple[bytes, ...]) -> bool:
        return self.data.startswith(prefix, self.at)

    def _peek(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        return self.data[self.at : end if end >= 0 else len(self.data)]

    def _next(self) -> bytes:
        line = self._peek()
        self.at = min(self.at + len(line) + 1, len(self.data))
        return line

    def _is_plain_header(self) -> bool:
        """Whether this line, the next and the one after it are `---`, `+++` and a hunk."""
        start = self.at
        self._next()
        second = self._next()
        third = self._peek()
        self.at = start
        return second.startswith(b"+++ ") and bool(HUNK.match(third))

    def _plain_section(self) -> FilePatch:
        section = FilePatch(start=self.at)
        self._file_lines(section, header=None)
        self._hunks(section)
        section.end = self.at
        return section

    def _git_section(self) -> FilePatch:
        section = FilePatch(start=self.at)
        header = _names_of_header(self._next()[len(b"diff --git ") :])
        moved = self._extended_headers(section)
        if moved:
            section.old_path, section.new_path = moved
        elif header:
            self._names_from_header(section, header)
        if self._starts(b"--- "):
            self._file_lines(section, header=(section.old_path, section.new_path) if moved or header else None)
            self._hunks(section)
        elif self._starts(b"GIT binary patch"):
            section.binary = True
            self._binary_blocks()
        elif self._starts((b"Binary files ", b"Files ")) and self._peek().endswith(b" differ"):
            section.binary = section.stub = True
            self._next()
        if section.old_path is None and section.new_path is None:
            section.faults.append("Its header names no file that can be read. Write the diff anew with `git diff`.")
        section.end = self.at
        return section

    def _names_from_header(self, section: FilePatch, header: tuple[bytes, bytes]) -> None:
        first, second = header
        if first == second and not first.startswith((b"a/", b"b/")):
            section.faults.append("It was made with --no-prefix. Write it with `git -c diff.noprefix=false diff`.")
        old, new = _without_prefix(first), _without_prefix(second)
        section.old_path = None if section.change == "add" or old is None else _decoded(old)
        section.new_path = None if section.change == "delete" or new is None else _decoded(new)

    def _extended_headers(self, section: FilePatch) -> tuple[str, str] | None:
        """Read mode, rename and copy lines; return the two paths of a rename or copy."""
        names: dict[bytes, str] = {}
        while True:
            line = self._peek()
            if match := re.match(rb"(old|new|deleted file|new file) mode (\d{6})$", line):
                self._mode(section, match.group(1), match.group(2).decode())
            elif match := re.match(rb"(rename|copy) (from|to) (.+)$", line, re.DOTALL):
                section.change = match.group(1).decode()
                text = match.group(3)
                quoted = _unquoted(text) if text.startswith(b'"') else None
                names[match.group(2)] = _decoded(quoted[0] if quoted else text)
            elif match := re.match(rb"index [0-9a-f]+\.\.[0-9a-f]+(?: (\d{6}))?$", line):
                if match.group(1):
                    section.old_mode = section.new_mode = match.group(1).decode()
            elif not re.match(rb"(dis)?similarity index \d+%$", line):
                break
            self._next()
        return (names[b"from"], names[b"to"]) if len(names) == 2 else None

    @staticmethod
    def _mode(section: FilePatch, which: bytes, mode: str) -> None:
        if which in (b"old", b"deleted file"):
            section.old_mode = mode
        else:
            section.new_mode = mode
        if which == b"new file":
            section.change = "add"
        elif which == b"deleted file":
            section.change = "delete"

    def _file_lines(self, section: FilePatch, header: tuple[str | None, str | None] | None) -> None:
        """Read `---` and `+++`. They name the file where the header did not, and must agree with it where it did."""
        old = _name(self._next()[4:])
        if not self._starts(b"+++ "):
            section.faults.append("Its +++ line is missing. Write the diff anew with `git diff`.")
            return
        new = _name(self._next()[4:])
        if header is None:
            stripped = [None if name == b"/dev/null" else _without_prefix(name) for name in (old, new)]
            section.old_path, section.new_path = (None if name is None else _decoded(name) for name in stripped)
            section.change = "add" if old == b"/dev/null" else "delete" if new == b"/dev/null" else "modify"
            if section.change == "add":
                section.new_mode = section.new_mode or "100644"
            if section.old_path is None and section.new_path is None:
                section.faults.append('Its names lack the prefixes "a/" and "b/". Write it with `git diff`.')
            return
        for name, expected in zip((old, new), header, strict=True):
            stripped_name = None if name == b"/dev/null" else _decoded(_without_prefix(name) or name)
            if stripped_name != expected:
                section.faults.append("Its header lines name different files. Write the diff anew with `git diff`.")
                return

    def _hunks(self, section: FilePatch) -> None:
        found = False
        while match := HUNK.match(self._peek()):
            found = True
            self._next()
            old, new = (int(count) if count is not None else 1 for count in match.groups())
            if not self._hunk_lines(section, old, new):
                section.faults.append("A hunk ends before its line counts are reached: the diff was cut or edited.")
                return
        if not found:
            section.faults.append("It has file names but no hunk: the diff was cut or edited.")

    def _hunk_lines(self, section: FilePatch, old: int, new: int) -> bool:
        """Consume a hunk's lines by its counts; False when the data does not hold them."""
        while old > 0 or new > 0:
            if self.at >= len(self.data):
                return False
            mark = self.data[self.at : self.at + 1]
            if mark == b"+" and new > 0:
                new -= 1
                section.added += 1
            elif mark == b"-" and old > 0:
                old -= 1
                section.removed += 1
            elif mark in (b" ", b"\n") and old > 0 and new > 0:
                old, new = old - 1, new - 1
            elif mark != b"\\":
                return False
            self._next()
        if self._starts(b"\\ "):
            self._next()
        return True

    def _binary_blocks(self) -> None:
        """Consume `literal` and `delta` blocks; each is closed by an empty line."""
        self._next()
        while self._starts(b"literal ") or self._starts(b"delta "):
            self._next()
            while self.at < len(self.data) and self._peek():
                self._next()
            self._next()
