"""Reads what boards are made of: tasks, cells as arrays, and what is still going on. Never a finished run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from django.db.models import CharField, Count, ExpressionWrapper, F, FloatField, Max, QuerySet, Sum
from django.db.models.functions import Cast

from benchmarks.models import Cell
from benchmarks.statistics import Array
from runs.models import WORKING, Run, Status
from tasks.models import Task

ACTIVE = (Status.QUEUED, *WORKING)


@dataclass(frozen=True)
class TaskRef:
    """A task as boards name it, at its current version."""

    id: UUID
    slug: str
    title: str
    version_id: UUID
    team_slug: str
    team_name: str
    is_demo: bool


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
    """Cells as arrays with one line per agent and one column per task; 0 where there is no cell."""

    COUNTS = ("graded", "resolved", "ungraded", "not_isolated", "tokens_known", "cost_known")
    VALUES = ("seconds_median", "tokens_mean", "cost")

    def __init__(self, agents: list[UUID], tasks: list[TaskRef]) -> None:
        self.agents = agents
        self.tasks = tasks
        shape = (len(agents), len(tasks))
        self.counts: dict[str, Array] = {name: np.zeros(shape) for name in self.COUNTS}
        self.values: dict[str, Array] = {name: np.full(shape, np.nan) for name in self.VALUES}

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
    """Return the tasks of `queryset` that have a version, by slug, in one query."""
    columns = ("id", "slug", "title", "current_version_id", "team__slug", "team__name", "team__is_demo")
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
    cells = cells_of(tasks).aggregate(last=Max("refreshed_at"), cells=Count("id"), graded=Sum("graded"))
    parts = (
        cells["last"].timestamp() if cells["last"] else 0,
        cells["cells"],
        cells["graded"],
        *sorted(counts.items()),
    )
    return Activity(
        running=counts["running"],
        queued=counts["queued"],
        validating=counts["validating"],
        by_agent=by_agent,
        tasks=tried,
        stamp=hashlib.sha256(repr(parts).encode()).hexdigest()[:16],
        refreshed_at=cells["last"],
    )


def cells_of(tasks: QuerySet[Task]) -> QuerySet[Cell]:
    """Return the cells of the current versions of `tasks`."""
    return Cell.objects.filter(task__in=tasks.order_by(), task_version=F("task__current_version"))


def load(tasks: list[TaskRef], queryset: QuerySet[Task], also: Iterable[UUID] = ()) -> Table:
    """Return the cells of `tasks` as a table, with a line for every agent in `also` too, in one query."""
    # Converting 20,000 pairs of ids and as many decimals one by one would cost more than all the rest.
    keys = {name: ExpressionWrapper(F(f"{name}_id"), output_field=CharField()) for name in ("agent", "task")}
    cost = Cast("cost_sum_usd", FloatField())
    columns = (*Table.COUNTS, "seconds_median", "tokens_mean")
    cells = list(
        cells_of(queryset)
        .annotate(agent_key=keys["agent"], task_key=keys["task"], cost=cost)
        .values_list("agent_key", "task_key", *columns, "cost")
    )
    column_of = {_key(task.id): place for place, task in enumerate(tasks)}
    agents = {cell[0] for cell in cells} | {_key(agent) for agent in also}
    line_of = {key: place for place, key in enumerate(sorted(agents, key=str))}
    table = Table([key if isinstance(key, UUID) else UUID(key) for key in line_of], tasks)
    cells = [cell for cell in cells if cell[1] in column_of]
    if cells:
        by_column = list(zip(*cells, strict=True))
        at = ([line_of[key] for key in by_column[0]], [column_of[key] for key in by_column[1]])
        for values, name in zip(by_column[2:], (*Table.COUNTS, *Table.VALUES), strict=True):
            target = table.counts if name in table.counts else table.values
            target[name][at] = np.array(values, dtype=float)
    return table


def _key(identity: UUID) -> Any:
    """Return an id as the database driver gives it: a UUID from PostgreSQL, hex digits from SQLite."""
    return identity if connection.features.has_native_uuid_field else identity.hex
