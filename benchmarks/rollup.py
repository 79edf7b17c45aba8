"""Keeps one Cell for each agent and task version, counted anew from its runs whenever one of them ends.

A cell is never added to: it is recomputed from the rows under a lock, so events may come twice, late or at once. The
tally of a version repeats its cells in the form that boards read.
"""

from __future__ import annotations

import itertools
import math
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from benchmarks.models import Cell, Tally
from runs.models import Outcome, Run, RunScore, Status
from tasks.models import TaskVersion

# What a cell speaks of: attempts that count, and those that infrastructure failed. Cancelled ones are neither.
COUNTED = (Status.FINISHED, Status.INFRA_FAILED)
NOT_ISOLATED = "none"
# A tally holds one record for each agent: the 16 bytes of its id, these counts, then these values, nan for None.
PACKED_COUNTS = (
    "graded", "resolved", "ungraded", "not_isolated", "tokens_known", "cost_known", "judged", "scored", "calibrated",
)  # fmt: skip
PACKED_VALUES = ("seconds_median", "tokens_mean", "cost_sum_usd", "score_sum")
RECORD = struct.Struct("<16s9I4d")
FIGURES = (*PACKED_COUNTS, *PACKED_VALUES)

Pair = tuple[UUID, UUID]  # task version and agent

CATCH_UP_S = 30.0
# A judge that becomes calibrated renews the cells of everything it judged; a sweep does so many, the next one more.
CATCH_UP_CELLS = 2_000
_caught_up_at: float | None = None


class Attempt(NamedTuple):
    """The columns of a run that a cell is made of."""

    agent_id: UUID
    status: str
    outcome: str
    isolation: str
    seconds: float | None
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: Any
    # Of its row of a rubric score; None without one, and a score of None is not known.
    rubric_score__pk: int | None = None
    rubric_score__score: float | None = None
    rubric_score__calibrated: bool | None = None


def run_ended(run: Run) -> None:
    """Refresh the cell of a trial that counts; validation and cancelled runs say nothing about an agent."""
    if run.purpose == Run.Purpose.TRIAL and run.status in COUNTED:
        refresh(run.task_version_id, run.agent_id)


def run_judged(run: Run) -> None:
    """Refresh the cell of a run whose rubric score has changed."""
    run_ended(run)


def refresh(task_version_id: UUID, agent_id: UUID) -> None:
    """Recompute the cell of one agent at one task version from its runs."""
    _refresh_version(task_version_id, [agent_id])


