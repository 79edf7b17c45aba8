"""Reads git diffs for pages: files, hunks and lines as safe HTML, within bounds, whatever bytes they are.

A diff is written by an agent or by the author of a task. Nothing in it is trusted: not its counts, its paths,
its encoding nor its size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from django.utils.safestring import SafeString, mark_safe

from oneshot import difflines, store
from oneshot.visible import visible, visible_html

MAX_BYTES = 20_000_000
MAX_FILES = 300
FILE_LINES = 2_000
DIFF_LINES = 6_000
DIFF_CHARS = 800_000
# A file that a reader asked for by itself.
ALONE_LINES = 10_000

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@ ?(.*)")
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_ESCAPED = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))
_REMARK = '<tr class="hunk"><td class="ln">{}</td><td class="sg"></td><td class="tx">{}</td></tr>'
_NAMED = (b"rename from ", b"rename to ", b"copy from ", b"copy to ")


@dataclass(slots=True)
class _Hunk:
    old_start: int
    new_start: int
    header: str
    lines: list[bytes]


@dataclass(slots=True)
class _Raw:
    """A file of a diff as parsed: everything but its HTML."""

    old: str = ""
    new: str = ""
    status: str = "changed"
    old_mode: str = ""
    new_mode: str = ""
    binary: bool = False
    added: int = 0
    removed: int = 0
    chars: int = 0
    hunks: list[_Hunk] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.old if self.status == "removed" or not self.new else self.new

    @property
    def rows(self) -> int:
        return sum(len(hunk.lines) + 1 for hunk in self.hunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a diff, ready for a template.

    `status` is added, removed, renamed, copied or changed. `note` is a remark such as "renamed from a.py".
    `rows` are the table rows; when they are empty, `hidden` says why, and `loadable` whether it can be had alone.
    """

    position: int
    path: str
    status: str
    note: str
    binary: bool
    added: int
    removed: int
    rows: SafeString
    hidden: str
    loadable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A diff ready for a template. `left_out` counts files beyond MAX_FILES; `problem` is set when nothing is shown."""

    files: tuple[File, ...] = ()
    added: int = 0
    removed: int = 0
    bytes: int = 0
    left_out: int = 0
    problem: str = ""


def of(digest: str) -> Diff:
    """Return the diff stored under `digest`, rendered once and kept in memory; "" is the empty diff.

    Raises store.ContentMissing when the content store has lost it.
    """
    return _of(digest, -1) if digest else Diff()


def file_of(digest: str, position: int) -> File | None:
    """Return one file of a stored diff, however long, or None when the diff has no such file."""
    if not digest or position < 0:
        return None
    return next(iter(_of(digest, position).files), None)


@lru_cache(maxsize=32)
def _of(digest: str, only: int) -> Diff:
    return render(store.get(digest), only=only)


def render(data: bytes, *, only: int = -1) -> Diff:
    """Return a diff ready for a template, or with `only` just the file at that position. Never raises."""
    if len(data) > MAX_BYTES:
        return Diff(bytes=len(data), problem=f"This diff has {len(data):,} bytes, too many to show on a page.")
    raws = parse(data)
    if data.strip() and not raws:
        return Diff(bytes=len(data), problem="This is not a diff that git would make.")
    budget = difflines.Budget()
    files: list[File] = []
    lines, chars = 0, 0
    for position, raw in enumerate(raws[:MAX_FILES] if only < 0 else raws):
        if 0 <= only != position:
            continue
        hidden = _why_hidden(raw, lines, chars) if only < 0 else ""
        if not hidden and not raw.binary:
            lines, chars = lines + raw.rows, chars + raw.chars
        files.append(_file(raw, position, hidden, budget))
    return Diff(
        files=tuple(files),
        added=sum(raw.added for raw in raws),
        removed=sum(raw.removed for raw in raws),
        bytes=len(data),
        left_out=max(0, len(raws) - MAX_FILES) if only < 0 else 0,
    )


def side_by_side(mine: Diff, reference: Diff) -> list[tuple[str, File | None, File | None]]:
    """Return (path, this diff's file, the reference's file): this diff's order, then what only the reference has."""
    theirs = {file.path: file for file in reversed(reference.files)}
    both = [(file.path, file, theirs.pop(file.path, None)) for file in mine.files]
    rest = [(file.path, None, file) for file in reference.files if theirs.get(file.path) is file]
    return [*both, *rest]


def _why_hidden(raw: _Raw, lines: int, chars: int) -> str:
    if raw.rows > FILE_LINES:
        return f"{raw.rows - len(raw.hunks):,} lines"
    if lines + raw.rows > DIFF_LINES or chars + raw.chars > DIFF_CHARS:
        return f"{raw.rows - len(raw.hunks):,} lines, left out because this diff is long"
    return ""


