"""The outline of a session: its turns, and in them the steps worth jumping to. Bounded, however long the session."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from oneshot.visible import visible
from traces.models import Session, Step
from traces.views.window import Light, Trace

Kind = Step.Kind

# Entries in all; and when there are more: turns around the current one, and notable steps around the current step.
MOST = 160
MOST_TURNS = 60
MOST_NOTABLE = 60
LABEL = 90


@dataclass(frozen=True)
class Entry:
    """One line. `tokens` are those of the whole turn, None for other steps and when unknown."""

    step: int
    label: str
    icon: str
    is_turn: bool
    tokens: int | None
    on: bool
    went_wrong: bool


@dataclass(frozen=True)
class Outline:
    """The entries, and the steps that the links to what is left out lead to (0 for none)."""

    entries: list[Entry]
    earlier: int
    later: int
    left_out: int


def outline_of(session: Session, trace: Trace, step: int) -> Outline:
    """Return the outline around a step, with one query for its words."""
    heads = _heads(trace)
    notable = [light for light in trace.steps if light.position not in heads and _is_notable(light)]
    if trace.steps and trace.steps[-1].position not in heads and not _is_notable(trace.steps[-1]):
        notable.append(trace.steps[-1])
    turns = sorted(heads)
    some_turns, some_notable = turns, [light.position for light in notable]
    if len(turns) + len(notable) > MOST:
        some_turns = _around(turns, step, MOST_TURNS)
        some_notable = _around(some_notable, step, MOST_NOTABLE if len(turns) > MOST_TURNS else MOST - len(some_turns))
    positions = sorted({*some_turns, *some_notable})
    current = positions[max(0, bisect_left(positions, step + 1) - 1)] if positions and step else 0
    everything = sorted({*turns, *(light.position for light in notable)})
    return Outline(
        entries=_entries(session, trace, positions, heads, current),
        earlier=_beyond(everything, positions, earlier=True),
        later=_beyond(everything, positions, earlier=False),
        left_out=len(everything) - len(positions),
    )


def _heads(trace: Trace) -> dict[int, int]:
    """Return {position of the first step: turn}. A turn begins with what the user says."""
    first: dict[int, int] = {}
    spoken: dict[int, int] = {}
    for light in trace.steps:
        if light.turn:
            first.setdefault(light.turn, light.position)
            if light.kind == Kind.USER:
                spoken.setdefault(light.turn, light.position)
    return {spoken.get(turn, position): turn for turn, position in first.items()}


def _is_notable(light: Light) -> bool:
    if light.kind in (Kind.PATCH, Kind.ASSISTANT, Kind.NOTICE, Kind.USER):
        return True
    return light.kind == Kind.TOOL and light.went_wrong


def _around(positions: list[int], step: int, most: int) -> list[int]:
    index = bisect_left(positions, step)
    start = max(0, min(index - most // 2, len(positions) - most))
    return positions[start : start + most]


def _beyond(everything: list[int], shown: list[int], *, earlier: bool) -> int:
    if not shown or len(everything) == len(shown):
        return 0
    if earlier:
        index = bisect_left(everything, shown[0])
        return everything[max(0, index - MOST_NOTABLE // 2)] if index else 0
    index = bisect_left(everything, shown[-1] + 1)
    return everything[min(len(everything) - 1, index + MOST_NOTABLE // 2)] if index < len(everything) else 0


def _entries(session: Session, trace: Trace, positions: list[int], heads: dict[int, int], current: int) -> list[Entry]:
    rows = session.shown_steps().filter(position__in=positions).values_list("position", "preview", "name", "meta")
    words = {position: (preview, name, meta) for position, preview, name, meta in rows}
    by_turn: dict[int, list[int]] = {}
    for light in trace.steps:
        if light.exchange is not None and trace.first_step.get(light.exchange) == light.position:
            by_turn.setdefault(light.turn, []).append(light.exchange)
    lights = {light.position: light for light in trace.steps}
    entries = []
    for position in positions:
        light = lights[position]
        preview, name, meta = words.get(position, ("", "", {}))
        turn = heads.get(position)
        entries.append(
            Entry(
                step=position,
                label=_label(light, preview, name, meta),
                icon=_ICONS.get(light.kind, "") if turn is None else "",
                is_turn=turn is not None,
                tokens=trace.tokens_of(by_turn.get(turn, ())) if turn is not None else None,
                on=position == current,
                went_wrong=light.went_wrong,
            )
        )
    return entries


_ICONS: dict[str, str] = {Kind.PATCH: "edit", Kind.TOOL: "tool", Kind.NOTICE: "info", Kind.ASSISTANT: "chat"}


def _label(light: Light, preview: str, name: str, meta: object) -> str:
    if light.kind == Kind.PATCH and isinstance(meta, dict) and isinstance(meta.get("files"), list):
        paths = [str(file.get("path", "")) for file in meta["files"] if isinstance(file, dict)]
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            return visible(f"{paths[0].rpartition('/')[2]}{more}"[:LABEL])
    first = next((line for line in preview.splitlines() if line.strip()), "") or name or light.kind
    return visible(first.strip().lstrip("#*> ")[:LABEL])
