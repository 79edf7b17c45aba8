"""The created directory: what a capture of the original leaves, and what its `prepare` reads.

Everything of a version is in it, with our `environment` object and a mark `oneshot` beside the original's keys. The
mark says what the files were when they were written: an import that finds them unchanged knows the version again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from django.utils import timezone

from oneshot import store
from oneshot.errors import InfraError, TaskError
from tasks.actions import stem_of
from tasks.exporting.base import BUNDLE, needs_bundle, write_bundle
from tasks.exporting.evaluation import rubric_text, rubrics_of, tests_of
from tasks.exporting.original import remarks
from tasks.exporting.places import MARK, META, fresh_directory, put
from tasks.exporting.trace import write_trace
from tasks.facts import without_password
from tasks.formats.oneshot import DIFF, INFO, INSTRUCTIONS, REMOVALS, REPO_OVERLAY, OneShotFormat
from tasks.models import Rubric, TaskVersion
from tasks.patches import parse
from traces.redaction import redact

SCHEMA = 1
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,150}")


def created_name(version: TaskVersion) -> str:
    """Return the task id of an export, which names its directory too: with the time stamp that `prepare` cuts off."""
    task = version.task
    if _PLAIN.fullmatch(task.external_id) and stem_of(task.external_id) != task.external_id:
        return task.external_id
    return f"{task.slug}_{timezone.localtime(task.created_at, timezone.get_default_timezone()):%Y%m%d_%H%M%S}"


def write_created(version: TaskVersion, directory: Path, *, with_base: bool = False) -> list[str]:
    """Write the created directory of a version, whole or not at all, and return remarks for people.

    `with_base` puts the base beside it when it is on no server. An earlier export of the same task is replaced.
    Raises Foreign, which is an OSError, when something else is there, and ValueError for a path that would leave it.
    """
    with fresh_directory(directory, task=version.task.slug) as made:
        return _Writing(version, made, with_base).run()


class _Writing:
    def __init__(self, version: TaskVersion, directory: Path, with_base: bool) -> None:
        self.version = version
        self.directory = directory
        self.with_base = with_base
        self.notes: list[str] = []
        self.rubric: Rubric | None = version.task.rubrics.order_by("-number").first()

    def run(self) -> list[str]:
        version = self.version
        diff = version.reference_diff()
        repo = self._repo()
        scripts, test_files = tests_of(version)
        meta = self._meta(repo, scripts)
        put(self.directory, INSTRUCTIONS, version.instructions)
        put(self.directory, DIFF, diff)
        put(self.directory, INFO, _json(self._info(repo, diff)))
        put(self.directory, "notes.md", self._notes())
        put(self.directory, "evaluation/rubric_template.md", rubric_text(self.rubric))
        for path, content in test_files.items():
            put(self.directory, path, content)
        if removed := [str(path) for path in repo.pop("remove_paths")]:
            put(self.directory, REMOVALS, "".join(f"{path}\n" for path in removed))
        for file in version.overlay_files:
            path = f"{REPO_OVERLAY}/{file['path']}"
            program = str(file.get("mode", "")).endswith("755")
            put(self.directory, path, store.get(file["digest"]), program=program)
        write_trace(version, self.directory)
        meta[MARK] = self._mark(meta)
        (self.directory / META).write_text(_json(meta), encoding="utf-8")
        return self.notes + [f"The original: {remark}" for remark in remarks(meta)]

    def _repo(self) -> dict[str, Any]:
        """Return where the base is: on its server, or in a bundle beside the metadata."""
        given = self.version.repo
        repo = {
            "git_url": without_password(str(given.get("git_url") or "")),
            "branch": str(given.get("branch") or ""),
            "start_commit_sha": str(given.get("start_commit_sha") or ""),
            "end_commit_sha": str(given.get("end_commit_sha") or ""),
            "subdir": str(given.get("subdir") or ""),
            "sparse_checkout": list(given.get("sparse_checkout") or []),
            "remove_paths": list(given.get("remove_paths") or []),
        }
        if not self.with_base or not needs_bundle(self.version):
            return repo
        try:
            commit = write_bundle(self.version, self.directory / BUNDLE)
        except (TaskError, InfraError) as error:
            self.notes.append(f"The base is not included, so that the task is bound to this machine: {error}")
            return repo
        # The bundle holds the base as agents see it: what is chosen and taken out of the repository is so already.
        return repo | {
            **{"git_url": f"./{BUNDLE}", "branch": "main", "start_commit_sha": commit},
            **{"subdir": "", "sparse_checkout": [], "remove_paths": []},
        }

    def _meta(self, repo: dict[str, Any], scripts: list[dict[str, Any]]) -> dict[str, Any]:
        version = self.version
        return {
            "task_id": created_name(version),
            "created_at": str(version.provenance.get("created_at") or version.task.created_at.isoformat()),
            "metadata": {"title": version.title, "tags": list(version.task.tags)},
            "repo": {key: value for key, value in repo.items() if key != "remove_paths"},
            "lm": {"instructions": version.instructions},
            "environment": version.environment,
            "evaluation": {"rubrics": rubrics_of(self.rubric), "test_scripts": scripts},
            "sensitivity": {"level": version.sensitivity},
        }

    def _info(self, repo: dict[str, Any], diff: bytes) -> dict[str, Any]:
        remotes = self.version.provenance.get("remote_urls")
        urls = remotes if isinstance(remotes, list) else [repo["git_url"]] if "://" in repo["git_url"] else []
        sections = parse(diff)
        return {
            "remote_urls": [redact(without_password(str(url))) for url in urls],
            "branch": repo["branch"],
            "start_commit": repo["start_commit_sha"],
            "end_commit": repo["end_commit_sha"],
            "touched_files": sorted({path for each in sections if (path := each.new_path or each.old_path)}),
        }

    def _notes(self) -> bytes:
        files = self.version.provenance.get("files")
        digest = files.get("notes.md") if isinstance(files, dict) else None
        if digest and store.has(str(digest)):
            return store.get(str(digest))
        made = self.version.task.created_at
        return f"# {self.version.title}\n\nCreated: {made:%Y-%m-%d %H:%M} UTC\n".encode()

    def _mark(self, meta: dict[str, Any]) -> dict[str, Any]:
        """Return what an import needs to know the version again: the digest that the written files have."""
        (self.directory / META).write_text(_json(meta), encoding="utf-8")
        read = OneShotFormat().read(self.directory)
        self.notes += [f"It cannot be imported as it is: {problem}" for problem in read.problems]
        task = self.version.task
        return {
            "schema": SCHEMA,
            "task": task.slug,
            "task_id": meta["task_id"],
            "external_id": task.external_id,
            "version": self.version.number,
            "version_digest": self.version.digest,
            "files_digest": read.digest(),
        }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
