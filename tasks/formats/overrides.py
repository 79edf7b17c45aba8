"""Applies an overrides.json to a task's metadata: the keys of the original's runner and of its command line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from tasks.formats.base import DraftFile, TaskDraft
from tasks.formats.evaluation import read_overlay_texts
from tasks.formats.fields import Fields
from tasks.patches import unsafe_path
from tasks.problems import shown

FILE = "overrides.json"
PROMPTS = ("prompt", "lm_instructions")
# Concern one run of one agent, or files outside of the repository; a task does not carry them.
NOT_CARRIED = ("openai", "model_provider", "model", "rollouts", "overlay_files")
KNOWN = (
    *PROMPTS,
    "overlay_repo_files",
    "inject_files",
    "remove_repo_paths",
    "evaluation",
    "rubrics",
    "test_scripts",
    "repo",
    "environment_variables",
    *NOT_CARRIED,
)


def apply_overrides(draft: TaskDraft, meta: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata as overridden; the instructions, overlay and removals go into the draft.

    As in the original, `repo` and `evaluation` replace what was there. What is not safe is refused, what a task
    does not carry is noted by its key, never by its value, which may be a secret.
    """
    fields = Fields(draft, FILE, overrides)
    meta = dict(meta)
    if prompt := fields.text(*PROMPTS):
        draft.instructions = prompt
    evaluation = fields.object("evaluation").data or {
        k: overrides[k] for k in ("rubrics", "test_scripts") if k in overrides
    }
    if evaluation:
        meta["evaluation"] = evaluation
    if repo := fields.object("repo").data:
        meta["repo"] = repo
    _add_environment_variables(fields, meta)
    _overlay(fields)
    draft.repo["remove_paths"] = sorted({*draft.repo.get("remove_paths", []), *_removals(fields)})
    for key in overrides:
        if key in NOT_CARRIED:
            draft.note(
                FILE, shown(key), "", "It is not part of a task and is left out; set it for the agent or the run."
            )
        elif key not in KNOWN:
            near = get_close_matches(key, KNOWN, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The keys are {', '.join(KNOWN)}."
            draft.refuse(FILE, shown(key), "", f"There is no such key. {hint}")
    return meta


def check_removal(path: str) -> str:
    """Return why this path or shell pattern must not be deleted from the repository, or ""."""
    bare = path.strip().removeprefix("./").strip("/") if not path.startswith("/") else path
    return "holds a backslash" if "\\" in bare else unsafe_path(bare)


def _add_environment_variables(fields: Fields, meta: dict[str, Any]) -> None:
    variables = fields.object("environment_variables").data
    environment = meta.get("environment") or {}
    if variables and isinstance(environment, dict):
        given = environment.get("env")
        meta["environment"] = {**environment, "env": {**(given if isinstance(given, dict) else {}), **variables}}


def _overlay(fields: Fields) -> None:
    draft = fields.draft
    # Refused for what they would do, though a task carries none of them.
    read_overlay_texts(fields, "overlay_files")
    files = read_overlay_texts(fields, "overlay_repo_files")
    for item in fields.objects("inject_files"):
        path, content = item.text("path", most=1000), item.text("content")
        why = "holds a backslash" if "\\" in path else unsafe_path(path)
        if why:
            item.refuse("path", f"The path {why}. Name a file in the repository.")
        else:
            files.append(DraftFile(path=path, content=content.encode()))
    replaced = {file.path: file for file in [*draft.overlay, *files]}
    draft.overlay = [replaced[path] for path in sorted(replaced)]


def _removals(fields: Fields) -> list[str]:
    found = []
    for position, path in enumerate(fields.texts("remove_repo_paths")):
        if not path.strip():
            continue
        if why := check_removal(path):
            place = f"remove_repo_paths[{position}]"
            fields.draft.refuse(FILE, place, shown(path), f"The path {why}. Name files of the repository.")
        else:
            found.append(path.strip().removeprefix("./").rstrip("/"))
    return found