def _file(raw: _Raw, position: int, hidden: str, budget: difflines.Budget) -> File:
    loadable = bool(hidden) and not raw.binary
    if raw.binary:
        hidden = "Binary file"
    elif not raw.hunks and not hidden:
        hidden = {"added": "Empty file", "removed": "Empty file"}.get(raw.status, "No line changed")
    return File(
        position=position,
        path=visible(raw.path).replace("\n", "␊").replace("\t", "␉"),
        status=raw.status,
        note=_note(raw),
        binary=raw.binary,
        added=raw.added,
        removed=raw.removed,
        rows=mark_safe("" if hidden else _rows(raw, budget)),  # noqa: S308 - every piece is escaped in difflines
        hidden=hidden,
        loadable=loadable,
    )


def _note(raw: _Raw) -> str:
    notes = []
    if raw.status in ("renamed", "copied"):
        notes.append(f"{raw.status} from {visible(raw.old)}")
    elif raw.status != "changed":
        notes.append({"added": "new file", "removed": "deleted"}[raw.status])
    mode = raw.new_mode or raw.old_mode
    if raw.old_mode and raw.new_mode and raw.old_mode != raw.new_mode:
        notes.append(f"mode {raw.old_mode} to {raw.new_mode}")
    elif mode == "120000":
        notes.append("symbolic link")
    elif mode == "160000":
        notes.append("submodule")
    elif mode == "100755" and raw.status == "added":
        notes.append("executable")
    return ", ".join(notes)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(raw: _Raw, budget: difflines.Budget) -> str:
    lexer = difflines.lexer_name(raw.path)
    out: list[str] = []
    left = ALONE_LINES
    for hunk in raw.hunks:
        out.append(_REMARK.format("⋯", hunk.header))
        out.extend(_hunk_rows(hunk, lexer, budget, left))
        left -= len(hunk.lines)
        if left < 0:
            over = f"Only the first {ALONE_LINES:,} lines are shown; the download has them all."
            out.append(_REMARK.format("⋯", over))
            break
    return "".join(out)


def _hunk_rows(hunk: _Hunk, lexer: str, budget: difflines.Budget, most: int) -> Iterable[str]:
    signs = [line[:1] for line in hunk.lines[:most]]
    texts = [line[1:].decode("utf-8", "replace") for line in hunk.lines[:most]]
    if all(text.endswith("\r") for text, sign in zip(texts, signs, strict=True) if sign != b"\\"):
        texts = [text.removesuffix("\r") for text in texts]
    coloured = _both_sides(signs, texts, lexer, budget)
    changed = _changes(signs, texts, budget)
    old, new = hunk.old_start, hunk.new_start
    for index, (sign, text) in enumerate(zip(signs, texts, strict=True)):
        if sign == b"\\":
            yield _REMARK.format("", "No newline at the end")
            continue
        if sign == b"-":
            row, number, shown, mark = ' class="del"', old, "\u2212", "del"
        elif sign == b"+":
            row, number, shown, mark = ' class="add"', new, "+", "ins"
        else:
            row, number, shown, mark = "", new, "", "ins"
        body = difflines.line_html(text, coloured[index], changed.get(index, ()), mark)
        yield (
            f'<tr{row}><td class="ln">{number}</td><td class="sg">{shown}</td>'
            f'<td class="tx{difflines.indent_class(text)}">{body}</td></tr>'
        )
        old += sign != b"+"
        new += sign != b"-"


def _both_sides(
    signs: list[bytes], texts: list[str], lexer: str, budget: difflines.Budget
) -> list[list[difflines.Span]]:
    """Colour the new side, and the old side for the removed lines only; each is read as the file it was."""
    spans: list[list[difflines.Span]] = [[] for _ in texts]
    for skipped, kept in ((b"-", b"+ "), (b"+", b"-")):
        rows = [index for index, sign in enumerate(signs) if sign not in (skipped, b"\\")]
        if not any(signs[index] in kept for index in rows):
            continue
        for index, found in zip(rows, difflines.colours([texts[row] for row in rows], lexer, budget), strict=True):
            if signs[index] in kept:
                spans[index] = found
    return spans


def _changes(signs: list[bytes], texts: list[str], budget: difflines.Budget) -> dict[int, list[tuple[int, int]]]:
    """Return the changed words by line, for each block of removed lines that added lines follow."""
    changed: dict[int, list[tuple[int, int]]] = {}
    index = 0
    while index < len(signs):
        removed = _stretch(signs, index, b"-")
        added = _stretch(signs, removed.stop, b"+")
        for before, after in difflines.pairs([texts[row] for row in removed], [texts[row] for row in added]):
            old, new = removed[before], added[after]
            changed[old], changed[new] = difflines.changed_words(texts[old], texts[new], budget)
        index = max(added.stop, index + 1)
    return changed


def _stretch(signs: list[bytes], start: int, sign: bytes) -> range:
    end = start
    while end < len(signs) and signs[end] == sign:
        end += 1
    return range(start, end)


# ── parsing ───────────────────────────────────────────────────────────────────────────────────────────────────


