"""What an end does after its draft is stored: the base goes into the content store, the created directory is written.

Of a large repository this takes seconds, so that a process of its own does it while the agent goes on. Until it is
done the private ref keeps the base; were it killed, the preparation of the task would do the same.

    python -m tasks.capture.keeping CAPTURE
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
    django.setup()

from django.conf import settings

from oneshot import store
from oneshot.errors import InfraError, TaskError
from tasks.capture.drafting import folder_for
from tasks.capture.errors import BadRepository
from tasks.capture.worktree import Worktree
from tasks.models import Capture, TaskVersion
from tasks.repositories import locked
from tasks.snapshot import keep_base

# Bases of more files than these are kept by a process of its own.
MOST_FILES_AT_ONCE = 5_000


def complete(version: TaskVersion, repository: Path, commit: str, task_dir: Path) -> list[str]:
    """Keep the base of a stored draft and write its created directory, as far as that is still to do.

    `repository` is a git directory with `commit`. Returns in sentences what went wrong. Nothing is lost then: the
    base is kept when the task is prepared, and the directory is written when this is called again.
    """
    # Writing tasks takes code that a start does not need.
    from tasks import exporting

    notes = []
    if not has_base(version):
        # A tree of OneShot's own is as git writes it today, so that the id of its base follows from it.
        own = version.provenance.get("capture")
        try:
            tree = Worktree(repository, repository, repository).tree_of(commit) if own else ""
            keep_base(version, repository, commit, tree)
        except (BadRepository, TaskError, InfraError) as error:
            notes.append(f"The base is not kept yet: {error}")
    if not (task_dir / "tb_meta.json").is_file():
        try:
            exporting.write_created(version, task_dir)
        except (OSError, ValueError) as error:
            notes.append(f"{task_dir} could not be written: {error}")
    return notes


def has_base(version: TaskVersion) -> bool:
    """Return whether the version's base lies in the content store."""
    return bool(version.snapshot_digest) and store.has(version.snapshot_digest)


def is_large(repository: Path, commit: str) -> bool:
    """Return whether keeping this commit as a base takes long; False when it is not there."""
    listed = Worktree(repository, repository, repository).run(["ls-tree", "-r", "-z", "--name-only", commit])
    return listed.stdout.count(b"\0") > MOST_FILES_AT_ONCE


def keep_in_background(capture: Capture) -> None:
    """Let a process of its own keep the base of an ended capture; it outlives the one that calls this."""
    logs = Path(settings.DATA_DIR) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "capture.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "tasks.capture.keeping", str(capture.pk)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "ONESHOT_DATA_DIR": str(settings.DATA_DIR)},
            start_new_session=True,
        )


def main() -> None:
    # Someone is at work on this machine.
    os.nice(10)
    capture = Capture.objects.get(pk=sys.argv[1])
    version = TaskVersion.objects.select_related("task").get(pk=capture.detail["end"]["version"])
    task_dir = folder_for(capture.slug, Path(settings.DATA_DIR))
    with locked(f"capture-{capture.pk}"):
        notes = complete(version, Path(capture.detail["common_dir"]), capture.start_commit, task_dir)
    for note in notes:
        print(f"{capture.slug}: {note}", flush=True)  # noqa: T201 - into the log


if __name__ == "__main__":
    main()
