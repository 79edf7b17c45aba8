"""The rows of a board: what each agent made of the tasks, with its doubt and its place.

A constant number of queries for any number of runs, tasks and agents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import statistics
from benchmarks.cells import Activity, Table, TaskRef, table_of
from benchmarks.labels import labels_of, under_of
from benchmarks.statistics import Estimate, Rank
from runs.models import AgentConfig

# "All k solved" is shown for what most tasks were tried, up to this many attempts.
LARGEST_K = 5


@dataclass
class Row:
    """One agent configuration on a board. Rates are fractions of 1; None is unknown.

    `line` is its place in the table; `every` and `once` are pass^k and pass@k over the `every_tasks` tasks with at
    least k graded attempts; `seconds` is the median over tasks of their medians. `rubric` is the mean over tasks of the
    mean score that judges gave; `scored` of the graded attempts have one, `calibrated` of these by calibrated judges.
    """

    agent: AgentConfig
    line: int
    label: str = ""
    score: Estimate = field(default_factory=lambda: statistics.estimate([]))
    rank: Rank = field(default_factory=lambda: Rank(None))
    every: float | None = None
    every_tasks: int = 0
    once: float | None = None
    cost_mean: float | None = None
    cost_per_solved: float | None = None
    seconds: float | None = None
    tokens: float | None = None
    rubric: float | None = None
    judged: int = 0
    scored: int = 0
    calibrated: int = 0
    attempts_least: int = 0
    attempts_most: int = 0
    graded: int = 0
    resolved: int = 0
    ungraded: int = 0
    not_isolated: int = 0
    running: int = 0
    queued: int = 0

    @property
    def is_reference(self) -> bool:
        return self.agent.is_reference

    @property
    def under(self) -> str:
        """Return what stands below its name."""
        return under_of(self.agent)

    @property
    def going(self) -> int:
        return self.running + self.queued

    @property
    def all_calibrated(self) -> bool:
        """Whether every rubric score that enters `rubric` was given by judges that agree with people."""
        return bool(self.scored) and self.calibrated == self.scored

    @property
    def is_waiting(self) -> bool:
        """Whether nothing of it is graded yet."""
        return self.graded == 0


@dataclass
class Standings:
    """A board, computed: ranked rows in order, then those that wait, then references."""

    tasks: list[TaskRef]
    agents: int
    isolated: int
    rows: list[Row]
    waiting: list[Row]
    references: list[Row]
    k: int
    smallest_difference: float | None
    table: Table

    @property
    def too_few(self) -> bool:
        return len(self.tasks) < statistics.FEWEST_TASKS

    @property
    def attempts(self) -> tuple[int, int]:
        """Return the least and most attempts of an agent at a task; 0, 0 before the first."""
        rows = [row for row in self.rows if row.attempts_most]
        return min((row.attempts_least for row in rows), default=0), max((row.attempts_most for row in rows), default=0)

    @property
    def any_judged(self) -> bool:
        """Whether a judge has looked at any run here: else there is no column for what judges say."""
        return any(row.judged for row in (*self.rows, *self.references))

    @property
    def columns_of_waiting(self) -> int:
        """Return over how many columns a row says that nothing of it is graded: from the interval to the tokens."""
        return 4 + (self.k > 1) + self.any_judged

    @property
    def any_degenerate(self) -> bool:
        return any(row.score.degenerate for row in self.rows)


def standings(
    tasks: list[TaskRef], going: Activity, *, isolated_only: bool = False, tried_only: bool = False
) -> Standings:
    """Compute the board over `tasks`, in one query.

    `isolated_only` leaves out every agent with an attempt that nothing held; `tried_only` every task that no agent
    has tried.
    """
    table = table_of(tasks, going.by_agent)
    if tried_only:
        table = table.without_untried(going.tasks)
    agents = AgentConfig.objects.in_bulk(table.agents)
    everyone = [
        _row(agents[agent_id], table, line, going) for line, agent_id in enumerate(table.agents) if agent_id in agents
    ]
    for row, label in zip(everyone, labels_of([row.agent for row in everyone]), strict=True):
        row.label = label
    shown = [row for row in everyone if not (isolated_only and row.not_isolated)]
    ranked = [row for row in shown if not row.is_waiting and not row.is_reference]
    lines = [row.line for row in ranked]
    k = _common_attempts(table, lines)
    for row in shown:
        _add_pass_k(row, table, k)
    pairs = statistics.compare_all(table.rates[lines]) if ranked else None
    if pairs:
        for row, place in zip(ranked, statistics.rank(table.rates[lines], pairs), strict=True):
            row.rank = place
    return Standings(
        tasks=table.tasks,
        isolated=sum(not row.not_isolated for row in everyone if not row.is_reference),
        agents=sum(not row.is_reference for row in everyone),
        rows=_best_first(ranked),
        waiting=sorted((row for row in shown if row.is_waiting and not row.is_reference), key=lambda row: row.label),
        references=_best_first(row for row in shown if row.is_reference),
        k=k,
        smallest_difference=statistics.smallest_difference(pairs) if pairs else None,
        table=table,
    )


def _row(agent: AgentConfig, table: Table, line: int, going: Activity) -> Row:
    counts = {name: values[line] for name, values in table.counts.items()}
    graded, resolved = int(counts["graded"].sum()), int(counts["resolved"].sum())
    tried = counts["graded"] > 0
    attempts = (counts["graded"] + counts["ungraded"])[counts["graded"] + counts["ungraded"] > 0]
    cost = float(np.nansum(table.values["cost_sum_usd"][line])) if counts["cost_known"].sum() == graded else None
    seconds = table.values["seconds_median"][line][tried]
    all_tokens = counts["tokens_known"].sum() == graded
    running, queued = going.by_agent.get(agent.id, (0, 0))
    return Row(
        agent=agent,
        line=line,
        score=statistics.estimate(table.rates[line]),
        cost_mean=cost / graded if cost is not None and graded else None,
        cost_per_solved=cost / resolved if cost is not None and resolved else None,
        seconds=float(np.median(seconds[~np.isnan(seconds)])) if (~np.isnan(seconds)).any() else None,
        rubric=_mean_score(table, line),
        judged=int(counts["judged"].sum()),
        scored=int(counts["scored"].sum()),
        calibrated=int(counts["calibrated"].sum()),
        tokens=float(np.mean(table.values["tokens_mean"][line][tried])) if graded and all_tokens else None,
        attempts_least=int(attempts.min()) if len(attempts) else 0,
        attempts_most=int(attempts.max()) if len(attempts) else 0,
        graded=graded,
        resolved=resolved,
        ungraded=int(counts["ungraded"].sum()),
        not_isolated=int(counts["not_isolated"].sum()),
        running=running,
        queued=queued,
    )


def _mean_score(table: Table, line: int) -> float | None:
    """Return the mean over tasks of the mean rubric score of their scored attempts; None when none has a score."""
    scored = table.counts["scored"][line]
    known = scored > 0
    return float((table.values["score_sum"][line][known] / scored[known]).mean()) if known.any() else None


def _common_attempts(table: Table, ranked: list[int]) -> int:
    """Return how often most tasks were tried by the ranked agents, at least 1 and at most LARGEST_K."""
    graded = table.counts["graded"][ranked]
    tried = graded[graded > 0]
    return int(min(LARGEST_K, np.percentile(tried, 50, method="lower"))) if len(tried) else 1


def _add_pass_k(row: Row, table: Table, k: int) -> None:
    graded, resolved = table.counts["graded"][row.line], table.counts["resolved"][row.line]
    every, once = statistics.pass_hat_k(graded, resolved, k), statistics.pass_at_k(graded, resolved, k)
    known = ~np.isnan(every)
    if known.any():
        row.every, row.every_tasks = float(every[known].mean()), int(known.sum())
        row.once = float(once[known].mean())


def _best_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-(row.score.value or 0), row.label))


@dataclass(frozen=True)
class SortKey:
    """A way to order rows; `value` gives None for what is unknown, which always comes last."""

    value: Callable[[Row], Any]
    falls: bool = True


SORTS: dict[str, SortKey] = {
    "rank": SortKey(lambda row: row.rank.place, falls=False),
    "agent": SortKey(lambda row: (row.agent.name.lower(), row.agent.model.lower(), row.label), falls=False),
    "resolved": SortKey(lambda row: row.score.value),
    "every": SortKey(lambda row: row.every),
    "rubric": SortKey(lambda row: row.rubric),
    "cost": SortKey(lambda row: row.cost_per_solved, falls=False),
    "time": SortKey(lambda row: row.seconds, falls=False),
    "tokens": SortKey(lambda row: row.tokens, falls=False),
    "attempts": SortKey(lambda row: row.attempts_most),
    "graded": SortKey(lambda row: row.graded),
    "ungraded": SortKey(lambda row: row.ungraded),
    "origin": SortKey(lambda row: row.not_isolated, falls=False),
}


def sort_rows(rows: list[Row], key: str, *, falling: bool) -> list[Row]:
    """Return `rows` ordered by one of SORTS; equal ones keep their order, unknown ones come last."""
    value = SORTS[key].value
    known = [row for row in rows if value(row) is not None]
    return sorted(known, key=value, reverse=falling) + [row for row in rows if value(row) is None]
