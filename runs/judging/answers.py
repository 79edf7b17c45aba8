"""Reads what a judge answered: one JSON object of a fixed form, and nothing that has to be guessed at."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

VERDICTS = ("met", "not_met", "cannot_assess")
RATIONALE_CHARS = 2_000
MOST_BYTES = 200_000
_FENCED = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


class Malformed(ValueError):
    """The answer is not of the form that was asked for; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A well-formed answer, before its evidence is checked."""

    verdict: str
    reasoning: str
    evidence: list[dict[str, str]]


def read(text: str, key: str) -> Reply:
    """Return the answer to the question `key`. Raises Malformed."""
    document = document_of(text)
    verdict = document.get("verdict")
    if verdict not in VERDICTS:
        raise Malformed(f"its verdict is {str(verdict)[:60]!r}, not one of {', '.join(VERDICTS)}")
    if "criterion_id" in document and document["criterion_id"] != key:
        raise Malformed(f"it answers the criterion {str(document['criterion_id'])[:60]!r}, not {key!r}")
    reasoning = document.get("reasoning", "")
    if not isinstance(reasoning, str):
        raise Malformed("its reasoning is no text")
    evidence = document.get("evidence", [])
    if not isinstance(evidence, list):
        raise Malformed("its evidence is no list")
    for quote in evidence:
        if not isinstance(quote, dict) or not all(isinstance(quote.get(name), str) for name in ("ref", "quote")):
            raise Malformed("a piece of its evidence is not {ref, quote}")
    return Reply(verdict=verdict, reasoning=reasoning[:RATIONALE_CHARS], evidence=evidence)


def document_of(text: str) -> dict[str, Any]:
    """Return the one JSON object of an answer. Raises Malformed."""
    if len(text) > MOST_BYTES:
        raise Malformed(f"it has {len(text)} characters")
    candidate = text.strip()
    if match := _FENCED.search(candidate):
        candidate = match[1]
    elif not candidate.startswith("{"):
        # Endpoints without structured output like to say something first.
        candidate = candidate[candidate.find("{") : candidate.rfind("}") + 1]
    try:
        document = json.loads(candidate)
    except (ValueError, RecursionError):
        raise Malformed("it is not JSON" if candidate else "it holds no JSON object") from None
    if not isinstance(document, dict):
        raise Malformed("it is not one JSON object")
    return document
