"""Reads what came out of the grading sandbox: the driver's lines, and frames that only the test runner could sign.

Everything is hostile. A line counts when it begins with a token that the driver read from its standard input before
any code of the repository ran; a frame when its signature fits its place in the sequence.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

FRAME_HEAD = re.compile(rb"@([0-9a-f]{64}) ([a-z]{1,10}) ([0-9]{1,9})\n")


@dataclass(frozen=True)
class Secrets:
    """What one grading's driver and runner are told, and nobody else. Hex digits."""

    begun: str = field(default_factory=lambda: secrets.token_hex(16))
    ended: str = field(default_factory=lambda: secrets.token_hex(16))
    key: str = field(default_factory=lambda: secrets.token_hex(32))

    def as_input(self) -> bytes:
        """Return the standard input of the driver."""
        return f"{self.begun}\n{self.ended}\n{self.key}\n".encode()

    def name(self, purpose: str) -> str:
        """Return the name that the runner gives to something of its own."""
        return hmac.new(bytes.fromhex(self.key), purpose.encode(), hashlib.sha256).hexdigest()[:10]


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What the driver said. `state` is "ran", or why it went no further: git, tests, patch; "" if it said nothing.

    `words` explain the state. `body` is what stands between begin and end of the tests; `status` the runner's exit
    status, None when the end was never reached. `reports` are files that a test command left.
    """

    state: str
    words: str = ""
    body: bytes = b""
    status: int | None = None
    reports: tuple[bytes, ...] = ()


def read_transcript(stdout: bytes, tokens: Secrets) -> Transcript:
    """Read the driver's standard output."""
    head, _, rest = stdout.partition(b"\n")
    token, _, state = head.decode("ascii", "replace").partition(" ")
    if token != tokens.begun or state not in ("ran", "git", "tests", "patch", "missing"):
        return Transcript(state="")
    if state != "ran":
        return Transcript(state=state, words=rest[:4000].decode("utf-8", "replace").strip())
    body, found, tail = rest.partition(f"\n{tokens.ended} exit ".encode())
    status, _, tail = tail.partition(b"\n")
    if not found or not status.isdigit():
        return Transcript(state="ran", body=rest)
    return Transcript(state="ran", body=body, status=int(status), reports=_files(tail, tokens))


def _files(data: bytes, tokens: Secrets) -> tuple[bytes, ...]:
    head = re.compile(tokens.ended.encode() + rb" file ([0-9]{1,9})\n")
    files = []
    position = 0
    while match := head.match(data, position):
        start, length = match.end(), int(match.group(1))
        files.append(data[start : start + length])
        position = start + length + 1
    return tuple(files)


@dataclass(kw_only=True)
class Frames:
    """The frames of a runner. `forged` says that something else wrote to its channel, or changed what it wrote."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    report: bytes | None = None
    end: dict[str, Any] | None = None
    missing: dict[str, Any] | None = None
    forged: bool = False


def read_frames(body: bytes, tokens: Secrets) -> Frames:
    """Read a runner's frames up to the first that is cut off or not rightly signed."""
    frames = Frames()
    key = bytes.fromhex(tokens.key)
    position = sequence = 0
    while position < len(body):
        match = FRAME_HEAD.match(body, position)
        if match is None:
            # A killed runner leaves half a frame at the very end, which is no forgery.
            frames.forged = b"\n" in body[position:] or not body.startswith(b"@", position)
            break
        kind, length = match.group(2).decode(), int(match.group(3))
        data = body[match.end() : match.end() + length]
        if len(data) < length:
            break
        signed = f"{sequence} {kind} {length}\n".encode() + data
        if not hmac.compare_digest(hmac.new(key, signed, hashlib.sha256).hexdigest().encode(), match.group(1)):
            frames.forged = True
            break
        _keep(frames, kind, data)
        sequence += 1
        position = match.end() + length + 1
    return frames


def _keep(frames: Frames, kind: str, data: bytes) -> None:
    if kind == "report":
        frames.report = data
        return
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    if kind == "case":
        frames.cases.append(document)
    elif kind == "end":
        frames.end = document
    elif kind == "missing":
        frames.missing = document
