"""Mends what keeps a capture from starting, where that can lose nobody's work, and says what it did.

An identity for commits is set in the repository's own configuration, and submodules that are not checked out are
checked out into their empty folders. Merges, conflicts, locks and files are left to a person.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.capture.issues import Issue
from tasks.capture.readiness import check
from tasks.capture.worktree import Worktree
from tasks.gitcommand import GitResult, git
from tasks.problems import shown
from traces.redaction import redact

logger = logging.getLogger(__name__)

NAME = "OneShot User"
EMAIL = "oneshot@localhost"
# An agent waits for the answer; what takes longer is better done by hand.
SUBMODULES_TIMEOUT_S = 40


def autofix(worktree: Path) -> dict[str, Any]:
    """Mend what can be mended and return {"ok", "fixed": [id], "remaining_issues": [issue], "summary"}.

    Doing it twice changes nothing more. Raises InfraError when this machine has no git.
    """
    before = {issue.id: issue for issue in check(worktree).issues}
    reasons: dict[str, str] = {}
    if before.keys() & {"no_git_name", "no_git_email", "uninitialized_submodules"}:
        found = Worktree.locate(worktree)
        for name, key, value in (("no_git_name", "user.name", NAME), ("no_git_email", "user.email", EMAIL)):
            if name in before:
                reasons[name] = _failure(_set_config(found, key, value))
        if "uninitialized_submodules" in before:
            reasons["uninitialized_submodules"] = _check_out_submodules(found)
    after = check(worktree)
    remaining = [_with_reason(issue, reasons.get(issue.id, "")) for issue in after.issues]
    fixed = [name for name in before if name not in {issue.id for issue in remaining}]
    for name in fixed:
        logger.info("Mended %s in %s", name, worktree)
    return {
        "ok": after.ok,
        "fixed": fixed,
        "remaining_issues": [issue.as_dict() for issue in remaining],
        "summary": _summary(fixed, after.summary),
    }


def _summary(fixed: list[str], state: str) -> str:
    done = {
        "no_git_name": f"set user.name to “{NAME}” in this repository",
        "no_git_email": f"set user.email to {EMAIL} in this repository",
        "uninitialized_submodules": "checked out the submodules",
    }
    words = [done.get(name, f"{name} is gone") for name in fixed]
    return (f"Mended: {', '.join(words)}. " if words else "Nothing was changed. ") + state


def _with_reason(issue: Issue, reason: str) -> Issue:
    return replace(issue, message=f"{issue.message} It could not be mended: {reason}") if reason else issue


def _set_config(worktree: Worktree, key: str, value: str) -> GitResult:
    # The shared directory's configuration: that of a linked worktree alone needs an extension.
    return git(["config", "--file", str(worktree.common_dir / "config"), key, value])


def _check_out_submodules(worktree: Worktree) -> str:
    """Check out submodules whose folders are empty or missing; return why that failed, or "".

    One that is checked out already is not touched: it may hold commits that are nowhere else. `--checkout` sets aside
    a command that the configuration may name as the way of updating.
    """
    listed = worktree.must(["ls-files", "-z", "--stage"]).split(b"\0")
    paths = [os.fsdecode(row.partition(b"\t")[2]) for row in listed if row.startswith(b"160000 ")]
    empty = [path for path in paths if _is_empty(worktree.top / path)]
    if not empty:
        return "The folders of the submodules hold files; move them away first."
    words = ["-C", str(worktree.top), "submodule", "--quiet", "update", "--init", "--checkout", "--", *empty]
    # Without the directory in the words: git-submodule finds it from where it stands.
    return _failure(git(words, with_users_config=True, timeout_s=SUBMODULES_TIMEOUT_S))


def _is_empty(folder: Path) -> bool:
    """Return whether nothing can be lost below `folder`. A link is not followed."""
    if folder.is_symlink():
        return False
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _failure(result: GitResult) -> str:
    if result.ok:
        return ""
    if result.exit_code is None:
        return f"It took more than {SUBMODULES_TIMEOUT_S} s and was stopped. Do it by hand."
    return redact(shown(" ".join(result.stderr.split()), 300)) or f"git ended with status {result.exit_code}."
