"""What the tests of agents share: a sandbox with a small repository, and a log that can be read."""

import pytest

from tests.agents.plain_sandbox import PlainSandbox


@pytest.fixture
def sandbox(tmp_path):
    return PlainSandbox(tmp_path, {"calc.py": "def add(a, b): return a-b\n", "README.md": "calc\n"})


class Lines(list):
    """A log: called with (source, text), it is the list of texts."""

    def __call__(self, source: str, text: str) -> None:
        self.append(text)


@pytest.fixture
def log():
    return Lines()
