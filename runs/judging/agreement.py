"""How far two raters agree beyond chance: Cohen's κ with an interval, and precision and recall per class.

κ = (p_o - p_e) / (1 - p_e), its standard error after Fleiss, Cohen and Everitt (1969), as statsmodels has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement over `n` pairs. κ is None when it is not defined: no pair, or both always said the same one thing."""

    n: int
    observed: float | None
    kappa: float | None
    low: float | None
    high: float | None
    per_class: dict[str, dict[str, Any]]
    confusion: dict[str, dict[str, int]]


def agreement(pairs: Sequence[tuple[str, str]], classes: Sequence[str] = ("met", "not_met")) -> Agreement:
    """Return how the second of each pair (the judge) agrees with the first (a person), over the given classes.

    Pairs with another class are left out; the caller counts them.
    """
    kept = [(truth, said) for truth, said in pairs if truth in classes and said in classes]
    counts = [[sum(pair == (truth, said) for pair in kept) for said in classes] for truth in classes]
    kappa, error = kappa_of(counts)
    low = high = None
    if kappa is not None and error is not None:
        low, high = max(-1.0, kappa - Z * error), min(1.0, kappa + Z * error)
    return Agreement(
        n=len(kept),
        observed=sum(truth == said for truth, said in kept) / len(kept) if kept else None,
        kappa=kappa,
        low=low,
        high=high,
        per_class={name: _class(counts, index) for index, name in enumerate(classes)},
        confusion={truth: dict(zip(classes, row, strict=True)) for truth, row in zip(classes, counts, strict=True)},
    )


def kappa_of(counts: Sequence[Sequence[int]]) -> tuple[float | None, float | None]:
    """Return Cohen's κ of a square table of counts and its standard error; (None, None) where it is not defined."""
    n = sum(map(sum, counts))
    if not n:
        return None, None
    p = [[count / n for count in row] for row in counts]
    size = range(len(counts))
    rows, columns = [sum(p[i]) for i in size], [sum(p[i][j] for i in size) for j in size]
    observed = sum(p[i][i] for i in size)
    expected = sum(rows[i] * columns[i] for i in size)
    if math.isclose(expected, 1.0):
        return None, None
    kappa = (observed - expected) / (1 - expected)
    a = sum(p[i][i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in size)
    b = (1 - kappa) ** 2 * sum(p[i][j] * (columns[i] + rows[j]) ** 2 for i in size for j in size if i != j)
    c = (kappa - expected * (1 - kappa)) ** 2
    return kappa, math.sqrt(max(0.0, a + b - c) / n) / (1 - expected)


def _class(counts: Sequence[Sequence[int]], index: int) -> dict[str, Any]:
    hit = counts[index][index]
    said = sum(row[index] for row in counts)
    support = sum(counts[index])
    precision = hit / said if said else None
    recall = hit / support if support else None
    f1 = 2 * hit / (said + support) if said + support else None
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}
