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


@pytest.fixture
def installation(tmp_path, empty_database):
    installation = Installation(tmp_path)
    installation.data_dir.mkdir()
    shutil.copy(empty_database, installation.database)
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
import django, json, os, signal, sys
django.setup()
from pathlib import Path
from django.db import connections
from tasks import capture
from tasks.capture import drafting, keeping, lifecycle, snapshot
from tasks.models import Capture, Task

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def end_and_die(folder, module, name):
    row = capture.start(worktree=folder, title=folder.name)
    (folder / "adder.py").write_text("changed = True\\n")
    setattr({"lifecycle": lifecycle, "keeping": keeping, "snapshot": snapshot}[module], name, die)
    capture.end(row)

told = []
for folder, place in zip(map(Path, sys.argv[1::2]), sys.argv[2::2]):
    # A child each, since loading everything takes longer than what is tested.
    connections.close_all()
    child = os.fork()
    if not child:
        end_and_die(folder, *place.split(":"))
        os._exit(1)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    row = Capture.objects.get(title=folder.name)
    before = row.status
    ended = capture.finish(row)
    tasks = Task.objects.filter(captures=row).count()
    told.append([place, killed, before, ended.touched_files, tasks, bool(ended.version.snapshot_digest)])
print(json.dumps(told))
"""
PLACES = ["snapshot:keep", "lifecycle:store_draft", "keeping:complete"]


def test_a_kill_in_the_middle_of_an_end_loses_nothing(installation, work, tmp_path):
    words = []
    for number, place in enumerate(PLACES):
        words += [str(shutil.copytree(work.path, tmp_path / f"work{number}")), place]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        env={**installation.environment, "DJANGO_SETTINGS_MODULE": "oneshot.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for place, killed, before, touched, tasks, has_base in json.loads(done.stdout):
        assert killed == -9, place
        assert before == ("ended" if place == "keeping:complete" else "open"), place
        assert touched == ["adder.py"]
        assert tasks == 1
        assert has_base, place
    assert installation.rows("SELECT count(*) AS tasks FROM tasks_task") == [{"tasks": len(PLACES)}]
