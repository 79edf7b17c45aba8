"""OneShot's own format: the created directory of a capture, and the prepared one made from it.

Both hold tb_meta.json, LM_INSTRUCTIONS.md, diff.patch and repo_info.json, at the top or below overlay_files/;
a prepared one may add overlay_repo_files/, overrides.json and a Dockerfile. docs/first-task.md describes every field.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks import environment as environments
from tasks.formats.base import FILE_MODE, PROGRAM_MODE, DraftFile, TaskDraft
from tasks.formats.diff_tests import tests_of_diff
from tasks.formats.evaluation import read_evaluation
from tasks.formats.fields import Fields, fault_of_text
from tasks.formats.files import LINK, LITTER, MAX_TREE_BYTES, TaskFiles, Unreadable
from tasks.formats.overrides import FILE as OVERRIDES
from tasks.formats.overrides import apply_overrides, check_removal
from tasks.formats.repositories import read_repository
from tasks.patches import check_patch, patch_notes, unsafe_path
from tasks.problems import Problem, shown

META = "tb_meta.json"
INSTRUCTIONS = "LM_INSTRUCTIONS.md"
DIFF = "diff.patch"
INFO = "repo_info.json"
OVERLAY = "overlay_files"
REPO_OVERLAY = "overlay_repo_files"
REMOVALS = "remove_repo_paths.txt"
# What an export puts into the metadata, to be known again (tasks/exporting/created.py).
MARK = "oneshot"

SENSITIVITIES = ("safe", "sensitive", "unknown")
MAX_INSTRUCTIONS = 1_000_000
# What the original lays beside the repository, for itself.
KNOWN_IN_OVERLAY = {
    *(META, INSTRUCTIONS, DIFF, INFO, REMOVALS, "notes.md", "trace", "evaluation", "box_bootstrap.sh", "codex-synth"),
    *("container_start_proxy.sh", "export_container_traces.sh", "container_trace_health_check.sh", ".gitkeep"),
}
# Put beside a task by the original when it runs it: neither read nor wondered at.
LEFT_BY_RUNS = {"codex-files", "evaluation_results", ".env", ".env.bak", "mitmproxy-ca-cert.pem"}
OWN_DIRECTORIES = (OVERLAY, REPO_OVERLAY, "evaluation", "trace")
# What only the original's own Dockerfile copies; that file cannot be built anywhere else.
ORIGINAL_DOCKERFILE = ("codex-files/", "box_bootstrap.sh")


class OneShotFormat:
    name = "oneshot"

    def recognises(self, directory: Path) -> bool:
        files = TaskFiles(directory)
        if any(files.has(path) for path in (META, f"{OVERLAY}/{META}")):
            return True
        # A task whose metadata is missing is still to be reported as one.
        return any(files.kind(path) == "file" for path in (INSTRUCTIONS, INFO, f"{OVERLAY}/{INSTRUCTIONS}"))

    def read(self, directory: Path, *, local_repositories: bool = True) -> TaskDraft:
        return _Reading(directory, local_repositories).run()


class _Reading:
    """The reading of one directory; every step adds to the draft and goes on after a fault."""

    def __init__(self, directory: Path, local_repositories: bool) -> None:
        self.files = TaskFiles(directory)
        self.directory = directory
        self.local_repositories = local_repositories
        self.draft = TaskDraft()
        self.prepared = any(self.files.has(name) for name in (REPO_OVERLAY, "Dockerfile", f"{OVERLAY}/{META}"))

    def run(self) -> TaskDraft:
        draft = self.draft
        self._refuse_links()
        meta = self._metadata()
        if meta is None:
            draft.external_id = self.directory.resolve().name[:300]
            return draft
        draft.instructions = self._instructions(meta)
        draft.overlay = self._repository_overlay()
        draft.repo["remove_paths"] = self._removals()
        if self.files.has(OVERRIDES) and (overrides := self._json(OVERRIDES)):
            meta = apply_overrides(draft, meta, overrides)
            draft.provenance["overrides"] = sorted(key for key in overrides if isinstance(key, str))[:50]
        fields = Fields(draft, self.meta_file, meta)
        self._names(fields)
        self._check_instructions()
        info = self._optional_json(INFO)
        repo, draft.address = read_repository(
            fields,
            info,
            directory=self.directory,
            local_repositories=self.local_repositories,
            may_be_absent=bool(draft.overlay),
        )
        draft.repo = {**repo, "remove_paths": draft.repo["remove_paths"]}
        draft.sensitivity = self._sensitivity(fields)
        draft.environment = self._environment(meta)
        read_evaluation(fields.object("evaluation"), self.files)
        self._reference_diff()
        self._recognise_export(fields.object(MARK))
        self._provenance(fields)
        self._check_overlay()
        return draft

    # Files

    def _refuse_links(self) -> None:
        """Refuse links among the files of the format; what else lies in the directory is never opened."""
        names = [entry.name for entry in sorted(self.directory.iterdir(), key=lambda entry: entry.name)]
        links = [name for name in names if name not in LEFT_BY_RUNS and (self.directory / name).is_symlink()]
        for directory in OWN_DIRECTORIES:
            if self.files.kind(directory) == "directory":
                try:
                    below = [f"{directory}/{path}" for path in self.files.walk(directory)]
                except Unreadable as error:
                    self.draft.problems.append(error.problem)
                    continue
                links += [path for path in below if (self.directory / path).is_symlink()]
        for path in links[:20]:
            self.draft.refuse(shown(path), "", shown(f"-> {(self.directory / path).readlink()}"), LINK)

    def _find(self, name: str) -> str:
        """Return where a file lies, or "": a prepared task shows agents what is below overlay_files."""
        places = [name, f"{OVERLAY}/{name}"]
        if self.prepared and name != META:
            places.reverse()
        found = [place for place in places if self.files.has(place)]
        if len(found) == 2 and self._bytes(found[0]) != self._bytes(found[1]):
            self.draft.note(found[1], "", "", f"It differs from {found[0]}, which counts.")
        return found[0] if found else ""

    def _bytes(self, path: str) -> bytes | None:
        """Return a file's bytes, or None after a problem was recorded, once for each file."""
        try:
            return self.files.read(path)
        except Unreadable as error:
            self._refuse_once(error.problem)
            return None

    def _text(self, path: str) -> str:
        try:
            return self.files.read_text(path)
        except Unreadable as error:
            self._refuse_once(error.problem)
            return ""

    def _json(self, path: str) -> dict[str, Any] | None:
        try:
            return self.files.read_json(path)
        except Unreadable as error:
            self._refuse_once(error.problem)
            return None

    def _refuse_once(self, problem: Problem) -> None:
        known = {(other.file, other.message) for other in self.draft.problems}
        if (problem.file, problem.message) not in known:
            self.draft.problems.append(problem)

    def _optional_json(self, name: str) -> dict[str, Any]:
        """Return a file that only fills gaps; a fault in it is a note."""
        path = self._find(name)
        if not path:
            return {}
        try:
            return self.files.read_json(path)
        except Unreadable as error:
            if not (self.directory / path).is_symlink():
                self.draft.notes.append(error.problem)
            return {}

    # Parts of a task

    def _metadata(self) -> dict[str, Any] | None:
        self.meta_file = self._find(META)
        if not self.meta_file:
            self.meta_file = META
            message = "It is missing, and without it this is no task. docs/first-task.md shows a small one."
            self.draft.refuse(META, "", "", message)
            return None
        return self._json(self.meta_file)

    def _names(self, fields: Fields) -> None:
        draft = self.draft
        given = fields.data.get("task_id") or fields.data.get("id")
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        elif given is not None and (not isinstance(given, str) or len(given) > 300):
            fields.refuse("task_id", "It must be text of at most 300 characters.")
            given = None
        else:
            given = fields.text("task_id", "id")
        draft.external_id = (given or "").strip() or self.directory.resolve().name[:300]
        metadata = fields.object("metadata")
        title = (metadata.text("title") or fields.text("title")).strip()
        if not title:
            title = _heading(draft.instructions) or draft.external_id
        if len(title) > 300:
            metadata.note("title", "Only its first 300 characters are kept.")
        draft.title = " ".join(title.split())[:300]
        draft.tags = sorted(
            {tag.strip()[:100] for tag in (metadata.texts("tags") or fields.texts("tags")) if tag.strip()}
        )

    def _instructions(self, meta: dict[str, Any]) -> str:
        if path := self._find(INSTRUCTIONS):
            text = self._text(path)
            if text.strip():
                return text
        fields = Fields(self.draft, self.meta_file, meta)
        return fields.object("lm").text("instructions") or fields.text("lm_instructions", "instructions")

    def _check_instructions(self) -> None:
        draft = self.draft
        unread = any(problem.file.endswith(INSTRUCTIONS) for problem in draft.problems)
        if not draft.instructions.strip() and not unread:
            message = f"The task asks for nothing. Write {INSTRUCTIONS}, or lm.instructions in {META}."
            draft.refuse(INSTRUCTIONS, "", "", message)
        elif len(draft.instructions) > MAX_INSTRUCTIONS:
            draft.refuse(INSTRUCTIONS, "", "", f"It has more than {MAX_INSTRUCTIONS:,} characters. Shorten it.")
        draft.instructions = draft.instructions.replace("\r\n", "\n")

    def _sensitivity(self, fields: Fields) -> str:
        given = fields.data.get("sensitivity")
        level = given if isinstance(given, str) else fields.object("sensitivity").text("level")
        level = level.strip().lower() or "unknown"
        if level not in SENSITIVITIES:
            message = f"It is one of {', '.join(SENSITIVITIES)}."
            self.draft.refuse(self.meta_file, "sensitivity.level", shown(level), message)
            return "unknown"
        return level

    def _environment(self, meta: dict[str, Any]) -> dict[str, Any]:
        declared = meta.get("environment")
        if declared is None:
            declared = {}
        if isinstance(declared, dict):
            declared = {key: value for key, value in declared.items() if value is not None}
            self._dockerfile(declared)
        self.draft.problems += environments.problems(declared, file=self.meta_file)
        if fault := fault_of_text(json.dumps(declared, ensure_ascii=False)):
            self.draft.refuse(self.meta_file, "environment", "", fault)
        return declared if isinstance(declared, dict) else {}

    def _dockerfile(self, declared: dict[str, Any]) -> None:
        """Put the text of a Dockerfile into the environment: the one beside the task, or the one it names."""
        named = declared.get("dockerfile", "")
        if isinstance(named, str) and "\n" not in named and " " not in named.strip():
            path = named.strip() or "Dockerfile"
            if why := unsafe_path(path):
                self.draft.refuse(self.meta_file, "environment.dockerfile", shown(path), f"The path {why}.")
                return
            if self.files.has(path):
                text = self._text(path)
                if all(mark in text for mark in ORIGINAL_DOCKERFILE):
                    message = "The original's Dockerfile: left out. Say in environment what the task needs installed."
                    self.draft.note(path, "", "", message)
                    declared.pop("dockerfile", None)
                elif text.strip():
                    declared["dockerfile"] = text
            elif named.strip():
                message = "There is no such file in the task. Name one, or write the Dockerfile's text here."
                self.draft.refuse(self.meta_file, "environment.dockerfile", shown(path), message)

    def _reference_diff(self) -> None:
        draft = self.draft
        path = self._find(DIFF)
        data = self._bytes(path) if path else b""
        if not data or not data.strip():
            if data is not None:
                message = (
                    "There is no reference diff: the task can be run, but not validated, and the oracle has nothing."
                )
                draft.note(path or DIFF, "", "", message)
            return
        draft.reference_diff = _mended(data)
        draft.problems += check_patch(draft.reference_diff, file=path)
        draft.notes += patch_notes(draft.reference_diff, file=path)
        if not draft.tests:
            draft.tests_from_diff, draft.tests = tests_of_diff(draft.reference_diff)
            if not draft.tests_from_diff:
                message = (
                    "The task has no hidden tests, and its diff adds none: only tests that the repository has already "
                    "can grade its runs. Validation tells whether they notice the change."
                )
                draft.note(self.meta_file, "evaluation.test_scripts", "", message)

    def _recognise_export(self, mark: Fields) -> None:
        """Take the id of the task that was exported here, and the version if nothing was changed since."""
        if self.draft.external_id != mark.text("task_id", most=300):
            return
        self.draft.external_id = mark.text("external_id", most=300) or self.draft.external_id
        if mark.text("files_digest", most=64) == self.draft.digest():
            self.draft.exported_from = mark.text("version_digest", most=64)

    def _repository_overlay(self) -> list[DraftFile]:
        if self.files.kind(REPO_OVERLAY) != "directory":
            return []
        found: list[DraftFile] = []
        total = 0
        try:
            paths = self.files.walk(REPO_OVERLAY)
        except Unreadable:
            return []
        for path in paths:
            # Keeps an otherwise empty directory in git.
            if path == ".gitkeep":
                continue
            file = f"{REPO_OVERLAY}/{path}"
            content = self._bytes(file)
            total += len(content or b"")
            if total > MAX_TREE_BYTES:
                self.draft.refuse(REPO_OVERLAY, "", "", f"It holds more than {MAX_TREE_BYTES:,} bytes.")
                return found
            if content is not None:
                mode = PROGRAM_MODE if self.files.is_program(file) else FILE_MODE
                found.append(DraftFile(path=path, content=content, mode=mode))
        return found

    def _check_overlay(self) -> None:
        """Refuse overlay files that reach git's own directory, and a file below another file."""
        paths = {file.path for file in self.draft.overlay}
        for path in sorted(paths):
            if why := unsafe_path(path):
                message = f"The path {why}. Only files of the repository can be laid over it."
                self.draft.refuse(f"{REPO_OVERLAY}/{shown(path)}", "", "", message)
            elif any("/".join(path.split("/")[:end]) in paths for end in range(1, path.count("/") + 1)):
                self.draft.refuse(f"{REPO_OVERLAY}/{shown(path)}", "", "", "A part of its path is a file itself.")

        if self.files.kind(OVERLAY) == "directory":
            for entry in sorted((self.directory / OVERLAY).iterdir()):
                if entry.name not in KNOWN_IN_OVERLAY and entry.name not in LITTER:
                    message = f"It is left out: only {REPO_OVERLAY} is laid over the repository. Move it there."
                    self.draft.note(f"{OVERLAY}/{shown(entry.name)}", "", "", message)

    def _removals(self) -> list[str]:
        path = self._find(REMOVALS)
        found = []
        for number, line in enumerate(self._text(path).splitlines() if path else [], start=1):
            if not line.strip():
                continue
            if why := check_removal(line.strip()):
                message = f"The path {why}. Name files of the repository."
                self.draft.refuse(path, f"line {number}", shown(line), message)
            else:
                found.append(line.strip().removeprefix("./").rstrip("/"))
        return found

    def _provenance(self, fields: Fields) -> None:
        draft = self.draft
        draft.provenance |= {
            "format": "oneshot",
            "layout": "prepared" if self.prepared else "created",
            "task_id": draft.external_id,
        }
        if created_at := fields.text("created_at", most=100):
            draft.provenance["created_at"] = created_at
        if draft.tests_from_diff:
            draft.provenance["tests_from_diff"] = draft.tests_from_diff
        if session := self._find("trace/session_id.txt"):
            draft.provenance["session_id"] = shown(self._text(session).strip())
        if (notes := self._find("notes.md")) and (content := self._bytes(notes)):
            draft.attachments["notes.md"] = content


def _mended(diff: bytes) -> bytes:
    """Give back what trimming took from the end of a diff: the last line end, and lines that were only a space."""
    if diff.endswith(b"\n"):
        return diff
    whole = diff + b"\n"
    for extra in (b"", b" \n", b" \n \n", b" \n \n \n"):
        if not check_patch(whole + extra):
            return whole + extra
    return whole


def _heading(instructions: str) -> str:
    """Return the title that the first line of the instructions gives, as "# Task: Fix it"; or ""."""
    first = next((line for line in instructions.splitlines() if line.strip()), "")
    return first.lstrip("# ").removeprefix("Task:").strip() if first.startswith("#") else ""
