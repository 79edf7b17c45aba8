"""The list of runs. Filters, order and place live in the query string; while a run is going, the list renews itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from oneshot.accounts.models import Team
from runs import actions, sandboxes
from runs.models import Outcome, Run, RunQuerySet, Status
from runs.queries import COUNT_LIMIT, FAULTS, Counts, Listing

# One click cancels at most so many, so that the answer comes while somebody waits for it.
MOST_CANCELLED = 500
MOST_AGENTS = 300
PLACE = ("after", "before", "from")


@dataclass(frozen=True)
class Link:
    """A choice as a link: what it says, where it leads, whether it is in force, and a count or ""."""

    words: str
    href: str
    chosen: bool = False
    count: str = ""


@dataclass(frozen=True)
class Column:
    """A column header that sorts. `order` is "ascending", "descending" or ""."""

    words: str
    href: str
    order: str
    css: str


@require_GET
def run_list(request: HttpRequest) -> HttpResponse:
    """List the runs that the reader may see."""
    return render(request, "runs/run_list.html", _context(request))


@require_GET
def run_rows(request: HttpRequest) -> HttpResponse:
    """Renew the rows of the list; 204 while they are as the page has them (header X-Seen)."""
    context = _context(request)
    if request.headers.get("X-Seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "runs/_rows.html", context)


def _context(request: HttpRequest) -> dict[str, Any]:
    listing = Listing.read(request.GET)
    page = listing.page(request.user)
    counts = listing.counts(request.user)
    standing = [(run.pk, run.status, run.outcome, run.cancel_requested_at) for run in page.rows]
    seen = hashlib.sha256(repr((standing, counts)).encode()).hexdigest()[:16]
    return {
        "listing": listing,
        "page": page,
        "counts": counts,
        "seen": seen,
        "live": counts.active > 0 or any(not run.is_over for run in page.rows),
        "segments": _segments(request.GET, counts),
        "purposes": _purposes(request.GET, listing),
        "tokens": [Link(token.words, link(request.GET, **{token.name: ""})) for token in listing.tokens()],
        "columns": {name: _column(request.GET, listing, name, *words) for name, words in COLUMNS.items()},
        "older": page.older and link(request.GET, after=page.older, **{"from": str(page.end + 1)}),
        "newer": page.newer
        and link(request.GET, before=page.newer, **{"from": str(max(1, page.start - len(page.rows)))}),
        "teams": set(Team.objects.of(request.user).values_list("pk", flat=True)),
        "exist": 0 if page.rows or not listing.is_filtered else Listing().counts(request.user).total,
        "count_limit": COUNT_LIMIT,
        "nav": "runs",
    }


COLUMNS = {"time": ("Time", "num"), "cost": ("Cost", "num"), "created": ("Started", "num")}


def link(query: QueryDict, **changes: str) -> str:
    """Return the query string with some values changed ("" removes one), from the first page on."""
    changed = query.copy()
    for name in PLACE:
        changed.pop(name, None)
    for name, value in changes.items():
        changed.pop(name, None)
        if value:
            changed[name] = value
    return f"?{changed.urlencode()}" if changed else reverse("run-list")


def _segments(query: QueryDict, counts: Counts) -> list[Link]:
    """Return the segments. Among too many runs to count, a number is a lower bound, and none found says nothing."""
    more = "+" if counts.cut else ""
    return [
        Link(
            segment.label,
            link(query, status=segment.status, outcome=segment.outcome),
            segment.chosen,
            f"{segment.count:,}{more}" if segment.count or not more else "",
        )
        for segment in counts.segments
    ]


def _purposes(query: QueryDict, listing: Listing) -> list[Link]:
    choices = (("", "All"), *((purpose.value, f"{purpose.label}s") for purpose in Run.Purpose))
    return [Link(words, link(query, purpose=value), listing.purpose == value) for value, words in choices]


def _column(query: QueryDict, listing: Listing, name: str, words: str, css: str) -> Column:
    order = {name: "ascending", f"-{name}": "descending"}.get(listing.sort, "")
    return Column(words, link(query, sort=name if order == "descending" else f"-{name}"), order, css)


@require_GET
def run_filters(request: HttpRequest) -> HttpResponse:
    """Send the form with all filters: it asks for the agents there are, which the list itself need not know."""
    listing = Listing.read(request.GET)
    context = {
        "listing": listing,
        "agents": listing.agents(request.user)[:MOST_AGENTS],
        "statuses": Status.choices,
        "outcomes": Outcome.choices,
        "faults": FAULTS.items(),
        "purposes": Run.Purpose.choices,
        "sandboxes": sandboxes.names(),
        "kept": [(name, request.GET[name]) for name in ("q", "sort") if request.GET.get(name)],
    }
    return render(request, "runs/_filters.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def cancel_queued(request: HttpRequest) -> HttpResponse:
    """Ask, naming the number, and then cancel the queued runs that the filters leave and the user may cancel."""
    queued = _queued(request)
    if request.method == "GET":
        template = "runs/_cancel_queued.html" if request.headers.get("HX-Request") else "runs/cancel_queued.html"
        count = queued[: COUNT_LIMIT + 1].count()
        going = Run.objects.editable_by(request.user).active().exclude(status=Status.QUEUED)[: COUNT_LIMIT + 1].count()
        context = {"count": count, "going": going, "now": min(count, MOST_CANCELLED), "nav": "runs"}
        return render(request, template, context)
    cancelled = sum(actions.cancel(run, by=request.user) for run in queued[:MOST_CANCELLED])
    left = queued[: COUNT_LIMIT + 1].count()
    more = f", {left:,} more {'waits' if left == 1 else 'wait'}" if left else ""
    messages.success(request, f"{cancelled:,} {'run' if cancelled == 1 else 'runs'} cancelled{more}")
    return redirect(urljoin(reverse("run-list"), link(request.GET)))


def _queued(request: HttpRequest) -> RunQuerySet:
    found = Listing.read(request.GET).filtered(request.user, ended_how=False).filter(status=Status.QUEUED)
    return found.filter(pk__in=Run.objects.editable_by(request.user).filter(status=Status.QUEUED).values("pk"))
