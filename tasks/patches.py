"""Reads patches as git writes them, without applying them: which files they touch, and whether they are safe.

Parsing goes by git's own rules (header lines, hunk counts, base85 blocks), so a line that only looks like a header
inside a hunk is content. All input is hostile: nothing here raises for bad bytes, and nothing touches the disk.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tasks.problems import Problem, shown

MAX_PATCH_BYTES = 64_000_000
MAX_ADDED_FILE_BYTES = 16_000_000
MOST_PROBLEMS = 20

SYMLINK_MODE = "120000"
SUBMODULE_MODE = "160000"

HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
MESSAGE_START = re.compile(rb"^From [0-9a-f]{40,64} \w{3} \w{3} .*$", re.MULTILINE)
ENCODING = re.compile(rb"^content-transfer-encoding:\s*(quoted-printable|base64)\s*$", re.MULTILINE | re.IGNORECASE)
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
    return _Scanner(data).sections()


def touched_paths(data: bytes) -> list[str]:
    """Return the repository-relative paths that the patch changes: both of a rename, the new one of a copy."""
    return list(dict.fromkeys(path for section in parse(readable(data)) for path in section.touched_paths()))


def line_counts(data: bytes) -> tuple[int, int]:
    """Return (lines added, lines removed), binary files left out; of a mailbox, summed over its messages."""
    sections = parse(readable(data))
    return sum(section.added for section in sections), sum(section.removed for section in sections)


def strip_paths(diff: bytes, drop: Callable[[str], bool]) -> bytes:
    """Return the patch without the file sections that touch a path for which `drop` holds.

    A rename goes as a whole when either of its paths is dropped. Bytes between sections stay as they are.
    """
    diff = readable(diff)
    kept, position = [], 0
    for section in parse(diff):
        kept.append(diff[position : section.start])
        if not any(drop(path) for path in section.touched_paths()):
            kept.append(diff[section.start : section.end])
        position = section.end
    return b"".join([*kept, diff[position:]])


def is_mailbox(data: bytes) -> bool:
    """Return whether this is a series as `git format-patch --stdout` writes it, rather than one diff."""
    return bool(MESSAGE_START.match(data.lstrip()))


def mailbox_diffs(data: bytes) -> list[bytes]:
    """Return the plain diffs of a mailbox, in the order in which `git apply` takes them; of one diff, itself.

    Messages without a diff are left out, and so are binary files whose content is lost: git would refuse the whole
    diff for their sake.
    """
    if not is_mailbox(data):
        bodies = [data]
    else:
        bodies = [message.partition(b"\n\n")[2] for message in map(_decoded_message, _messages(data))]
    diffs = []
    for body in bodies:
        sections = parse(body)
        kept = [body[section.start : section.end] for section in sections if not section.stub]
        whole = body is data and len(kept) == len(sections)
        diffs.append(body if whole else b"".join(kept))
    return [diff for diff in diffs if diff.strip()]


def readable(data: bytes) -> bytes:
    """Return the patch as it can be scanned: a mailbox that a mail program encoded is decoded, all else is `data`."""
    if not is_mailbox(data) or not ENCODING.search(data):
        return data
    return b"".join(map(_decoded_message, _messages(data)))


NEWLINE = b"\n"
IN_GIT = "lies in .git"


def unsafe_path(path: str) -> str:
    """Return why this relative path must not be written below a repository, or "" when it may be."""
    if not path:
        return "is empty"
    if "\0" in path or "\n" in path or "\r" in path:
        return "holds a control character"
    if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    for part in re.split(r"[/\\]", path):
        if part == "..":
            return "leaves the repository"
        if part in ("", "."):
            return "has an empty part or a single dot"
        # As git does: file systems that ignore case, trailing dots or short names would all end in .git.
        if part.lower().split(":")[0].rstrip(" .") in (".git", "git~1"):
            return IN_GIT
    return ""


def check_patch(data: bytes, *, file: str = "diff.patch") -> list[Problem]:
    """Return what keeps this patch from being used; [] for a good one and for an empty one."""
    if whole := _fault_of_bytes(data):
        return [Problem(file, "", "", whole)]
    data = readable(data)
    sections = parse(data)
    if not sections and data.strip():
        return [Problem(file, "", shown(data[:80].decode("utf-8", "replace")), NO_SECTIONS)]
    problems: list[Problem] = []
    for section in sections:
        name = section.new_path or section.old_path or ""
        found = [(name, fault) for fault in section.faults]
        for path in section.named_paths():
            if why := unsafe_path(path):
                found.append((path, f"The path {why}. Make the diff inside the repository with `git diff --binary`."))
        if found:
            line = f"line {data.count(NEWLINE, 0, section.start) + 1}"
            problems += [Problem(file, line, shown(value), message) for value, message in found]
        if len(problems) >= MOST_PROBLEMS:
            break
    return problems


def patch_notes(data: bytes, *, file: str = "diff.patch") -> list[Problem]:
    """Return what a reader should know about a usable patch: contents that it names but does not carry."""
    notes = []
    for section in parse(readable(data)):
        path = shown(section.new_path or section.old_path or "")
        if section.stub:
            message = f"Its content is lost: the reference cannot restore {path}. Make the diff with --binary."
            notes.append(Problem(file, path, "", message))
        elif SUBMODULE_MODE in (section.old_mode, section.new_mode):
            message = f"{path} is a submodule: only its commit id is in the diff, not its files."
            notes.append(Problem(file, path, "", message))
    return notes[:MOST_PROBLEMS]


def added_content(data: bytes, section: FilePatch) -> bytes | None:
    """Return the whole content of a regular file that `section` of `data` adds.

    None when it adds none, when it is a link or submodule, when the content is lost, or is over 16 MB.
    """
    if section.change != "add" or section.stub or section.faults or not section.new_mode.startswith("100"):
        return None
    lines = data[section.start : section.end].split(b"\n")
    if section.binary:
        return _binary_literal(lines)
    content: list[bytes] = []
    in_hunk = False
    for line in lines:
        in_hunk = in_hunk or bool(HUNK.match(line))
        if in_hunk and line.startswith(b"+"):
            content.append(line[1:] + b"\n")
        elif in_hunk and line.startswith(b"\\") and content:
            content[-1] = content[-1][:-1]
    whole = b"".join(content)
    return whole if len(whole) <= MAX_ADDED_FILE_BYTES else None


NO_SECTIONS = "It holds no change that git could apply. Write it with `git diff --binary BASE..END`."


def _fault_of_bytes(data: bytes) -> str:
    """Tell what makes the whole file unreadable, before any parsing."""
    if len(data) > MAX_PATCH_BYTES:
        return f"It has {len(data):,} bytes; at most {MAX_PATCH_BYTES:,} are read. Leave generated files out of it."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "It is UTF-16, as PowerShell's > writes. Write it with `git diff --binary --output=diff.patch`."
    if data.startswith(b"\xef\xbb\xbf"):
        return "It starts with a byte order mark, which hides its first file from git. Save it without."
    if re.match(rb"[^\n]*\r\n", data) and re.search(rb"^diff --git [^\n]*\r$", data, re.MULTILINE):
        return "Its header lines end in CRLF, which git does not apply. Write it with `git diff --output=diff.patch`."
    if re.search(rb"^diff --(cc|combined) ", data, re.MULTILINE):
        return "It is the combined diff of a merge, which cannot be applied. Compare the two ends: `git diff A B`."
    return ""


def _messages(mailbox: bytes) -> list[bytes]:
    starts = [match.start() for match in MESSAGE_START.finditer(mailbox)]
    return [mailbox[start:end] for start, end in zip(starts, [*starts[1:], len(mailbox)], strict=True)]


def _decoded_message(message: bytes) -> bytes:
    """Return one mail with its body in plain 8 bit; a body that cannot be decoded becomes empty."""
    head, blank, body = message.partition(b"\n\n")
    match = ENCODING.search(head)
    if not match:
        return message
    if match.group(1).lower() == b"quoted-printable":
        body = quopri.decodestring(body)
    else:
        try:
            body = base64.b64decode(body)
        except binascii.Error:
            body = b""
    return ENCODING.sub(b"Content-Transfer-Encoding: 8bit", head) + blank + body.rstrip(b"\n") + b"\n"


def _binary_literal(lines: list[bytes]) -> bytes | None:
    """Decode the first `literal N` block of a binary patch."""
    at = next((i for i, line in enumerate(lines) if line.startswith(b"literal ")), None)
    if at is None:
        return None
    packed = bytearray()
    try:
        size = int(lines[at][8:])
        for line in lines[at + 1 :]:
            if not line:
                break
            length = line[0] - 64 if line[:1].isupper() else line[0] - 70
            packed += base64.b85decode(line[1:])[:length]
        if size > MAX_ADDED_FILE_BYTES:
            return None
        content = zlib.decompressobj().decompress(bytes(packed), size + 1)
    except (ValueError, zlib.error):
        return None
    return content if len(content) == size else None


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


class _Scanner:
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
