"""What lies in a worktree without being in git: large files, files that look like secrets, other repositories.

Files are judged by name and size; none is opened.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.capture.issues import Issue
from tasks.problems import shown

LARGE_FILE = 10_000_000  # bytes
LARGE_SUM = 100_000_000
MANY_FILES = 5_000
MOST_LOOKED_AT = 20_000
NAMED = 8

_DATA = r"(?:json|ya?ml|toml|ini|csv|txt|env)"
_SECRET_FILE = re.compile(
    rf"""(?:
        \.env(?:\..+)? | \.envrc | .+\.env
      | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ovpn|ppk|tfstate|tfvars|token)
      | id_(?:rsa|dsa|ecdsa|ed25519)(?:[._-].+)?(?<!\.pub)
      | \.?netrc | \.npmrc | \.pypirc | \.git-credentials | \.htpasswd | \.vault[_-]?pass(?:word)?(?:\.txt)?
      | (?:.*[._-])?credentials?(?:\.{_DATA})? | (?:.*[._-])?secrets?\.{_DATA}
      | (?:client_secret|service[_-]?account).*\.json | (?:auth|token)\.json
    )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_EXAMPLE = re.compile(r"(?:example|sample|template|dist|defaults?|schema|\.pub)$", re.IGNORECASE)
# Ignored, and rightly so: what tools make again by themselves.
_MADE_AGAIN = re.compile(
    r"""(?:node_modules|__pycache__|\.?venv|env|\.tox|\.nox|dist|build|target|out|coverage|htmlcov|vendor|\.next|\.nuxt
      |\.cache|\.?eggs|.*\.egg-info|\.(?:mypy|ruff|pytest|hypothesis)(?:_cache)?|\.idea|\.vscode|\.DS_Store|Thumbs\.db
      |\.gradle|\.terraform|\.coverage(?:\..*)?|.*\.(?:pyc|pyo|o|a|so|class|log|swp|tmp|bak|obj|exe|dll)|.*~|\.direnv
      |\.claude|\.codex|\.aider.*|bin|obj|tmp|logs?)""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def looks_secret(path: str) -> bool:
    """Return whether a file's name says that it holds secrets: .env, private keys, credentials; not examples of it."""
    name = path.rstrip("/").rpartition("/")[2]
    return bool(_SECRET_FILE.fullmatch(name)) and not _EXAMPLE.search(name)


def untracked_issues(top: Path, paths: Sequence[str]) -> Iterator[Issue]:
    """Yield what is to be said about untracked files; a path that ends in / is a repository of its own."""
    nested = [path for path in paths if path.endswith("/")]
    files = [path for path in paths if not path.endswith("/")]
    if nested:
        yield Issue(
            "nested_repositories",
            "warning",
            f"The snapshot leaves out {_count(nested, 'repository', 'repositories')} inside this one: {names(nested)}.",
            "Add them as submodules, or to .gitignore.",
            (f"git submodule add <url> {quoted(nested[0].rstrip('/'))}",),
        )
    if secret := [path for path in files if looks_secret(path)]:
        yield Issue(
            "untracked_secrets",
            "warning",
            f"{_count(secret, 'untracked file looks', 'untracked files look')} like secrets: {names(secret)}. "
            "The snapshot leaves that out.",
            "Add it to .gitignore, so that no commit takes it. If the work needs it, keep an example of it in git.",
            tuple(f"echo {quoted('/' + path)} >> .gitignore" for path in secret[:NAMED]),
        )
    yield from _large(top, files)
    if len(files) > MANY_FILES:
        folders = Counter(path.partition("/")[0] + "/" for path in files if "/" in path).most_common(3)
        named = ", ".join(f"{shown(folder, 60)} ({count:,})" for folder, count in folders)
        yield Issue(
            "many_untracked_files",
            "warning",
            f"{len(files):,} files are neither in git nor ignored{f', most of them in {named}' if named else ''}.",
            "Add folders that tools can make again to .gitignore; the snapshot takes all the others.",
            tuple(f"echo {quoted('/' + folder)} >> .gitignore" for folder, _ in folders[:1]),
        )


def _large(top: Path, files: Sequence[str]) -> Iterator[Issue]:
    sizes: list[tuple[int, str]] = []
    for path in files[:MOST_LOOKED_AT]:
        try:
            sizes.append((os.lstat(top / path).st_size, path))
        except OSError:
            continue  # it went away since git listed it
    whole = sum(size for size, _ in sizes)
    large = sorted((pair for pair in sizes if pair[0] >= LARGE_FILE), reverse=True)
    if not large and whole < LARGE_SUM:
        return
    named = ", ".join(f"{shown(path, 80)} ({_size(size)})" for size, path in (large or sorted(sizes)[::-1])[:NAMED])
    yield Issue(
        "large_untracked_files",
        "warning",
        f"Untracked files hold {_size(whole)} and would be part of the snapshot, the largest: {named}.",
        "Add what is data or build output to .gitignore; what the work needs may stay.",
        tuple(f"echo {quoted('/' + path)} >> .gitignore" for _, path in large[:NAMED]),
    )


def ignored_issues(paths: Sequence[str]) -> Iterator[Issue]:
    """Yield a note of ignored files that a person made, so that the snapshot will lack them."""
    kept = [path for path in paths if not any(_MADE_AGAIN.fullmatch(part) for part in path.rstrip("/").split("/"))]
    if kept:
        yield Issue(
            "ignored_files",
            "info",
            f"The snapshot leaves out what git ignores, such as {names(kept)}.",
            "If the work needs one of them, keep an example of it in git, and say in the task how it is made.",
        )


def names(paths: Sequence[str]) -> str:
    """Return the first paths and how many more there are, fit for a line of text."""
    more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
    return ", ".join(shown(path, 80) for path in paths[:NAMED]) + more


def _count(paths: Sequence[str], one: str, many: str) -> str:
    return f"{len(paths):,} {one if len(paths) == 1 else many}"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def quoted(path: str | Path) -> str:
    """Return a path as a shell takes it, without control characters."""
    return shlex.quote(shown(str(path), 1000))
