"""Real git repositories for the tests of preparation."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.builders import make_version

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@localhost",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@localhost",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


class Repository:
    """A repository on disk that tests write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            input=stdin,
            capture_output=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.path), **IDENTITY},
        )
        return done.stdout.decode().strip()

    def write(self, path: str, content: str | bytes, *, executable: bool = False) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(0o755 if executable else 0o644)

    def commit(self, message: str = "change", **files: str) -> str:
        for path, content in files.items():
            self.write(path, content)
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def version_of(url: str | Path, commit: str, **fields):
    """Return a task version whose base is this commit."""
    repo = {"git_url": str(url), "branch": "main", "start_commit_sha": commit, "subdir": "", "sparse_checkout": []}
    repo |= fields.pop("repo", {})
    return make_version(repo=repo, **{"diff": b""} | fields)


class Lines(list):
    """A log that keeps its lines."""

    def __call__(self, source: str, text: str) -> None:
        self.extend(text.splitlines())

    def text(self) -> str:
        return "\n".join(self)
