"""A whole installation: a run ends, a worker judges it by itself, and the score is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import Installation, import_demo_task, wait_for
from tests.judging.builders import KEY, KEY_NAME, saying
from tests.servers.chat import chat_server

ROOT = Path(__file__).resolve().parents[2]
ADD_RUBRIC = """
import django
django.setup()
from tasks.models import Task
from tests.judging.builders import add_rubric
add_rubric(Task.objects.get(slug="log-summary"), {"key": "adds"})
"""
ASK = """
import django
django.setup()
from runs.judging import suggesting
from tasks.models import Task
suggesting.ask_for(Task.objects.get(slug="log-summary"))
"""


def run_code(installation: Installation, code: str) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "oneshot.settings", "PYTHONPATH": str(ROOT)}
    environment = {**installation.environment, **settings}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def add_rubric(installation: Installation) -> None:
    """Give the demo's task a rubric of one criterion."""
    run_code(installation, ADD_RUBRIC)


def ask_for_suggestions(installation: Installation) -> None:
    """Press the desk's button."""
    run_code(installation, ASK)


def add_judge(installation: Installation, url: str) -> None:
    installation.command(
        *("add_judge", "mini", "--model", "m", "--base-url", url, "--key-env", KEY_NAME),
        *("--prices", "1,1,10", "--default"),
    )


@pytest.mark.faults
def test_a_worker_judges_a_run_that_has_ended(tmp_path: Path) -> None:
    installation = Installation(tmp_path, **{KEY_NAME: KEY})
    with chat_server(saying()) as server:
        try:
            installation.start(workers=1)
            import_demo_task(installation)
            assert installation.processes("--queues judge") == []
            add_judge(installation, server.url)
            [judge] = wait_for(lambda: installation.processes("--queues judge"), "the start of a worker that judges")
            add_rubric(installation)
            document = installation.json(
                *("run_task", "log-summary", "--agent", "command", "--command", "echo hello >> README.md", "--no-wait")
            )
            run_id = document["runs"][0]["id"]
            installation.wait_for_status(run_id, "finished", seconds=60)
            [score] = wait_for(lambda: installation.rows("SELECT score FROM runs_runscore"), "the score", 60)
            assert score["score"] == 1.0
            [judgement] = installation.rows("SELECT * FROM runs_judgement")
            assert (judgement["status"], judgement["tries"]) == ("done", 1)
            ask_for_suggestions(installation)
            rows = wait_for(
                lambda: installation.rows("SELECT * FROM runs_suggestion WHERE status NOT IN ('queued', 'running')"),
                "the end of the suggestions",
            )
            # The script knows only verdicts: it was asked, by a worker that has the key, and its answer was read.
            assert "no list called criteria" in rows[0]["error"]
            os.kill(judge, signal.SIGKILL)
            wait_for(lambda: installation.processes("--queues judge") not in ([], [judge]), "its return")
            assert {asked.authorization for asked in server.requests} == {f"Bearer {KEY}"}
            data = installation.data_dir
            logs = b"".join(path.read_bytes() for path in data.rglob("*.log")) + installation.database.read_bytes()
            assert KEY.encode() not in logs
        finally:
            installation.close()


def test_a_command_that_waits_for_a_run_waits_for_its_judge(tmp_path: Path) -> None:
    installation = Installation(tmp_path, **{KEY_NAME: KEY})
    import_demo_task(installation)
    add_rubric(installation)
    with chat_server(saying()) as server:
        add_judge(installation, server.url)
        arguments = ("run_task", "log-summary", "--agent", "command", "--command", "echo hello >> README.md")
        result = installation.command(*arguments, "--attempts", "2", "--json")
    assert [run["rubric_score"] for run in json.loads(result.stdout)["runs"]] == [1.0, 1.0]
    assert "Waiting for 2 judgements by rubric" in result.stderr
    assert "attempt 1, mini: Judged, rubric 1.000" in result.stderr
