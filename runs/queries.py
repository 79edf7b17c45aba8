"""What the list of runs shows: filters, search, order and pages, all of it from the query string.

Written for a million rows: a page is found by where the last one ended, never by counting from the start, and
counts stop at COUNT_LIMIT.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from django.db.models import Count, F, Model, OrderBy, Q, QuerySet
from django.utils.dateparse import parse_datetime

from oneshot.accounts.models import Team
from runs.models import ENDED, AgentConfig, Outcome, Run, RunQuerySet, Status
from tasks.models import Task

PAGE = 50
COUNT_LIMIT = 10_000
# A word that matches more tasks or agents than this is handed to the database as a subquery.
MOST_IDS = 1_000
LEAST_HEX = 6

ACTIVE = tuple(status for status in Status.values if status not in ENDED)
NOT_SOLVED = tuple(outcome for outcome in Outcome.values if outcome != Outcome.RESOLVED)
SORTS = {"created": "created_at", "time": "seconds", "cost": "cost_usd"}
DEFAULT_SORT = "-created"
FAULTS = {"task": "the task", "agent": "the agent", "infra": "this installation"}

# A row of the list needs no documents.
COLUMNS = (
    "status",
    "outcome",
    "fault",
    "attempt",
    "sandbox",
    "isolation",
    "purpose",
    "public",
    "created_at",
    "queued_at",
    "preparing_at",
    "finished_at",
    "cancel_requested_at",
    "retry_at",
    "seconds",
    "tokens_input",
    "tokens_output",
    "cost_usd",
    "fail_to_pass_passed",
    "fail_to_pass_failed",
    "pass_to_pass_passed",
    "pass_to_pass_failed",
    "team_id",
    "task__slug",
    "agent__kind",
    "agent__name",
    "agent__version",
    "agent__model",
)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One choice of the segmented filter. `count` is a lower bound when the listing's counts are cut."""

    status: str
    outcome: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Token:
    """A filter in force: its name in the query string, and what it says."""

    name: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many runs the filters leave. `cut`: there are more than COUNT_LIMIT, and each number is a lower bound."""

    total: int
    segments: list[Segment]
    active: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """Some rows, the cursors of the pages around them ("" for none), and the number of the first row."""

    rows: list[Run]
    newer: str
    older: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.rows) - 1


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was asked for. A value that is not known is left out rather than refused: links grow old."""

    q: str = ""
    status: str = ""
    outcome: str = ""
    agent: str = ""
    task: str = ""
    sandbox: str = ""
    fault: str = ""
    purpose: str = ""
    sort: str = DEFAULT_SORT
    after: str = ""
    before: str = ""
    start: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Listing:
        """Return the listing that a query string asks for."""

        def text(name: str, most: int) -> str:
            return query.get(name, "").replace("\0", "").strip()[:most]

        def known(name: str, values: Any) -> str:
            return query.get(name, "") if query.get(name, "") in values else ""

        sort, start = query.get("sort", ""), query.get("from", "")
        return cls(
            q=text("q", 200),
            status=known("status", ("active", *Status.values)),
            outcome=known("outcome", ("unsolved", *Outcome.values)),
            agent=text("agent", 100),
            task=text("task", 120),
            sandbox=text("sandbox", 20),
            fault=known("fault", FAULTS),
            purpose=known("purpose", Run.Purpose.values),
            sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
            after=text("after", 100),
            before=text("before", 100),
            start=int(start) if start.isascii() and start.isdigit() and 0 < len(start) < 9 and int(start) else 1,
        )

    @property
    def is_filtered(self) -> bool:
        return any((self.q, self.status, self.outcome, self.agent, self.task, self.sandbox, self.fault, self.purpose))

    def filtered(self, user: Any, *, ended_how: bool = True) -> RunQuerySet:
        """Return the runs that the user may see and the filters leave; `ended_how` False ignores status and outcome."""
        runs = _visible(user)
        if ended_how:
            runs = runs.filter(_standing(self.status, self.outcome))
        if self.task:
            runs = runs.filter(task__in=list(Task.objects.filter(slug=self.task).values_list("pk", flat=True)))
        if self.agent:
            runs = runs.filter(agent__in=_agents(self.agent))
        if self.sandbox:
            runs = runs.filter(sandbox=self.sandbox)
        if self.fault:
            runs = runs.filter(fault=self.fault)
        if self.purpose:
            runs = runs.filter(purpose=self.purpose)
        for word in self.q.split()[:8]:
            runs = runs.filter(_search(word))
        return runs

    def counts(self, user: Any) -> Counts:
        """Return the segments with their counts, over the newest COUNT_LIMIT runs that the other filters leave."""
        newest = self.filtered(user, ended_how=False).order_by("-created_at", "-id")[: COUNT_LIMIT + 1]
        kinds = (
            ("", "", "All"),
            ("active", "", "Active"),
            ("", "resolved", "Resolved"),
            ("", "unsolved", "Not solved"),
            (Status.INFRA_FAILED, "", "Ungraded"),
            (Status.CANCELLED, "", "Cancelled"),
        )
        wanted = {f"n{number}": _standing(status, outcome) for number, (status, outcome, _) in enumerate(kinds)}
        wanted["chosen"] = _standing(self.status, self.outcome)
        found = newest.aggregate(**{name: Count("pk", filter=condition) for name, condition in wanted.items()})
        cut = found["n0"] > COUNT_LIMIT
        segments = [
            Segment(
                status=status,
                outcome=outcome,
                label=label,
                count=min(found[f"n{number}"], COUNT_LIMIT),
                chosen=(status, outcome) == (self.status, self.outcome),
            )
            for number, (status, outcome, label) in enumerate(kinds)
        ]
        return Counts(total=min(found["chosen"], COUNT_LIMIT), segments=segments, active=found["n1"], cut=cut)

    def page(self, user: Any) -> RunPage:
        """Return one page. Runs whose sorted value is unknown come last in both directions."""
        column = SORTS[self.sort.removeprefix("-")]
        forward = not self.before
        cursor = _Cursor.read(self.after or self.before, column)
        runs = self.filtered(user)
        keys: list[tuple[Any, Any]] = []
        parts = [False, True] if column != "created_at" else [False]
        for unknown in parts if forward else reversed(parts):
            if cursor is not None and cursor.is_beyond(unknown, forward=forward):
                continue
            start = cursor if cursor is not None and (cursor.value is None) == unknown else None
            keys += self._keys(runs, column, unknown, start, PAGE + 1 - len(keys), forward=forward)
            if len(keys) > PAGE:
                break
        more = len(keys) > PAGE
        keys = keys[:PAGE] if forward else keys[:PAGE][::-1]
        return RunPage(
            rows=_rows([key for key, _ in keys]),
            newer=_cursor_of(keys[0]) if keys and (cursor is not None if forward else more) else "",
            older=_cursor_of(keys[-1]) if keys and (more if forward else True) else "",
            start=1 if cursor is None else self.start,
        )

    def _keys(
        self, runs: RunQuerySet, column: str, unknown: bool, start: _Cursor | None, most: int, *, forward: bool
    ) -> list[tuple[Any, Any]]:
        """Return (id, value) of the next rows from `start`, among those whose value is (un)known."""
        descending = self.sort.startswith("-") == forward
        if column != "created_at":
            runs = runs.filter(**{f"{column}__isnull": unknown})
        if start is not None:
            runs = runs.filter(start.condition(column, "lt" if descending else "gt"))
        sign = "-" if descending else ""
        order: list[Any] = [f"{sign}id"] if unknown else [f"{sign}{column}", f"{sign}id"]
        if (self.agent or self.task or self.q) and column != "created_at" and not unknown:
            # One agent's costs are much alike: walking the index of all costs would meet its runs last.
            order[0] = OrderBy(F(column) + 0, descending=descending)
        return list(runs.order_by(*order).values_list("pk", column)[:most])

    @staticmethod
    def agents(user: Any) -> QuerySet[AgentConfig]:
        """Return the agents of the newest COUNT_LIMIT runs that the user may see."""
        newest = _visible(user).order_by("-created_at").values_list("agent_id", flat=True)[:COUNT_LIMIT]
        return AgentConfig.objects.filter(pk__in=set(newest)).order_by("name", "version", "model")

    def tokens(self) -> list[Token]:
        """Return the filters in force that no segment shows, as removable words."""
        agent = ""
        if self.agent:
            found = AgentConfig.objects.filter(pk=self.agent).first() if _as_uuid(self.agent) else None
            agent = str(found or self.agent)
        words = {
            "task": f"Task: {self.task}" if self.task else "",
            "agent": f"Agent: {agent}" if agent else "",
            "outcome": f"Outcome: {Outcome(self.outcome).label}" if self.outcome in NOT_SOLVED else "",
            "status": f"Status: {Status(self.status).label}" if self.status in _UNSEGMENTED else "",
            "sandbox": f"Sandbox: {self.sandbox}" if self.sandbox else "",
            "fault": f"At fault: {FAULTS[self.fault]}" if self.fault else "",
            "purpose": f"Purpose: {Run.Purpose(self.purpose).label}" if self.purpose else "",
        }
        return [Token(name=name, words=text) for name, text in words.items() if text]

    def without_place(self) -> Listing:
        """Return the same filters from the first page on."""
        return replace(self, after="", before="", start=1)


