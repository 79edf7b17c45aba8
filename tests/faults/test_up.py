"""`up` starts everything with one command, ends everything with one Ctrl-C, and says what is in its way."""

import os
import signal
import socket
import threading
from urllib.request import urlopen

import pytest

from oneshot.processes import descendants
from tests.installation import Installation, import_demo_task, is_alive, wait_for

pytestmark = pytest.mark.faults


@pytest.fixture
def installation(tmp_path):
    installation = Installation(tmp_path)
    yield installation
    installation.close()


def test_ctrl_c_ends_every_process_within_five_seconds_and_the_next_start_goes_on(installation):
    installation.start()
    import_demo_task(installation)
    command = "sleep 1; echo done >> README.md"
    document = installation.json(
        "run_task", "log-summary", "--agent", "command", "--command", command, "--attempts", "4", "--no-wait"
    )
    first = document["runs"][0]["id"]
    installation.wait_for_status(first, "running")
    family = descendants(installation.process.pid)
    pages = [threading.Thread(target=keep_reading, args=(installation,), daemon=True) for _ in range(4)]
    for page in pages:
        page.start()
    assert installation.interrupt() < 5
    wait_for(lambda: not any(map(is_alive, family)), "the end of every process", 1)
    assert installation.sandboxes() == []
    assert {row["status"] for row in installation.rows("SELECT status FROM runs_run")} <= {"queued", "finished"}
    installation.start()
    for run in document["runs"]:
        assert installation.wait_for_status(run["id"], "finished")["outcome"] == "unresolved"


def test_a_command_that_waits_does_the_work_itself_when_up_has_ended(installation):
    installation.start(workers=1)
    import_demo_task(installation)
    command = "sleep 3; echo done >> README.md"
    waiting = threading.Thread(
        target=lambda: ended.append(installation.json("run_task", "log-summary", *AGENT, command)), daemon=True
    )
    ended: list = []
    waiting.start()
    wait_for(lambda: installation.rows("SELECT id FROM runs_run WHERE status = 'running'"), "the run's start")
    installation.interrupt()
    waiting.join(60)
    run = ended[0]["runs"][0]
    assert (run["status"], run["outcome"]) == ("finished", "unresolved")


AGENT = ("--agent", "command", "--command")


def keep_reading(installation: Installation) -> None:
    """Poll a page as a browser does, until the server is gone."""
    try:
        while True:
            urlopen(f"{installation.url}/login/", timeout=5).read()
    except OSError:
        return


def test_the_end_of_up_itself_ends_its_children(installation):
    installation.start(workers=1)
    family = descendants(installation.process.pid)
    os.kill(installation.process.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, family)), "the end of every process", 10)


def test_a_taken_port_is_named_with_another_to_take(installation):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = installation.command("up", "--port", str(port), check=False)
    assert result.returncode == 2
    assert f"Port {port} on 127.0.0.1 cannot be used" in result.stderr
    assert f"--port {port + 1}" in result.stderr


def test_a_second_up_in_the_same_place_names_the_first(installation):
    installation.start(workers=1)
    result = installation.command("up", "--port", "0", check=False)
    assert result.returncode == 2
    assert f"already up with the data in {installation.data_dir}: {installation.url}" in result.stderr


def test_a_broken_database_says_what_to_check(installation):
    installation.data_dir.mkdir()
    installation.database.write_bytes(b"this is no database" * 100)
    result = installation.command("up", "--port", str(installation.port), check=False)
    assert result.returncode == 2
    assert "The database cannot be used" in result.stderr
    assert "DATABASE_URL" in result.stderr


def test_a_redis_that_does_not_answer_says_what_to_check(tmp_path):
    installation = Installation(tmp_path, REDIS_URL="redis://127.0.0.1:1/0")
    result = installation.command("up", "--port", str(installation.port), check=False)
    assert result.returncode == 2
    assert "Redis does not answer" in result.stderr
