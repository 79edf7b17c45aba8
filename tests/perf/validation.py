"""Measures what a validation takes beside the containers' own work: nop and oracle, three times each, in Docker.

    .venv/bin/python -m tests.perf.validation --rounds 5

The task is the demo's `log-summary`, its image built before. Containers' own work is that of the same pairs of
containers by the plain docker CLI: one that changes files, one that runs the tests, both removed by force.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from tests.installation import Installation, import_demo_task
from tests.perf.run_overhead import TASK, report_plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="oneshot-perf-"))
    image, pairs = "", 0
    for workers in options.workers:
        installation = Installation(folder, ONESHOT_SANDBOX="docker", ONESHOT_HEARTBEAT_S="5", ONESHOT_SWEEP_S="5")
        try:
            installation.start(workers=workers)
            if not image:
                import_demo_task(installation, TASK)
                image = installation.rows("SELECT reference FROM runs_image WHERE status = 'ready'")[0]["reference"]
            spent = []
            for _ in range(options.rounds):
                begun = time.monotonic()
                document = installation.json("validate_task", TASK)
                spent.append(time.monotonic() - begun)
                if not document["valid"]:
                    raise SystemExit(document["reason"])
            pairs = installation.rows(
                "SELECT count(*) AS n FROM runs_run WHERE validation_id ="
                " (SELECT id FROM runs_validation ORDER BY created_at DESC LIMIT 1)"
            )[0]["n"]
            words = f"median {statistics.median(spent):.1f} s, highest {max(spent):.1f} s"
            print(f"{workers} workers: a validation of {pairs} runs, with the command's own start: {words}")
        finally:
            installation.interrupt()
    report_plain(image, "echo done > done.txt", options.rounds)
    print(f"of which a validation has {pairs}")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
