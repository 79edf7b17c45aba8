"""Takes hidden tests out of a reference diff, for tasks that bring none of their own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from tasks.formats.base import FILE_MODE, PROGRAM_MODE, DraftFile
from tasks.patches import (
    SUBMODULE_MODE,
    SYMLINK_MODE,
    FilePatch,
    added_content,
    mailbox_diffs,
    parse,
    readable,
    strip_paths,
    unsafe_path,
)
from tasks.problems import Problem, shown
from tasks.testfiles import is_test_path

ReadBase = Callable[[str], bytes | None]
"""Returns the content of a file of the base by its path in the diff, or None when there is no such file."""

APPLY_TIMEOUT_S = 120


def tests_of_diff(diff: bytes) -> tuple[list[str], list[DraftFile]]:
    """Return (every test file that stands after the diff, those whose whole content is in it).

    The rest changes a file of the base, or several messages of a mailbox touch it: `tests_after` gives them when
    the base is there. A file whose content the diff has lost is no test.
    """
    diff = readable(diff)
    final: dict[str, list[DraftFile | None]] = {}
    for section in parse(diff):
        moved = section.old_path is not None and section.change != "copy"
        before = final.pop(section.old_path, []) if moved and section.old_path else []
        path = section.new_path
        if path and is_test_path(path) and not section.stub and section.new_mode not in (SYMLINK_MODE, SUBMODULE_MODE):
            final[path] = [*before, _whole_file(diff, section, path)]
    ready = [touches[0] for _, touches in sorted(final.items()) if len(touches) == 1]
    return sorted(final), [file for file in ready if file]


def tests_after(diff: bytes, paths: Collection[str], read_base: ReadBase) -> tuple[list[DraftFile], list[Problem]]:
    """Return (the files at `paths` as the diff leaves them, what went wrong). Files that it deletes are left out.

    Only the parts of the diff that concern these paths are applied, to copies of the base's files in a directory
    of their own; nothing of the repository is run.
    """
    diffs = mailbox_diffs(diff)
    related = _related(diffs, set(paths))
    if any(unsafe_path(path) for path in related):
        return [], [Problem("diff.patch", "", "", "It names a path outside of the repository.")]
    with tempfile.TemporaryDirectory(prefix="oneshot-tests-") as name:
        directory = Path(name)
        for path in sorted(related):
            content = read_base(path)
            if content is not None:
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_bytes(content)
        for part in diffs:
            wanted = strip_paths(part, lambda path: path not in related)
            if parse(wanted) and (fault := _apply(wanted, directory)):
                message = f"Its tests cannot be taken from it, since it does not apply to the base: {fault}"
                return [], [Problem("diff.patch", "", "", message)]
        return [_file(directory, path) for path in sorted(paths) if _is_file(directory / path)], []


def _whole_file(diff: bytes, section: FilePatch, path: str) -> DraftFile | None:
    content = added_content(diff, section)
    return None if content is None else DraftFile(path=path, content=content, mode=section.new_mode)


def _related(diffs: list[bytes], paths: set[str]) -> set[str]:
    """Return `paths` with all others whose content flows into theirs through renames and copies."""
    sections = [section.named_paths() for diff in diffs for section in parse(diff)]
    related, size = set(paths), -1
    while len(related) != size:
        size = len(related)
        for named in sections:
            if related.intersection(named):
                related.update(named)
    return related


def _apply(diff: bytes, directory: Path) -> str:
    """Apply with git as plain patch; return "" or the first line of what git says."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory.parent),
        # Neither a repository around the temporary directory nor anyone's settings may change what happens.
        "GIT_CEILING_DIRECTORIES": str(directory.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }
    command = ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", "-"]
    try:
        done = subprocess.run(
            command, input=diff, cwd=directory, env=environment, capture_output=True, timeout=APPLY_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"git took more than {APPLY_TIMEOUT_S} s."
    words = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else shown(words[0] if words else f"git ended with {done.returncode}", 300)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _file(directory: Path, path: str) -> DraftFile:
    mode = PROGRAM_MODE if os.access(directory / path, os.X_OK) else FILE_MODE
    return DraftFile(path=path, content=(directory / path).read_bytes(), mode=mode)
