"""Which tasks leave OneShot, and what became of each: the gate for what is sensitive or holds secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneshot.store import ContentMissing
from tasks.exporting.created import created_name, write_created
from tasks.exporting.original import prepared_name
from tasks.models import Task, TaskVersion
from traces.redaction import find_secrets

WRITTEN, REFUSED = "written", "refused"


@dataclass(kw_only=True)
class ExportResult:
    """What became of one task. `version` and `path` are None when it was refused."""

    slug: str
    result: str
    version: int | None = None
    path: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it with the keys that `export_tasks --json` promises."""
        return {
            "slug": self.slug,
            "version": self.version,
            "path": self.path,
            "result": self.result,
            "problems": self.problems,
            "notes": self.notes,
        }


def export_tasks(
    tasks: Iterable[Task],
    target: Path,
    *,
    include_sensitive: bool = False,
    on_result: Callable[[ExportResult], None] = lambda result: None,
) -> list[ExportResult]:
    """Write the current version of every task as a created directory below `target`, each on its own.

    A task that is sensitive, or that holds what looks like a secret, is refused unless `include_sensitive`.
    """
    results: list[ExportResult] = []
    prepared: dict[str, str] = {}
    for task in tasks:
        result = _export_one(task, target, include_sensitive=include_sensitive)
        if result.path:
            name = prepared_name(Path(result.path).name)
            if other := prepared.get(name):
                result.notes.append(f"The original: it prepares this task and {other} into one directory, {name}.")
            prepared.setdefault(name, task.slug)
        results.append(result)
        on_result(result)
    return results


def _export_one(task: Task, target: Path, *, include_sensitive: bool) -> ExportResult:
    refused = ExportResult(slug=task.slug, result=REFUSED)
    version = task.current_version
    if version is None:
        refused.problems.append("It has no version yet.")
        return refused
    try:
        if not include_sensitive and (why := _held_back(version)):
            refused.problems.append(why)
            return refused
        directory = target / created_name(version)
        notes = write_created(version, directory, with_base=True)
    except ContentMissing as error:
        refused.problems.append(str(error))
    except OSError as error:
        refused.problems.append(str(error) if error.strerror is None else f"{error.strerror}: {error.filename}")
    except ValueError as error:
        refused.problems.append(f"{error} Correct the task, then export it again.")
    else:
        return ExportResult(slug=task.slug, result=WRITTEN, version=version.number, path=str(directory), notes=notes)
    return refused


def _held_back(version: TaskVersion) -> str:
    """Return why a version must not leave by default, or ""."""
    if version.sensitivity == "sensitive":
        return "It is marked sensitive. Give --include-sensitive to export it all the same."
    texts = {"instructions": version.instructions, "reference diff": _text(version.reference_diff())}
    texts |= {path: _text(content) for path, content in version.hidden_test_files().items()}
    for place, text in texts.items():
        if found := find_secrets(text):
            line = text.count("\n", 0, found[0].start) + 1
            return (
                f"It holds what looks like a secret ({found[0].kind}, {place}, line {line}). "
                "Take it out, or give --include-sensitive to export it all the same."
            )
    return ""


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
