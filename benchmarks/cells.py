"""Reads what boards are made of: tasks, cells as arrays, and what is still going on. Never a finished run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from django.db.models import Count, F, Max, QuerySet, Sum

from benchmarks.models import Tally
from benchmarks.rollup import PACKED_COUNTS, PACKED_VALUES, RECORD
from benchmarks.statistics import Array
from runs.models import WORKING, Run, Status
from tasks.models import Task

ACTIVE = (Status.QUEUED, *WORKING)
RECORD_TYPE = np.dtype(
    [("agent", "S16"), *((name, "<u4") for name in PACKED_COUNTS), *((name, "<f8") for name in PACKED_VALUES)]
)


@dataclass(frozen=True)
class TaskRef:
    """A task as boards name it, at its current version."""

    id: UUID
    slug: str
    title: str
    version_id: UUID
    is_demo: bool
    packed: bytes | None


@dataclass(frozen=True)
class Activity:
    """What is still going on for a set of tasks, and a stamp that changes whenever a board over them would."""

    running: int
    queued: int
    validating: int
    by_agent: dict[UUID, tuple[int, int]]
    tasks: set[UUID]
    stamp: str
    refreshed_at: datetime | None

    @property
    def trials(self) -> int:
        return self.running + self.queued

    @property
    def total(self) -> int:
        return self.trials + self.validating


class Table:
    """Cells as arrays with one line per agent and one column per task; 0 or nan where there is no cell."""

    def __init__(self, agents: list[UUID], tasks: list[TaskRef]) -> None:
        self.agents = agents
        self.tasks = tasks
        shape = (len(agents), len(tasks))
        self.counts: dict[str, Array] = {name: np.zeros(shape) for name in PACKED_COUNTS}
        self.values: dict[str, Array] = {name: np.full(shape, np.nan) for name in PACKED_VALUES}

    def without_untried(self, also: set[UUID]) -> Table:
        """Return this table without the tasks that have no attempt, except those in `also`."""
        tried = (self.counts["graded"] + self.counts["ungraded"]).sum(axis=0) > 0
        kept = [place for place, task in enumerate(self.tasks) if tried[place] or task.id in also]
        if len(kept) == len(self.tasks):
            return self
        table = Table(self.agents, [self.tasks[place] for place in kept])
        table.counts = {name: values[:, kept] for name, values in self.counts.items()}
        table.values = {name: values[:, kept] for name, values in self.values.items()}
        return table

    @property
    def rates(self) -> Array:
        """Return the share of graded attempts that were solved, nan where none was graded."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.counts["resolved"] / np.where(self.counts["graded"] > 0, self.counts["graded"], np.nan)


def tasks_of(queryset: QuerySet[Task]) -> list[TaskRef]:
    """Return the tasks of `queryset` that have a version, by slug, with their tallies, in one query."""
    columns = ("id", "slug", "title", "current_version_id", "team__is_demo", "current_version__tally__packed")
    rows = queryset.filter(current_version__isnull=False).order_by("slug").values_list(*columns)
    return [TaskRef(*row) for row in rows]


def activity(tasks: QuerySet[Task]) -> Activity:
    """Count the runs that wait or work on the current versions of `tasks`, in two queries."""
    runs = Run.objects.filter(status__in=ACTIVE, task__in=tasks.order_by(), task_version=F("task__current_version"))
    counts: Counter[str] = Counter()
    by_agent: dict[UUID, tuple[int, int]] = {}
    tried: set[UUID] = set()
    groups = runs.order_by().values_list("agent_id", "task_id", "purpose", "status").annotate(number=Count("id"))
    for agent, task, purpose, status, number in groups:
        if purpose != Run.Purpose.TRIAL:
            counts["validating"] += number
            continue
        running, queued = by_agent.get(agent, (0, 0))
        waits = status == Status.QUEUED
        by_agent[agent] = (running, queued + number) if waits else (running + number, queued)
        counts["queued" if waits else "running"] += number
        tried.add(task)
    tallies = Tally.objects.filter(task_version__current_of__in=tasks.order_by())
    ended = tallies.aggregate(last=Max("refreshed_at"), versions=Count("pk"), attempts=Sum("attempts"))
    last = ended["last"].timestamp() if ended["last"] else 0
    parts = (last, ended["versions"], ended["attempts"], *sorted(counts.items()))
    return Activity(
        running=counts["running"],
        queued=counts["queued"],
        validating=counts["validating"],
        by_agent=by_agent,
        tasks=tried,
        stamp=hashlib.sha256(repr(parts).encode()).hexdigest()[:16],
        refreshed_at=ended["last"],
    )


def table_of(tasks: list[TaskRef], also: Iterable[UUID] = ()) -> Table:
    """Return the tallies of `tasks` as a table, with a line for every agent in `also` too."""
    tallies = [bytes(task.packed or b"") for task in tasks]
    records = np.frombuffer(b"".join(tallies), dtype=RECORD_TYPE)
    columns = np.repeat(np.arange(len(tasks)), [len(tally) // RECORD.size for tally in tallies])
    others = np.array([agent.bytes for agent in also], dtype="S16")
    agents, lines = np.unique(np.concatenate([records["agent"], others]), return_inverse=True)
    # numpy drops the zero bytes at the end of a text.
    table = Table([UUID(bytes=agent.ljust(16, b"\0")) for agent in agents.tolist()], tasks)
    at = (lines[: len(records)], columns)
    for name in PACKED_COUNTS:
        table.counts[name][at] = records[name]
    for name in PACKED_VALUES:
        table.values[name][at] = records[name]
    return table
