"""Makes the steps of a window ready for the template: texts within a budget, calls in groups, gaps in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from django.utils.dateparse import parse_datetime

from oneshot import diffs
from oneshot.visible import visible
from traces.models import Exchange, Session, Step
from traces.views import texts, words
from traces.views.window import Asked, Trace, Window

Kind = Step.Kind

# So many successful calls, or messages of context, in a row become one line.
LEAST_GROUP = 4
LEAST_CONTEXT = 2
MOST_GAPS = 50
SUMMARY = 200
SHELLS = frozenset({"shell", "local_shell", "exec_command", "container.exec", "bash", "Bash"})
LOOKS = {
    Kind.USER: ("user", "user"),
    Kind.ASSISTANT: ("", "chat"),
    Kind.REASONING: ("think", "think"),
    Kind.TOOL: ("", "tool"),
    Kind.PATCH: ("", "edit"),
    Kind.CONTEXT: ("quiet", "file"),
    Kind.NOTICE: ("quiet", "info"),
}
COLUMNS = (
    "session",
    "position",
    "turn",
    "kind",
    "name",
    "agent_path",
    "at",
    "seconds",
    "preview",
    "body_ref",
    "body_bytes",
    "result_preview",
    "result_ref",
    "result_bytes",
    "exit_code",
    "failed",
    "meta",
    "exchange__tokens_input",
    "exchange__tokens_cached",
    "exchange__tokens_output",
    "exchange__cost_usd",
    "exchange__model",
    "exchange__status",
    "exchange__error",
)


@dataclass(frozen=True)
class Gap:
    """A time in which not everything was recorded. Either end may be unknown."""

    start: datetime | None
    end: datetime | None
    reason: str


@dataclass(kw_only=True)
class Shown:
    """A step as the page shows it, or with `calls` a group of successful tool calls."""

    step: Step
    css: str
    icon: str
    label: str
    on: bool
    usage: Exchange | None = None
    exchange: int = 0  # its number among the requests
    summary: str = ""
    body: texts.Piece = texts.EMPTY
    diff: diffs.Diff | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    result: texts.Piece | None = None
    lazy: bool = False
    mark: tuple[str, str, str] | None = None
    gaps: list[Gap] = field(default_factory=list)
    calls: list[Shown] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return bool(self.result) and not self.lazy and (self.on or (self.mark is not None and self.mark[0] == "bad"))

    @property
    def calls_seconds(self) -> float | None:
        """Return the time of all calls of a group; None when any is unknown."""
        times = [call.step.seconds for call in self.calls]
        return sum(time for time in times if time is not None) if None not in times else None

    @property
    def calls_usage(self) -> list[Shown]:
        return [call for call in self.calls if call.usage is not None]


@dataclass(frozen=True)
class Steps:
    """The steps of a window; `gaps_after` lie behind the session's last step."""

    items: list[Shown]
    window: Window
    gaps_after: list[Gap]


def build(session: Session, trace: Trace, asked: Asked, window: Window) -> Steps:
    """Return the steps of a window, with one query for their rows."""
    rows = _rows(session, asked, window)
    numbers = {pk: number for number, pk in enumerate(trace.usage, 1)}
    budget = texts.Budget()
    # The step that was asked for comes first in the budget, whatever stands before it.
    ordered = sorted(rows, key=lambda row: row.position != asked.step)
    shown = {row.position: _shown(session, row, trace, asked, numbers, budget) for row in ordered}
    items = [shown[row.position] for row in rows]
    after = _place_gaps(session, items, window)
    return Steps(_grouped(items), window, after)


def _rows(session: Session, asked: Asked, window: Window) -> list[Step]:
    if not window.positions:
        return []
    steps = session.shown_steps().filter(position__in=window.positions)
    return list(steps.select_related("exchange").only(*COLUMNS))


def _shown(
    session: Session, step: Step, trace: Trace, asked: Asked, numbers: dict[int, int], budget: texts.Budget
) -> Shown:
    css, icon = LOOKS[Kind(step.kind)]
    item = Shown(step=step, css=css, icon=icon, label=label_of(session, step), on=step.position == asked.step)
    if step.exchange_id is not None:
        item.exchange = numbers.get(step.exchange_id, 0)
        if trace.first_step.get(step.exchange_id) == step.position:
            item.usage = step.exchange
    if step.kind in (Kind.TOOL, Kind.CONTEXT):
        _show_call(item, step, budget)
    elif step.kind == Kind.PATCH:
        item.mark = _mark(step) if step.failed or step.exit_code else None
        show_patch(item, step, budget, lines=texts.INLINE_DIFF_LINES)
    else:
        text, total = texts.text_of(step.body_ref, step.preview, texts.INLINE_BYTES)
        item.body = texts.as_prose(text, total, budget)
    return item


def _show_call(item: Shown, step: Step, budget: texts.Budget) -> None:
    """Fill in a call: its command on one line; its result if it is short, or if the call failed."""
    item.summary = _one_line(step.preview) or step.name or "(empty)"
    item.mark = _mark(step)
    wrong = item.mark is not None and item.mark[0] == "bad"
    long_call = bool(step.body_ref) or len(step.preview) > SUMMARY or "\n" in step.preview.strip()
    if (step.result_ref or long_call or step.kind == Kind.CONTEXT) and not (item.on or wrong):
        item.lazy = True
        return
    show_call_texts(item, step, budget, texts.INLINE_BYTES, with_body=long_call)


