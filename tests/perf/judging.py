"""What judging again costs: time and money per run and per criterion, against a scripted service on this machine.

.venv/bin/python -m tests.perf.judging --runs 100 --criteria 6
"""

from __future__ import annotations

import argparse
import cProfile
import logging
import os
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--runs", type=int, default=100)
parser.add_argument("--criteria", type=int, default=6)
parser.add_argument("--lines", type=int, default=400, help="changed lines of each run's diff")
parser.add_argument("--service-ms", type=int, default=50, help="what the service takes for each answer")
parser.add_argument("--profile", action="store_true", help="print where our own time goes")
options = parser.parse_args()

folder = tempfile.TemporaryDirectory(prefix="oneshot-perf-")
os.environ["ONESHOT_DATA_DIR"] = folder.name
os.environ["DJANGO_SETTINGS_MODULE"] = "oneshot.settings"

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from runs.judging import actions  # noqa: E402
from runs.judging.execution import execute, items_of  # noqa: E402
from runs.models import Run  # noqa: E402
from tests.builders import make_task  # noqa: E402
from tests.judging.builders import add_rubric, make_judge, make_judged_run, saying  # noqa: E402
from tests.servers.chat import chat_server  # noqa: E402


def diff_of(number: int) -> bytes:
    """Return a diff of two files that no other run has."""
    half = options.lines // 2
    files = []
    for name in ("parse", "render"):
        lines = "".join(f"+    value_{number}_{line} = compute({line}, mode='exact')\n" for line in range(half))
        files.append(
            f"diff --git a/{name}.py b/{name}.py\nnew file mode 100644\n--- /dev/null\n+++ b/{name}.py\n"
            f"@@ -0,0 +1,{half} @@\n{lines}"
        )
    return "".join(files).encode()


def show(what: str, value: str) -> None:
    print(f"{what:<58} {value}")


def main() -> None:
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0)
    task = make_task()
    run, _ = make_judged_run(*[{"key": f"c{n}"} for n in range(options.criteria)], task=task, diff=diff_of(0))
    for number in range(1, options.runs):
        made, rubric = make_judged_run({"key": "x"}, task=make_task(), diff=diff_of(number))
        rubric.delete()
        Run.objects.filter(pk=made.pk).update(task=task, task_version=run.task_version, attempt=number + 1)
    script = saying()

    def slow(asked):
        time.sleep(options.service_ms / 1000)
        return script(asked)

    with chat_server(slow) as server:
        judge = make_judge(server.url, is_default=True)
        runs = list(Run.objects.filter(task=task).select_related("task", "task_version", "agent", "session"))
        started = time.perf_counter()
        planned = actions.plan(runs, [judge])
        took = time.perf_counter() - started
        show("plan with estimate, per run", f"{took / len(runs) * 1000:.1f} ms")
        show("estimated questions and cost per run", f"{planned[0].requests}, ${planned[0].usd:.4f}")
        started = time.perf_counter()
        rows = actions.finish(actions.start(planned), here=True)
        took = time.perf_counter() - started
        asked = sum(row.requests for row in rows)
        assert all(row.score == 1.0 for row in rows), [row.error for row in rows][:3]
        show(
            f"rescoring {len(rows)} runs of {options.criteria} criteria",
            f"{took:.1f} s, {len(rows) / took * 60:.0f} runs a minute",
        )
        show("questions really asked per run", f"{asked / len(rows):.1f}")
        show("wall time per question, of which the service's", f"{took / asked * 1000:.1f} ms, {options.service_ms} ms")
        show(
            "cost per run and criterion at $1, $0.5, $10 per million",
            f"${sum(row.cost_usd for row in rows) / len(rows) / options.criteria:.5f}",
        )
        started = time.perf_counter()
        again = actions.plan(runs, [judge])
        actions.finish(actions.start(again), here=True)
        show(
            "the same again, nothing left to ask, per run",
            f"{(time.perf_counter() - started) / len(runs) * 1000:.1f} ms",
        )
        add_rubric(task, *[{"key": f"c{n}"} for n in range(options.criteria)], {"key": "new"})
        before = len(server.requests)
        rows = actions.finish(actions.start(actions.plan(runs[:20], [judge])), here=True)
        show("a rubric with one criterion more, questions per run", f"{(len(server.requests) - before) / 20:.1f}")
    own(task)


def own(task) -> None:
    """Measure what is ours, with a service that answers at once."""
    with chat_server(saying()) as server:
        judge = make_judge(server.url, name="quick", model="quick", parameters={"parallel": 1})
        run, rubric = make_judged_run(*[{"key": f"c{n}"} for n in range(options.criteria)], diff=diff_of(9999))
        judgement = actions.judge_run(run, rubric, judge)
        started = time.perf_counter()
        items_of(judgement)
        show("material and prompts of one run", f"{(time.perf_counter() - started) * 1000:.1f} ms")
        with CaptureQueriesContext(connection) as queries:
            started = time.perf_counter()
            if options.profile:
                cProfile.runctx("execute(str(judgement.pk))", globals(), locals(), sort="tottime")
            else:
                execute(str(judgement.pk))
            took = time.perf_counter() - started
        judgement.refresh_from_db()
        show("own time per question, instant service, one at a time", f"{took / judgement.requests * 1000:.1f} ms")
        show("queries per question", f"{len(queries) / judgement.requests:.1f}")


if __name__ == "__main__":
    main()
