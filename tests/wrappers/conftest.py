"""A person's machine: a home, a repository, an installation, and `oneshot` in a terminal."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.installation import free_port
from tests.mcp.speaking import environment, fresh_data_dir


@dataclass
class Person:
    """Someone who works in `repository` with an installation of OneShot; `env` is what their shell exports."""

    home: Path
    repository: Path
    data_dir: Path
    env: dict[str, str]

    def run(self, *args: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `oneshot …` in the repository."""
        result = subprocess.run(
            [sys.executable, "-m", "oneshot", *args],
            cwd=cwd or self.repository,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or result.returncode == 0, f"{args}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result


@pytest.fixture
def person(tmp_path, git_repository, empty_database):
    home = tmp_path / "home"
    home.mkdir()
    data_dir = fresh_data_dir(tmp_path, empty_database)
    env = environment(
        data_dir,
        home,
        # Nobody listens there, until a test says otherwise.
        ONESHOT_GATEWAY_PORT=str(free_port()),
        # Codex refuses a home below the directory for temporary files, where tests have theirs.
        TMPDIR="/var/tmp",
        # Else Claude Code asks Anthropic's servers for this and that, and waits long where there is no network.
        _CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL="0",
    )
    repository = git_repository({"adder.py": "def add(a, b):\n    return a - b\n"}, "work")
    return Person(home, repository, data_dir, env)