def parse(data: bytes) -> list[_Raw]:
    """Return the files of a diff. Text around it, as in a mail, is passed over; counts that lie end their hunk."""
    files: list[_Raw] = []
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    index = 0
    while index < len(lines):
        line = lines[index]
        if line.startswith(b"diff --git "):
            files.append(_from_git_line(line[11:]))
        elif line.startswith(b"--- ") and index + 1 < len(lines) and lines[index + 1].startswith(b"+++ "):
            if not files or files[-1].hunks:
                files.append(_Raw())
            _name_by_marks(files[-1], line, lines[index + 1])
            index += 1
        elif files and line.startswith(b"@@ ") and (match := _HUNK.match(line)):
            index = _read_hunk(files[-1], match, lines, index)
            continue
        elif files and not files[-1].hunks:
            _read_header(files[-1], line)
        index += 1
    return files


def _read_hunk(raw: _Raw, match: re.Match[bytes], lines: list[bytes], index: int) -> int:
    """Add the hunk whose header stands at `index`, and return where the next line is."""
    old_left, new_left = (int(match[group]) if match[group] is not None else 1 for group in (2, 4))
    header = visible_html(match[0].decode("utf-8", "replace")[: difflines.LINE_CHARS].rstrip("\r"))
    hunk = _Hunk(int(match[1]), int(match[3]), header, [])
    index += 1
    while index < len(lines):
        line = lines[index]
        sign = line[:1] or b" "  # some mailers strip the space of an empty context line
        if sign == b"\\" and hunk.lines:
            hunk.lines.append(line)
            index += 1
            continue
        if (old_left <= 0 and new_left <= 0) or sign not in b"+- ":
            break
        old_left -= sign != b"+"
        new_left -= sign != b"-"
        raw.removed += sign == b"-"
        raw.added += sign == b"+"
        raw.chars += min(len(line), difflines.LINE_CHARS)
        hunk.lines.append(line)
        index += 1
    raw.hunks.append(hunk)
    return index


def _read_header(raw: _Raw, line: bytes) -> None:
    if line.startswith(_NAMED):
        word, _, path = line.partition(b" ")[2].partition(b" ")
        raw.status = "renamed" if line.startswith(b"rename") else "copied"
        setattr(raw, "old" if word == b"from" else "new", _path(path))
    elif line.startswith(b"new file mode "):
        raw.status, raw.new_mode = "added", _mode(line)
    elif line.startswith(b"deleted file mode "):
        raw.status, raw.old_mode = "removed", _mode(line)
    elif line.startswith(b"old mode "):
        raw.old_mode = _mode(line)
    elif line.startswith(b"new mode "):
        raw.new_mode = _mode(line)
    elif line.startswith(b"index ") and line.count(b" ") == 2:
        raw.old_mode = raw.new_mode = _mode(line)
    elif line.startswith((b"Binary files ", b"GIT binary patch")):
        raw.binary = True


def _mode(line: bytes) -> str:
    mode = line.rstrip().rpartition(b" ")[2]
    return mode.decode() if mode.isdigit() and len(mode) == 6 else ""


def _from_git_line(rest: bytes) -> _Raw:
    """Read the two paths of `diff --git a/x b/x`; unquoted paths with spaces are split where both halves agree."""
    rest = rest.rstrip(b"\r")
    if rest.startswith(b'"'):
        end = rest.find(b'" ', 1)
        old, new = (rest[: end + 1], rest[end + 2 :]) if end > 0 else (rest, rest)
    else:
        half = len(rest) // 2
        if rest[half : half + 1] == b" " and rest[2:half] == rest[half + 3 :]:
            old, new = rest[:half], rest[half + 1 :]
        else:
            old, _, new = rest.partition(b" ")
    return _Raw(old=_without_side(_path(old)), new=_without_side(_path(new)))


def _name_by_marks(raw: _Raw, minus: bytes, plus: bytes) -> None:
    """Take the names from the lines --- and +++, which are exact where the first line is not."""
    old, new = (_path(line[4:].rstrip(b"\r").partition(b"\t")[0]) for line in (minus, plus))
    if old == "/dev/null":
        raw.status = "added"
    else:
        raw.old = _without_side(old)
    if new == "/dev/null":
        raw.status = "removed"
    else:
        raw.new = _without_side(new)
    if raw.status == "added":
        raw.old = raw.new


def _without_side(path: str) -> str:
    return path[2:] if path[:2] in ("a/", "b/") else path


def _path(raw: bytes) -> str:
    """Return a path as git means it: a quoted one has C escapes, of which octal ones are bytes of UTF-8."""
    raw = raw[:4096]
    if len(raw) > 1 and raw.startswith(b'"') and raw.endswith(b'"'):
        raw = _ESCAPE.sub(_unescaped, raw[1:-1])
    return raw.decode("utf-8", "replace")


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else bytes([_ESCAPED[code[0]]])