_UNSEGMENTED = tuple(status for status in Status.values if status not in (Status.INFRA_FAILED, Status.CANCELLED))


def _visible(user: Any) -> RunQuerySet:
    """Return the visible runs, with the user's teams spelled out: a planner can then use their indexes."""
    runs = Run.objects.visible_to(user)
    if not user.is_authenticated or user.is_superuser:
        return runs
    teams = list(Team.objects.of(user).values_list("pk", flat=True))
    return runs.filter(Q(public=True) | Q(team__in=teams))


def _standing(status: str, outcome: str) -> Q:
    condition = Q()
    if status:
        condition &= Q(status__in=ACTIVE) if status == "active" else Q(status=status)
    if outcome:
        condition &= Q(outcome__in=NOT_SOLVED) if outcome == "unsolved" else Q(outcome=outcome)
    return condition


def _agents(value: str) -> list[Any]:
    """Return the configurations that a value names: one by its id, or all of a name or kind."""
    wanted = Q(pk=value) if _as_uuid(value) else Q(name=value) | Q(kind=value)
    return list(AgentConfig.objects.filter(wanted).values_list("pk", flat=True))


def _search(word: str) -> Q:
    """Return what a word of the search means: part of a task, part of an agent, or the beginning of a run's id."""
    condition = Q(task__in=_ids(Task.objects.filter(Q(slug__icontains=word) | Q(title__icontains=word))))
    agents = AgentConfig.objects.filter(Q(name__icontains=word) | Q(model__icontains=word) | Q(kind=word))
    condition |= Q(agent__in=_ids(agents))
    digits = word.replace("-", "").lower()
    if LEAST_HEX <= len(digits) <= 32 and re.fullmatch(r"[0-9a-f]+", digits):
        first, last = (uuid.UUID(digits.ljust(32, filler)) for filler in "0f")
        condition |= Q(pk__gte=first, pk__lte=last)
    return condition


