"""Jump to a task, a session, a run or a board by what one remembers of it."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from benchmarks.models import Board
from oneshot.visible import visible
from runs.models import Run
from tasks.models import Task
from traces.models import Session

MOST = 8
# Fewer digits than these would match whatever began within the same few years.
LEAST_HEX = 6


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """List what matches `?q=`: as a page, or for the dialog on every page as a fragment."""
    # PostgreSQL takes no NUL in a text.
    q = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    template = "_hits.html" if request.headers.get("HX-Request") else "search.html"
    return render(request, template, {"q": q, "hits": hits(request.user, q) if q else []})


def hits(user: Any, q: str) -> list[dict[str, str]]:
    """Return what `user` may see and that matches: icon, title, url, and what kind of thing it is."""
    tasks = Task.objects.visible_to(user)
    boards = Board.objects.visible_to(user)
    sessions = Session.objects.visible_to(user)
    for word in q.split():
        tasks = tasks.filter(Q(slug__icontains=word) | Q(title__icontains=word))
        boards = boards.filter(Q(slug__icontains=word) | Q(title__icontains=word))
        sessions = sessions.filter(
            Q(title__icontains=word) | Q(repository__icontains=word) | Q(thread_id__istartswith=word)
        )
    found = [_hit("runs", str(run), run.get_absolute_url(), str(run.pk)) for run in runs_by_id(user, q)]
    for board in boards.order_by("title")[:MOST]:
        found.append(_hit("board", board.title, board.get_absolute_url(), "Board"))
    for task in tasks.only("slug", "title").order_by("slug")[:MOST]:
        found.append(_hit("tasks", task.title, reverse("task-detail", args=[task.slug]), task.slug))
    for session in sessions.only("title", "thread_id", "agent").order_by("-started_at", "-id")[:MOST]:
        found.append(_hit("chat", visible(str(session)), session.get_absolute_url(), f"Session, {session.agent}"))
    return found


def runs_by_id(user: Any, q: str) -> list[Run]:
    """Return the runs whose id begins with `q`: a range of the primary key."""
    digits = re.sub(r"[-\s]", "", q).lower()
    if not (LEAST_HEX <= len(digits) <= 32 and re.fullmatch(r"[0-9a-f]+", digits)):
        return []
    first, last = (uuid.UUID(digits.ljust(32, filler)) for filler in "0f")
    rows = Run.objects.visible_to(user).filter(pk__gte=first, pk__lte=last)
    return list(rows.select_related("task", "agent").order_by("-pk")[:MOST])


def _hit(icon: str, title: str, url: str, kind: str) -> dict[str, str]:
    return {"icon": icon, "title": title, "url": url, "kind": kind}
