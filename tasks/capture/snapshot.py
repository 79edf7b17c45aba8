"""A repository's tree as it is at one moment, kept as a commit: staged, unstaged and untracked, all that git sees.

Left out is what git ignores, and what is untracked and by its name a secret; the secrets in other files that are not
committed are replaced. Nothing but objects and refs below refs/oneshot/ is added to the repository.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from tasks.capture import lfs
from tasks.capture.cleaning import Cleaned, clean_index
from tasks.capture.errors import BadRepository
from tasks.capture.untracked import looks_secret
from tasks.capture.worktree import Worktree

REF = "refs/oneshot/captures/{id}/{end}"
SUBMODULE = b"160000"
NAMED = 50  # paths that a note or the row of a capture names at most


@dataclass(frozen=True)
class Snapshot:
    """A tree that was kept. `head` and `branch` are "" before a first commit and on a detached head.

    `submodules` are [{"path", "commit", "dirty"}], where commit is "" for one that is not checked out and dirty is
    None when that cannot be told. `left_out` are untracked files that look like secrets; `cleaned` is what was taken
    out of others. `notes` say in sentences what the tree does not hold.
    """

    commit: str
    tree: str
    head: str
    branch: str
    submodules: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    cleaned: Cleaned = field(default_factory=Cleaned)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Before:
    """What the snapshot at the start was like, for that at the end: both leave out and replace the same."""

    head: str
    left_out: list[str] = field(default_factory=list)
    blobs: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Listing:
    """What stands in the index, by what must be looked at; paths are bytes, as git gives them."""

    hidden: list[bytes] = field(default_factory=list)  # the user told git not to look, yet the file is there
    modules: list[bytes] = field(default_factory=list)


def take(worktree: Worktree, *, message: str, before: Before | None = None) -> Snapshot:
    """Commit the tree of a worktree as it is now, with HEAD as its parent, without moving anything of the user's.

    The commit is loose until `keep` gives it a ref. `before` is None at the start. Raises BadRepository.
    """
    head = worktree.resolve("HEAD")
    with tempfile.TemporaryDirectory(prefix="oneshot-index-") as directory:
        index = Path(directory) / "index"
        _copy_index(worktree, index)
        taking = _Taking(worktree, {"GIT_INDEX_FILE": str(index)}, before or Before(head))
        taking.run()
        tree = worktree.must(["write-tree", "--missing-ok"], env=taking.env).decode().strip()
    return Snapshot(
        commit=commit_tree(worktree, tree, parent=head, message=message),
        tree=tree,
        head=head,
        branch=worktree.branch(),
        submodules=taking.submodules,
        left_out=taking.left_out,
        cleaned=taking.cleaned,
        notes=taking.notes,
    )


def commit_tree(worktree: Worktree, tree: str, *, parent: str, message: str) -> str:
    """Return the id of a new commit of this tree, made by OneShot; `parent` may be ""."""
    who = {"NAME": "OneShot", "EMAIL": "capture@oneshot.invalid", "DATE": f"@{int(timezone.now().timestamp())} +0000"}
    env = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    words = ["commit-tree", "--no-gpg-sign", *(["-p", parent] if parent else []), tree]
    return worktree.must(words, env=env, stdin=message.encode("utf-8", "replace") + b"\n").decode().strip()


def keep(worktree: Worktree, capture_id: object, end: str, commit: str) -> None:
    """Give a snapshot its ref, so that no clean-up of the user's git loses it. `end` is "start" or "end"."""
    worktree.must(["update-ref", REF.format(id=capture_id, end=end), commit])


def forget(worktree: Worktree, capture_id: object) -> None:
    """Remove the refs of a capture; git removes the objects in its own time."""
    for end in ("start", "end"):
        worktree.must(["update-ref", "-d", REF.format(id=capture_id, end=end)])