def rebuild(on_version: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Recompute every cell, drop those whose runs are gone, and return how many cells there are.

    `on_version(done, total)` is called after each task version. Runs may end meanwhile.
    """
    versions = set(Run.objects.trials().order_by().values_list("task_version_id", flat=True).distinct())
    versions |= set(Cell.objects.order_by().values_list("task_version_id", flat=True).distinct())
    rebuild_versions(versions, on_version)
    Cell.objects.filter(graded=0, ungraded=0).delete()
    return Cell.objects.count()


def rebuild_versions(
    versions: Collection[UUID], on_version: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Recompute all cells of these task versions, each version in a transaction of its own."""
    for done, version in enumerate(sorted(versions), start=1):
        of_version = Run.objects.trials().filter(task_version_id=version, status__in=COUNTED)
        agents = set(of_version.order_by().values_list("agent_id", flat=True).distinct())
        agents |= set(Cell.objects.filter(task_version_id=version).values_list("agent_id", flat=True))
        _refresh_version(version, sorted(agents))
        on_version(done, len(versions))


def catch_up_now_and_then() -> int:
    """Catch up, but at most once in CATCH_UP_S in this process: sweeps come every few seconds."""
    global _caught_up_at
    now = time.monotonic()
    if _caught_up_at is not None and now - _caught_up_at < CATCH_UP_S:
        return 0
    _caught_up_at = now
    return catch_up()


def catch_up(window: timedelta = timedelta(days=2)) -> int:
    """Refresh the cells that missed the end of a run made within `window`; return how many did.

    A worker that is killed between recording an end and telling of it leaves such a cell behind. So does a judge that
    has become calibrated, or no longer is: the marks of its scores change, whenever their runs were made.
    """
    since = timezone.now() - window
    return _refresh_older(_last_ends(since)) + _refresh_older(_last_scores(since))


def _last_ends(since: datetime) -> dict[Pair, datetime | None]:
    """Return for each cell with a run made after `since` when the last of those ended."""
    ended = Run.objects.trials().filter(status__in=COUNTED, created_at__gte=since).order_by()
    ends = ended.values("task_version_id", "agent_id").annotate(end=Max("finished_at"))
    return {(row["task_version_id"], row["agent_id"]): row["end"] for row in ends}


def _last_scores(since: datetime) -> dict[Pair, datetime | None]:
    """Return for each cell with a rubric score or mark renewed after `since` when the last of those was."""
    renewed = RunScore.objects.filter(
        updated_at__gte=since, run__purpose=Run.Purpose.TRIAL, run__status=Status.FINISHED
    )
    scores = renewed.order_by().values("run__task_version_id", "run__agent_id").annotate(last=Max("updated_at"))
    return {(row["run__task_version_id"], row["run__agent_id"]): row["last"] for row in scores}


def _refresh_older(last: dict[Pair, datetime | None]) -> int:
    """Refresh the cells that were counted before their moment in `last`, at most CATCH_UP_CELLS; return how many."""
    known = [moment for moment in last.values() if moment is not None]
    if not known:
        return 0
    counted = Cell.objects.filter(refreshed_at__gte=min(known))
    fresh = {
        (version, agent): at
        for version, agent, at in counted.values_list("task_version_id", "agent_id", "refreshed_at")
    }
    stale = [
        pair for pair, moment in last.items() if pair not in fresh or (moment is not None and fresh[pair] < moment)
    ]
    agents_of: dict[UUID, list[UUID]] = defaultdict(list)
    for version, agent in stale[:CATCH_UP_CELLS]:
        agents_of[version].append(agent)
    for version, agents in agents_of.items():
        _refresh_version(version, agents)
    return sum(map(len, agents_of.values()))


@transaction.atomic
def _refresh_version(task_version_id: UUID, agents: Collection[UUID]) -> None:
    """Recompute the cells of these agents at one version, and the tally of all its cells.

    Raises TaskVersion.DoesNotExist when the version has been deleted meanwhile.
    """
    task_id = TaskVersion.objects.values_list("task_id", flat=True).get(pk=task_version_id)
    Tally.objects.bulk_create([Tally(task_version_id=task_version_id)], ignore_conflicts=True)
    Tally.objects.select_for_update().get(pk=task_version_id)
    # The rows are read after the lock is held: whoever else ended a run has committed it or will come after us.
    began = timezone.now()
    attempts = (
        Run.objects.trials()
        .filter(task_version_id=task_version_id, agent_id__in=agents, status__in=COUNTED)
        .order_by("agent_id")
        .values_list(*Attempt._fields)
    )
    by_agent = {agent: list(rows) for agent, rows in _grouped(map(Attempt._make, attempts.iterator(chunk_size=5000)))}
    fixed = {"task_version_id": task_version_id, "task_id": task_id, "refreshed_at": began}
    Cell.objects.bulk_create(
        [Cell(agent_id=agent, **fixed, **figures(by_agent.get(agent, []))) for agent in agents],
        update_conflicts=True,
        unique_fields=["task_version", "agent"],
        update_fields=[*FIGURES, "refreshed_at"],
        batch_size=200,
    )
    _pack(task_version_id, began)


def _pack(task_version_id: UUID, began: datetime) -> None:
    """Write the tally of a version from its cells."""
    cells = Cell.objects.filter(task_version_id=task_version_id).exclude(graded=0, ungraded=0)
    rows = list(cells.values_list("agent_id", *PACKED_COUNTS, *PACKED_VALUES))
    counts = len(PACKED_COUNTS)
    packed = b"".join(
        RECORD.pack(
            agent.bytes, *values[:counts], *(math.nan if value is None else float(value) for value in values[counts:])
        )
        for agent, *values in rows
    )
    attempts = sum(row[1 + PACKED_COUNTS.index("graded")] + row[1 + PACKED_COUNTS.index("ungraded")] for row in rows)
    Tally.objects.filter(pk=task_version_id).update(packed=packed, attempts=attempts, refreshed_at=began)


def _grouped(attempts: Iterable[Attempt]) -> Iterator[tuple[UUID, Iterator[Attempt]]]:
    return itertools.groupby(attempts, key=lambda attempt: attempt.agent_id)


def figures(attempts: list[Attempt]) -> dict[str, Any]:
    """Return the figures of a cell: counts of all attempts, and medians and means over the graded ones.

    Unknown values are left out of a median or mean and counted; None when none is known.
    """
    graded = [attempt for attempt in attempts if attempt.status == Status.FINISHED]
    seconds = [attempt.seconds for attempt in graded if attempt.seconds is not None]
    tokens = [
        attempt.tokens_input + attempt.tokens_output
        for attempt in graded
        if attempt.tokens_input is not None and attempt.tokens_output is not None
    ]
    costs = [attempt.cost_usd for attempt in graded if attempt.cost_usd is not None]
    scored = [attempt for attempt in graded if attempt.rubric_score__score is not None]
    return {
        "graded": len(graded),
        "resolved": sum(attempt.outcome == Outcome.RESOLVED for attempt in graded),
        "ungraded": len(attempts) - len(graded),
        "not_isolated": sum(attempt.isolation == NOT_ISOLATED for attempt in graded),
        "seconds_median": median(seconds) if seconds else None,
        "tokens_mean": fmean(tokens) if tokens else None,
        "tokens_known": len(tokens),
        "cost_sum_usd": sum(costs) if costs else None,
        "cost_known": len(costs),
        "judged": sum(attempt.rubric_score__pk is not None for attempt in graded),
        "scored": len(scored),
        "calibrated": sum(bool(attempt.rubric_score__calibrated) for attempt in scored),
        "score_sum": math.fsum(attempt.rubric_score__score or 0.0 for attempt in scored) if scored else None,
    }
