"""What attempts at tasks let one say about agents: rates, intervals, paired tests, ranks.

Plain numpy and scipy.special, without Django. The unit of sampling is the task: several attempts at one task sharpen
that task's rate and never count as several tasks. Rates are fractions of 1; nan marks a task without an attempt.
Worked examples and the reasons for each choice are in docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from oneshot.intervals import wilson

Array = NDArray[np.float64]

# Below this a spread over tasks says nothing, so no interval, no test and no rank is given.
FEWEST_TASKS = 5
LEVEL = 0.95
POWER = 0.8
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean of per-task rates with its interval over tasks.

    `value` is None without any task; `low` and `high` are None under FEWEST_TASKS. `degenerate` marks that all tasks
    had one and the same rate, so that the interval is Wilson's instead of the one from the spread, which is 0.
    """

    value: float | None
    low: float | None
    high: float | None
    tasks: int
    degenerate: bool = False

    @property
    def too_few(self) -> bool:
        return self.tasks < FEWEST_TASKS


@dataclass(frozen=True)
class Difference:
    """How much better one agent did than another on the tasks that both tried, as a fraction of 1.

    `p` is two-sided. `low`, `high` and `p` are None under FEWEST_TASKS common tasks; `mean` is None without any.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    tasks: int


@dataclass(frozen=True)
class Rank:
    """A place on a board, or None for a row with too few tasks to be placed. `tied` when others share it."""

    place: int | None
    tied: bool = False


@dataclass(frozen=True)
class Pairs:
    """Every row of a board against every other, as square matrices; entry [a, b] is about a minus b."""

    tasks: Array
    mean: Array
    spread: Array
    p: Array


def pass_hat_k(attempts: ArrayLike, solved: ArrayLike, k: int) -> Array:
    """Return, per task, the chance that k attempts drawn from those made are all solved: C(c,k) / C(n,k).

    This is the unbiased estimate of pass^k; (c/n)^k is not. nan where fewer than k attempts were graded.
    """
    n, c = np.asarray(attempts, dtype=float), np.asarray(solved, dtype=float)
    chance = np.ones(np.broadcast(n, c).shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for drawn in range(k):
            chance = chance * np.clip(c - drawn, 0, None) / (n - drawn)
    return np.where(n >= max(k, 1), chance, np.nan)


def pass_at_k(attempts: ArrayLike, solved: ArrayLike, k: int) -> Array:
    """Return, per task, the chance that at least one of k attempts is solved: 1 - C(n-c,k) / C(n,k).

    Source: Chen and others 2021, arXiv:2107.03374. nan where fewer than k attempts were graded.
    """
    n, c = np.asarray(attempts, dtype=float), np.asarray(solved, dtype=float)
    return 1 - pass_hat_k(n, n - c, k)


def estimate(rates: ArrayLike) -> Estimate:
    """Return the mean over tasks and its 95 % interval, from Student's t with one degree of freedom less than tasks.

    The interval is cut to 0..1. When every task has the same rate the spread is 0 and would claim certainty; then
    Wilson's interval over the tasks stands in.
    """
    known = _known(rates)
    tasks = len(known)
    if not tasks:
        return Estimate(None, None, None, 0)
    value = float(known.mean())
    if tasks < FEWEST_TASKS:
        return Estimate(value, None, None, tasks)
    if np.ptp(known) < _ROUNDING:
        low, high = wilson(min(max(value, 0.0), 1.0) * tasks, tasks, LEVEL)
        return Estimate(value, low, high, tasks, degenerate=True)
    half = _t_quantile(tasks) * float(known.std(ddof=1)) / sqrt(tasks)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), tasks)


def paired_difference(a: ArrayLike, b: ArrayLike) -> Difference:
    """Return how much better `a` did than `b` over the tasks on which both have a rate; positions name the tasks.

    The test is the paired t-test with a floor, see `_p_values`. Where all differences are the same the interval is
    None, for its width would be 0.
    """
    difference = _known(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))
    tasks = len(difference)
    if not tasks:
        return Difference(None, None, None, None, 0)
    mean = float(difference.mean())
    if tasks < FEWEST_TASKS:
        return Difference(mean, None, None, None, tasks)
    spread = float(difference.std(ddof=1))
    p = _floored(_p_values(mean, spread, tasks), np.count_nonzero(np.abs(difference) > _ROUNDING))
    if spread < _ROUNDING:
        return Difference(mean, None, None, float(p), tasks)
    half = _t_quantile(tasks) * spread / sqrt(tasks)
    return Difference(mean, max(-1.0, mean - half), min(1.0, mean + half), float(p), tasks)


def compare_all(rates: ArrayLike) -> Pairs:
    """Compare every row of a rows-by-tasks table with every other on their common tasks.

    `p` is corrected for the number of pairs by Holm's method and is nan where fewer than FEWEST_TASKS are shared.
    """
    table = np.atleast_2d(np.asarray(rates, dtype=float))
    rows = len(table)
    tasks, mean, spread, changed = (np.zeros((rows, rows)) for _ in range(4))
    for row in range(rows - 1):
        difference = table[row] - table[row + 1 :]
        both = ~np.isnan(difference)
        difference = np.where(both, difference, 0.0)
        n = both.sum(axis=1)
        average = difference.sum(axis=1) / np.maximum(n, 1)
        squares = (np.where(both, difference - average[:, None], 0.0) ** 2).sum(axis=1)
        tasks[row, row + 1 :] = n
        mean[row, row + 1 :] = average
        spread[row, row + 1 :] = np.sqrt(squares / np.maximum(n - 1, 1))
        changed[row, row + 1 :] = (np.abs(difference) > _ROUNDING).sum(axis=1)
    upper = np.triu_indices(rows, 1)
    p = np.full((rows, rows), np.nan)
    raw = np.where(tasks[upper] >= FEWEST_TASKS, _p_values(mean[upper], spread[upper], tasks[upper]), np.nan)
    p[upper] = _floored(holm(raw), changed[upper])
    p[upper[::-1]] = p[upper]
    return Pairs(tasks=tasks + tasks.T, mean=mean - mean.T, spread=spread + spread.T, p=p)


def rank(rates: ArrayLike, pairs: Pairs | None = None) -> list[Rank]:
    """Place the rows of a rows-by-tasks table: one more than the number of rows that are clearly better.

    Clearly better is a positive mean difference with a corrected p under 5 %. A row with fewer than FEWEST_TASKS
    tasks has no place.
    """
    table = np.atleast_2d(np.asarray(rates, dtype=float))
    pairs = pairs or compare_all(table)
    with np.errstate(invalid="ignore"):
        better = (pairs.p < 1 - LEVEL) & (pairs.mean > 0)
    places = better.sum(axis=0) + 1
    enough = (~np.isnan(table)).sum(axis=1) >= FEWEST_TASKS
    shared = np.bincount(places[enough], minlength=len(table) + 2)
    return [
        Rank(int(place), bool(shared[place] > 1)) if placed else Rank(None)
        for place, placed in zip(places, enough, strict=True)
    ]


def smallest_difference(pairs: Pairs) -> float | None:
    """Return the difference that this set of tasks would show in four of five repetitions, as a fraction of 1.

    (z.975 + z.8) times the spread of paired differences over the root of the tasks, both taken over all pairs of rows;
    None when no pair has enough tasks in common or none differs.
    """
    upper = np.triu_indices(len(pairs.tasks), 1)
    enough = pairs.tasks[upper] >= FEWEST_TASKS
    if not enough.any():
        return None
    spread = float(np.sqrt(np.mean(pairs.spread[upper][enough] ** 2)))
    if spread < _ROUNDING:
        return None
    tasks = float(np.median(pairs.tasks[upper][enough]))
    return float((ndtri((1 + LEVEL) / 2) + ndtri(POWER)) * spread / sqrt(tasks))


def holm(p_values: ArrayLike) -> Array:
    """Return p-values corrected for their number by Holm's step-down method; nan stays nan and is not counted.

    Source: S. Holm, Scand. J. Stat. 6 (1979), 65.
    """
    p = np.asarray(p_values, dtype=float)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors)) if len(order) else []
    return corrected


def _known(rates: ArrayLike) -> Array:
    table = np.asarray(rates, dtype=float)
    return table[~np.isnan(table)]


def _t_quantile(tasks: int) -> float:
    return float(stdtrit(tasks - 1, (1 + LEVEL) / 2))


def _p_values(mean: Any, spread: Any, tasks: Any) -> Any:
    """Return the two-sided p of the paired t-test; 1 without any difference, 0 when all differences are the same."""
    mean, spread, tasks = np.asarray(mean, float), np.asarray(spread, float), np.asarray(tasks, float)
    flat = spread < _ROUNDING
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / (spread / np.sqrt(np.maximum(tasks, 1)))
        p = 2 * stdtr(np.maximum(tasks - 1, 1), -t)
    return np.where(flat, np.where(np.abs(mean) < _ROUNDING, 1.0, 0.0), p)


def _floored(p: Any, changed: Any) -> Any:
    """Return p, but no less than the sign-flip test could ever give: 2 / 2^m, for m tasks that differ.

    A t-test on a handful of nearly equal differences claims far too much. With this floor at least six tasks must
    differ before any difference is called clear.
    """
    return np.maximum(p, np.minimum(1.0, np.exp2(1.0 - np.asarray(changed, float))))
