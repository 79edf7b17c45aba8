"""Holds a judge to what it quotes: every quotation must stand on the lines that it cites."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.judging.evidence import Line, Section, by_ref

# Judges miscount by a line or two; what stands this near is taken, and the reference mended.
WINDOW = 3
MOST_QUOTES = 5
MOST_LINES = 10
QUOTE_CHARS = 600
# Shorter ones stand everywhere and prove nothing.
LEAST_CHARS = 3
_REF = re.compile(r"\s*\[?([DTSMI]\d{4,6})(?:\s*(?:-|\u2013|to)\s*([DTSMI]?)(\d{4,6}))?\]?\s*\Z")
_LABEL = re.compile(r"^\s*[DTSMI]\d{4,6}\|\s?", re.MULTILINE)
_SIGN = re.compile(r"^[+-]", re.MULTILINE)


@dataclass(kw_only=True)
class Checked:
    """Quotations after the check. `state` is valid, repaired, invalid or none; `reason` says what was wrong."""

    state: str
    reason: str = ""
    quotes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def good(self) -> int:
        return sum(quote["valid"] for quote in self.quotes)


def check(evidence: Sequence[dict[str, str]], sections: Sequence[Section]) -> Checked:
    """Return each quotation with whether it holds, and over all of them: valid when all hold as cited, repaired when
    all hold but some stood a few lines away, invalid when one does not hold, none without any."""
    if not evidence:
        return Checked(state="none")
    places = by_ref(sections)
    found = [_quote(quote, places) for quote in evidence[:MOST_QUOTES]]
    bad = [quote for quote in found if not quote["valid"]]
    if bad:
        return Checked(state="invalid", reason=bad[0]["reason"][:500], quotes=found)
    mended = next((quote for quote in found if quote["reason"]), None)
    if mended:
        return Checked(state="repaired", reason=mended["reason"][:500], quotes=found)
    return Checked(state="valid", quotes=found)


def _quote(given: dict[str, str], places: Any) -> dict[str, Any]:
    ref, text = str(given.get("ref", ""))[:60], str(given.get("quote", ""))[:QUOTE_CHARS]
    result: dict[str, Any] = {"ref": ref, "quote": text, "valid": False, "reason": ""}
    match = _REF.match(ref)
    if match is None:
        return result | {"reason": f"{ref!r} is no reference such as D0012 or D0012-D0019."}
    first = match[1]
    last = f"{match[2] or first[0]}{match[3]}" if match[3] else first
    if first not in places or last not in places or last[0] != first[0]:
        return result | {"reason": f"{ref} is not among the lines shown."}
    section, start = places[first]
    end = places[last][1]
    if end < start or end - start >= MOST_LINES:
        return result | {"reason": f"{ref} is not a range of at most {MOST_LINES} lines."}
    wanted = _plain(text)
    if len(wanted) < LEAST_CHARS:
        return result | {"reason": f"The quotation at {ref} is too short to show anything."}
    lines: list[Line] = section.lines
    if _holds(wanted, lines[start : end + 1]):
        return result | {"valid": True, **_where(lines, start, end, wanted)}
    for away in range(1, WINDOW + 1):
        for low, high in ((start - away, end - away), (start + away, end + away), (start - away, end + away)):
            low, high = max(low, 0), min(high, len(lines) - 1)
            if low <= high and _holds(wanted, lines[low : high + 1]):
                reason = f"It stands {away} line{'s' * (away > 1)} away from {ref}."
                return result | {"valid": True, "reason": reason, **_where(lines, low, high, wanted)}
    return result | {"reason": f"{ref} does not say {text[:80]!r}."}


def _holds(wanted: str, lines: Sequence[Line]) -> bool:
    texts = [line.text for line in lines]
    joined = _plain("\n".join(texts))
    if wanted in joined:
        return True
    # The sign of a diff's line is no part of what it says.
    return _plain(_SIGN.sub("", wanted)) in _plain(_SIGN.sub(" ", "\n".join(texts)))


def _plain(text: str) -> str:
    """Return text without what cannot matter: the references judges copy along, and kinds and amounts of space."""
    return " ".join(_LABEL.sub("", text).split())


def _where(lines: Sequence[Line], start: int, end: int, wanted: str) -> dict[str, Any]:
    """Return the first single line that holds the quotation, else the range, with its place in the file."""
    for place in range(start, end + 1):
        if _holds(wanted, lines[place : place + 1]):
            start = end = place
            break
    line = lines[start]
    ref = line.ref if start == end else f"{line.ref}-{lines[end].ref}"
    return {"ref": ref, "path": line.path, "side": line.side, "line": line.number, "step": line.step}
