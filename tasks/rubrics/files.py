"""Rubrics as files: JSON and TOML, in the form that tb_meta.json has under evaluation.rubrics.

{"rubrics": [{"id", "criterion", "weight", "kind", "evaluation_criteria": [check], "sees": [evidence]}]}
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Any

import tomlkit

from tasks.curation.content import checked
from tasks.models import default_evidence
from tasks.problems import shown
from tasks.rubrics.lint import Criterion

MOST_BYTES = 1_000_000
FIELDS = {"id", "criterion", "weight", "kind", "evaluation_criteria", "checks", "sees"}


class BadRubric(ValueError):
    """A file holds no rubric; the message names the place and the mend."""


def read_rubric(data: bytes, name: str) -> list[Criterion]:
    """Read the criteria of a file named `name` (.toml, or else JSON). Raises BadRubric."""
    if len(data) > MOST_BYTES:
        raise BadRubric(f"{name} has more than {MOST_BYTES:,} bytes, which is no rubric.")
    try:
        text = data.decode("utf-8-sig")
        document = tomllib.loads(text) if name.lower().endswith(".toml") else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRubric(f"{name} cannot be read: {error}.") from None
    rows = document.get("rubrics") if isinstance(document, dict) else document
    if isinstance(document, dict) and rows is None and isinstance(document.get("evaluation"), dict):
        rows = document["evaluation"].get("rubrics")
    if not isinstance(rows, list) or not rows:
        raise BadRubric(f"{name} has no list called rubrics. Each entry needs an id, a criterion and a weight.")
    try:
        return checked("criteria", [_criterion(row, number, name) for number, row in enumerate(rows, 1)])
    except BadRubric:
        raise
    except ValueError as error:
        raise BadRubric(f"{name}: {error}") from None


def _criterion(row: Any, number: int, name: str) -> Criterion:
    place = f"{name}, rubrics[{number}]"
    if not isinstance(row, dict):
        raise BadRubric(f"{place} must be an object with id, criterion and weight.")
    unknown = sorted(set(row) - FIELDS)
    if unknown:
        raise BadRubric(
            f"{place} has a field {shown(unknown[0])!r}, which is not known. There are {', '.join(sorted(FIELDS))}."
        )
    if not isinstance(row.get("criterion"), str) or not row["criterion"].strip():
        raise BadRubric(f"{place} needs the sentence that a judge answers, in criterion.")
    return {
        "key": str(row.get("id") or f"criterion-{number}"),
        "text": row["criterion"],
        "weight": str(row.get("weight", 1)),
        "kind": row.get("kind", "important"),
        "checks": list(row.get("evaluation_criteria") or row.get("checks") or []),
        "sees": list(row.get("sees") or default_evidence()),
    }


def as_rows(criteria: Sequence[Criterion]) -> list[dict[str, Any]]:
    """Return the criteria as tb_meta.json has them; what is as usual is left out."""
    rows = []
    for criterion in criteria:
        row: dict[str, Any] = {
            "id": criterion["key"],
            "criterion": criterion["text"],
            "weight": float(criterion["weight"]),
            "kind": criterion["kind"],
        }
        if criterion["checks"]:
            row["evaluation_criteria"] = list(criterion["checks"])
        if criterion["sees"] != default_evidence():
            row["sees"] = list(criterion["sees"])
        rows.append(row)
    return rows


def as_json(criteria: Sequence[Criterion]) -> str:
    """Return the criteria as a JSON file."""
    return json.dumps({"rubrics": as_rows(criteria)}, indent=2, ensure_ascii=False) + "\n"


def as_toml(criteria: Sequence[Criterion]) -> str:
    """Return the criteria as a TOML file."""
    return tomlkit.dumps({"rubrics": as_rows(criteria)})
