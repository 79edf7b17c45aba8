"""What the list of tasks shows: search, state, validation, tag and order, all of it from the query string."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, OrderBy, Q, TextField
from django.db.models.functions import Cast

from tasks.models import Task, TaskQuerySet, TaskVersion

PAGE = 25
ORDERS = {
    "title": "title",
    "state": "state",
    "validation": "current_version__validation",
    "version": "current_version__number",
    "tests": "current_version__fail_to_pass_count",
    "changed": "current_version__created_at",
}
DEFAULT_ORDER = "-changed"
# A row needs no instructions and no documents, which may be large.
COLUMNS = (
    "slug",
    "title",
    "state",
    "visibility",
    "tags",
    "created_at",
    "team__slug",
    "team__name",
    "current_version__number",
    "current_version__repo",
    "current_version__validation",
    "current_version__fail_to_pass_count",
    "current_version__pass_to_pass_count",
    "current_version__excluded_count",
    "current_version__created_at",
)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One choice of a segmented filter, with how many tasks it would show."""

    value: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was asked for. Anything that is not a known value is left out rather than refused: links grow old."""

    q: str = ""
    state: str = ""
    validation: str = ""
    tag: str = ""
    team: str = ""
    sort: str = DEFAULT_ORDER
    page: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Listing:
        """Return the listing that a query string asks for."""

        def text(name: str, most: int) -> str:
            return query.get(name, "").replace("\x00", "").strip()[:most]  # PostgreSQL takes no NUL in a text

        def known(name: str, values: Any) -> str:
            return query.get(name, "") if query.get(name, "") in values else ""

        sort = query.get("sort", "")
        page = query.get("page", "")
        return cls(
            q=text("q", 200),
            state=known("state", Task.State.values),
            validation=known("validation", TaskVersion.Validation.values),
            tag=text("tag", 100),
            team=text("team", 50),
            sort=sort if sort.removeprefix("-") in ORDERS else DEFAULT_ORDER,
            page=min(int(page), 1_000_000) if page.isascii() and page.isdigit() and int(page) else 1,
        )

    @property
    def is_filtered(self) -> bool:
        return bool(self.q or self.state or self.validation or self.tag or self.team)

    def _searched(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Apply what no segment counts: search, tag and team."""
        for word in self.q.split():
            url = Q(current_version__repo__git_url__icontains=word)
            tasks = tasks.filter(Q(title__icontains=word) | Q(slug__icontains=word) | url)
        if self.tag:
            # A list of words as text: SQLite keeps non-ASCII escaped, PostgreSQL does not.
            as_text = tasks.annotate(tags_text=Cast("tags", TextField()))
            escaped = Q(tags_text__contains=json.dumps(self.tag))
            tasks = as_text.filter(escaped | Q(tags_text__contains=json.dumps(self.tag, ensure_ascii=False)))
        return tasks.filter(team__slug=self.team) if self.team else tasks

    def rows(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Return the tasks to show, in order, before paging."""
        tasks = self._searched(tasks)
        if self.state:
            tasks = tasks.filter(state=self.state)
        if self.validation:
            tasks = tasks.filter(current_version__validation=self.validation)
        column = F(ORDERS[self.sort.removeprefix("-")])
        order = OrderBy(column, descending=self.sort.startswith("-"), nulls_last=True)
        return tasks.select_related("team", "current_version").only(*COLUMNS).order_by(order, "slug")

    def segments(self, tasks: TaskQuerySet) -> tuple[list[Segment], list[Segment], int]:
        """Return the state segments, the validation segments, and how many tasks the rows have. One query.

        Each kind of segment counts within what the other has chosen.
        """
        pairs = self._searched(tasks).order_by().values_list("state", "current_version__validation")
        counts = {(state, validation): n for state, validation, n in pairs.annotate(n=Count("pk"))}
        by_state: Counter[str] = Counter()
        by_validation: Counter[str] = Counter()
        total = 0
        for (state, validation), n in counts.items():
            if self.validation in ("", validation):
                by_state[state] += n
            if self.state in ("", state):
                by_validation[validation or ""] += n
            if self.validation in ("", validation) and self.state in ("", state):
                total += n
        return (
            _segments(Task.State.choices, by_state, self.state),
            _segments(TaskVersion.Validation.choices, by_validation, self.validation),
            total,
        )


def _segments(choices: list[tuple[str, str]], counts: Counter[str], chosen: str) -> list[Segment]:
    """Return "All" and each value that some task has, or that is chosen."""
    every = Segment(value="", label="All", count=counts.total(), chosen=not chosen)
    return [every] + [
        Segment(value=value, label=label, count=counts[value], chosen=value == chosen)
        for value, label in choices
        if counts[value] or value == chosen
    ]
