"""How a task is judged, in the words of its metadata: rubrics and test scripts."""

from __future__ import annotations

from typing import Any

from oneshot import store
from tasks.formats.fields import fault_of_text
from tasks.models import Criterion, Rubric, TaskVersion, default_evidence

TESTS = "evaluation/tests"


def rubrics_of(rubric: Rubric | None) -> list[dict[str, Any]]:
    """Return the criteria as the format has them; what the original does not know comes last."""
    return [_criterion(row) for row in rubric.criteria.all()] if rubric else []


def _criterion(row: Criterion) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row.key, "criterion": row.text, "weight": float(row.weight)}
    if row.checks:
        found["evaluation_criteria"] = list(row.checks)
    found["kind"] = row.kind
    if list(row.sees) != default_evidence():
        found["sees"] = list(row.sees)
    return found


def tests_of(version: TaskVersion) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return (test scripts, files of the task's directory that some of them name because they are not text)."""
    scripts: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for test in version.hidden_tests:
        path = str(test["path"])
        if path.endswith("/"):
            continue
        content = store.get(test["digest"])
        script: dict[str, Any] = {"path": path}
        if test.get("rubric_id"):
            script["rubric_id"] = test["rubric_id"]
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if fault_of_text(text):
            script["file"] = f"{TESTS}/{path}"
            files[script["file"]] = content
        else:
            script["content"] = text
        scripts.append(script)
    return scripts, files


def rubric_text(rubric: Rubric | None) -> str:
    """Return the rubric as a page to read."""
    lines = ["# Rubric", ""]
    if rubric is None:
        return "\n".join([*lines, "The task has no rubric yet.", ""])
    for row in rubric.criteria.all():
        lines += [f"## {row.key} ({row.kind}, weight {row.weight.normalize():f})", "", row.text, ""]
        lines += [*(f"- {check}" for check in row.checks), *([""] if row.checks else [])]
    return "\n".join(lines)
