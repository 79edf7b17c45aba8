"""Which steps a page shows: a light list of all of them, filters by kind, and a window around the one asked for.

The light list costs one query of a few small columns, also for 10,000 steps; texts are read for the window only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from traces.models import Session, Step

Kind = Step.Kind

WINDOW = 60
# So many steps before the one asked for: what led to it.
BEFORE = 8
STRIP_BARS = 120
# Fewer bars than these do not fill the strip: a bar is never broader than a fortieth.
LEAST_BARS = 40

# The groups of kinds that a reader can hide. Notices always show.
GROUPS: dict[str, tuple[str, ...]] = {
    "messages": (Kind.USER, Kind.ASSISTANT),
    "reasoning": (Kind.REASONING,),
    "tools": (Kind.TOOL,),
    "patches": (Kind.PATCH,),
    "context": (Kind.CONTEXT,),
}


class Light(NamedTuple):
    """What is known of a step without its texts. A tuple, since there may be ten thousand of them."""

    position: int
    turn: int
    kind: str
    exchange: int | None
    failed: bool | None
    exit_code: int | None

    @property
    def went_wrong(self) -> bool:
        return bool(self.failed) or bool(self.exit_code)

    @property
    def went_well(self) -> bool:
        return self.failed is False or (self.failed is None and self.exit_code == 0)


class Usage(NamedTuple):
    """The tokens of an exchange, None while unknown."""

    input: int | None
    output: int | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a reader asked of the viewer: a step, what to hide, a search."""

    step: int = 0
    hidden: tuple[str, ...] = ()

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Asked:
        """Return what a query string asks for; what is not known is left out."""
        step, hide = query.get("step", ""), query.get("hide", "").split(",")
        return cls(
            step=int(step) if step.isascii() and step.isdigit() and len(step) < 9 else 0,
            hidden=tuple(name for name in GROUPS if name in hide),
        )

    @property
    def hidden_kinds(self) -> frozenset[str]:
        return frozenset(kind for name in self.hidden for kind in GROUPS[name])


@dataclass(frozen=True)
class Trace:
    """All steps of a session, light, and the tokens of its exchanges."""

    steps: list[Light]
    usage: dict[int, Usage]
    first_step: dict[int, int] = field(default_factory=dict)  # of each exchange: its tokens are shown there, once

    @classmethod
    def of(cls, session: Session) -> Trace:
        """Read it with two queries."""
        columns = ("position", "turn", "kind", "exchange_id", "failed", "exit_code")
        steps = list(map(Light._make, session.shown_steps().values_list(*columns)))
        rows = session.exchanges.order_by("started_at", "id").values_list("id", "tokens_input", "tokens_output")
        usage = {pk: Usage(*tokens) for pk, *tokens in rows}
        first: dict[int, int] = {}
        for step in steps:
            if step.exchange is not None:
                first.setdefault(step.exchange, step.position)
        return cls(steps, usage, first)

    @property
    def last(self) -> int:
        return self.steps[-1].position if self.steps else 0

    def counts(self) -> dict[str, int]:
        """Return how many steps each group has."""
        by_kind: dict[str, int] = {}
        for step in self.steps:
            by_kind[step.kind] = by_kind.get(step.kind, 0) + 1
        return {name: sum(by_kind.get(kind, 0) for kind in kinds) for name, kinds in GROUPS.items()}

    def shown(self, asked: Asked) -> list[int]:
        """Return the positions that the filters leave, and always the step that was asked for."""
        hidden = asked.hidden_kinds
        return [step.position for step in self.steps if step.kind not in hidden or step.position == asked.step]

    def nearest(self, position: int) -> Light | None:
        """Return the step at a position, or the next one before it; None when there is none."""
        index = bisect_left(self.steps, position + 1, key=lambda step: step.position) - 1
        return self.steps[max(index, 0)] if self.steps else None

    def tokens_of(self, exchanges: Iterable[int]) -> int | None:
        """Return input and output of some exchanges together; None when nothing is known of any."""
        numbers = [
            number
            for pk in exchanges
            if pk in self.usage
            for number in (self.usage[pk].input, self.usage[pk].output)
            if number is not None
        ]
        return sum(numbers) if numbers else None


@dataclass(frozen=True)
class Window:
    """A stretch of the positions that are shown, and what lies before and after it."""

    positions: list[int]
    before: tuple[int, int] | None  # first and last position that is not shown
    after: tuple[int, int] | None


def around(shown: list[int], step: int) -> Window:
    """Return the window around a step; from the beginning when none was asked for."""
    index = bisect_left(shown, step) if step else 0
    start = max(0, min(index - BEFORE, len(shown) - WINDOW)) if step else 0
    return _window(shown, start, start + WINDOW)


def ahead(shown: list[int], before: int) -> Window:
    """Return the window that ends just before a position."""
    end = bisect_left(shown, before)
    return _window(shown, max(0, end - WINDOW), end)


def onward(shown: list[int], after: int) -> Window:
    """Return the window that begins just after a position."""
    start = bisect_left(shown, after + 1)
    return _window(shown, start, start + WINDOW)


def _window(shown: list[int], start: int, end: int) -> Window:
    return Window(
        positions=shown[start:end],
        before=(shown[0], shown[start - 1]) if 0 < start <= len(shown) else None,
        after=(shown[end], shown[-1]) if end < len(shown) else None,
    )


@dataclass(frozen=True)
class Bar:
    """One bar of the context strip, in percent of the drawing, and the step it leads to."""

    x: str
    width: str
    y: str
    height: str
    step: int
    on: bool


@dataclass(frozen=True)
class Strip:
    """How large the context was along the session. Without any known size there are no bars."""

    bars: list[Bar]
    largest: int
    first: int


def strip_of(trace: Trace, step: int) -> Strip:
    """Return the input of the exchanges in the order of their steps; beyond STRIP_BARS the largest of each few."""
    sizes = [
        (position, size)
        for pk, position in sorted(trace.first_step.items(), key=lambda item: item[1])
        if pk in trace.usage and (size := trace.usage[pk].input) is not None
    ]
    if not sizes:
        return Strip([], 0, 0)
    count = min(STRIP_BARS, len(sizes))
    chunks = [sizes[index * len(sizes) // count : (index + 1) * len(sizes) // count] for index in range(count)]
    largest = max(size for _, size in sizes) or 1
    starts = [chunk[0][0] for chunk in chunks]
    current = max(0, bisect_left(starts, step + 1) - 1) if step else -1
    bars = []
    for index, chunk in enumerate(chunks):
        height = max(1.0, max(size for _, size in chunk) / largest * 100)
        bars.append(
            Bar(
                x=f"{index / max(count, LEAST_BARS) * 100:.2f}%",
                width=f"{84 / max(count, LEAST_BARS):.2f}%",
                y=f"{100 - height:.1f}%",
                height=f"{height:.1f}%",
                step=chunk[0][0],
                on=index == current,
            )
        )
    return Strip(bars, largest, sizes[0][1])
