"""Any process may be killed at any moment: every run reaches a true end, once, and nothing is left running."""

import os
import signal

import pytest

from tests.installation import Installation, import_demo_task, is_alive, wait_for

pytestmark = pytest.mark.faults

SOLVE = "cp solved.sh summary.sh 2>/dev/null || printf 'x' >> README.md"


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    installation = Installation(tmp_path_factory.mktemp("kill"))
    try:
        installation.start(workers=1)
        import_demo_task(installation)
        yield installation
    finally:
        installation.close()


def queue_runs(installation: Installation, command: str, attempts: int) -> list[str]:
    """Queue attempts of a command agent and return their ids, in the order in which they will be made."""
    document = installation.json(
        *("run_task", "log-summary", "--agent", "command", "--command", command),
        *("--attempts", str(attempts), "--no-wait"),
    )
    return [run["id"] for run in document["runs"]]


def queue_run(installation: Installation, command: str) -> str:
    return queue_runs(installation, command, 1)[0]


def worker_and_horse(installation: Installation) -> tuple[int, int]:
    """Return the worker process and its forked child that executes a run."""

    def both():
        pids = installation.processes("oneshot worker --queues runs")
        return tuple(sorted(pids)) if len(pids) == 2 else None

    return wait_for(both, "a worker with a working child")


def ended_once(installation: Installation, run_id: str, outcome: str) -> None:
    row = installation.wait_for_status(run_id, "finished", "infra_failed", "cancelled", seconds=60)
    assert (row["status"], row["outcome"]) == ("finished", outcome)
    results = installation.rows("SELECT test_id FROM runs_testresult WHERE run_id = ?", run_id.replace("-", ""))
    assert len(results) == len({result["test_id"] for result in results}) > 0
    wait_for(lambda: not installation.sandboxes(), "the removal of every sandbox")


def test_a_killed_worker_loses_and_doubles_nothing(installation):
    run_id = queue_run(installation, "sleep 2; echo done >> README.md")
    installation.wait_for_status(run_id, "running")
    worker, _horse = worker_and_horse(installation)
    os.kill(worker, signal.SIGKILL)
    ended_once(installation, run_id, "unresolved")


def test_a_worker_killed_with_its_child_has_its_run_done_by_the_next(installation):
    run_id = queue_run(installation, "sleep 2; echo done >> README.md")
    installation.wait_for_status(run_id, "running")
    for pid in worker_and_horse(installation):
        os.kill(pid, signal.SIGKILL)
    ended_once(installation, run_id, "unresolved")
    assert installation.run_row(run_id)["tries"] == 2


def test_a_killed_child_alone_has_its_run_done_again(installation):
    run_id = queue_run(installation, "sleep 2; echo done >> README.md")
    installation.wait_for_status(run_id, "running")
    _worker, horse = worker_and_horse(installation)
    os.kill(horse, signal.SIGKILL)
    ended_once(installation, run_id, "unresolved")


def test_a_killed_redis_comes_back_and_every_waiting_run_ends(installation):
    going, *waiting = queue_runs(installation, "sleep 1; echo done >> README.md", 3)
    installation.wait_for_status(going, "running")
    for pid in installation.processes("redis.sock") or installation.processes("redis-server"):
        os.kill(pid, signal.SIGKILL)
    for run_id in [going, *waiting]:
        ended_once(installation, run_id, "unresolved")


def test_a_flushed_queue_is_filled_again_from_the_rows(installation):
    import redis

    going, *waiting = queue_runs(installation, "sleep 1; echo done >> README.md", 3)
    installation.wait_for_status(going, "running")
    redis.Redis(unix_socket_path=str(installation.data_dir / "redis.sock")).flushall()
    for run_id in [going, *waiting]:
        ended_once(installation, run_id, "unresolved")


def test_a_killed_web_server_is_back_and_runs_do_not_notice(installation):
    run_id = queue_run(installation, "sleep 2; echo done >> README.md")
    installation.wait_for_status(run_id, "running")
    for pid in installation.processes("granian"):
        os.kill(pid, signal.SIGKILL)
    ended_once(installation, run_id, "unresolved")
    assert installation.run_row(run_id)["tries"] == 1
    wait_for(lambda: answers(installation), "the web server's return")


def answers(installation: Installation) -> bool:
    from urllib.request import urlopen

    try:
        return urlopen(f"{installation.url}/health/live", timeout=2).status == 200
    except OSError:
        return False


def test_cancelling_stops_the_sandbox_within_three_seconds(installation):
    run_id = queue_run(installation, "sleep 600")
    installation.wait_for_status(run_id, "running")
    sleepers = wait_for(lambda: installation.processes("sleep 600"), "the agent's start")
    result = installation.command("cancel_run", run_id)
    assert "Cancelled" in result.stdout + result.stderr
    wait_for(lambda: not any(map(is_alive, sleepers)), "the end of the agent", 3)
    assert installation.wait_for_status(run_id, "cancelled", seconds=5)["outcome"] == ""
    wait_for(lambda: not installation.sandboxes(), "the removal of the sandbox", 5)


def test_a_run_whose_workers_keep_dying_ends_ungraded_and_says_so(installation):
    run_id = queue_run(installation, "sleep 600")
    for _ in range(3):
        installation.wait_for_status(run_id, "running")
        for pid in worker_and_horse(installation):
            os.kill(pid, signal.SIGKILL)
        tries = installation.run_row(run_id)["tries"]
        wait_for(lambda tries=tries: moved_on(installation, run_id, tries), "the sweep's notice", 60)
    row = installation.wait_for_status(run_id, "infra_failed")
    assert "lost 3 times" in row["error"]
    assert row["fault"] == "infra"


def moved_on(installation: Installation, run_id: str, tries: int) -> bool:
    row = installation.run_row(run_id)
    return row["status"] == "infra_failed" or (row["status"] == "running" and row["tries"] > tries)
