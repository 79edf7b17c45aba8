"""Judge old runs again, with another judge or a newer rubric, without running any agent."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from oneshot.management.base import BadInput, OneShotCommand
from runs import summary
from runs.judging import actions, line
from runs.judging.models import Judgement, RunScore
from runs.models import Run, Status
from tasks.models import Task

JUDGED, NOT_WHOLE = 0, 3


class Command(OneShotCommand):
    help = (
        "Judge graded runs again with a rubric or a judge that they do not have yet. What is judged already is not "
        "paid for again. Exit status 0: all judged; 3: some could not be judged whole; 2: bad input."
    )
    example = "oneshot rescore --task fix-the-add-bug --judge mini --dry-run"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--run", metavar="ID", nargs="+", dest="run_ids", default=[], help="these runs")
        parser.add_argument("--task", metavar="SLUG", action="append", dest="slugs", default=[], help="all of its runs")
        parser.add_argument("--all", action="store_true", help="every graded run of every task with a rubric")
        parser.add_argument("--judge", metavar="NAME", action="append", dest="judges", default=[])
        parser.add_argument("--rubric", metavar="N", type=int, help="number of the rubric (default: the newest)")
        parser.add_argument("--references", action="store_true", help="also the runs of oracle and nop")
        parser.add_argument("--dry-run", action="store_true", help="only say what it would ask and cost")
        parser.add_argument("--wait", action="store_true", help="wait for the end (this is the default)")
        parser.add_argument("--no-wait", dest="no_wait", action="store_true", help="queue it and return")
        parser.add_argument("--here", action="store_true", help="judge in this process, also when workers are alive")

    def run(
        self,
        *,
        run_ids: list[str],
        slugs: list[str],
        judges: list[str],
        rubric: int | None,
        dry_run: bool,
        no_wait: bool,
        here: bool,
        **options: Any,
    ) -> int:
        runs = _runs(run_ids, slugs, every=options["all"], references=options["references"])
        try:
            planned = actions.plan(runs, actions.judges_named(judges), rubric)
        except actions.CannotJudge as error:
            raise BadInput(str(error)) from error
        if not planned:
            which = "a rubric" if rubric is None else f"a rubric {rubric}"
            raise BadInput(f"None of these {len(runs)} runs is graded and of a task with {which}: nothing to judge.")
        self._say_plan(planned)
        if dry_run:
            if self.as_json:
                self.emit(_document(planned, []))
            return JUDGED
        rows = actions.start(planned)
        if no_wait:
            if not line.has_workers():
                self.say("No worker serves the judge's queue: it waits until `oneshot up` or `oneshot worker` starts.")
        else:
            try:
                rows = actions.finish(rows, here=True if here else None, on_change=self._tell)
            except KeyboardInterrupt:
                self.say("Stopped waiting. What was answered is kept; the same command goes on where it stopped.")
                rows = list(Judgement.objects.filter(pk__in=[row.pk for row in rows]))
        if self.as_json:
            self.emit(_document(planned, rows))
        else:
            self._say_difference(planned, rows)
        whole = all(row.status == Judgement.Status.DONE for row in rows)
        return JUDGED if whole or no_wait else NOT_WHOLE

    def _say_plan(self, planned: Sequence[actions.Planned]) -> None:
        done = sum(item.done for item in planned)
        requests, usd = sum(item.requests for item in planned), actions.total_usd(planned)
        cost = "cost unknown: no price for the model" if usd is None else f"at most about ${usd:.4f}"
        self.say(f"{len(planned)} to judge, {done} done already; {requests} questions, {cost}.")

    def _tell(self, row: Judgement) -> None:
        if row.is_over or row.error:
            self.say(summary.judged_line(row))

    def _say_difference(self, planned: Sequence[actions.Planned], rows: Sequence[Judgement]) -> None:
        for item in _first_of_each_run(planned):
            before, after = _figure(item.before), _figure(actions.score_of(item.run))
            self.stdout.write(
                f"{item.run.task.slug} attempt {item.run.attempt} by {item.run.agent}: {before} → {after}"
            )
        costs = [row.cost_usd for row in rows]
        known = [cost for cost in costs if cost is not None]
        if rows and len(known) == len(costs):
            self.say(f"These judgements cost ${sum(known, Decimal(0)):.4f} in all.")


def _figure(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"


def _first_of_each_run(planned: Sequence[actions.Planned]) -> list[actions.Planned]:
    return list({item.run.pk: item for item in reversed(planned)}.values())[::-1]


def _document(planned: Sequence[actions.Planned], rows: Sequence[Judgement]) -> dict[str, Any]:
    usd = actions.total_usd(planned)
    scores = {score.run_id: score for score in RunScore.objects.filter(run__in=[item.run.pk for item in planned])}
    by_key = {(row.run_id, row.judge_id): row for row in rows}
    runs = []
    for item in planned:
        row, score = by_key.get((item.run.pk, item.judge.pk)), scores.get(item.run.pk)
        runs.append(
            {
                "id": str(item.run.pk),
                "slug": item.run.task.slug,
                "judge": item.judge.name,
                "rubric": item.rubric.number,
                "questions": item.requests,
                "estimate_usd": None if item.usd is None else float(item.usd),
                "before": item.before,
                "after": score.score if score and row else None,
                "status": row.status if row else None,
                "score": row.score if row else None,
                "coverage": row.coverage if row else None,
                "error": (row.error or row.score_note) if row else "",
                "cost_usd": None if row is None or row.cost_usd is None else float(row.cost_usd),
            }
        )
    return {"estimate_usd": None if usd is None else float(usd), "runs": runs}


def _runs(ids: Sequence[str], slugs: Sequence[str], *, every: bool, references: bool) -> list[Run]:
    """Return the graded trials that were named, oldest first. Raises BadInput for what there is not."""
    if not ids and not slugs and not every:
        raise BadInput("Say which runs: --run ID, --task SLUG, or --all.")
    rows = (
        Run.objects.trials().filter(status=Status.FINISHED).select_related("task", "task_version", "agent", "session")
    )
    found: dict[Any, Run] = {}
    for given in ids:
        try:
            key = UUID(given)
        except ValueError:
            raise BadInput(f"{given!r} is no run's id, such as those in the address of its page.") from None
        run = rows.filter(pk=key).first()
        if run is None:
            raise BadInput(f"There is no graded run {given}.")
        found[run.pk] = run
    for slug in slugs:
        if not Task.objects.filter(slug=slug).exists():
            raise BadInput(f"There is no task {slug!r}.")
        found |= {run.pk: run for run in rows.filter(task__slug=slug).order_by("created_at", "pk")}
    if every:
        with_rubric = rows.filter(task__rubrics__isnull=False).distinct()
        found |= {run.pk: run for run in with_rubric.order_by("created_at", "pk")}
    return [run for run in found.values() if references or str(run.pk) in ids or not run.agent.is_reference]
