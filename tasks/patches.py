"""Reads patches as git writes them, without applying them: which files they touch, and whether they are safe.

All input is hostile: nothing here raises for bad bytes, and nothing touches the disk.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
import zlib
from collections.abc import Callable

from tasks.patch_sections import HUNK, FilePatch, parse
from tasks.problems import Problem, shown

MAX_PATCH_BYTES = 64_000_000
MAX_ADDED_FILE_BYTES = 16_000_000
MOST_PROBLEMS = 20

SYMLINK_MODE = "120000"
SUBMODULE_MODE = "160000"

MESSAGE_START = re.compile(rb"^From [0-9a-f]{40,64} \w{3} \w{3} .*$", re.MULTILINE)
ENCODING = re.compile(rb"^content-transfer-encoding:\s*(quoted-printable|base64)\s*$", re.MULTILINE | re.IGNORECASE)


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


__all__ = [
    "FilePatch",
    "added_content",
    "check_patch",
    "is_mailbox",
    "line_counts",
    "mailbox_diffs",
    "parse",
    "patch_notes",
    "readable",
    "strip_paths",
    "touched_paths",
    "unsafe_path",
]
