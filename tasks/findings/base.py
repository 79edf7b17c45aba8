"""What is looked at and what is found, without a database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

MASKED_ENDS = 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """A text of a task. `part` is title, instructions, reference, tests, environment or trace."""

    part: str
    text: str
    path: str = ""  # of a test
    step: int = 0  # of the trace, from 1


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finding. `start` and `end` are characters of the part's text; both 0 when it is about the whole.

    `mend` is what the page can do about it in place: "redact", "cut", or "" for nothing.
    """

    kind: str
    severity: str  # block or warn
    title: str
    message: str
    part: str
    path: str = ""
    step: int = 0
    start: int = 0
    end: int = 0
    line: int = 0
    mend: str = ""
    waivable: bool = True
    # What makes it the same finding when the text around it moves.
    essence: str = ""
    detail: dict[str, Any] = field(default_factory=dict, hash=False)

    def place(self) -> dict[str, Any]:
        """Return where it is, as a row keeps it, with the way to mend it."""
        given = {
            "part": self.part,
            "path": self.path,
            "step": self.step,
            "start": self.start,
            "end": self.end,
            "line": self.line,
            "mend": self.mend,
        }
        return {name: value for name, value in given.items() if value} | self.detail

    def fingerprint(self) -> str:
        """Return what is equal for the same thing in the same part, however the rest of the text changes."""
        words = (self.kind, self.title, self.part, self.path, str(self.step), self.essence)
        return hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()


def line_of(text: str, position: int) -> int:
    """Return the number of the line at a position, from 1."""
    return text.count("\n", 0, position) + 1


def masked(value: str) -> str:
    """Return enough of a secret to recognise it, and no more."""
    dots = "\N{BULLET}" * 4
    if len(value) < 4 * MASKED_ENDS:
        return dots
    return f"{value[:MASKED_ENDS]}{dots}{value[-2:]}"


def secret_essence(value: str) -> str:
    """Return what tells two secrets apart without being one."""
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:16]
