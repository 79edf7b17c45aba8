"""A repository to work in, an installation of its own, and servers that are ended with the test."""

import pytest

from tests.mcp.speaking import Speaker, fresh_data_dir


@pytest.fixture
def data_dir(tmp_path):
    return fresh_data_dir(tmp_path)


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
