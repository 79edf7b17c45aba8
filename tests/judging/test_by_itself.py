"""A whole installation: a run ends, a worker judges it by itself, and the score is there."""

from __future__ import annotations

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


@pytest.mark.faults
def test_a_worker_judges_a_run_that_has_ended(tmp_path: Path) -> None:
    installation = Installation(tmp_path, **{KEY_NAME: KEY})
    with chat_server(saying()) as server:
        try:
            installation.start(workers=1)
            import_demo_task(installation)
            assert installation.processes("--queues judge") == []
            installation.command(
                *("add_judge", "mini", "--model", "m", "--base-url", server.url, "--key-env", KEY_NAME),
                *("--prices", "1,1,10", "--default"),
            )
            [judge] = wait_for(lambda: installation.processes("--queues judge"), "the start of a worker that judges")
            subprocess.run(
                [sys.executable, "-c", ADD_RUBRIC],
                env={
                    **installation.environment,
                    "DJANGO_SETTINGS_MODULE": "oneshot.settings",
                    "PYTHONPATH": str(ROOT),
                },
                check=True,
                timeout=60,
            )
            document = installation.json(
                *("run_task", "log-summary", "--agent", "command", "--command", "echo hello >> README.md", "--no-wait")
            )
            run_id = document["runs"][0]["id"]
            installation.wait_for_status(run_id, "finished", seconds=60)
            [score] = wait_for(lambda: installation.rows("SELECT score FROM runs_runscore"), "the score", 60)
            assert score["score"] == 1.0
            [judgement] = installation.rows("SELECT * FROM runs_judgement")
            assert (judgement["status"], judgement["tries"]) == ("done", 1)
            os.kill(judge, signal.SIGKILL)
            wait_for(lambda: installation.processes("--queues judge") not in ([], [judge]), "its return")
            assert {asked.authorization for asked in server.requests} == {f"Bearer {KEY}"}
            data = installation.data_dir
            logs = b"".join(path.read_bytes() for path in data.rglob("*.log")) + installation.database.read_bytes()
            assert KEY.encode() not in logs
        finally:
            installation.close()
