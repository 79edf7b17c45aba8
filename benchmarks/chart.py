"""What the chart of a board shows: score against cost, time or tokens. The page draws it, here is what it draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.standings import Row
from oneshot.templatetags.figures import seconds, short_count, usd


@dataclass(frozen=True)
class Axis:
    """A thing that a run uses up. `unknown` ends the sentence about rows without it."""

    key: str
    label: str
    title: str
    unknown: str
    better: str
    value: Callable[[Row], float | None]
    words: Callable[[float], str]


AXES = {
    axis.key: axis
    for axis in (
        Axis("cost", "Cost", "Mean cost per run, US dollars", "cost", "cheaper", lambda row: row.cost_mean, usd),
        Axis("time", "Time", "Median time of a run", "time", "faster", lambda row: row.seconds, seconds),
        Axis("tokens", "Tokens", "Mean tokens per run", "tokens", "thriftier", lambda row: row.tokens, short_count),
    )
}
NAMED_AT_MOST = 3


def default_axis(rows: list[Row]) -> str:
    """Return the first axis on which rows differ, else the first on which any row has a value."""
    values = {key: {axis.value(row) for row in rows} - {None} for key, axis in AXES.items()}
    by_use = sorted(AXES, key=lambda key: -min(len(values[key]), 2))
    return by_use[0]


def chart(rows: list[Row], key: str) -> dict[str, Any]:
    """Return what to draw, ready for JSON: points, the frontier's corners, and the sentence below.

    Scores and intervals are in percent, x is in the axis' own unit. `low` and `high` are None without an interval.
    """
    axis = AXES[key]
    shown = [(row, value) for row in rows if (value := axis.value(row)) is not None and row.score.value is not None]
    points: list[dict[str, Any]] = [
        {
            "label": row.label,
            "x": value,
            "y": 100 * (row.score.value or 0),
            "low": _percent(row.score.low),
            "high": _percent(row.score.high),
            "words": axis.words(value),
        }
        for row, value in shown
    ]
    corners = frontier([(point["x"], point["y"]) for point in points])
    return {
        "axis": key,
        "title": axis.title,
        "points": points,
        "frontier": corners,
        "caption": _caption(axis, corners, [row.label for row in rows if axis.value(row) is None]),
    }


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return, from left to right, the points to which no other is both at most as far right and higher or equal."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not corners or y > corners[-1][1]:
            corners.append((x, y))
    return corners


def _caption(axis: Axis, corners: list[tuple[float, float]], left_out: list[str]) -> str:
    parts = [f"Dashed: nothing here is both {axis.better} and better."] if len(corners) > 1 else []
    if left_out:
        named = left_out[:NAMED_AT_MOST]
        more = len(left_out) - len(named)
        names = [*named, f"{more} more"] if more else named
        together = f"{', '.join(names[:-1])} and {names[-1]} are" if len(names) > 1 else f"{names[0]} is"
        whose = "their" if len(names) > 1 else "its"
        verb = "are" if axis.key == "tokens" else "is"
        parts.append(f"{together} left out because {whose} {axis.unknown} {verb} unknown.")
    return " ".join(parts)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
