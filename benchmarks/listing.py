"""How a board is asked for: every choice stands in the query string, so that every view can be linked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.chart import AXES
from benchmarks.standings import SORTS

DEFAULT_SORT = "-resolved"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was asked for. Anything that is not a known value is left out rather than refused: links grow old.

    `axis` is empty for the first axis that has values.
    """

    sort: str = DEFAULT_SORT
    isolated: bool = False
    references: bool = True
    axis: str = ""
    page: int = 1
    all_tasks: bool = False
    team: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Listing:
        """Return the listing that a query string asks for."""
        sort, page = query.get("sort", ""), query.get("page", "")
        return cls(
            sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
            isolated=query.get("rows") == "isolated",
            references=query.get("references") != "0",
            axis=query.get("x", "") if query.get("x") in AXES else "",
            page=int(page) if page.isdecimal() and len(page) < 6 else 1,
            all_tasks=query.get("tasks") == "all",
            team=query.get("team", "")[:50],
        )

    @property
    def sort_key(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def falling(self) -> bool:
        return self.sort.startswith("-")
