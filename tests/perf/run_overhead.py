"""Measures what OneShot adds to the containers' own work: many attempts of a trivial task through the real queue.

    .venv/bin/python -m tests.perf.run_overhead --sandbox docker --runs 20

The task is the demo's `log-summary`, its image built before; the agent is a command that writes the solution. Beside
it, the same container work by the plain docker CLI: two containers, the same commands in them, both removed by force.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from oneshot import demo  # noqa: E402
from tests.installation import Installation, import_demo_task, wait_for  # noqa: E402

TASK = "log-summary"
PHASES = ("queued", "preparing", "running", "collecting", "grading", "finished")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox", choices=["docker", "local"], default="docker")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="oneshot-perf-"))
    solution = (demo.HERE / "tasks" / TASK / "solution" / "summary.sh").read_text()
    print(f"{options.runs} attempts at {TASK} in the {options.sandbox} sandbox")
    # The command's own time is a few milliseconds in any sandbox, so what is measured is everything around it.
    command = f"cat > summary.sh <<'END'\n{solution}END"
    image = ""
    for workers in options.workers:
        installation = Installation(
            folder, ONESHOT_SANDBOX=options.sandbox, ONESHOT_HEARTBEAT_S="5", ONESHOT_SWEEP_S="5"
        )
        try:
            installation.start(workers=workers)
            if not image:
                import_demo_task(installation, TASK)
                image = installation.rows("SELECT reference FROM runs_image WHERE status = 'ready'")[0]["reference"]
            report(workers, attempt_all(installation, command, options.runs))
        finally:
            installation.interrupt()
    if options.sandbox == "docker":
        report_plain(image, command, options.runs)
    shutil.rmtree(folder, ignore_errors=True)


def attempt_all(installation: Installation, command: str, runs: int) -> list[dict[str, Any]]:
    """Queue all attempts at once and return their rows when all have ended."""
    document = installation.json(
        "run_task", TASK, "--agent", "command", "--command", command, "--attempts", str(runs), "--no-wait"
    )
    ids = [run["id"].replace("-", "") for run in document["runs"]]
    marks = ", ".join("?" * len(ids))

    def rows() -> list[dict[str, Any]]:
        return installation.rows(f"SELECT * FROM runs_run WHERE id IN ({marks})", *ids)

    wait_for(lambda: all(row["finished_at"] for row in rows()), "the end of all attempts", 600)
    ended = rows()
    assert {row["outcome"] for row in ended} == {"resolved"}, {row["error"] for row in ended}
    return ended


def report(workers: int, rows: list[dict[str, Any]]) -> None:
    times = [[moment(row[f"{phase}_at"]) for phase in PHASES] for row in rows]
    wall = max(row[-1] for row in times) - min(row[1] for row in times)
    pace = f"{wall / len(rows):.2f} s per run in the long run, {60 * len(rows) / wall:.0f} runs per minute"
    print(f"\n{workers} workers: {pace}")
    for index in range(1, len(PHASES) - 1):
        spent = [row[index + 1] - row[index] for row in times]
        print(f"  {PHASES[index]:11} median {statistics.median(spent):6.3f} s, highest {max(spent):6.3f} s")
    whole = [row[-1] - row[1] for row in times]
    print(f"  claim to end median {statistics.median(whole):6.3f} s, highest {max(whole):6.3f} s")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def report_plain(image: str, command: str, runs: int) -> None:
    """Time the same container work by the docker CLI, one after the other."""
    inner = "cd /work && " + command
    tests = "cd /work && sh -c 'true'"
    spent = []
    for _ in range(runs):
        begun = time.monotonic()
        for script in (inner, tests):
            hold = ("--init", "--network", "none", "--cap-drop", "ALL", "--entrypoint", "sleep")
            container = docker("run", "-d", *hold, image, "600")
            docker("exec", container, "sh", "-c", script)
            docker("exec", container, "sh", "-c", "git -C /work status --short")
            docker("rm", "-f", container)
        spent.append(time.monotonic() - begun)
    pair = f"median {statistics.median(spent):.2f} s per pair of containers, highest {max(spent):.2f} s"
    print(f"\nplain docker CLI: {pair}")


def docker(*args: str) -> str:
    return subprocess.run(["docker", *args], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
