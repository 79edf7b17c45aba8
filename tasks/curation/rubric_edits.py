"""The changes that a page can ask of a rubric, as pure functions from criteria to criteria."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.http import QueryDict
from django.utils.text import slugify

from tasks.models import default_evidence
from tasks.rubrics.lint import Criterion
from tasks.rubrics.templates import TEMPLATES

OPS = ("add", "set", "remove", "up", "down", "heavier", "lighter", "order", "template", "file")


def changed(criteria: list[Criterion], asked: QueryDict, file: list[Criterion] | None) -> list[Criterion]:
    """Return the criteria after what was asked. Raises ValueError for what cannot be done."""
    op = asked.get("op", "")
    rows = [dict(criterion) for criterion in criteria]
    if op not in OPS:
        raise ValueError("There is no such change of a rubric.")
    if op == "file":
        if file is None:
            raise ValueError("Choose a JSON or TOML file with a list called rubrics.")
        return file
    if op == "template":
        return _from_template(rows, asked.get("template", ""))
    if op == "add":
        given = {name: value for name, value in _given(asked).items() if name != "text"}
        return [*rows, _new(rows, asked.get("text", "")) | given]
    if op == "order":
        return _ordered(rows, asked.getlist("key"))
    at = _position(rows, asked.get("key", ""))
    if op == "remove":
        return rows[:at] + rows[at + 1 :]
    if op in ("up", "down"):
        to = min(max(at + (1 if op == "down" else -1), 0), len(rows) - 1)
        rows.insert(to, rows.pop(at))
    elif op in ("heavier", "lighter"):
        rows[at]["weight"] = _weighed(rows[at]["weight"], 1 if op == "heavier" else -1)
    else:
        rows[at] |= _given(asked)
    return rows


def _position(rows: list[Criterion], key: str) -> int:
    for at, row in enumerate(rows):
        if row["key"] == key:
            return at
    raise ValueError("This criterion is not in the rubric any more. Load the page again.")


def _new(rows: list[Criterion], text: str) -> Criterion:
    if not text.strip():
        raise ValueError("Write the sentence that a judge answers with met or not met.")
    taken = {row["key"] for row in rows}
    base = slugify(text)[:40].strip("-") or "criterion"
    key, number = base, 2
    while key in taken:
        key, number = f"{base}-{number}", number + 1
    return {
        "key": key,
        "text": text.strip(),
        "weight": "1",
        "kind": "important",
        "checks": [],
        "sees": default_evidence(),
    }


def _from_template(rows: list[Criterion], name: str) -> list[Criterion]:
    if name not in TEMPLATES:
        raise ValueError("There is no such template.")
    have = {row["key"] for row in rows}
    return rows + [dict(row) for row in TEMPLATES[name][1] if row["key"] not in have]


def _ordered(rows: list[Criterion], keys: list[str]) -> list[Criterion]:
    by_key = {row["key"]: row for row in rows}
    if sorted(keys) != sorted(by_key):
        raise ValueError("The rubric has changed meanwhile. Load the page again.")
    return [by_key[key] for key in keys]


def _weighed(weight: str, step: int) -> str:
    try:
        return str(min(max(Decimal(weight) + step, Decimal(0)), Decimal(9999)))
    except InvalidOperation:
        return "1"


def _given(asked: QueryDict) -> Mapping[str, Any]:
    """Return the fields that a form brought; those it did not stay."""
    given: dict[str, Any] = {name: asked[name] for name in ("text", "kind", "weight") if name in asked}
    if "checks" in asked:
        given["checks"] = [line.strip() for line in str(asked["checks"]).splitlines() if line.strip()]
    if "sees-asked" in asked:
        given["sees"] = asked.getlist("sees")
    return given
