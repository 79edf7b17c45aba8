"""Task by agent: one square per attempt, for one page of tasks, in one query."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Q

from benchmarks.cells import Table, TaskRef
from benchmarks.standings import Row, Standings
from oneshot.templatetags.figures import OUTCOME_MARKS, STATUS_MARKS
from runs.models import Outcome, Run, Status

COLUMNS = 8
PAGE, PAGE_OF_ALL = 14, 60
# Above this a cell is a number of attempts instead of a row of squares.
SQUARES = 10
_COUNTS = ("graded", "resolved", "ungraded")


@dataclass(frozen=True)
class Square:
    """One attempt: y solved, n not, u ungraded, w not over yet."""

    run_id: UUID
    kind: str
    title: str


@dataclass
class MatrixCell:
    """The attempts of one agent at one task; `squares` is empty when there are none, or too many to draw."""

    agent: Row
    graded: int = 0
    resolved: int = 0
    ungraded: int = 0
    squares: list[Square] = field(default_factory=list)

    @property
    def attempts(self) -> int:
        return self.graded + self.ungraded

    @property
    def is_number(self) -> bool:
        return self.attempts > SQUARES

    @property
    def words(self) -> str:
        """Say what the squares show."""
        waiting = sum(square.kind == "w" for square in self.squares)
        parts = [f"{self.resolved} of {self.graded} solved"] if self.graded else []
        parts += [f"{self.ungraded} ungraded"] if self.ungraded else []
        parts += [f"{waiting} not over yet"] if waiting else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Matrix:
    """One page of tasks, easiest first, against the first agents of the board."""

    agents: list[Row]
    agents_left_out: int
    rows: list[tuple[TaskRef, list[MatrixCell]]]
    total: int
    first: int
    page: int
    pages: int

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def matrix(standings: Standings, agents: list[Row], user: Any, *, page: int = 1, all_tasks: bool = False) -> Matrix:
    """Return the page of the matrix that was asked for, or the last one when there are not as many."""
    size = PAGE_OF_ALL if all_tasks else PAGE
    order = easiest_first(standings.table, [row.line for row in standings.rows])
    pages = max(1, math.ceil(len(order) / size))
    page = min(max(page, 1), pages)
    shown = agents[:COLUMNS]
    rows = [
        (standings.table.tasks[column], [_cell(standings.table, row, column) for row in shown])
        for column in order[(page - 1) * size : page * size]
    ]
    _add_squares(rows, user)
    return Matrix(
        agents=shown,
        agents_left_out=len(agents) - len(shown),
        rows=rows,
        total=len(order),
        first=(page - 1) * size + 1,
        page=page,
        pages=pages,
    )


def easiest_first(table: Table, lines: list[int]) -> list[int]:
    """Return the columns by the mean rate of these lines, the highest first; untried tasks last, then by slug."""
    rates = table.rates[lines]
    tried = ~np.isnan(rates)
    number = tried.sum(axis=0)
    mean = np.where(tried, rates, 0).sum(axis=0) / np.maximum(number, 1)
    return sorted(range(len(table.tasks)), key=lambda at: (number[at] == 0, -mean[at], table.tasks[at].slug))


def _cell(table: Table, row: Row, column: int) -> MatrixCell:
    graded, resolved, ungraded = (int(table.counts[name][row.line][column]) for name in _COUNTS)
    return MatrixCell(row, graded, resolved, ungraded)


def _add_squares(rows: list[tuple[TaskRef, list[MatrixCell]]], user: Any) -> None:
    """Fill in the attempts of every cell that is drawn as squares."""
    cells = {(task.version_id, cell.agent.agent.id): cell for task, line in rows for cell in line if not cell.is_number}
    # Usually all tasks want the same agents, so that this is one condition and not one for each cell.
    wanted: dict[frozenset[UUID], list[UUID]] = defaultdict(list)
    for task, line in rows:
        agents = frozenset(cell.agent.agent.id for cell in line if not cell.is_number)
        if agents:
            wanted[agents].append(task.version_id)
    if not wanted:
        return
    condition = Q()
    for agents, versions in wanted.items():
        condition |= Q(task_version__in=versions, agent__in=list(agents))
    # Cancelled ones are dropped below: a condition on the status would lead SQLite away from the index of cells.
    runs = (
        Run.objects.visible_to(user)
        .trials()
        .filter(condition)
        .order_by("attempt")
        .values_list("id", "task_version_id", "agent_id", "attempt", "status", "outcome")
    )
    for run_id, version, agent, attempt, status, outcome in runs:
        if status == Status.CANCELLED:
            continue
        word = (OUTCOME_MARKS.get(outcome) or STATUS_MARKS[status])[2].lower()
        cells[version, agent].squares.append(Square(run_id, _kind(status, outcome), f"Attempt {attempt}: {word}"))


def _kind(status: str, outcome: str) -> str:
    if status == Status.FINISHED:
        return "y" if outcome == Outcome.RESOLVED else "n"
    return "u" if status == Status.INFRA_FAILED else "w"
