"""A repository to work in, an installation of its own, and servers that are ended with the test."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import AUTHOR
from tests.mcp.speaking import Speaker, fresh_data_dir


@pytest.fixture
def data_dir(tmp_path, empty_database):
    return fresh_data_dir(tmp_path, empty_database)


@pytest.fixture
def repository(git_repository):
    return git_repository({"adder.py": "def add(a, b):\n    return a - b\n"}, "work")


@pytest.fixture
def speak(data_dir, repository):
    """Return a function that starts a server in a directory (the repository) and returns the client."""
    made = []

    def start(cwd=None, directory=None, **env):
        made.append(Speaker(directory or data_dir, cwd or repository, **env))
        return made[-1]

    yield start
    for one in made:
        one.close()


@dataclass
class Office:
    """A server that was greeted, and where it works. Tests that share it end every capture that they start."""

    client: Speaker
    repository: Path
    data_dir: Path


@pytest.fixture(scope="module")
def office(tmp_path_factory, empty_database):
    """A server shared by the tests of a module, in a repository with settings and code that are named as OneShot's."""
    folder = tmp_path_factory.mktemp("office")
    repository = folder / "work"
    (repository / "oneshot").mkdir(parents=True)
    (repository / "adder.py").write_text("def add(a, b):\n    return a - b\n")
    (repository / ".env").write_text("DATABASE_URL=sqlite:////nowhere/at/all.sqlite3\nONESHOT_HOSTS=*\n")
    (repository / "oneshot" / "__init__.py").write_text("raise SystemExit('code of the repository')\n")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*AUTHOR, "commit", "-qm", "Start"]):
        subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True)
    data_dir = fresh_data_dir(folder, empty_database)
    client = Speaker(data_dir, repository)
    client.greeting = client.hello()["result"]
    yield Office(client, repository, data_dir)
    client.close()
