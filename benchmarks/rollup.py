"""Keeps one Cell for each agent and task version, counted anew from its runs whenever one of them ends.

A cell is never added to: it is recomputed from the rows under a lock, so events may come twice, late or at once. The
tally of a version repeats its cells in the form that boards read.
"""

from __future__ import annotations

import itertools
import math
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from benchmarks.models import Cell, Tally
from runs.models import Outcome, Run, Status
from tasks.models import TaskVersion

# What a cell speaks of: attempts that count, and those that infrastructure failed. Cancelled ones are neither.
COUNTED = (Status.FINISHED, Status.INFRA_FAILED)
NOT_ISOLATED = "none"
# A tally holds one record for each agent: the 16 bytes of its id, these counts, then these values, nan for None.
PACKED_COUNTS = ("graded", "resolved", "ungraded", "not_isolated", "tokens_known", "cost_known")
PACKED_VALUES = ("seconds_median", "tokens_mean", "cost_sum_usd")
RECORD = struct.Struct("<16s6I3d")
FIGURES = (*PACKED_COUNTS, *PACKED_VALUES)

CATCH_UP_S = 30.0
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


def run_ended(run: Run) -> None:
    """Refresh the cell of a trial that counts; validation and cancelled runs say nothing about an agent."""
    if run.purpose == Run.Purpose.TRIAL and run.status in COUNTED:
        refresh(run.task_version_id, run.agent_id)


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

    A worker that is killed between recording an end and telling of it leaves such a cell behind.
    """
    ended = Run.objects.trials().filter(status__in=COUNTED, created_at__gte=timezone.now() - window)
    last = {
        (version, agent): end
        for version, agent, end in ended.order_by()
        .values("task_version_id", "agent_id")
        .annotate(end=Max("finished_at"))
        .values_list("task_version_id", "agent_id", "end")
    }
    if not last:
        return 0
    oldest = min(end for end in last.values() if end is not None)
    fresh = {
        (version, agent): at
        for version, agent, at in Cell.objects.filter(refreshed_at__gte=oldest).values_list(
            "task_version_id", "agent_id", "refreshed_at"
        )
    }
    stale = [pair for pair, end in last.items() if pair not in fresh or (end is not None and fresh[pair] < end)]
    for version, agent in stale:
        refresh(version, agent)
    return len(stale)


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
    }
