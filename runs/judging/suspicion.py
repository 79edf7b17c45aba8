"""Finds text in a change that speaks to whoever grades it, by patterns of our own that no such text can talk to.

A finding proves nothing and changes no score: it is shown beside the score, for a person to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from runs.judging.evidence import Section

MOST = 20
_PATTERNS = (
    (
        "asks to ignore instructions",
        r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|all|any|these|your|other)\b"
        r".{0,40}\b(?:instruction|prompt|rule|guideline|criteri|context)",
    ),
    (
        "addresses a grader",
        r"\b(?:dear|attention|note (?:to|for)|hey|hello|message (?:to|for)|as an?|you are an?|to the|for the)\b.{0,20}"
        r"\b(?:grader|evaluator|judge|reviewer|examiner|assessor|language model|llm|ai (?:judge|model|assistant))\b",
    ),
    (
        "says how to score",
        r"\b(?:mark|score|rate|grade|judge|evaluate|consider|treat|award|give)\b.{0,50}"
        r"\b(?:as (?:met|passed|passing|correct|fulfilled|satisfied)|full (?:score|marks|credit)|10/10|100 ?%|maximum)",
    ),
    ("writes a verdict", r"[\"']?verdict[\"']?\s*[:=]\s*[\"']?(?:met|not_met|pass)\b"),
    ("imitates a fence", r"[<\u2039]\s*/?\s*(?:untrusted|criterion)\b|<\|(?:im_start|im_end|system|endoftext)\|>"),
    (
        "imitates a role",
        r"(?:^|[\s#/*\"'])(?:system|assistant|developer)\s*(?:prompt|message)?\s*:\s*(?:you|the|all|this|every)",
    ),
    ("hides text", r"\u2039U\+(?:E00[0-7][0-9A-F]|20(?:2[A-E]|6[0-9])|200[B-F])\u203a"),
)
PATTERNS = tuple((what, re.compile(pattern, re.IGNORECASE)) for what, pattern in _PATTERNS)


def find(sections: Iterable[Section]) -> list[dict[str, str]]:
    """Return [{"ref", "what", "text"}] for the lines that an agent wrote and that look so; at most MOST."""
    found: list[dict[str, str]] = []
    for section in sections:
        if section.name not in ("diff", "final_message"):
            continue
        for line in section.lines:
            if section.name == "diff" and not line.text.startswith(("+", "=== ", "[left out")):
                continue
            what = next((what for what, pattern in PATTERNS if pattern.search(line.text)), "")
            if what:
                found.append({"ref": line.ref, "what": what, "text": line.text[:200]})
                if len(found) == MOST:
                    return found
    return found
