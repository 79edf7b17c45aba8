"""`oneshot prepare_task`, as real processes that share a data directory."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from io import StringIO

import pytest
from django.core.management import call_command

from oneshot.management.base import BadInput
from runs.models import Image
from tests.prepare.repositories import Repository, version_of

FILES = {"calc.py": "x = 1\n", "test_calc.py": "import unittest\n\nclass T(unittest.TestCase):\n    pass\n"}

MAKE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
import json, sys
from oneshot.accounts.models import Team
from tasks.models import Task, TaskVersion
task = Task.objects.create(slug="it", title="It", team=Team.objects.create(slug="t", name="T"))
fields = json.load(sys.stdin)
fields |= {"number": 1, "digest": "0" * 64, "title": "It", "instructions": "i"}
task.current_version = TaskVersion.objects.create(task=task, **fields)
task.save()
"""


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "origin")


class Site:
    """A data directory with one task, and commands that are processes of their own."""

    def __init__(self, folder, repository, setup):
        self.data = folder / "site"
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("ONESHOT", "DATABASE"))}
        self.environment = {
            **keep,
            "ONESHOT_DATA_DIR": str(self.data),
            "DJANGO_SETTINGS_MODULE": "oneshot.settings",
            "ONESHOT_HEARTBEAT_S": "0.3",
            "ONESHOT_LEASE_S": "2",
        }
        commit = repository.commit(**FILES)
        fields = {
            "repo": {"git_url": str(repository.path), "start_commit_sha": commit},
            "environment": {"languages": [], "setup": setup},
        }
        subprocess.run(
            [sys.executable, "-c", MAKE], input=json.dumps(fields).encode(), env=self.environment, check=True
        )

    def start(self, *options):
        argv = [sys.executable, "-m", "oneshot", "prepare_task", "it", "--sandbox", "local", *options]
        return subprocess.Popen(
            argv,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def image(self):
        with sqlite3.connect(f"file:{self.data / 'oneshot.sqlite3'}?mode=ro", uri=True) as database:
            return database.execute("select status, tries, builder, reference from runs_image").fetchone()

    def wait_for(self, condition, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError("It did not happen in time.")


def test_processes_that_ask_at_once_build_once(tmp_path, repository):
    site = Site(tmp_path, repository, [f"echo built >> {tmp_path}/count || true; echo this is the set-up; sleep 2"])
    processes = [site.start("--json") for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in processes]
    documents = [json.loads(out) for out, _ in ended]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert documents[0]["tasks"][0]["image"] == documents[1]["tasks"][0]["image"]
    assert site.image()[:2] == ("ready", 1)
    assert all("this is the set-up" in err for _, err in ended)
    row = documents[0]["tasks"][0]
    assert row["ready"] is True
    assert [check["status"] for check in row["checks"]] == ["ok", "ok", "ok"]


@pytest.mark.faults
def test_builder_that_is_killed_is_replaced_by_who_waits(tmp_path, repository):
    """kill -9 in mid-build: the next process takes over at once, and of the first nothing is left running."""
    site = Site(tmp_path, repository, ["sleep 3.14159"])
    first = site.start()
    site.wait_for(lambda: (site.data / "images").exists() and any((site.data / "images").iterdir()))
    site.wait_for(lambda: "sleep 3.14159" in _command_lines())
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=10)
    second = site.start()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "is gone, starting anew" in err
    assert "is ready" in out
    status, tries, _, reference = site.image()
    assert (status, tries) == ("ready", 2)
    assert [str(path) for path in (site.data / "images").iterdir()] == [reference]
    assert "sleep 3.14159" not in _command_lines()


def _command_lines():
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found.append(file.read().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue
    return "\n".join(line for line in found if line.startswith("sleep"))


@pytest.mark.django_db
def test_summary_says_commit_image_and_checks(repository):
    version = version_of(repository.path, repository.commit(**FILES))
    version.task.current_version = version
    version.task.save()
    out, err = StringIO(), StringIO()
    call_command("prepare_task", version.task.slug, "--sandbox", "local", stdout=out, stderr=err)
    version.refresh_from_db()
    image = Image.objects.get()
    assert f"{version.task.slug} v1 is ready" in out.getvalue()
    assert version.snapshot_commit in out.getvalue()
    assert image.reference in out.getvalue()
    assert "ok        Snapshot: One commit" in out.getvalue()
    assert "fetching" in err.getvalue()
    call_command("prepare_task", version.task.slug, "--sandbox", "local", "--rebuild", stdout=out, stderr=err)
    image.refresh_from_db()
    assert image.tries == 2


@pytest.mark.django_db
def test_failure_is_shown_with_whose_fault_and_exit_status_three(repository):
    environment = {"languages": [], "setup": ["echo the last words; exit 6"]}
    version = version_of(repository.path, repository.commit(**FILES), environment=environment)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("prepare_task", version.task.slug, "--sandbox", "local", stdout=out, stderr=StringIO())
    assert ended.value.code == 3
    assert "At fault: the task" in out.getvalue()
    assert "the last words" in out.getvalue()


@pytest.mark.django_db
def test_unknown_task_is_bad_input():
    with pytest.raises(BadInput, match="no task"):
        call_command("prepare_task", "nothing-here", stderr=StringIO())
