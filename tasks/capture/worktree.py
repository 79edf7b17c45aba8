"""A person's repository, read and written to by git plumbing that can run no program of the repository's choice.

Everything happens with a copy of the index; the worktree, HEAD, the branch, the reflogs and the stash stay untouched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from tasks.capture.errors import BadRepository
from tasks.gitcommand import GitResult, git

TIMEOUT_S = 300
# How the user's own settings change what a file in the worktree means. Everything else of them is left aside.
MEANINGFUL = (
    *("core.autocrlf", "core.eol", "core.symlinks", "core.filemode", "core.ignorecase", "core.precomposeunicode"),
    *("core.excludesfile", "core.attributesfile"),
)
# An index split in two would be written next to the user's; a warning about line ends must not stop a snapshot.
QUIET = {
    "core.splitIndex": "false",
    "index.sparse": "false",
    "core.safecrlf": "false",
    "core.logAllRefUpdates": "false",
    "i18n.commitEncoding": "utf-8",
    "apply.whitespace": "nowarn",
    "apply.ignoreWhitespace": "no",
}
FILTER_KEY = re.compile(r"filter\.(?P<name>.+)\.(clean|smudge|process|required)", re.DOTALL)
READ_ONLY = re.compile(r"Read-only file system|Permission denied|insufficient permission|unable to create", re.I)
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.I)


@dataclass(frozen=True)
class Worktree:
    """A checkout: its top directory, its own git directory, and the one that it shares with other worktrees."""

    top: Path
    git_dir: Path
    common_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)
    filters: tuple[str, ...] = ()

    @classmethod
    def locate(cls, path: Path) -> Worktree:
        """Return the worktree that `path` lies in. Raises BadRepository when there is none that git can read.

        The directory is found without git, which would refuse one of another owner; that refusal guards against
        programs of the repository, and none of them is run here.
        """
        try:
            start = path.resolve(strict=True)
        except OSError as error:
            raise BadRepository(
                f"{path} cannot be opened: {error.strerror}. Name the folder of a repository."
            ) from None
        for top in (start, *start.parents):
            entry = top / ".git"
            if entry.is_dir() or entry.is_file():
                if not str(top).isprintable():
                    raise BadRepository(f"The folder's name {str(top)!r} cannot be stored. Give it a plain one.")
                return cls._at(top, entry)
        raise BadRepository(
            f"{start} is not in a git repository. Change into one, or make it one: git init, git add, git commit."
        )

    @classmethod
    def _at(cls, top: Path, entry: Path) -> Worktree:
        git_dir = entry if entry.is_dir() else _linked(entry)
        found = git(["rev-parse", "--git-common-dir"], directory=git_dir)
        if not found.ok:
            raise BadRepository(f"git cannot read the repository {top}: {found.stderr.strip()[-300:]}")
        common = (Path("/") / found.stdout.decode("utf-8", "surrogateescape").rstrip("\n")).resolve()
        settings, filters = _settings(git_dir)
        return cls(top, git_dir.resolve(), common, settings, filters)

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path = b"",
    ) -> GitResult:
        """Run git in this worktree with what is meaningful of the user's settings, and with every filter off."""
        words = [f"--work-tree={self.top}"]
        for name, value in {**QUIET, **self.settings}.items():
            words += ["-c", f"{name}={value}"]
        # Names of filters may hold "=", which the command line could not tell apart.
        pairs = [
            (f"filter.{name}.{key}", value)
            for name in self.filters
            for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
        ]
        off = {"GIT_CONFIG_COUNT": str(len(pairs)), "GIT_NO_LAZY_FETCH": "1"}
        for number, (key, value) in enumerate(pairs):
            off |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return git(
            [*words, *arguments], directory=self.git_dir, env={**off, **(env or {})}, stdin=stdin, timeout_s=TIMEOUT_S
        )

    def must(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path = b"",
    ) -> bytes:
        """Run git and return what it prints. Raises BadRepository, with whose fault it is, when it fails."""
        result = self.run(arguments, env=env, stdin=stdin)
        if result.ok:
            return result.stdout
        words = " ".join(result.stderr.split())[-400:]
        if result.exit_code is None:
            raise BadRepository(f"git {arguments[0]} in {self.top} took more than {TIMEOUT_S} s and was stopped.")
        if NO_SPACE.search(words):
            raise BadRepository(f"There is no space left in {self.common_dir}. Free some, then try again.")
        if READ_ONLY.search(words):
            raise BadRepository(
                f"The snapshot cannot be kept: this user may not write to {self.common_dir}. "
                f"Make it writable, or work in a clone of your own. git says: {words}"
            )
        raise BadRepository(f"git {arguments[0]} failed in {self.top}. git says: {words}")

    def resolve(self, name: str) -> str:
        """Return the id of the commit that `name` leads to, or "" when there is none."""
        result = self.run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"])
        return result.stdout.decode().strip() if result.ok else ""

    def tree_of(self, commit: str) -> str:
        """Return the id of a commit's tree. Raises BadRepository when the commit is not there."""
        return self.must(["rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}"]).decode().strip()

    def branch(self) -> str:
        """Return the short name of the branch that is checked out; "" when HEAD is detached."""
        result = self.run(["symbolic-ref", "--quiet", "--short", "HEAD"])
        return result.stdout.decode("utf-8", "replace").strip() if result.ok else ""

    @cached_property
    def remote_urls(self) -> list[str]:
        """The fetch URLs of the remotes, "origin" first, without user names and passwords."""
        listed = self.run(["config", "--local", "-z", "--get-regexp", r"^remote\..*\.url$"]).stdout
        found: dict[str, str] = {}
        for row in listed.decode("utf-8", "replace").split("\0"):
            key, _, url = row.partition("\n")
            if url:
                found.setdefault(key, without_credentials(url))
        first = sorted(found, key=lambda key: key != "remote.origin.url")
        return list(dict.fromkeys(found[key] for key in first))

    def is_published(self, commit: str) -> bool:
        """Return whether a branch of a remote, as last fetched or pushed, holds the commit."""
        words = ["for-each-ref", "--count=1", f"--contains={commit}", "--format=%(refname)", "refs/remotes"]
        result = self.run(words)
        return result.ok and bool(result.stdout.strip())


