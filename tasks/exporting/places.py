"""Directories that an export writes: whole or not at all, and never in the place of what it did not write."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.patches import unsafe_path
from tasks.problems import shown

META = "tb_meta.json"
MARK = "oneshot"
MAX_META = 64_000_000


class Foreign(FileExistsError):
    """Something else lies where the task is to go; it is left as it is."""


@contextlib.contextmanager
def fresh_directory(target: Path, *, task: str) -> Iterator[Path]:
    """Give an empty directory that takes the place of `target` when the block ends well.

    An earlier export of the same task is replaced; anything else that has files raises Foreign. After an error
    `target` is as it was.
    """
    _check(target, task)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".export-"))
    try:
        made = scratch / "new"
        made.mkdir()
        yield made
        _check(target, task)
        old = scratch / "old"
        if target.exists():
            target.rename(old)
        try:
            made.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(target: Path, task: str) -> None:
    if target.is_symlink():
        raise Foreign(f"{shown(str(target), 300)} is a link, so nothing is written there. Choose another folder.")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if exported_task(target) != task:
        raise Foreign(
            f"{shown(str(target), 300)} holds something that was not exported from this task. "
            "Move it away, or choose another folder."
        )


def exported_task(directory: Path) -> str:
    """Return the slug of the task that was exported into a directory, "" when none was."""
    file = directory / META
    try:
        if file.is_symlink() or file.stat().st_size > MAX_META:
            return ""
        document: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    mark = document.get(MARK) if isinstance(document, dict) else None
    return str(mark.get("task", "")) if isinstance(mark, dict) else ""


def put(directory: Path, path: str, content: bytes | str, *, program: bool = False) -> None:
    """Write one file below `directory`. Raises ValueError for a path that would leave it."""
    if why := unsafe_path(path):
        raise ValueError(f"The path {shown(path)} {why}.")
    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    # "x": within a fresh directory a file that is there already is another one of the same task.
    with file.open("xb") as handle:
        handle.write(content.encode("utf-8") if isinstance(content, str) else content)
    file.chmod(0o755 if program else 0o644)
