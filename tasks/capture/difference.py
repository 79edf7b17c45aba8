"""What changed between two snapshots, as a diff that is tried before anyone relies on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.capture.errors import CaptureError
from tasks.capture.worktree import Worktree


class DoesNotApply(CaptureError):
    """Two trees differ in a way that no diff can say; `diff` is the nearest."""

    def __init__(self, message: str, diff: bytes) -> None:
        super().__init__(message)
        self.diff = diff


DIFF_TREE = [
    *("diff-tree", "-r", "-p", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--src-prefix=a/", "--dst-prefix=b/", "-U3", "--inter-hunk-context=0", "--ignore-submodules=none"),
]


def reference_diff(worktree: Worktree, start: str, end: str) -> bytes:
    """Return the diff that makes the tree `end` out of the tree `start`; b"" when they are equal.

    Ids of commits or trees. It has been applied to `start` and gave `end`. Raises DoesNotApply when none does.
    """
    for renames in ("-M", "--no-renames"):
        diff = worktree.must([*DIFF_TREE, renames, start, end])
        made, why = tree_after(worktree, start, [diff])
        if made == worktree.must(["rev-parse", "--verify", f"{end}^{{tree}}"]).decode().strip():
            return diff
    message = f"The change from {start[:12]} to {end[:12]} cannot be written as a diff that applies. {why}"
    raise DoesNotApply(message.strip(), diff)


def touched_files(worktree: Worktree, start: str, end: str) -> list[str]:
    """Return the paths that differ, sorted; both of a rename."""
    words = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none", start, end]
    listed = worktree.must(words).split(b"\0")
    return sorted(path.decode("utf-8", "replace") for path in listed if path)


def tree_after(worktree: Worktree, start: str, diffs: list[bytes]) -> tuple[str, str]:
    """Return (the tree that the diffs make of `start` one after the other, ""), or ("", what git says against it).

    Objects are made in a place of their own, which is gone afterwards.
    """
    with _scratch(worktree) as env:
        tree, _, why = _applied(worktree, start, diffs, "", env)
        return tree, why


def combined(worktree: Worktree, start: str, diffs: list[bytes], *, below: str = "") -> tuple[bytes, int, str]:
    """Return (the one diff that does what `diffs` do to `start` one after the other, how many applied, "").

    Their paths are relative to the directory `below`. Where one does not apply: (b"", how many did, what git says).
    """
    with _scratch(worktree) as env:
        tree, applied, why = _applied(worktree, start, diffs, below, env)
        if not tree:
            return b"", applied, why
        return worktree.must([*DIFF_TREE, "-M", start, tree], env=env), applied, ""


@contextmanager
def _scratch(worktree: Worktree) -> Iterator[dict[str, str]]:
    """Give an environment in which git reads the repository, and writes index and objects into a place of its own."""
    with tempfile.TemporaryDirectory(prefix="oneshot-apply-") as directory:
        scratch = Path(directory)
        (scratch / "objects").mkdir()
        yield {
            "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(worktree.common_dir / "objects"),
        }


def _applied(
    worktree: Worktree, start: str, diffs: list[bytes], below: str, env: dict[str, str]
) -> tuple[str, int, str]:
    """Return (the tree after the diffs, how many applied, ""), or ("", how many did, why the next does not)."""
    worktree.must(["read-tree", start], env=env)
    words = ["apply", "--cached", "--whitespace=nowarn", *([f"--directory={below}"] if below else []), "-"]
    for number, diff in enumerate(diffs):
        if diff.strip():
            result = worktree.run(words, env=env, stdin=diff)
            if not result.ok:
                return "", number, " ".join(result.stderr.split())[:400]
    return worktree.must(["write-tree", "--missing-ok"], env=env).decode().strip(), len(diffs), ""