def without_credentials(url: str) -> str:
    """Return a remote's URL without password, and without the user of a web address, which may be a token."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        host, user = parts.netloc.rpartition("@")[2], parts.username
    except ValueError:
        return re.sub(r"//[^/]*@", "//", url)
    keep_user = user and parts.scheme == "ssh"
    return parts._replace(netloc=f"{user}@{host}" if keep_user else host).geturl()


def _linked(entry: Path) -> Path:
    """Return the git directory that the .git file of a linked worktree or a submodule names."""
    try:
        text = entry.read_bytes()[:4096].decode("utf-8", "surrogateescape")
    except OSError as error:
        raise BadRepository(f"{entry} cannot be read: {error.strerror}.") from None
    if not text.startswith("gitdir:"):
        raise BadRepository(f"{entry} is neither a git directory nor does it name one. Remove it, or clone again.")
    target = entry.parent / text.removeprefix("gitdir:").strip("\n").strip()
    if not target.is_dir():
        raise BadRepository(
            f"{entry} leads to {target}, which is not there. Was the repository moved? Run `git worktree repair` in it."
        )
    return target


def _settings(git_dir: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return (the user's meaningful settings, the names of all filters that the repository defines)."""
    listed = git(
        ["config", "--list", "--show-scope", "--includes", "-z"], directory=git_dir, with_users_config=True
    ).stdout
    fields = listed.decode("utf-8", "surrogateescape").split("\0")
    meaningful: dict[str, str] = {}
    filters: set[str] = set()
    for scope, pair in zip(fields[::2], fields[1::2], strict=False):
        key, has_value, value = pair.partition("\n")
        if scope == "command":
            continue
        if key in MEANINGFUL:
            meaningful[key] = str(_expanded(value)) if key.endswith("file") else value if has_value else "true"
        elif match := FILTER_KEY.fullmatch(key):
            filters.add(match["name"])
    return meaningful, tuple(sorted(filters))


def _expanded(path: str) -> Path:
    return Path(path).expanduser() if path.startswith("~/") else Path(path)
