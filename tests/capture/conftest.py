"""Real repositories to capture in, each with a data directory of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.prepare.repositories import Repository

BASE = {
    "adder.py": "def add(a, b):\n    return a - b\n",
    "README.md": "# Adder\n",
    ".gitignore": "*.log\nbuild/\n",
    "tools/run.sh": "#!/bin/sh\necho run\n",
}


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    """Return the data directory that only this test sees."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


@pytest.fixture(autouse=True)
def nobodys_configuration(monkeypatch, tmp_path):
    """Keep git from reading the configuration of whoever runs the tests; return the file that it reads instead."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home / ".gitconfig"


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    made = Repository(tmp_path_factory.mktemp("base") / "repo")
    made.git("config", "user.name", "Ann")
    made.git("config", "user.email", "ann@localhost")
    made.commit("start", **BASE)
    shutil.rmtree(made.path / ".git" / "hooks")
    return made.path


@pytest.fixture
def repository(tmp_path, _made):
    """A repository with one commit and an identity."""
    return Repository(shutil.copytree(_made, tmp_path / "repo"))


def private(path: Path) -> bool:
    """Return whether a path in .git is one that a capture may add: objects, and refs of its own."""
    return path.parts[0] == "objects" or path.parts[:2] == ("refs", "oneshot")


def state_of(folder: Path) -> dict[str, str]:
    """Return a digest of every file of a repository and its .git, but for what a capture may add."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0] == ".git" and len(inside.parts) > 1 and private(Path(*inside.parts[1:])):
            continue
        if path.is_symlink():
            found[str(inside)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(inside)] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def files_of(repository: Repository, commit: str) -> dict[str, str]:
    """Return {path: mode} of a commit's tree."""
    rows = repository.git("ls-tree", "-r", "-z", commit).split("\0")
    return {row.partition("\t")[2]: row.split()[0] for row in rows if row}


def content(repository: Repository, commit: str, path: str) -> bytes:
    """Return a file as a commit has it."""
    done = subprocess.run(
        ["git", "cat-file", "blob", f"{commit}:{path}"], cwd=repository.path, check=True, capture_output=True
    )
    return done.stdout
