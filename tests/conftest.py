"""Shared ground of the tests: what is skipped when a machine lacks something, the browser, small repositories."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

# Playwright's loop runs in the thread of the test; the database calls there are the test's own.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

POSTGRES_DIRECTORIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@cache
def missing_docker() -> str:
    """Return why tests with a Docker engine cannot run here, or ""."""
    from runs import sandboxes

    return sandboxes.get("docker").available()


@cache
def missing_postgres() -> str:
    if shutil.which("postgres") or POSTGRES_DIRECTORIES:
        return ""
    return "PostgreSQL is not installed (Debian: apt-get install postgresql)"


@cache
def missing_browser() -> str:
    if chromium():
        return ""
    return "Chromium is not installed (Debian: apt-get install chromium)"


@cache
def missing_codex() -> str:
    from runs.agents.codex.installation import CODEX

    return "" if CODEX.find() else "The Codex CLI is not installed (npm install -g @openai/codex)"


@cache
def missing_claude() -> str:
    from runs.agents.claude_code.installation import CLAUDE_CODE

    return "" if CLAUDE_CODE.find() else "Claude Code is not installed (npm install -g @anthropic-ai/claude-code)"


@cache
def missing_gateway() -> str:
    from tests.proxy.running import environment_problem

    return environment_problem()


def chromium() -> str | None:
    """Return the browser that tests drive: $CHROMIUM, or one on PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


NEEDS = {
    "docker": missing_docker,
    "postgres": missing_postgres,
    "browser": missing_browser,
    "codex": missing_codex,
    "claude": missing_claude,
    "gateway": missing_gateway,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, missing in NEEDS.items():
        if item.get_closest_marker(marker) and (reason := missing()):
            # CI installs everything, so there a missing tool is a failure and not a reason to skip.
            (pytest.fail if os.environ.get("ONESHOT_TEST_SKIP_NOTHING") else pytest.skip)(reason)


def pytest_sessionfinish() -> None:
    data_dir = Path(os.environ["ONESHOT_DATA_DIR"])
    if data_dir.name.startswith("oneshot-test-"):
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    return {
        **browser_type_launch_args,
        "executable_path": chromium(),
        "args": ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
    }


@pytest.fixture(scope="session")
def empty_database(django_db_setup, django_db_blocker, tmp_path_factory):
    """Return a SQLite file with an empty database that is up to date, for processes that tests start."""
    from django.db import connection

    folder = tmp_path_factory.mktemp("empty")
    path = folder / "oneshot.sqlite3"
    if connection.vendor == "sqlite":
        # A copy of the tests' own: migrating takes longer than most of what is tested with it.
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(path)])
        return path
    names = ("ONESHOT_", "DATABASE", "REDIS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    subprocess.run(
        [sys.executable, "-m", "oneshot", "migrate", "-v", "0"],
        env={**env, "ONESHOT_DATA_DIR": str(folder)},
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def git_repository(tmp_path):
    """Return a function that makes a git repository with one commit from {path: text}, and returns its folder."""

    def make(files: dict[str, str], name: str = "repository") -> Path:
        folder = tmp_path / name
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for args in (["init", "-q", "-b", "main"], ["add", "-A"], [*AUTHOR, "commit", "-qm", "Start"]):
            subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)
        return folder

    return make


AUTHOR = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
