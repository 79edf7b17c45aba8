"""The base of an exported task, when no server has it: one commit in a git bundle beside the metadata."""

from __future__ import annotations

import tempfile
from pathlib import Path

from oneshot import store
from oneshot.errors import InfraError, TaskError
from tasks.gitcommand import git
from tasks.models import TaskVersion
from tasks.snapshot import BRANCH, ensure_snapshot, make_base_repository

BUNDLE = "base.bundle"


def needs_bundle(version: TaskVersion) -> bool:
    """Return whether the base lies on this machine only, so that a directory elsewhere would lead nowhere."""
    url = str(version.repo.get("git_url") or "")
    return url.startswith(("/", "file:", "."))


def write_bundle(version: TaskVersion, target: Path) -> str:
    """Write the base as a bundle and return its commit. Prepares the base when that was not done before.

    Raises TaskError or InfraError when it is not to be had.
    """
    ensure_snapshot(version, lambda source, text: None)
    with tempfile.TemporaryDirectory(prefix="oneshot-bundle-") as directory:
        archive = Path(directory) / "base.tar"
        store.get_file(version.snapshot_digest, archive)
        commit = make_base_repository(archive, Path(directory) / "base.git")
        # One thread, so that the same base gives the same bytes.
        words = ["-c", "pack.threads=1", "bundle", "create", "--quiet", str(target), f"refs/heads/{BRANCH}"]
        made = git(words, directory=Path(directory) / "base.git", timeout_s=900)
    if not made.ok:
        raise InfraError(f"The base could not be written to {target}: {made.stderr.strip()[-300:]}")
    if commit != version.snapshot_commit:
        raise TaskError(f"The base kept for {version} is not the one it names. Prepare the task again.")
    return commit
