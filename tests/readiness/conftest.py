"""Repositories in every state that readiness tells apart, and a user who has no settings."""

import os

import pytest

from tests.prepare.repositories import Repository


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """Make the user one whose home is empty, so that no setting of this machine's answers for the repository."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    return home


@pytest.fixture
def repository(tmp_path):
    """Return a repository with one commit and an identity of its own: nothing is to be said about it."""
    made = Repository(tmp_path / "work")
    made.git("config", "user.name", "Ada")
    made.git("config", "user.email", "ada@localhost")
    made.commit("start", **{"adder.py": "def add(a, b):\n    return a - b\n"})
    return made
