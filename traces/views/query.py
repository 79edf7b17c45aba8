"""What the list of sessions shows: filters, search, order and pages, all of it from the query string.

A page is found by where the last one ended, never by counting from the start; counts stop at COUNT_LIMIT.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, TextField
from django.db.models.functions import Cast
from django.utils.dateparse import parse_date, parse_datetime

from oneshot.accounts.models import Team
from traces import links
from traces.models import Session, SessionQuerySet

PAGE = 50
COUNT_LIMIT = 10_000
MOST_WORDS = 8
MOST_CHOICES = 200
SORTS = {"started": "started_at", "steps": "step_count", "tokens": "tokens_input", "cost": "cost_usd"}
DEFAULT_SORT = "-started"
LINKED = {"yes": "With a task or run", "no": "Without a task or run"}

# A row of the list needs neither the search text nor the documents.
COLUMNS = (
    "title",
    "agent",
    "agent_version",
    "thread_id",
    "origin",
    "public",
    "repository",
    "branch",
    "model_names",
    "started_at",
    "ended_at",
    "ending",
    "turn_count",
    "step_count",
    "request_count",
    "tokens_input",
    "tokens_output",
    "unknown_usage_count",
    "cost_usd",
    "unknown_cost_count",
    "created_at",
    "user__username",
    "user__first_name",
    "user__last_name",
)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many sessions the filters leave, in all and by origin. `cut`: more than COUNT_LIMIT, each a lower bound."""

    total: int
    people: int
    runs: int
    chosen: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class SessionPage:
    """Some rows, the cursors of the pages around them ("" for none), and the number of the first row."""

    rows: list[Session]
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
    agent: str = ""
    model: str = ""
    repository: str = ""
    origin: str = ""
    linked: str = ""
    since: date | None = None
    until: date | None = None
    sort: str = DEFAULT_SORT
    after: str = ""
    before: str = ""
    start: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Listing:
        """Return the listing that a query string asks for."""

        def text(name: str, most: int) -> str:
            return query.get(name, "").replace("\0", "").strip()[:most]  # PostgreSQL takes no NUL in a text

        def known(name: str, values: Any) -> str:
            return query.get(name, "") if query.get(name, "") in values else ""

        sort, start = query.get("sort", ""), query.get("from", "")
        return cls(
            q=text("q", 200),
            agent=text("agent", 40),
            model=text("model", 120),
            repository=text("repository", 500),
            origin=known("origin", Session.Origin.values),
            linked=known("linked", LINKED),
            since=_date(query.get("since", "")),
            until=_date(query.get("until", "")),
            sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
            after=text("after", 100),
            before=text("before", 100),
            start=int(start) if start.isascii() and start.isdigit() and 0 < len(start) < 9 and int(start) else 1,
        )

    @property
    def is_filtered(self) -> bool:
        return any((self.q, self.origin, *(value for _, value in self.tokens())))

    def tokens(self) -> list[tuple[str, str]]:
        """Return (name in the query string, words) of the filters in force that no segment shows."""
        words = {
            "agent": self.agent and f"Agent: {self.agent}",
            "model": self.model and f"Model: {self.model}",
            "repository": self.repository and f"Repository: {self.repository}",
            "linked": LINKED.get(self.linked, ""),
            "since": f"From {self.since:%Y-%m-%d}" if self.since else "",
            "until": f"Until {self.until:%Y-%m-%d}" if self.until else "",
        }
        return [(name, text) for name, text in words.items() if text]

    def filtered(self, user: Any, *, by_origin: bool = True) -> SessionQuerySet:
        """Return the sessions that the user may see and the filters leave."""
        sessions = _visible(user)
        for name in ("agent", "repository"):
            if getattr(self, name):
                sessions = sessions.filter(**{name: getattr(self, name)})
        if by_origin and self.origin:
            sessions = sessions.filter(origin=self.origin)
        if self.model:
            # As text, since SQLite cannot look into a list; quoted, so that a name is not found in a longer one.
            sessions = sessions.alias(models_text=Cast("model_names", TextField()))
            sessions = sessions.filter(models_text__contains=json.dumps(self.model))
        if self.linked:
            condition = links.linked()
            sessions = sessions.filter(condition if self.linked == "yes" else ~condition)
        if self.since:
            sessions = sessions.filter(started_at__gte=datetime.combine(self.since, time.min, UTC))
        if self.until:
            sessions = sessions.filter(started_at__lt=datetime.combine(self.until, time.min, UTC) + timedelta(days=1))
        for word in self.q.split()[:MOST_WORDS]:
            sessions = sessions.filter(_search(word))
        return sessions

    def counts(self, user: Any) -> Counts:
        """Return how many sessions the filters leave, over the first COUNT_LIMIT."""
        some = self.filtered(user, by_origin=False).order_by("-started_at", "-id")[: COUNT_LIMIT + 1]
        found = some.aggregate(
            total=Count("pk"),
            people=Count("pk", filter=Q(origin=Session.Origin.PERSON)),
            runs=Count("pk", filter=Q(origin=Session.Origin.RUN)),
        )
        cut = found["total"] > COUNT_LIMIT
        bounded = {name: min(number, COUNT_LIMIT) for name, number in found.items()}
        chosen = {"person": "people", "run": "runs"}.get(self.origin, "total")
        return Counts(**bounded, chosen=bounded[chosen], cut=cut)

    def page(self, user: Any) -> SessionPage:
        """Return one page. Sessions whose sorted value is unknown come last in both directions."""
        column = SORTS[self.sort.removeprefix("-")]
        forward = not self.before
        cursor = _Cursor.read(self.after or self.before, column)
        sessions = self.filtered(user)
        keys: list[tuple[Any, Any]] = []
        for unknown in (False, True) if forward else (True, False):
            if cursor is not None and cursor.is_beyond(unknown, forward=forward):
                continue
            start = cursor if cursor is not None and (cursor.value is None) == unknown else None
            keys += self._keys(sessions, column, unknown, start, PAGE + 1 - len(keys), forward=forward)
            if len(keys) > PAGE:
                break
        more = len(keys) > PAGE
        keys = keys[:PAGE] if forward else keys[:PAGE][::-1]
        return SessionPage(
            rows=_rows([key for key, _ in keys]),
            newer=_cursor_of(keys[0]) if keys and (cursor is not None if forward else more) else "",
            older=_cursor_of(keys[-1]) if keys and (more if forward else True) else "",
            start=1 if cursor is None else self.start,
        )

    def _keys(
        self, sessions: SessionQuerySet, column: str, unknown: bool, start: _Cursor | None, most: int, *, forward: bool
    ) -> list[tuple[Any, Any]]:
        """Return (id, value) of the next rows from `start`, among those whose value is (un)known."""
        descending = self.sort.startswith("-") == forward
        sessions = sessions.filter(**{f"{column}__isnull": unknown})
        if start is not None:
            sessions = sessions.filter(start.condition(column, "lt" if descending else "gt"))
        sign = "-" if descending else ""
        order = [f"{sign}id"] if unknown else [f"{sign}{column}", f"{sign}id"]
        return list(sessions.order_by(*order).values_list("pk", column)[:most])

    @staticmethod
    def choices(user: Any) -> dict[str, list[str]]:
        """Return the agents, models and repositories of the newest COUNT_LIMIT sessions that the user may see."""
        newest = _visible(user).order_by("-started_at", "-id")[:COUNT_LIMIT]
        agents: set[str] = set()
        models: set[str] = set()
        repositories: set[str] = set()
        for agent, names, repository in newest.values_list("agent", "model_names", "repository").iterator():
            agents.add(agent)
            models.update(name for name in names if isinstance(name, str))
            repositories.add(repository)
        found = {"agents": agents, "models": models, "repositories": repositories}
        return {name: sorted(values - {""})[:MOST_CHOICES] for name, values in found.items()}


