"""What people, commands and jobs do with the judge: configure it, judge runs, judge them again, wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from runs.judging import line, pricing, prompts
from runs.judging.client import endpoint_problem
from runs.judging.execution import execute, items_of
from runs.judging.material import MaterialMissing
from runs.judging.models import DEFAULTS, JudgeConfig, Judgement, RunScore
from runs.models import Run, Status
from tasks.models import Rubric, Task

logger = logging.getLogger(__name__)

WATCH_S = 0.2
LIMITS = {
    "temperature": (0, 2),
    "max_tokens": (100, 200_000),
    "samples": (1, 15),
    "timeout_s": (0.1, 3600),
    "retries": (0, 20),
    "parallel": (1, 64),
    "evidence_chars": (5_000, 4_000_000),
}


class CannotJudge(ValueError):
    """What was asked for cannot be judged; the message says why and what to do."""


# ── judges ────────────────────────────────────────────────────────────────────────────────────────────────────


@transaction.atomic
def add_judge(
    *,
    name: str,
    model: str,
    base_url: str = "https://api.openai.com/v1",
    key_env: str = "",
    parameters: dict[str, Any] | None = None,
    prices: dict[str, Any] | None = None,
    run_budget_usd: Decimal | None = None,
    daily_budget_usd: Decimal | None = None,
    is_default: bool = False,
    by: Any = None,
) -> JudgeConfig:
    """Return the judge of exactly this content under this name, made if there is none yet.

    An enabled judge of the same name and other content is disabled: its verdicts stay and still name it. Raises
    CannotJudge for what could never work.
    """
    given = {key: value for key, value in (parameters or {}).items() if value != DEFAULTS.get(key)}
    row = JudgeConfig(name=name, model=model, base_url=base_url.rstrip("/"), key_env=key_env, parameters=given)
    problem = "" if name.strip() and model.strip() else "A judge needs a name and a model."
    if problem := problem or endpoint_problem(row) or _problem_with(given):
        raise CannotJudge(problem)
    digest = JudgeConfig.digest_of(
        model=row.model, base_url=row.base_url, parameters=row.parameters, prompt_version=prompts.version()
    )
    JudgeConfig.objects.filter(name=name, enabled=True).exclude(digest=digest).update(enabled=False, is_default=False)
    same = JudgeConfig.objects.filter(digest=digest).first()
    row = same or row
    row.name, row.key_env, row.prices = name, key_env, prices or {}
    row.run_budget_usd, row.daily_budget_usd = run_budget_usd, daily_budget_usd
    row.enabled, row.is_default = True, is_default
    row.created_by = row.created_by or by
    row.save()
    return row


def _problem_with(parameters: dict[str, Any]) -> str:
    for name, value in parameters.items():
        if name not in DEFAULTS:
            return f"There is no parameter {name!r}; there are {', '.join(DEFAULTS)}."
        if name in LIMITS and value is not None:
            low, high = LIMITS[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                return f"{name} = {value!r}: it lies between {low:g} and {high:g}."
    if parameters.get("samples", 1) % 2 == 0:
        return f"samples = {parameters['samples']}: take an odd number, so that there is a majority."
    return ""


def current(judge: JudgeConfig) -> JudgeConfig:
    """Return this judge with the prompts that this version of OneShot has: itself, or another row beside it."""
    if judge.prompt_version == prompts.version():
        return judge
    return add_judge(
        name=judge.name,
        model=judge.model,
        base_url=judge.base_url,
        key_env=judge.key_env,
        parameters=judge.parameters,
        prices=judge.prices,
        run_budget_usd=judge.run_budget_usd,
        daily_budget_usd=judge.daily_budget_usd,
        is_default=judge.is_default,
        by=judge.created_by,
    )


def default_judges() -> list[JudgeConfig]:
    """Return the judges that judge every graded run."""
    return [current(judge) for judge in JudgeConfig.objects.filter(enabled=True, is_default=True).order_by("name")]


def judges_named(names: Sequence[str] = ()) -> list[JudgeConfig]:
    """Return the enabled judges of these names, the default ones without any. Raises CannotJudge."""
    found = []
    for name in names:
        judge = JudgeConfig.objects.filter(name=name, enabled=True).first()
        if judge is None:
            known = ", ".join(JudgeConfig.objects.filter(enabled=True).values_list("name", flat=True)) or "none yet"
            raise CannotJudge(f"There is no judge {name!r}. There are: {known}. `oneshot add_judge` makes one.")
        found.append(current(judge))
    found = found or default_judges()
    if not found:
        raise CannotJudge("No judge is set as default. Name one, or make one with `oneshot add_judge NAME --default`.")
    return found


def rubric_of(task: Task, number: int | None = None) -> Rubric | None:
    """Return a task's rubric of this number, or its newest. None when there is none."""
    rubrics = task.rubrics.order_by("-number")
    return (rubrics.filter(number=number) if number is not None else rubrics).first()


