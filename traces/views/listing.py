"""The list of sessions. Filters, order and place live in the query string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from traces import links
from traces.models import Session
from traces.views import words
from traces.views.query import COUNT_LIMIT, LINKED, Counts, Listing

PLACE = ("after", "before", "from")
COLUMNS = {
    "steps": ("Steps", "num"),
    "tokens": ("Tokens", "num"),
    "cost": ("Cost", "num"),
    "started": ("Started", "num"),
}
MOST_LINKS = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """A session as the list shows it. `links` are the first few, `more` counts the others."""

    session: Session
    agent: str
    repository: str
    models: str
    seconds: float | None
    tokens: int | None
    ending: tuple[str, str, str] | None
    links: list[links.Link]
    more: int


@require_GET
def session_list(request: HttpRequest) -> HttpResponse:
    """List the sessions that the reader may see."""
    listing = Listing.read(request.GET)
    page = listing.page(request.user)
    counts = listing.counts(request.user)
    found = links.of([session.pk for session in page.rows], request.user)
    context = {
        "listing": listing,
        "page": page,
        "rows": [_row(session, found.get(session.pk, [])) for session in page.rows],
        "counts": counts,
        "segments": _segments(request.GET, listing, counts),
        "tokens": [(text, link(request.GET, **{name: ""})) for name, text in listing.tokens()],
        "columns": {name: _column(request.GET, listing, name, *column) for name, column in COLUMNS.items()},
        "older": page.older and link(request.GET, after=page.older, **{"from": str(page.end + 1)}),
        "newer": page.newer
        and link(request.GET, before=page.newer, **{"from": str(max(1, page.start - len(page.rows)))}),
        "exist": 0 if page.rows or not listing.is_filtered else Listing().counts(request.user).total,
        "count_limit": COUNT_LIMIT,
        "nav": "sessions",
    }
    return render(request, "sessions/session_list.html", context)


def _row(session: Session, found: list[links.Link]) -> Row:
    names = [name for name in session.model_names if isinstance(name, str)]
    return Row(
        session=session,
        agent=words.agent_name(session.agent),
        repository=words.repository_name(session.repository),
        models=f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names),
        seconds=words.seconds_of(session),
        tokens=words.all_tokens(session),
        ending=words.ENDINGS.get(session.ending),
        links=found[:MOST_LINKS],
        more=max(0, len(found) - MOST_LINKS),
    )


def link(query: QueryDict, **changes: str) -> str:
    """Return the query string with some values changed ("" removes one), from the first page on."""
    changed = query.copy()
    for name in PLACE:
        changed.pop(name, None)
    for name, value in changes.items():
        changed.pop(name, None)
        if value:
            changed[name] = value
    return f"?{changed.urlencode()}" if changed else reverse("session-list")


def _segments(query: QueryDict, listing: Listing, counts: Counts) -> list[dict[str, Any]]:
    """Return the choices of the segmented filter. Where there are too many to count, a number is a lower bound."""
    more = "+" if counts.cut else ""
    kinds = (("", "All", counts.total), ("person", "People's", counts.people), ("run", "Of runs", counts.runs))
    return [
        {
            "words": label,
            "href": link(query, origin=value),
            "chosen": listing.origin == value,
            "count": f"{number:,}{more}",
        }
        for value, label, number in kinds
    ]


def _column(query: QueryDict, listing: Listing, name: str, label: str, css: str) -> dict[str, str]:
    order = {name: "ascending", f"-{name}": "descending"}.get(listing.sort, "")
    href = link(query, sort=name if order == "descending" else f"-{name}")
    return {"words": label, "href": href, "order": order, "css": css}


@require_GET
def session_filters(request: HttpRequest) -> HttpResponse:
    """Send the form with all filters: it asks for what there is, which the list itself need not know."""
    listing = Listing.read(request.GET)
    context = {
        "listing": listing,
        **Listing.choices(request.user),
        "linked": LINKED.items(),
        "origins": Session.Origin.choices,
        "kept": [(name, request.GET[name]) for name in ("q", "sort") if request.GET.get(name)],
    }
    return render(request, "sessions/_filters.html", context)
