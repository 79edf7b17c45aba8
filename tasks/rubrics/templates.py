"""Rubrics to begin with, by what kind of work a task is."""

from __future__ import annotations

from typing import Any

from tasks.models import default_evidence


def _one(key: str, text: str, weight: int, kind: str, *sees: str) -> dict[str, Any]:
    evidence = list(sees) or default_evidence()
    return {"key": key, "text": text, "weight": str(weight), "kind": kind, "checks": [], "sees": evidence}


_COMMON = (
    _one("scope", "Every changed line serves what was asked.", 2, "important", "diff"),
    _one(
        "no-dead-code",
        "The change leaves no commented-out code, debug output or unused file behind.",
        1,
        "optional",
        "diff",
    ),
    _one("tests-untouched", "An existing test was deleted, skipped or loosened.", 3, "pitfall", "diff"),
)

TEMPLATES: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "bug": (
        "A bug to mend",
        (
            _one(
                "cause",
                "The change removes the cause that the report describes, not only the symptom it shows.",
                4,
                "essential",
            ),
            _one("regression-test", "A new or changed test fails without the change.", 2, "important", "diff"),
            *_COMMON,
        ),
    ),
    "feature": (
        "Something new",
        (
            _one(
                "behaviour",
                "The described behaviour is there for every input that the instructions name.",
                4,
                "essential",
            ),
            _one("errors", "Input that cannot be used gets an error that names the input.", 2, "important"),
            _one("documented", "The user-facing documentation says how to use it.", 1, "optional", "diff"),
            *_COMMON,
        ),
    ),
    "refactoring": (
        "A change of structure",
        (
            _one("same-behaviour", "Nothing that a caller can see behaves differently.", 4, "essential"),
            _one("one-place", "What was repeated stands in one place now.", 2, "important", "diff"),
            *_COMMON,
        ),
    ),
}
