"""Boards for tests: many attempts in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks import rollup
from benchmarks.cells import activity, tasks_of
from benchmarks.models import Board
from benchmarks.standings import Row, Standings, standings
from oneshot.accounts.models import Team
from runs.models import AgentConfig, Run
from tasks.models import Task
from tests.builders import make_run, make_task, make_team

MARKS: dict[str, dict[str, Any]] = {
    "y": {"outcome": "resolved"},
    "n": {"outcome": "unresolved"},
    "u": {"status": "infra_failed"},
    "c": {"status": "cancelled"},
    "q": {"status": "queued"},
    "r": {"status": "running"},
}


def make_tasks(number: int, *, team: Team | None = None, **fields: Any) -> list[Task]:
    """Return tasks of one team, named t00, t01, … in the order of their slugs."""
    team = team or make_team()
    return [make_task(team=team, slug=f"{team.slug}-t{place:02d}", **fields) for place in range(number)]


def try_tasks(agent: AgentConfig, tasks: Iterable[Task], attempts: str, **fields: Any) -> list[Run]:
    """Make an agent's attempts: one word for each task, one letter of MARKS for each attempt ("yyn yun -")."""
    runs = []
    for task, marks in zip(tasks, attempts.split(), strict=True):
        runs += [make_run(task=task, agent=agent, **MARKS[mark] | fields) for mark in marks.replace("-", "")]
    rollup.rebuild()
    return runs


def make_board(tasks: Iterable[Task], **fields: Any) -> Board:
    """Return a board over tasks, of their team."""
    tasks = list(tasks)
    board = Board.objects.create(**{"slug": "board", "title": "The board", "team": tasks[0].team} | fields)
    board.tasks.set(tasks)
    return board


def standings_of(**options: Any) -> Standings:
    """Return the standings over all tasks there are."""
    tasks = Task.objects.all()
    return standings(tasks_of(tasks), activity(tasks), **options)


def row_of(found: Standings, agent: AgentConfig) -> Row:
    rows = [row for row in (*found.rows, *found.waiting, *found.references) if row.agent == agent]
    assert len(rows) == 1, f"{agent} is in {len(rows)} rows"
    return rows[0]
