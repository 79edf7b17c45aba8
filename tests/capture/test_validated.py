"""The whole way: work is captured from the terminal, the repository goes away, and the draft can be run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.installation import Installation, wait_for
from tests.prepare.repositories import Repository

START = {
    "adder.py": "def add(a, b):\n    return a - b\n",
    "tests/test_adder.py": "import unittest\nfrom adder import add\n\nclass T(unittest.TestCase):\n"
    "    def test_zero(self):\n        self.assertEqual(add(0, 0), 0)\n",
}
TEST = START["tests/test_adder.py"] + "\n    def test_sum(self):\n        self.assertEqual(add(1, 2), 3)\n"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database with nothing in it, made once: migrating takes longer than all that is tested here."""
    made = Installation(tmp_path_factory.mktemp("empty"))
    made.command("migrate", "-v", "0")
    return made.database


@pytest.fixture
def installation(tmp_path, database):
    installation = Installation(tmp_path)
    installation.data_dir.mkdir()
    shutil.copy(database, installation.database)
    return installation


@pytest.fixture
def work(tmp_path):
    """A repository with uncommitted work, in which someone is about to start."""
    repository = Repository(tmp_path / "work")
    repository.git("config", "user.name", "Ann")
    repository.git("config", "user.email", "ann@localhost")
    repository.commit("start", **START)
    repository.write("helper.py", "ZERO = 0\n")
    return repository


def capture(installation: Installation, repository: Repository, *words: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "oneshot", "capture", *words, "--json"],
        cwd=repository.path,
        env=installation.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_captured_draft_validates_without_its_repository(installation, work):
    started = capture(installation, work, "start", "Add adds", "--notes", "add subtracts; make it add.")
    work.write("adder.py", "from helper import ZERO\n\n\ndef add(a, b):\n    return ZERO + a + b\n")
    work.commit("by the agent")
    work.write("tests/test_adder.py", TEST)
    ended = capture(installation, work, "end", "--summary", "It adds.")
    assert ended["touched_files"] == ["adder.py", "tests/test_adder.py"]
    assert ended["task_slug"] == started["task_slug"]
    shutil.rmtree(work.path)
    document = installation.json("validate_task", ended["task"], "--attempts", "1", "--sandbox", "local")
    assert document["valid"] is True, document
    assert document["fail_to_pass"] == ["tests.test_adder.T::test_sum"]
    assert document["pass_to_pass"] == ["tests.test_adder.T::test_zero"]


KEEP_IN_BACKGROUND = """
import django, sys
django.setup()
from pathlib import Path
from tasks import capture
from tasks.capture import keeping
keeping.MOST_FILES_AT_ONCE = 1
ended = capture.end(capture.start(worktree=Path(sys.argv[1]), title="Large"))
assert ended.version.snapshot_digest == ""
print(ended.task_dir)
"""


def test_a_large_base_is_kept_by_a_process_that_outlives_the_one_that_ended_it(installation, work):
    environment = {**installation.environment, "DJANGO_SETTINGS_MODULE": "oneshot.settings"}
    done = subprocess.run(
        [sys.executable, "-c", KEEP_IN_BACKGROUND, str(work.path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    query = "SELECT snapshot_digest FROM tasks_taskversion WHERE snapshot_digest != ''"
    wait_for(lambda: installation.rows(query), "keeping the base")
    wait_for(lambda: subprocess.run(["test", "-f", done.stdout.strip() + "/tb_meta.json"]).returncode == 0, "the files")


KILLED = """
import django, os, signal, sys
django.setup()
from pathlib import Path
from tasks import capture
from tasks.capture import drafting, keeping, lifecycle, snapshot
from tasks.models import Capture

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

row = capture.start(worktree=Path(sys.argv[1]), title="Killed")
(Path(sys.argv[1]) / "adder.py").write_text("changed = True\\n")
module, name = sys.argv[2].split(":")
setattr({"lifecycle": lifecycle, "keeping": keeping, "snapshot": snapshot}[module], name, die)
capture.end(row)
"""
PLACES = ["snapshot:keep", "lifecycle:store_draft", "keeping:complete"]


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_in_the_middle_of_an_end_loses_nothing(installation, work, place):
    environment = {**installation.environment, "DJANGO_SETTINGS_MODULE": "oneshot.settings"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(work.path), place],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -9, killed.stderr
    (row,) = installation.rows("SELECT slug, status FROM tasks_capture")
    assert row["status"] == ("ended" if place == "keeping:complete" else "open")
    ended = capture(installation, work, "finish", row["slug"])
    assert ended["touched_files"] == ["adder.py"]
    assert installation.rows("SELECT count(*) AS tasks FROM tasks_task") == [{"tasks": 1}]
    assert installation.rows("SELECT snapshot_digest FROM tasks_taskversion")[0]["snapshot_digest"]