def _visible(user: Any) -> SessionQuerySet:
    """Return the visible sessions, with the user's teams spelled out: a planner can then use their indexes."""
    sessions = Session.objects.visible_to(user)
    if not user.is_authenticated or user.is_superuser:
        return sessions
    teams = list(Team.objects.of(user).values_list("pk", flat=True))
    return sessions.filter(Q(public=True) | Q(team__in=teams))


def _search(word: str) -> Q:
    """Return what a word of the search means: part of what was said, of the place, or the beginning of an id."""
    # The search text is in lower case, so no database needs to fold it.
    condition = Q(search_text__contains=word.lower()) | Q(title__icontains=word)
    condition |= Q(repository__icontains=word) | Q(branch__icontains=word) | Q(thread_id__istartswith=word)
    digits = word.replace("-", "").lower()
    if 6 <= len(digits) <= 32 and all(digit in "0123456789abcdef" for digit in digits):
        first, last = (uuid.UUID(digits.ljust(32, filler)) for filler in "0f")
        condition |= Q(pk__gte=first, pk__lte=last)
    return condition


def _rows(ids: list[Any]) -> list[Session]:
    rows = {row.pk: row for row in Session.objects.filter(pk__in=ids).select_related("user").only(*COLUMNS)}
    return [rows[pk] for pk in ids if pk in rows]


def _date(text: str) -> date | None:
    try:
        return parse_date(text[:10])
    except ValueError:
        return None


@dataclass(frozen=True)
class _Cursor:
    """The place of one row in the order: its sorted value (None for unknown) and its id."""

    value: Any
    pk: uuid.UUID

    @classmethod
    def read(cls, text: str, column: str) -> _Cursor | None:
        value, _, pk = text.rpartition("~")
        try:
            return cls(_parse(column, value), uuid.UUID(pk))
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
    if not value:
        return None
    if column == "started_at":
        moment = parse_datetime(value)
        if moment is None or moment.tzinfo is None:
            raise ValueError(value)
        return moment
    if column == "cost_usd":
        number = Decimal(value)
        if not number.is_finite() or len(value) > 20:
            raise ValueError(value)
        return number
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError(value)
    return int(value)


def _cursor_of(key: tuple[Any, Any]) -> str:
    pk, value = key
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"{text}~{pk.hex}"
