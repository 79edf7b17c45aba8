"""Times the pages on which people check judges: 10,000 tasks, each with a judged run, four criteria, three samples.

python -m tests.perf.labelling
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tasks", type=int, default=10_000)
parser.add_argument("--labels", type=int, default=500, help="labels that there are already")
parser.add_argument("--rounds", type=int, default=20)
options = parser.parse_args()

folder = tempfile.TemporaryDirectory(prefix="oneshot-perf-")
os.environ["ONESHOT_DATA_DIR"] = folder.name
os.environ["DJANGO_SETTINGS_MODULE"] = "oneshot.settings"

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks import rollup  # noqa: E402
from oneshot import store  # noqa: E402
from oneshot.accounts.models import User  # noqa: E402
from runs.judging.models import JudgeConfig, Judgement, Label, RunScore, Verdict  # noqa: E402
from runs.models import Run  # noqa: E402
from tasks.models import Criterion, Rubric, Task, TaskVersion  # noqa: E402
from tests.builders import DIFF, make_agent, make_team, make_user  # noqa: E402

CRITERIA, SAMPLES, BATCH = 4, 3, 2_000
ANSWERS = ("met", "met", "met", "not_met", "cannot_assess")


def make_world() -> JudgeConfig:
    """Make it all and return the judge."""
    chance = random.Random(1)
    owner = make_user("mira")
    team = make_team(owner=owner)
    agent = make_agent(name="tester")
    judge = JudgeConfig.objects.create(name="mini", model="m", is_default=True)
    digest = store.put(DIFF)
    tasks = Task.objects.bulk_create(
        [Task(slug=f"t-{n}", title=f"Task {n}", team=team, state="published") for n in range(options.tasks)], BATCH
    )
    versions = TaskVersion.objects.bulk_create(
        [
            TaskVersion(task=task, number=1, digest=f"{n:064x}", title=task.title, instructions="Make it add.")
            for n, task in enumerate(tasks)
        ],
        BATCH,
    )
    for task, version in zip(tasks, versions, strict=True):
        task.current_version = version
    Task.objects.bulk_update(tasks, ["current_version"], BATCH)
    rubrics = Rubric.objects.bulk_create([Rubric(task=task, number=1, digest=task.slug) for task in tasks], BATCH)
    criteria = Criterion.objects.bulk_create(
        [
            Criterion(rubric=rubric, position=n, key=f"c{n}", text=f"It does the thing number {n}.", weight=1)
            for rubric in rubrics
            for n in range(CRITERIA)
        ],
        BATCH,
    )
    now = timezone.now()
    runs = Run.objects.bulk_create(
        [
            Run(
                task=version.task, task_version=version, team=team, agent=agent, attempt=1, sandbox="local",
                status="finished", outcome="resolved", diff_digest=digest, diff_bytes=len(DIFF), finished_at=now,
            )
            for version in versions
        ],
        BATCH,
    )  # fmt: skip
    judgements = Judgement.objects.bulk_create(
        [
            Judgement(run=run, rubric=rubric, judge=judge, status="done", finished_at=now, score=0.5)
            for run, rubric in zip(runs, rubrics, strict=True)
        ],
        BATCH,
    )
    RunScore.objects.bulk_create(
        [
            RunScore(run=run, rubric=rubric, score=0.5, judges=[{"id": str(judge.pk), "name": "mini", "score": 0.5}])
            for run, rubric in zip(runs, rubrics, strict=True)
        ],
        BATCH,
    )
    said: list[str] = []
    verdicts = []
    for number, criterion in enumerate(criteria):
        said.append(chance.choice(ANSWERS))
        judgement = judgements[number // CRITERIA]
        for sample in range(SAMPLES):
            answer = said[-1] if chance.random() < 0.95 else "met"
            verdicts.append(
                Verdict(
                    judgement=judgement, criterion=criterion, key=criterion.key, sample=sample, answer=answer,
                    evidence=[{"ref": "D0001", "quote": "x" * 200, "valid": True}], rationale="y" * 400,
                    prompt_digest="p", cache_key=f"{number}-{sample}",
                )
            )  # fmt: skip
    Verdict.objects.bulk_create(verdicts, BATCH)
    Label.objects.bulk_create(
        [
            Label(
                user=owner, run=runs[number // CRITERIA], criterion=criteria[number],
                answer=said[number] if chance.random() < 0.9 else "not_met",
            )
            for number in chance.sample(range(len(criteria)), options.labels)
        ]
    )  # fmt: skip
    return judge


class Timed:
    """Wall time and the server's own processor time of each request, in milliseconds."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.own: list[float] = []

    def __enter__(self) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def __exit__(self, *exc: object) -> None:
        self.wall.append(1000 * (time.perf_counter() - self.begun[0]))
        self.own.append(1000 * (time.process_time() - self.begun[1]))

    def show(self, name: str, queries: int) -> None:
        figures = (self.wall[0], statistics.median(self.wall[1:]), max(self.wall[1:]), statistics.median(self.own[1:]))
        print(f"{name:28} {' '.join(f'{figure:10.0f}' for figure in figures)} {queries:8}")


def main() -> None:
    call_command("migrate", verbosity=0)
    judge = make_world()
    rollup.rebuild()
    client = Client(headers={"host": "localhost"})
    # What it took to make all this is not the server's to look through.
    gc.collect()
    gc.freeze()
    client.force_login(User.objects.get(username="mira"))
    print(f"{Verdict.objects.count():,} verdicts, {Label.objects.count():,} labels")
    print(f"{'page':28} {'first ms':>10} {'median ms':>10} {'most ms':>10} {'own ms':>10} {'queries':>8}")
    for name, url in (
        ("the next item", "/runs/label/"),
        ("list of judges", "/runs/judges/"),
        ("a judge", f"/runs/judges/{judge.pk}/"),
        ("history of a task", "/tasks/t-5000/history/"),
        ("leaderboard with rubric", "/leaderboard/"),
    ):
        timed, queries = Timed(), 0
        for _ in range(options.rounds):
            with CaptureQueriesContext(connection) as asked, timed:
                answer = client.get(url)
            queries = len(asked)
            if answer.status_code != 200:
                raise SystemExit(f"{url} answers {answer.status_code}")
        timed.show(name, queries)
    for name, url in (("an answer and what is next", ""), ("compute again", f"/runs/judges/{judge.pk}/recompute/")):
        timed = Timed()
        for _ in range(5):
            page = client.get("/runs/label/").content.decode()
            where = url or page.partition('" id="give"')[0].rpartition('action="')[2]
            with timed:
                answer = client.post(where, {"answer": "met"}, follow=not url)
            if answer.status_code not in (200, 302):
                raise SystemExit(f"{where} answers {answer.status_code}")
        timed.show(name, 0)


if __name__ == "__main__":
    main()
