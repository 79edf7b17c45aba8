"""Says whether a repository is in a state from which a capture can start, and what would mend it.

    readiness = check(Path.cwd())
    readiness.ok, readiness.issues

Errors keep a capture from starting; warnings tell what its snapshot will lack; the rest is for information. Ids that
the original knows are the original's. Nothing is changed, and no program that the repository names is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from oneshot.errors import InfraError
from tasks.capture.errors import BadRepository
from tasks.capture.issues import Issue, Readiness, Severity
from tasks.capture.lfs import LARGEST_POINTER
from tasks.capture.lfs import START as LFS_START
from tasks.capture.untracked import NAMED, ignored_issues, names, quoted, untracked_issues
from tasks.capture.worktree import Worktree
from tasks.gitcommand import git
from tasks.problems import shown
from traces.redaction import redact

__all__ = ["Issue", "Readiness", "Severity", "check"]

LEAST_GIT = (2, 32)  # the first that lets the user's configuration be set aside
MOST_SUBMODULES = 50
MOST_LFS_FILES = 2_000
MOST_ATTRIBUTE_FILES = 200

# What git leaves in its directory while something goes on: file, id, severity, what, how to go on, how to give up.
_UNDER_WAY: tuple[tuple[str, str, Severity, str, str, str], ...] = (
    (
        "rebase-apply/applying",
        "am_in_progress",
        "error",
        "Applying mailed patches",
        "git am --continue",
        "git am --abort",
    ),
    ("rebase-merge", "rebase_in_progress", "error", "A rebase", "git rebase --continue", "git rebase --abort"),
    ("rebase-apply", "rebase_in_progress", "error", "A rebase", "git rebase --continue", "git rebase --abort"),
    ("MERGE_HEAD", "merge_in_progress", "error", "A merge", "git merge --continue", "git merge --abort"),
    (
        *("CHERRY_PICK_HEAD", "cherry_pick_in_progress", "error", "A cherry-pick"),
        *("git cherry-pick --continue", "git cherry-pick --abort"),
    ),
    ("REVERT_HEAD", "revert_in_progress", "error", "A revert", "git revert --continue", "git revert --abort"),
    ("BISECT_LOG", "bisect_in_progress", "warning", "A bisection", "", "git bisect reset"),
)


def check(worktree: Path) -> Readiness:
    """Return everything that is to be said about the repository that `worktree` lies in; it never raises for it."""
    if issue := _git_issue():
        return Readiness.of([issue])
    try:
        return Readiness.of(list(_Check(Worktree.locate(worktree)).run()))
    except BadRepository as error:
        return Readiness.of([_no_worktree(worktree, str(error))])


def _git_issue() -> Issue | None:
    try:
        words = git(["version"]).stdout.decode("utf-8", "replace")
    except InfraError as error:
        return Issue("git_missing", "error", str(error), "Install git.", ("apt-get install git",))
    version = re.search(r"(\d+)\.(\d+)", words)
    if version and (int(version[1]), int(version[2])) < LEAST_GIT:
        least = ".".join(map(str, LEAST_GIT))
        message = f"{shown(words.strip())} is too old: at least {least} is needed."
        return Issue("git_too_old", "error", message, "Install a newer git.")
    return None


def _no_worktree(path: Path, why: str) -> Issue:
    if any(_is_git_directory(folder) for folder in (path, *path.absolute().parents)):
        return Issue(
            "bare_repository",
            "error",
            f"{shown(str(path), 200)} is a bare repository or lies inside one: it has no files to work on.",
            "Work in a clone, or in a worktree of it.",
            ("git worktree add ../work",),
        )
    if not path.exists():
        return Issue(
            "not_a_repository", "error", f"{shown(str(path), 200)} does not exist.", "Name an existing folder."
        )
    return Issue(
        "not_a_repository",
        "error",
        redact(shown(why, 500)),
        "Change into a repository, or make this folder one.",
        ("git init", "git add -A", 'git commit -m "Start"'),
    )


def _is_git_directory(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


@dataclass
class _Listed:
    """What git says of the files. Paths are relative to the top; undecodable bytes are shown as replacements."""

    tracked: list[str]
    submodules: list[tuple[str, str]]  # path, commit in the index
    unmerged: dict[str, set[int]]
    sparse: bool


class _Check:
    """The look at one worktree. git is asked few questions, side by side."""

    def __init__(self, worktree: Worktree) -> None:
        self.worktree = worktree

    def run(self) -> Iterator[Issue]:
        with ThreadPoolExecutor(max_workers=4, thread_name_prefix="readiness") as pool:
            others = pool.submit(self._paths, ["--others", "--exclude-standard"])
            ignored = pool.submit(self._paths, ["--others", "--ignored", "--exclude-standard", "--directory"])
            config = pool.submit(self._config)
            head = pool.submit(self.worktree.resolve, "HEAD")
            listed = self._listed()
            settings = config.result()
            yield from self._access()
            yield from self._under_way()
            yield from self._conflicts(listed)
            yield from self._identity(settings)
            yield from self._head(head.result())
            yield from self._shape(settings, listed)
            yield from self._submodules(listed)
            yield from self._lfs(settings, listed)
            yield from untracked_issues(self.worktree.top, others.result())
            yield from ignored_issues(ignored.result())

    # What git says

    def _paths(self, options: Sequence[str]) -> list[str]:
        listed = self.worktree.must(["ls-files", "-z", *options])
        return [path.decode("utf-8", "surrogateescape") for path in listed.split(b"\0") if path]

    def _listed(self) -> _Listed:
        found = _Listed([], [], {}, sparse=False)
        rows = self.worktree.must(["ls-files", "-z", "--stage", "-t"]).split(b"\0")
        for row in rows:
            facts, _, name = row.partition(b"\t")
            if not name:
                continue
            path = name.decode("utf-8", "surrogateescape")
            tag, mode, commit, stage = facts.decode("ascii", "replace").split()
            found.sparse = found.sparse or tag == "S"
            if stage != "0":
                found.unmerged.setdefault(path, set()).add(int(stage))
            elif mode == "160000":
                found.submodules.append((path, commit))
            else:
                found.tracked.append(path)
        return found

    def _config(self) -> dict[str, str]:
        """Return the last value of every setting that this looks at, the user's own configuration included."""
        words = ["config", "--includes", "-z", "--get-regexp", r"^(user|author|committer|core|filter|remote|safe)\."]
        listed = git(words, directory=self.worktree.git_dir, with_users_config=True).stdout
        rows = [row.partition("\n") for row in listed.decode("utf-8", "replace").split("\0") if row]
        return {key: value for key, _, value in rows}

    # What follows from it

    def _access(self) -> Iterator[Issue]:
        top, common = self.worktree.top, self.worktree.common_dir
        unwritable = [place for place in (common / "objects", common / "refs") if not os.access(place, os.W_OK)]
        if unwritable:
            yield Issue(
                "read_only_repository",
                "error",
                f"This user may not write to {shown(str(unwritable[0]), 200)}, where the snapshot is to be kept.",
                "Give yourself the right to write, or work in a clone of your own.",
                (f"git clone {quoted(top)} my-clone",),
            )
        owner = top.stat().st_uid
        if owner not in {os.geteuid(), int(os.environ.get("SUDO_UID") or -1)} and not self._is_safe():
            yield Issue(
                "dubious_ownership",
                "warning",
                f"{shown(str(top), 200)} belongs to another user (uid {owner}), so that git refuses to work in it.",
                "Make it yours, or say that you trust it.",
                (f"git config --global --add safe.directory {quoted(top)}",),
            )
        lock = self.worktree.git_dir / "index.lock"
        if lock.exists():
            yield Issue(
                "index_locked",
                "warning",
                "Another git is changing the index, or one has died while it did.",
                "Wait until it is done. If no git runs in this repository, remove its lock.",
                (f"rm {quoted(lock)}",),
            )

    def _is_safe(self) -> bool:
        words = ["config", "-z", "--get-all", "safe.directory"]
        # Without a git directory only the user's own files are asked, as git itself does.
        listed = git(words, env={"GIT_DIR": os.devnull}, with_users_config=True).stdout.decode("utf-8", "replace")
        # One "*" is ours: see gitcommand.
        trusted = [value for value in listed.split("\0") if value]
        return str(self.worktree.top) in trusted or trusted.count("*") > 1

    def _under_way(self) -> Iterator[Issue]:
        seen: set[str] = set()
        for file, name, severity, what, go_on, give_up in _UNDER_WAY:
            # Patches being applied lie where a rebase lies.
            taken = "am_in_progress" in seen and name == "rebase_in_progress"
            if name in seen or taken or not (self.worktree.git_dir / file).exists():
                continue
            seen.add(name)
            yield Issue(
                name,
                severity,
                f"{what} is in progress.",
                "Finish it or give it up." if go_on else "End it, unless the work is about what it looks for.",
                tuple(command for command in (go_on, give_up) if command),
            )

    def _conflicts(self, listed: _Listed) -> Iterator[Issue]:
        if not listed.unmerged:
            return
        paths = sorted(listed.unmerged)
        named = ", ".join(f"{shown(path, 80)} ({_conflict(listed.unmerged[path])})" for path in paths[:NAMED])
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        yield Issue(
            "merge_conflicts",
            "error",
            f"There are unresolved conflicts in {named}{more}.",
            "Resolve each file, then add it.",
            ("git status", "git add <file>"),
        )

    def _identity(self, settings: dict[str, str]) -> Iterator[Issue]:
        for key, value in (("name", "Your Name"), ("email", "you@example.com")):
            variables = (f"GIT_AUTHOR_{key.upper()}", f"GIT_COMMITTER_{key.upper()}")
            given = settings.get(f"user.{key}") or (settings.get(f"author.{key}") and settings.get(f"committer.{key}"))
            if given or all(os.environ.get(variable) for variable in variables):
                continue
            yield Issue(
                f"no_git_{key}",
                "warning",
                f"git does not know your {'name' if key == 'name' else 'e-mail address'}: an agent cannot commit.",
                f"Set user.{key}.",
                (f'git config user.{key} "{value}"',),
            )

    def _head(self, commit: str) -> Iterator[Issue]:
        if not commit:
            yield Issue(
                "no_commits",
                "warning",
                "The repository has no commit yet; the snapshot of its files will be the only base.",
                "Commit what is there.",
                ("git add -A", 'git commit -m "Start"'),
            )
        elif not self.worktree.branch():
            yield Issue(
                "detached_head",
                "warning",
                f"HEAD is detached at {commit[:12]}: commits made now belong to no branch.",
                "Check out a branch, or make one here.",
                ("git switch -c <branch>",),
            )

    def _shape(self, settings: dict[str, str], listed: _Listed) -> Iterator[Issue]:
        if (self.worktree.common_dir / "shallow").is_file():
            yield Issue(
                "shallow_clone",
                "info",
                "The clone is shallow: older history is not here.",
                "Fetch it if the work looks at history.",
                ("git fetch --unshallow",),
            )
        if any(key.startswith("remote.") and key.endswith(".promisor") for key in settings):
            yield Issue(
                "partial_clone",
                "info",
                "The clone is partial: git fetches contents from the remote when it needs them.",
                "Fetch everything if you will be offline.",
                ("git fetch --refetch --no-filter",),
            )
        if listed.sparse or settings.get("core.sparsecheckout", "").lower() == "true":
            yield Issue(
                "sparse_checkout",
                "warning",
                "Only a part of the tree is checked out; the files outside are taken from the index as they are.",
                "Check out everything if the work may need it.",
                ("git sparse-checkout disable",),
            )
        if self.worktree.git_dir != self.worktree.common_dir:
            yield Issue("linked_worktree", "info", "This is a linked worktree; its captures are its own.")

    def _submodules(self, listed: _Listed) -> Iterator[Issue]:
        absent = [path for path, _ in listed.submodules if not (self.worktree.top / path / ".git").exists()]
        if absent:
            yield Issue(
                "uninitialized_submodules",
                "warning",
                f"Submodules are not checked out: {names(absent)}.",
                "Check them out if the work needs them.",
                ("git submodule update --init",),
            )
        present = [pair for pair in listed.submodules[:MOST_SUBMODULES] if pair[0] not in set(absent)]
        if not present:
            return
        with ThreadPoolExecutor(max_workers=2) as pool:
            states = list(pool.map(lambda pair: self._submodule_state(*pair), present))
        changed = [f"{path} ({state})" for (path, _), state in zip(present, states, strict=True) if state]
        first = next((path for (path, _), state in zip(present, states, strict=True) if state), "")
        if changed:
            yield Issue(
                "dirty_submodules",
                "warning",
                f"Submodules are not as the repository has them: {names(changed)}. "
                "A snapshot holds the commit of a submodule, not changed files in it.",
                "Commit inside the submodule what the work builds on.",
                (f"git -C {quoted(first)} status",),
            )

    def _submodule_state(self, path: str, commit: str) -> str:
        """Return how a submodule differs from what the index says of it, or ""."""
        try:
            inside = Worktree.locate(self.worktree.top / path)
            if inside.top != (self.worktree.top / path).resolve():
                return "broken"
            changed = inside.must(["ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"])
        except BadRepository:
            return "broken"
        if changed:
            return "changed files"
        return "" if inside.resolve("HEAD") == commit else "another commit"

    def _lfs(self, settings: dict[str, str], listed: _Listed) -> Iterator[Issue]:
        if not self._mentions_lfs(listed.tracked):
            return
        managed = self._paths([":(top,attr:filter=lfs)"])
        pointers = [path for path in managed[:MOST_LFS_FILES] if _is_pointer(self.worktree.top / path)]
        if pointers:
            yield Issue(
                "lfs_not_fetched",
                "warning",
                f"Git LFS has not fetched {len(pointers):,} of {len(managed):,} files; only pointers are there: "
                f"{names(pointers)}.",
                "Fetch them if the work needs them.",
                ("git lfs pull",),
            )
        elif managed and not any(key.startswith("filter.lfs.") for key in settings):
            yield Issue(
                "lfs_not_installed",
                "warning",
                "The repository uses Git LFS, which is not set up here: git takes large files for changed ones.",
                "Install Git LFS.",
                ("git lfs install --local",),
            )

    def _mentions_lfs(self, tracked: Sequence[str]) -> bool:
        files = [path for path in tracked if path.endswith(".gitattributes")][:MOST_ATTRIBUTE_FILES]
        places = [self.worktree.top / path for path in files] + [self.worktree.common_dir / "info" / "attributes"]
        return any(b"filter=lfs" in _start(place, 100_000) for place in places)


def _is_pointer(path: Path) -> bool:
    return _start(path, LARGEST_POINTER).startswith(LFS_START.strip())


def _start(path: Path, most: int) -> bytes:
    """Return the first bytes of a regular file; nothing when it cannot be read, and never through a link."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as file:
        try:
            return file.read(most)
        except OSError:
            return b""


def _conflict(stages: set[int]) -> str:
    if stages == {1}:
        return "deleted by both"
    if 2 in stages and 3 in stages:
        return "changed by both" if 1 in stages else "added by both"
    side = "us" if 2 in stages else "them"
    other = "them" if side == "us" else "us"
    return f"deleted by {other}" if 1 in stages else f"added by {side}"
