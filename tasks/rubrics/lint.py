"""Says what is weak about a criterion, so that two judges would not read it in two ways. Pure reading of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Criterion = dict[str, Any]
"""As in a draft: key, text, weight, kind, checks, sees."""

SAME = 0.7

VAGUE = {
    "clean": "what is clean?",
    "good": "good in what way?",
    "nice": "nice in what way?",
    "proper": "what is proper?",
    "properly": "what is proper?",
    "appropriate": "appropriate to what?",
    "appropriately": "appropriate to what?",
    "reasonable": "what is reasonable?",
    "reasonably": "what is reasonable?",
    "correct": "what shows that it is correct?",
    "correctly": "what shows that it is correct?",
    "robust": "against what?",
    "efficient": "measured how?",
    "elegant": "what is elegant?",
    "readable": "what makes it readable?",
    "maintainable": "what makes it maintainable?",
    "well": "how well?",
    "quality": "which quality?",
    "better": "better than what?",
    "best": "best by what measure?",
    "as needed": "when is it needed?",
    "etc": "what else?",
    "various": "which?",
    "some": "which, and how many?",
}
VAGUE_WORD = re.compile(rf"\b({'|'.join(map(re.escape, VAGUE))})\b", re.IGNORECASE)
# "and" between two things that can each be met alone; not inside of a list of names or a quotation.
DOUBLE = re.compile(r"\b(?:and|as well as|und)\b|;", re.IGNORECASE)
QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"")
WORD = re.compile(r"[a-z0-9_]{2,}")
STOP = {"the", "is", "are", "of", "in", "to", "it", "be", "an", "or", "that", "this", "for", "on", "with", "and", "not"}


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What is weak about one criterion. `code` is vague, double, duplicate, names-file, empty-weight or long."""

    key: str
    code: str
    message: str
    span: tuple[int, int] = (0, 0)


def lint(criteria: Sequence[Criterion], reference_paths: Iterable[str] = ()) -> list[Remark]:
    """Return the remarks on a rubric, criterion by criterion."""
    remarks: list[Remark] = []
    names = sorted(
        {part for path in reference_paths for part in (path, path.rpartition("/")[2])}, key=len, reverse=True
    )
    for position, criterion in enumerate(criteria):
        remarks += _alone(criterion, names)
        for other in criteria[:position]:
            if _similarity(criterion["text"], other["text"]) >= SAME:
                message = f"It says nearly the same as “{other['text'][:60]}”. Correlated criteria count twice."
                remarks.append(Remark(key=criterion["key"], code="duplicate", message=message))
                break
    return remarks


def _alone(criterion: Criterion, names: Sequence[str]) -> list[Remark]:
    key, text = criterion["key"], criterion["text"]
    plain = QUOTED.sub(lambda match: " " * len(match[0]), text)
    remarks = []
    if match := VAGUE_WORD.search(plain):
        word = match[1]
        remarks.append(Remark(key=key, code="vague", message=f"vague: {VAGUE[word.lower()]}", span=match.span()))
    doubles = list(DOUBLE.finditer(plain))
    if len(doubles) > 1 or (doubles and len(WORD.findall(plain)) > 14):
        message = "It asks for several things. Split it, so that each can be met alone."
        remarks.append(Remark(key=key, code="double", message=message, span=doubles[0].span()))
    for name in names:
        found = re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", text)
        if found and "." in name:
            message = f"It names {name} of the reference. Another solution may lie elsewhere."
            remarks.append(Remark(key=key, code="names-file", message=message, span=found.span()))
            break
    if Decimal(str(criterion.get("weight", "1"))) == 0:
        remarks.append(Remark(key=key, code="empty-weight", message="Its weight is 0, so it counts for nothing."))
    if len(text) > 400:
        remarks.append(Remark(key=key, code="long", message="It is long. Put the details into its checks."))
    return remarks


def _similarity(first: str, second: str) -> float:
    """Return the share of common words (Jaccard), from 0 to 1."""
    a, b = (set(WORD.findall(text.lower())) - STOP for text in (first, second))
    return len(a & b) / len(a | b) if a | b else 0.0


def shares(criteria: Sequence[Criterion]) -> dict[str, float]:
    """Return the part of the whole weight that each criterion has, by key; pitfalls take away and have none."""
    weights = {c["key"]: Decimal(str(c["weight"])) for c in criteria if c["kind"] != "pitfall"}
    total = sum(weights.values())
    return {key: float(weight / total) for key, weight in weights.items()} if total else {}
