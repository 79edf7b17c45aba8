"""Measures start and end of a capture in a repository of 50,000 files, with git's index warm and cold.

.venv/bin/python -m tests.perf.capture [FILES]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.core.management import call_command  # noqa: E402

from tasks import capture  # noqa: E402
from tests.installation import wait_for  # noqa: E402

ROUNDS = 5
GIT = ["git", "-c", "user.name=Perf", "-c", "user.email=perf@localhost", "-c", "gc.auto=0"]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    call_command("migrate", verbosity=0)
    folder = Path(tempfile.mkdtemp(prefix="oneshot-perf-"))
    try:
        measure(folder, count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, count: int) -> None:
    repository = make_repository(folder / "repository", count)
    print(f"{count:,} files, one commit; median and worst of {ROUNDS}")
    starts, ends, kept, again = [], [], [], []
    for number in range(ROUNDS):
        taken, row = timed(capture.start, worktree=repository, title=f"Round {number}")
        starts.append(taken)
        change(repository, number)
        taken, ended = timed(capture.end, row, summary="done")
        ends.append(taken)
        kept.append(timed(wait_for, lambda e=ended: is_kept(e), "keeping the base", 120)[0])
        again.append(timed(capture.end, row)[0])
        assert len(ended.touched_files) == 31, ended.touched_files
    tell("start_task", starts)
    tell("end_task, 30 files changed and one new", ends)
    tell("  until the base is kept, in the background", kept)
    tell("end_task asked for again", again)
    cold = []
    for _ in range(ROUNDS):
        # As after a copy or a clone by another tool: git must read every file again.
        (repository / ".git" / "index").unlink()
        git(repository, "read-tree", "HEAD")
        cold.append(timed(capture.start, worktree=repository, title="Cold")[0])
    tell("start_task, git knows no file's times", cold)


def is_kept(ended: capture.Ended) -> bool:
    """Return whether the process in the background is done: it writes the directory last."""
    return (ended.task_dir / "tb_meta.json").is_file()


def make_repository(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"package{number % 200}" / f"part{number % 11}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"def function_{line}():\n    return {number} + {line}\n\n\n" for line in range(15)))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    git(folder, "repack", "-adq")
    for key, value in (("user.name", "Perf"), ("user.email", "perf@localhost"), ("gc.auto", "0")):
        git(folder, "config", key, value)
    return folder


def change(folder: Path, number: int) -> None:
    for position in range(30):
        at = number * 1000 + position
        path = folder / f"package{at % 200}" / f"part{at % 11}" / f"module{at}.py"
        path.write_text(path.read_text() + f"changed = {number}\n")
    (folder / f"new{number}.py").write_text("new = True\n")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True)


def timed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - begun, result


def tell(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(f"{what:45} {ordered[len(ordered) // 2]:.2f} s  {ordered[-1]:.2f} s")


if __name__ == "__main__":
    main()