def show_call_texts(item: Shown, step: Step, budget: texts.Budget, most: int, *, with_body: bool) -> None:
    """Fill in a call's own text, where it is more than its summary, and its result."""
    if with_body or step.kind == Kind.CONTEXT:
        text, total = texts.text_of(step.body_ref, step.preview, most)
        item.body = texts.as_text(text, total, budget)
    if step.result_bytes is not None or step.result_preview:
        text, total = texts.text_of(step.result_ref, step.result_preview, most)
        item.result = texts.as_output(text, total, budget)


def show_patch(item: Shown, step: Step, budget: texts.Budget, *, lines: int) -> None:
    """Fill in a patch: as a diff where it is one; with `lines` 0 as much of it as one answer may have."""
    files = step.meta.get("files") if isinstance(step.meta, dict) else None
    item.files = [file for file in files if isinstance(file, dict)][:100] if isinstance(files, list) else []
    text, total = texts.text_of(step.body_ref, step.preview, texts.INLINE_BYTES if lines else texts.WHOLE_BYTES)
    item.diff, item.body = texts.as_diff(text, total, budget, lines)
    if step.result_preview and (step.failed or step.exit_code):
        said, length = texts.text_of(step.result_ref, step.result_preview, texts.INLINE_BYTES)
        item.result = texts.as_output(said, length, budget)


def label_of(session: Session, step: Step) -> str:
    """Return who speaks, or what is used."""
    if step.kind == Kind.USER:
        user = session.user if session.origin == Session.Origin.PERSON else None
        return (user.get_full_name() or user.get_username()) if user and not step.agent_path else "User"
    if step.kind == Kind.ASSISTANT:
        return words.agent_name(session.agent)
    if step.kind == Kind.TOOL:
        return tool_name(step.name)
    kind = Kind(step.kind).label
    return visible(f"{kind}, {step.name[:80]}") if step.kind in (Kind.CONTEXT, Kind.NOTICE) and step.name else kind


def tool_name(name: str) -> str:
    """Return a tool as people call it.

    >>> tool_name("exec_command"), tool_name("mcp__oneshot__repo.start_task.v1"), tool_name("Read"), tool_name("")
    ('Shell', 'oneshot: repo.start_task.v1', 'Read', 'Tool')
    """
    if name in SHELLS:
        return "Shell"
    if name.startswith("mcp__"):
        server, _, tool = name.removeprefix("mcp__").partition("__")
        return visible(f"{server}: {tool}" if tool else server)
    return visible(name[:80]) or "Tool"


def _mark(step: Step) -> tuple[str, str, str] | None:
    """Return how a call ended as (class, icon, words); None when its source does not say."""
    if step.exit_code is not None:
        wrong = step.exit_code != 0 or bool(step.failed)
        return ("bad", "no", f"exit {step.exit_code}") if wrong else ("ok", "ok", "exit 0")
    if step.failed is None:
        return None
    return ("bad", "no", "failed") if step.failed else ("ok", "ok", "succeeded")


def _one_line(text: str) -> str:
    return visible(" ".join(text.split())[:SUMMARY])


def _grouped(items: list[Shown]) -> list[Shown]:
    """Return the items with runs of successful calls, and of context, as one each; the step asked for stays alone."""

    def alike(item: Shown) -> tuple[bool, Any]:
        succeeded = item.step.kind == Kind.TOOL and item.mark is not None and item.mark[0] == "ok"
        joins = (succeeded or item.step.kind == Kind.CONTEXT) and not item.on
        return joins, (item.step.kind, item.step.turn, item.step.agent_path) if joins else item.step.position

    return list(_joined(groupby(items, alike)))


def _joined(groups: Iterator[tuple[tuple[bool, Any], Iterator[Shown]]]) -> Iterator[Shown]:
    for (joins, _), members in groups:
        pending: list[Shown] = []
        for item in members:
            # A gap is shown where it was, so a group never reaches over one.
            if item.gaps and pending:
                yield from _one_or_all(pending)
                pending = []
            pending.append(item)
        yield from _one_or_all(pending) if joins else pending


def _one_or_all(items: list[Shown]) -> list[Shown]:
    context = items[0].step.kind == Kind.CONTEXT
    if len(items) < (LEAST_CONTEXT if context else LEAST_GROUP):
        return items
    first = items[0]
    gaps, first.gaps = first.gaps, []
    label = f"{len(items)} messages of context" if context else f"{len(items)} tool calls, all succeeded"
    css = "group quiet" if context else "group"
    return [Shown(step=first.step, css=css, icon=first.icon, label=label, on=False, calls=items, gaps=gaps)]


def gaps_of(session: Session) -> list[Gap]:
    """Return the gaps that a session's sources told of, by time; what is no gap is left out."""
    found = []
    for raw in session.gaps[:MOST_GAPS] if isinstance(session.gaps, list) else []:
        if isinstance(raw, dict):
            reason = str(raw.get("reason") or "Nothing was recorded.")[:300]
            found.append(Gap(_moment(raw.get("from")), _moment(raw.get("to")), reason))
    return found


def _moment(value: object) -> datetime | None:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _place_gaps(session: Session, items: list[Shown], window: Window) -> list[Gap]:
    """Put each gap before the first step after it; return those behind the last step of the session."""
    gaps = gaps_of(session)
    if not gaps or not items:
        return gaps if not items and window.before is None and window.after is None else []
    left = []
    for gap in gaps:
        moment = gap.start or gap.end
        if moment is None:
            if window.before is None:
                items[0].gaps.append(gap)
            continue
        place = next((item for item in items if item.step.at is not None and item.step.at >= moment), None)
        if place is None:
            left.append(gap)
        elif place is not items[0] or window.before is None:
            place.gaps.append(gap)
    return left if window.after is None else []