# ── judging ───────────────────────────────────────────────────────────────────────────────────────────────────


@transaction.atomic
def judge_run(run: Run, rubric: Rubric, judge: JudgeConfig, by: Any = None) -> Judgement:
    """Return the judgement of a run, queued if it is new or not whole; verdicts that it has already are kept.

    Call `submit` with it. Raises CannotJudge for a run that was not graded or a rubric of another task.
    """
    if run.status != Status.FINISHED:
        raise CannotJudge(
            f"Run {run.pk} was not graded ({run.get_status_display().lower()}): there is nothing to judge."
        )
    if rubric.task_id != run.task_id:
        raise CannotJudge(f"Run {run.pk} is of the task {run.task.slug}, and {rubric} is not.")
    if not rubric.criteria.exists():
        raise CannotJudge(f"{rubric} has no criterion.")
    judgement, made = Judgement.objects.get_or_create(run=run, rubric=rubric, judge=judge, defaults={"created_by": by})
    again = (Judgement.Status.PARTIAL, Judgement.Status.UNKNOWN, Judgement.Status.FAILED)
    if not made and judgement.status in again:
        Judgement.objects.filter(pk=judgement.pk, status__in=again).update(
            status=Judgement.Status.QUEUED,
            failures=0,
            error="",
            retry_at=None,
            enqueued_at=None,
            finished_at=None,
            queued_at=timezone.now(),
        )
        judgement.refresh_from_db()
    return judgement


def submit(judgements: Iterable[Judgement]) -> None:
    """Put queued judgements into the judge's queue once the transaction commits."""
    ids = [judgement.pk for judgement in judgements]

    def enqueue() -> None:
        for row in Judgement.objects.filter(pk__in=ids, status=Judgement.Status.QUEUED).order_by("queued_at"):
            line.enqueue(row)

    transaction.on_commit(enqueue)


def run_ended(run: Run) -> None:
    """Have the default judges judge a graded trial whose task has a rubric. References are judged when asked for."""
    if run.purpose != Run.Purpose.TRIAL or run.status != Status.FINISHED or run.agent.is_reference:
        return
    judges = JudgeConfig.objects.filter(enabled=True, is_default=True)
    if not judges.exists():
        return
    rubric = rubric_of(run.task)
    if rubric is None or not rubric.criteria.exists():
        return
    rows = [judge_run(run, rubric, judge) for judge in default_judges()]
    submit([row for row in rows if row.status == Judgement.Status.QUEUED and row.enqueued_at is None])


# ── rescoring ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(kw_only=True)
class Planned:
    """One judgement that rescoring would make or take up. `usd` None is an unknown price."""

    run: Run
    rubric: Rubric
    judge: JudgeConfig
    requests: int
    usd: Decimal | None
    before: float | None
    done: bool = False