def is_dirty(worktree: Worktree) -> bool:
    """Return whether anything in the worktree differs from its index, or is untracked and not ignored."""
    with tempfile.TemporaryDirectory(prefix="oneshot-index-") as directory:
        index = Path(directory) / "index"
        _copy_index(worktree, index)
        env = {"GIT_INDEX_FILE": str(index)}
        # What only looks changed, by its times, is not.
        worktree.run(["update-index", "-q", "--refresh", "--ignore-submodules"], env=env)
        changed = worktree.must(DIFF_FILES, env=env)
        staged = worktree.run(["diff-index", "--cached", "--quiet", "--ignore-submodules=none", "HEAD"], env=env)
        return bool(changed) or bool(worktree.must(UNTRACKED, env=env)) or staged.exit_code == 1


# Asking a submodule whether it is dirty would run a git of its own in there, with its configuration.
DIFF_FILES = ["diff-files", "--name-status", "-z", "--no-renames", "--ignore-submodules=dirty"]
UNTRACKED = ["ls-files", "--others", "--exclude-standard", "-z"]


class _Taking:
    """The way of a worktree's files into a private index."""

    def __init__(self, worktree: Worktree, env: dict[str, str], before: Before) -> None:
        self.worktree = worktree
        self.env = env
        self.before = before
        self.notes: list[str] = []
        self.left_out: list[str] = []
        self.cleaned = Cleaned()
        self.submodules: list[dict[str, Any]] = []

    def run(self) -> None:
        # Listing the untracked reads every directory, and needs nothing that the rest changes but the names.
        with ThreadPoolExecutor(1) as pool:
            untracked = pool.submit(self._must, UNTRACKED)
            listing = self._list()
            if listing.hidden:
                self._look_at(listing.hidden)
            words = _paths(self._must(DIFF_FILES))
            rows = list(zip(words[::2], words[1::2], strict=True))
            others = [path for path in _paths(untracked.result()) if not self._is_ours(path)]
        repositories = [path for path in others if path.endswith(b"/")]
        secret = {path for path in others if not path.endswith(b"/") and looks_secret(_name(path))}
        # What lay below a directory that is a link now cannot be looked at any more, not even to see that it is gone.
        self._remove([path for state, path in rows if state == b"D"])
        changed = [path for state, path in rows if state != b"D"]
        self._add([*changed, *(path for path in others if not path.endswith(b"/") and path not in secret)])
        self._leave_out(sorted(secret))
        self._clean()
        self.submodules = [self._submodule(path) for path in listing.modules]
        if repositories:
            self._note("Git repositories inside this one are left out of the task: {}.", repositories)
        if dirty := [row["path"].encode() for row in self.submodules if row["dirty"]]:
            self._note("Changes inside submodules are no part of the task, only their commit is: {}.", dirty)

    def _leave_out(self, secret: list[bytes]) -> None:
        """Note untracked files that look like secrets; what was one at the start stays out, though added since."""
        self.left_out = [_name(path) for path in secret]
        self._remove([path.encode() for path in self.before.left_out])
        if secret:
            self._note("Untracked files that look like secrets are left out of the task: {}.", secret)

    def _remove(self, paths: list[bytes]) -> None:
        if paths:
            self._must(["update-index", "--force-remove", "-z", "--stdin"], _joined(paths))

    def _clean(self) -> None:
        before = self.before
        self.cleaned = clean_index(self.worktree, self.env, since=before.head, known=before.blobs)
        if self.cleaned.paths:
            self._note("Secrets are replaced by [redacted] in files that were not committed: {}.", self.cleaned.paths)

    def _is_ours(self, path: bytes) -> bool:
        """Return whether an untracked path is OneShot's own data, when that lies in the repository."""
        own = os.fsencode(os.path.relpath(settings.DATA_DIR, self.worktree.top))
        return path == own or path.startswith(own + b"/")

    def _must(self, words: list[str], stdin: bytes = b"") -> bytes:
        return self.worktree.must(words, env=self.env, stdin=stdin)

    def _list(self) -> _Listing:
        """Read the index once: submodules, and files that the user told git to take as unchanged or as absent."""
        found = _Listing()
        for row in self._must(["ls-files", "-s", "-v", "-z"]).split(b"\0"):
            # One letter, then "MODE ID STAGE<tab>PATH"; small or "S" for what git was told not to look at.
            if row[:1] not in (b"H", b""):
                path = row.partition(b"\t")[2]
                if row[:1] != b"M" and _exists(self.worktree.top, path):
                    found.hidden.append(path)
            if row[2:8] == SUBMODULE:
                found.modules.append(row.partition(b"\t")[2])
        return found

    def _look_at(self, paths: list[bytes]) -> None:
        """Make git look at files again that are there, though it was told not to: the agent sees them as they are."""
        stdin = _joined(paths)
        for option in ("--no-assume-unchanged", "--no-skip-worktree"):
            self._must(["update-index", option, "-z", "--stdin"], stdin)

    def _add(self, paths: list[bytes]) -> None:
        if not paths:
            return
        kept_elsewhere, others = self._filtered(paths)
        plain = [path for path in paths if path not in kept_elsewhere]
        self._must(["update-index", "--add", "--remove", "--replace", "-z", "--stdin"], _joined(plain))
        if rows := lfs.index_rows(self.worktree, kept_elsewhere):
            # A name that was a directory before must give way first.
            self._must(["update-index", "--add", "--replace", "-z", "--index-info"], rows)
            self._note("Files kept by Git LFS are in the task as pointers, without their content: {}.", kept_elsewhere)
        if others:
            self._note("Their git filters are not run, so these files are taken as they lie on the disk: {}.", others)

    def _filtered(self, paths: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return (regular files that Git LFS keeps, those with another filter)."""
        answer = self._must(["check-attr", "-z", "--stdin", "filter"], _joined(paths)).split(b"\0")
        large: list[bytes] = []
        others: list[bytes] = []
        for path, value in zip(answer[::3], answer[2::3], strict=False):
            if value not in (b"unspecified", b"unset", b"set", b""):
                if not _is_file(self.worktree.top, path):
                    continue
                (large if value == b"lfs" else others).append(path)
        return large, others

    def _submodule(self, path: bytes) -> dict[str, Any]:
        name = path.decode("utf-8", "replace")
        top = self.worktree.top / os.fsdecode(path)
        if not (top / ".git").exists():
            return {"path": name, "commit": "", "dirty": None}
        try:
            inside = Worktree.locate(top)
            return {"path": name, "commit": inside.resolve("HEAD"), "dirty": is_dirty(inside)}
        except BadRepository:
            # A submodule that git cannot read says nothing about the repository around it.
            return {"path": name, "commit": "", "dirty": None}

    def _note(self, sentence: str, paths: list[bytes]) -> None:
        shown = [_name(path) for path in paths[:5]]
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        self.notes.append(sentence.format(", ".join(shown) + more))


def _copy_index(worktree: Worktree, target: Path) -> None:
    """Copy the user's index with its time: git takes a file as changed by comparing the two."""
    try:
        with (worktree.git_dir / "index").open("rb") as source:
            times = os.fstat(source.fileno())
            target.write_bytes(source.read())
    except FileNotFoundError:
        return  # nothing was ever added
    except OSError as error:
        raise BadRepository(f"{worktree.git_dir / 'index'} cannot be read: {error.strerror}.") from None
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _paths(listed: bytes) -> list[bytes]:
    return [path for path in listed.split(b"\0") if path]


def _name(path: bytes) -> str:
    return path.decode("utf-8", "replace")


def _joined(paths: list[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)


def _exists(top: Path, path: bytes) -> bool:
    return os.path.lexists(top / os.fsdecode(path))


def _is_file(top: Path, path: bytes) -> bool:
    try:
        return stat.S_ISREG((top / os.fsdecode(path)).lstat().st_mode)
    except OSError:
        return False
