"""The draft that comes out of a capture: what was asked, the base, the change, and proposals for what grades it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.capture.hints import environment_hints
from tasks.capture.instructions import request_of
from tasks.capture.redacting import without_secrets
from tasks.capture.worktree import Worktree
from tasks.formats.base import DraftCriterion, TaskDraft
from tasks.formats.diff_tests import tests_of_diff
from tasks.formats.repositories import fault_of_ref, fault_of_url
from tasks.models import Capture
from tasks.patches import check_patch, parse, patch_notes
from traces.models import Session
from traces.redaction import find_secrets, redact

MOST_FINDINGS = 50
DIFF = "diff.patch"


@dataclass(kw_only=True)
class Material:
    """What a draft is made from. `head` is the commit that was checked out at the start, "" for none.

    Without a worktree there is no code: the commits are "" or only names, and `remote` may say where the code is.
    """

    worktree: Worktree | None
    external_id: str
    title: str
    start_commit: str = ""
    end_commit: str = ""
    head: str = ""
    branch: str = ""
    remote: str = ""
    diff: bytes = b""
    touched: list[str] = field(default_factory=list)
    session: Session | None = None
    notes: str = ""
    summary: str = ""
    labels: Iterable[str] = ()
    capture: Capture | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def make_draft(material: Material) -> TaskDraft:
    """Return the draft; what its author should know is in its notes. It has no problems."""
    draft = TaskDraft(external_id=material.external_id, title=redact(material.title))
    draft.repo = repository_of(material)
    draft.address = f"capture/{material.external_id}"
    draft.tags = sorted({" ".join(redact(label).split())[:100] for label in material.labels if label.strip()})
    _instructions(draft, material)
    _change(draft, material)
    draft.criteria = propose_criteria(draft, material.touched)
    hints = environment_hints(_paths(material), material.touched, material.session)
    findings = _secrets(material)
    draft.sensitivity = "sensitive" if findings else "unknown"
    if findings:
        places = ", ".join(dict.fromkeys(row["path"] for row in findings))[:300]
        draft.note(
            "", "sensitivity", "", f"What looks like secrets was found in it, so that it stays with the team: {places}."
        )
    draft.attachments = {"notes.md": _notes(material).encode("utf-8", "replace")}
    draft.provenance = {
        "format": "capture",
        "task_id": material.external_id,
        **material.provenance,
        **({"session_id": str(material.session.id)} if material.session else {}),
        "head_commit": material.head,
        "branch": material.branch,
        "remote_urls": material.worktree.remote_urls if material.worktree else [],
        "proposed": ["rubric", *(["hidden_tests"] if draft.tests_from_diff else []), "environment"],
        "environment_hints": hints,
        **draft.provenance,
        **({"findings": findings} if findings else {}),
    }
    return draft


def repository_of(material: Material) -> dict[str, Any]:
    """Return where the base comes from: its remote, when the start was a commit that is there, else this machine."""
    worktree = material.worktree
    branch = "" if fault_of_ref(material.branch) else material.branch
    if worktree is None:
        known = "://" in material.remote and not fault_of_url(material.remote)
        start = (material.start_commit or "HEAD") if known else ""
        place = {"git_url": material.remote if known else "", "branch": branch, "start_commit_sha": start}
        return {**place, "subdir": "", "sparse_checkout": [], "remove_paths": []}
    repo = {"branch": branch, "end_commit_sha": material.end_commit, "subdir": "", "sparse_checkout": []}
    remote = next((url for url in worktree.remote_urls if not fault_of_url(url)), "")
    unchanged = material.head and worktree.tree_of(material.head) == worktree.tree_of(material.start_commit)
    if remote and unchanged and worktree.is_published(material.head):
        return {"git_url": remote, "start_commit_sha": material.head, **repo, "remove_paths": []}
    common = worktree.common_dir
    folder = common.parent if common.name == ".git" else common
    # A path with spaces is no address that git is given; as a URL it is.
    url = folder.as_uri() if fault_of_url(str(folder)) else str(folder)
    return {"git_url": url, "start_commit_sha": material.start_commit, **repo, "remove_paths": []}


def _instructions(draft: TaskDraft, material: Material) -> None:
    """Take what the user asked in the session; without a session what was noted at the start."""
    capture = material.capture
    request = material.session and request_of(
        material.session,
        slug=capture.slug if capture else "",
        started_at=capture.started_at if capture else None,
    )
    if request:
        draft.instructions = request.text
        draft.provenance["instructions_from"] = "session"
        draft.provenance["instructions_step"] = request.position
        return
    known = [text for text in (redact(material.notes).strip(), draft.title) if text]
    draft.instructions = f"{draft.title}\n\n{known[0]}" if known[0] != draft.title else draft.title
    draft.provenance["instructions_from"] = "notes" if material.notes.strip() else "title"
    what = "the notes" if material.notes.strip() else "the title"
    where = "in its session" if material.session else "without a session"
    message = (
        f"What the user asked was not found {where}: the instructions are {what} given at the start. Rewrite them."
    )
    draft.note("LM_INSTRUCTIONS.md", "", "", message)


def _change(draft: TaskDraft, material: Material) -> None:
    """Take the reference diff and, as proposed hidden tests, the tests that it adds or changes."""
    if not material.diff.strip():
        if material.worktree is None:
            return
        message = "Nothing was changed: the task has no reference diff, so that it can be run, but not validated."
        draft.note(DIFF, "", "", message)
        return
    diff = without_secrets(material.diff)
    if problems := check_patch(diff):
        # The work is kept with the capture; only the task cannot use it.
        message = f"The change cannot be used as a reference diff. {problems[0].message}"
        draft.note(DIFF, problems[0].field, problems[0].value, message)
        return
    draft.reference_diff = diff
    draft.notes += patch_notes(diff)
    draft.tests_from_diff, draft.tests = tests_of_diff(diff)
    if draft.tests_from_diff:
        draft.provenance["tests_from_diff"] = draft.tests_from_diff
    else:
        message = "The session added and changed no tests: add hidden tests before its runs are graded."
        draft.note(DIFF, "", "", message)


def propose_criteria(draft: TaskDraft, touched: list[str]) -> list[DraftCriterion]:
    """Return a few criteria that follow from the request and the change, for a curator to sharpen."""
    asked = _first_sentence(draft.instructions)
    rows = [("task_completion", f"The change does what was asked: {asked}", "0.5", "essential")]
    code = [path for path in touched if path not in set(draft.tests_from_diff)]
    if code:
        shown = ", ".join(code[:3]) + (f" and {len(code) - 3} more" if len(code) > 3 else "")
        text = f"It changes the behaviour where it belongs; the reference changes {shown}. Other places may be as good."
        rows.append(("location", text, "0.15", "optional"))
    if draft.tests_from_diff:
        rows.append(
            ("testing", "The new behaviour is covered by tests that fail without the change.", "0.2", "important")
        )
    rows.append(
        ("code_quality", "The change reads like the code around it: names, structure, errors.", "0.15", "important")
    )
    rows.append(("scope", "It changes things that the request does not call for.", "0.15", "pitfall"))
    return [DraftCriterion(key=key, text=text, weight=Decimal(weight), kind=kind) for key, text, weight, kind in rows]


def _first_sentence(text: str) -> str:
    line = next((line.strip("# ").strip() for line in text.splitlines() if line.strip("# ").strip()), "")
    sentence = re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0]
    return sentence if len(sentence) <= 200 else sentence[:199] + "…"


def _paths(material: Material) -> list[str]:
    if material.worktree is None:
        return []
    listed = material.worktree.must(["ls-tree", "-r", "-z", "--name-only", "--full-tree", material.start_commit])
    return listed.decode("utf-8", "replace").split("\0")[:-1]


def _secrets(material: Material) -> list[dict[str, Any]]:
    """Return where secrets stand, or stood before the snapshots replaced them: in the change, and in the base.

    Of the base, only what the user had not committed is looked at; what is in a commit was shared before.
    """
    detail = material.capture.detail if material.capture else {}
    base = list(detail.get("secrets", []))
    known = {(row["path"], row["line"]) for row in base}
    change = [row for row in detail.get("end", {}).get("secrets", []) if (row["path"], row["line"]) not in known]
    left = [row for row in secrets_in_diff(material.diff) if row["path"] not in {row["path"] for row in change}]
    found = [{"part": "reference", **row} for row in (*change, *left)] + [{"part": "base", **row} for row in base]
    return found[:MOST_FINDINGS]


def secrets_in_diff(diff: bytes) -> list[dict[str, Any]]:
    """Return [{"kind": "secret", "what", "path", "line"}], the line counted in the diff, of secrets in text files."""
    if not find_secrets(diff.decode("utf-8", "replace")):
        return []
    found = []
    for section in parse(diff):
        if section.binary:
            continue
        text = diff[section.start : section.end].decode("utf-8", "replace")
        before = diff.count(b"\n", 0, section.start) + 1
        for secret in find_secrets(text):
            path = redact(section.new_path or section.old_path or "")
            line = before + text.count("\n", 0, secret.start)
            found.append({"kind": "secret", "what": secret.kind, "path": path, "line": line})
    return found


def _notes(material: Material) -> str:
    parts = [f"# {material.title}", material.notes, f"## Summary\n\n{material.summary}" if material.summary else ""]
    return redact("\n\n".join(part.strip() for part in parts if part.strip()) + "\n")


def folder_for(external_id: str, root: Path) -> Path:
    """Return where the created directory of a capture lies. Raises ValueError for an id that is no plain name."""
    if not external_id or external_id.startswith(".") or "/" in external_id or "\\" in external_id:
        raise ValueError(f"{external_id!r} is no name for a directory.")
    return root / "captures" / external_id