def plan(runs: Iterable[Run], judges: Sequence[JudgeConfig], number: int | None = None) -> list[Planned]:
    """Return what rescoring these runs would take, without changing anything.

    Runs of tasks without (such) a rubric, and runs that were not graded, are left out.
    """
    found = []
    rubrics: dict[Any, Rubric | None] = {}
    for run in runs:
        if run.task_id not in rubrics:
            rubrics[run.task_id] = rubric_of(run.task, number)
        rubric = rubrics[run.task_id]
        if rubric is None or run.status != Status.FINISHED:
            continue
        for judge in judges:
            found.append(_planned(run, rubric, judge))
    return found


def _planned(run: Run, rubric: Rubric, judge: JudgeConfig) -> Planned:
    existing = Judgement.objects.filter(run=run, rubric=rubric, judge=judge).first()
    planned = Planned(run=run, rubric=rubric, judge=judge, requests=0, usd=Decimal(0), before=score_of(run))
    if existing is not None and existing.status == Judgement.Status.DONE:
        planned.done = True
        return planned
    judgement = existing or Judgement(run=run, rubric=rubric, judge=judge)
    try:
        items = items_of(judgement)
    except MaterialMissing:
        planned.requests, planned.usd = 0, None
        return planned
    open_ = [(item.question, item.sections, item.samples - len(item.answers)) for item in items if not item.settled]
    planned.requests, planned.usd = pricing.estimate(judge, open_)
    return planned


def total_usd(planned: Iterable[Planned]) -> Decimal | None:
    """Return the estimate over all; None when the price of any is unknown."""
    total = Decimal(0)
    for item in planned:
        if item.usd is None:
            return None
        total += item.usd
    return total


def start(planned: Iterable[Planned], by: Any = None) -> list[Judgement]:
    """Make and submit the judgements of a plan that are not done; return them all."""
    rows = []
    for item in planned:
        row = judge_run(item.run, item.rubric, item.judge, by=by)
        if row.status == Judgement.Status.QUEUED and row.estimate_usd is None and item.usd is not None:
            Judgement.objects.filter(pk=row.pk).update(estimate_usd=round(item.usd, 6))
        rows.append(row)
    submit([row for row in rows if row.status == Judgement.Status.QUEUED])
    return rows


def score_of(run: Run) -> float | None:
    """Return the run's rubric score as it is in the database now; None is unknown."""
    return RunScore.objects.filter(run=run.pk).values_list("score", flat=True).first()


def finish(
    judgements: Sequence[Judgement],
    *,
    here: bool | None = None,
    on_change: Callable[[Judgement], None] | None = None,
    timeout_s: float | None = None,
) -> list[Judgement]:
    """Wait until judgements have ended and return them as they then are.

    Workers do the work where some serve the judge's queue; else (or with `here=True`) this process does. After
    `timeout_s` it returns what there is.
    """
    ids = [judgement.pk for judgement in judgements]
    here = not line.has_workers() if here is None else here
    until = None if timeout_s is None else time.monotonic() + timeout_s
    seen: dict[Any, str] = {}
    going: dict[Any, Future[None]] = {}
    with ThreadPoolExecutor(max_workers=max(1, settings.WORKERS)) as pool:
        while True:
            rows = list(Judgement.objects.filter(pk__in=ids).select_related("judge", "rubric", "run__task"))
            for row in rows:
                if on_change and seen.get(row.pk) != row.status:
                    on_change(row)
                seen[row.pk] = row.status
                if here and row.status == Judgement.Status.QUEUED and _is_due(row):
                    if len(rows) == 1:
                        execute(str(row.pk))
                        continue
                    future = going.get(row.pk)
                    if future is None or future.done():
                        going[row.pk] = pool.submit(_execute_here, str(row.pk))
            if all(row.is_over for row in rows) or (until is not None and time.monotonic() > until):
                return sorted(rows, key=lambda row: ids.index(row.pk))
            if here:
                line.take_back()
            time.sleep(WATCH_S)


def _is_due(row: Judgement) -> bool:
    return row.retry_at is None or row.retry_at <= timezone.now()


def _execute_here(judgement_id: str) -> None:
    try:
        execute(judgement_id)
    finally:
        connections.close_all()