def _ids(found: QuerySet[Model]) -> Any:
    few = list(found.order_by().values_list("pk", flat=True)[: MOST_IDS + 1])
    return few if len(few) <= MOST_IDS else found.order_by().values("pk")


def _as_uuid(value: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(value)
    except ValueError:
        return None


def _rows(ids: list[Any]) -> list[Run]:
    rows = {run.pk: run for run in Run.objects.filter(pk__in=ids).select_related("task", "agent").only(*COLUMNS)}
    return [rows[pk] for pk in ids if pk in rows]


@dataclass(frozen=True)
class _Cursor:
    """The place of one row in the order: its sorted value (None for unknown) and its id."""

    value: Any
    pk: uuid.UUID

    @classmethod
    def read(cls, text: str, column: str) -> _Cursor | None:
        value, _, pk = text.rpartition("~")
        key = _as_uuid(pk)
        if key is None:
            return None
        try:
            return cls(_parse(column, value), key)
        except (ValueError, ArithmeticError):
            return None

    def is_beyond(self, unknown: bool, *, forward: bool) -> bool:
        """Whether the rows with (un)known values lie wholly on the other side of this place."""
        return (self.value is None and not unknown) if forward else (self.value is not None and unknown)

    def condition(self, column: str, side: str) -> Q:
        if self.value is None:
            return Q(**{f"pk__{side}": self.pk})
        # The first part repeats the second in a form that is one range of the index.
        within = Q(**{f"{column}__{side}e": self.value})
        return within & (Q(**{f"{column}__{side}": self.value}) | Q(**{f"pk__{side}": self.pk}))


def _parse(column: str, value: str) -> Any:
    """Return the sorted value that a cursor names. Raises ValueError or ArithmeticError for nonsense."""
    if column == "created_at":
        moment = parse_datetime(value)
        if moment is None or moment.tzinfo is None:
            raise ValueError(value)
        return moment
    if not value:
        return None
    number = float(value) if column == "seconds" else Decimal(value)
    if not number.is_finite() if isinstance(number, Decimal) else not isfinite(number):
        raise ValueError(value)
    return number


def _cursor_of(key: tuple[Any, Any]) -> str:
    pk, value = key
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"{text}~{pk.hex}"
