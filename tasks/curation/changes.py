"""The readable difference between two contents of a task, field by field. Pure reading of two documents."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks.curation.content import Content
from tasks.patches import touched_paths

Load = Callable[[str], bytes]
"""Returns what is stored under a digest."""

MOST_LINES = 2000
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs. `diff` is a unified diff of the texts, "" where a sentence says it all."""

    field: str
    name: str
    summary: str
    diff: str = ""


def changes(before: Content, after: Content, load: Load) -> list[Change]:
    """Return what differs, in the order in which a reader wants to know. [] when nothing does."""
    found: list[Change] = []
    for field, name in (("title", "Title"), ("sensitivity", "Sensitivity")):
        if before[field] != after[field]:
            found.append(
                Change(field=field, name=name, summary=f"{before[field] or 'none'} → {after[field] or 'none'}")
            )
    if before["tags"] != after["tags"]:
        found.append(Change(field="tags", name="Tags", summary=_words(before["tags"], after["tags"])))
    if before["instructions"] != after["instructions"]:
        diff = unified(before["instructions"], after["instructions"], "instructions.md")
        found.append(Change(field="instructions", name="Instructions", summary=_counted(diff), diff=diff))
    if before["reference_diff"] != after["reference_diff"]:
        found.append(_reference(before["reference_diff"], after["reference_diff"], load))
    found += _tests(before["tests"], after["tests"], load)
    if before["environment"] != after["environment"]:
        diff = unified(_pretty(before["environment"]), _pretty(after["environment"]), "environment.json")
        found.append(Change(field="environment", name="Environment", summary=_counted(diff), diff=diff))
    return found + list(_criteria(before["criteria"], after["criteria"]))


def unified(before: str, after: str, path: str) -> str:
    """Return a unified diff of two texts, cut after MOST_LINES lines with a line that says so."""
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm="", n=2)
    )
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f" … {len(lines) - MOST_LINES} more lines"]
    return "\n".join(lines)


def _counted(diff: str) -> str:
    body = diff.splitlines()[2:]
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    return f"+{added} {MINUS}{removed}"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _words(before: list[str], after: list[str]) -> str:
    came = [f"+{word}" for word in after if word not in before]
    went = [f"{MINUS}{word}" for word in before if word not in after]
    return ", ".join(came + went) or "in another order"


def _reference(before: str, after: str, load: Load) -> Change:
    old, new = (load(digest) if digest else b"" for digest in (before, after))
    files = sorted(set(touched_paths(old)) ^ set(touched_paths(new)))
    diff = unified(old.decode("utf-8", "replace"), new.decode("utf-8", "replace"), "reference.diff")
    summary = _counted(diff) + (f"; files that came or went: {', '.join(files[:5])}" if files else "")
    return Change(field="reference_diff", name="Reference diff", summary=summary, diff=diff)


def _tests(before: list[dict[str, Any]], after: list[dict[str, Any]], load: Load) -> Iterator[Change]:
    old, new = ({test["path"]: test for test in tests} for tests in (before, after))
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was == now:
            continue
        old_text, new_text = (load(test["digest"]).decode("utf-8", "replace") if test else "" for test in (was, now))
        diff = unified(old_text, new_text, path)
        word = "added" if was is None else "removed" if now is None else _counted(diff) if diff else "other mode"
        yield Change(field="tests", name=path, summary=word, diff=diff)


def _criteria(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[Change]:
    old, new = ({criterion["key"]: criterion for criterion in criteria} for criteria in (before, after))
    for key in [*new, *(key for key in old if key not in new)]:
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        if was is None or now is None:
            yield Change(field="criteria", name=key, summary="added" if was is None else "removed")
            continue
        parts = [f"{name} {was[name]} → {now[name]}" for name in ("weight", "kind") if was[name] != now[name]]
        parts += ["sees other evidence"] * (was["sees"] != now["sees"]) + ["other checks"] * (
            was["checks"] != now["checks"]
        )
        diff = unified(was["text"], now["text"], key) if was["text"] != now["text"] else ""
        yield Change(field="criteria", name=key, summary=", ".join(parts + ["other words"] * bool(diff)), diff=diff)
    if old.keys() == new.keys() and list(old) != list(new):
        yield Change(field="criteria", name="Rubric", summary="in another order")
