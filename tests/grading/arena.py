"""Somewhere to grade: a repository made from {path: text}, diffs against it, and a version that is never saved."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneshot import store
from runs import grading, sandboxes
from runs.grading.base import Grade
from runs.models import Image
from runs.sandboxes.base import Provider
from tasks.models import TaskVersion

LIMITS = {"timeout_s": 60, "test_timeout_s": 60, "memory_mb": 1024, "cpus": 1.0, "pids": 256, "disk_mb": 1024}
AUTHOR = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]


def git(folder: Path, *args: str) -> bytes:
    return subprocess.run(["git", *AUTHOR, *args], cwd=folder, check=True, capture_output=True).stdout


def write(folder: Path, files: dict[str, str | bytes | None]) -> None:
    """Write files below a folder; None deletes one, and a text that begins with `->` makes a link."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            path.unlink()
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None and content.startswith("->"):
            path.symlink_to(content[2:])
        elif content is not None:
            path.write_text(content)


@dataclass
class Arena:
    """One repository ready to be graded in one kind of sandbox."""

    provider: Provider
    folder: Path
    image: Image
    base: Path
    environment: dict[str, Any]
    log: list[str] = field(default_factory=list)

    def diff(self, changes: dict[str, str | bytes | None]) -> bytes:
        """Return what git says when these files are written over the base."""
        copy = self.folder / "changed"
        shutil.copytree(self.base, copy, symlinks=True)
        try:
            write(copy, changes)
            git(copy, "add", "--all", "--force")
            return git(copy, "diff", "--cached", "--binary", "--full-index", "-M", "HEAD")
        finally:
            shutil.rmtree(copy)

    def version(
        self,
        *,
        reference: bytes = b"",
        hidden: dict[str, str] | None = None,
        fix: list[str] | None = None,
        keep: list[str] | None = None,
        excluded: list[str] | None = None,
        **environment: Any,
    ) -> TaskVersion:
        lists = {
            "fail_to_pass": fix or [],
            "pass_to_pass": keep or [],
            "excluded": [{"id": name, "reason": "flaky"} for name in excluded or []],
            "checks": [],
        }
        return TaskVersion(
            environment={**self.environment, **environment},
            reference_diff_digest=store.put(reference) if reference else "",
            hidden_tests=[{"path": path, "digest": store.put_text(text)} for path, text in (hidden or {}).items()],
            expectations_digest=store.put_text(json.dumps(lists)) if fix or keep else "",
        )

    def grade(self, version: TaskVersion, diff: bytes, **limits: Any) -> Grade:
        return grading.grade(
            version=version,
            diff=diff,
            image=self.image,
            provider=self.provider,
            limits={**LIMITS, **limits},
            labels={"oneshot.instance": sandboxes.instance(), "oneshot.run": "grading-test", "oneshot.try": "1"},
            log=lambda source, text: self.log.append(text),
        )

    def without_path(self) -> Arena:
        """Take away what the image of a local arena says about where pytest is."""
        facts = Path(self.image.reference) / "image.json"
        document = json.loads(facts.read_text())
        del document["env"]["PYTHONPATH"]
        facts.write_text(json.dumps(document))
        return self

    def verdicts(self, grade: Grade) -> dict[str, str]:
        return {one.test_id: str(one.verdict) for one in grade.results}
