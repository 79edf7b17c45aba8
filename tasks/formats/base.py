"""What a format makes of a task's files: a draft with everything a version holds, and what is wrong with it.

Formats are plain code without a database. A package of its own may add one by an entry point in the group
"oneshot.formats" that names an object with the methods of `Format`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from tasks.problems import Problem

FILE_MODE = "100644"
PROGRAM_MODE = "100755"


@dataclass(frozen=True, kw_only=True)
class DraftFile:
    """A file at a path in the repository. `mode` is git's; `rubric_id` names the criterion that a test speaks for."""

    path: str
    content: bytes
    mode: str = FILE_MODE
    rubric_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class DraftCriterion:
    """A question of the rubric; weights are relative to each other."""

    key: str
    text: str
    weight: Decimal
    kind: str = "important"
    checks: tuple[str, ...] = ()
    # What a judge may see; empty for what it sees when nothing is said.
    sees: tuple[str, ...] = ()


@dataclass(kw_only=True)
class TaskDraft:
    """A task as it was read. It may be stored only when `problems` is empty; `notes` are for its author to know.

    `repo` is as in TaskVersion; `repo["remove_paths"]` lists paths or shell patterns, relative to the repository,
    that are deleted from the base before the agent sees it. `address` tells the repository apart from others,
    whatever way it is fetched. `tests_from_diff` names the tests that the reference diff adds or changes, when the
    task brings none of its own. `attachments` are files kept for curators alone.
    """

    external_id: str = ""
    # The digest of the version that was exported to these very files; "" when they are not known to be an export.
    exported_from: str = ""
    title: str = ""
    instructions: str = ""
    repo: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    reference_diff: bytes = b""
    environment: dict[str, Any] = field(default_factory=dict)
    tests: list[DraftFile] = field(default_factory=list)
    tests_from_diff: list[str] = field(default_factory=list)
    overlay: list[DraftFile] = field(default_factory=list)
    criteria: list[DraftCriterion] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    sensitivity: str = "unknown"
    provenance: dict[str, Any] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def refuse(self, file: str, field: str, value: str, message: str) -> None:
        """Record what keeps the task from being stored."""
        self.problems.append(Problem(file, field, value, message))

    def note(self, file: str, field: str, value: str, message: str) -> None:
        """Record what the author should know though the task can be stored."""
        self.notes.append(Problem(file, field, value, message))

    def digest(self) -> str:
        """Return the sha256 of everything that agents and graders get to see; the rubric has a digest of its own.

        The way to fetch the repository is no content, and neither is the branch, unless the base is its tip.
        """
        commit = self.repo.get("start_commit_sha", "")
        document = {
            "instructions": self.instructions,
            "repo": {
                "address": self.address,
                "commit": commit,
                "branch": self.repo.get("branch", "") if commit == "HEAD" else "",
                "subdir": self.repo.get("subdir", ""),
                "sparse_checkout": self.repo.get("sparse_checkout", []),
                "remove_paths": self.repo.get("remove_paths", []),
            },
            "reference_diff": _sha256(self.reference_diff),
            "environment": self.environment,
            # Tests taken from the diff follow from it, and are completed only when the base is there.
            "tests": []
            if self.tests_from_diff
            else sorted([t.path, _sha256(t.content), t.rubric_id or ""] for t in self.tests),
            "overlay": sorted([f.path, _sha256(f.content), f.mode] for f in self.overlay),
        }
        return _sha256(canonical(document))

    def rubric_digest(self) -> str:
        """Return the sha256 of the criteria in their order; "" without any."""
        if not self.criteria:
            return ""
        rows = [
            [c.key, c.text, f"{c.weight:.4f}", c.kind, list(c.checks), *([list(c.sees)] if c.sees else [])]
            for c in self.criteria
        ]
        return _sha256(canonical(rows))


class Format(Protocol):
    """A way in which tasks lie in directories."""

    name: str

    def recognises(self, directory: Path) -> bool:
        """Return whether the directory is a task of this format, or was meant to be one."""
        ...

    def read(self, directory: Path, *, local_repositories: bool = True) -> TaskDraft:
        """Read a task. Faults become problems of the draft; nothing is raised for bad content.

        `local_repositories` says whether its repository may lie on this machine.
        """
        ...


def formats() -> Iterator[Format]:
    """Yield every known format, OneShot's own first."""
    from tasks.formats import oneshot

    yield oneshot.OneShotFormat()
    for entry in entry_points(group="oneshot.formats"):
        yield entry.load()()


def recognise(directory: Path) -> Format | None:
    """Return the format of a task directory, or None when it is none."""
    return next((known for known in formats() if known.recognises(directory)), None)


def canonical(document: object) -> bytes:
    """Return the one spelling of a JSON document over which digests are made."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
