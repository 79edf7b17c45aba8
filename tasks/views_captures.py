"""Captures that are open, on the list of tasks: what is being recorded, and the two ways to be done with it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from oneshot.errors import Fault
from tasks.capture.errors import CaptureError
from tasks.models import Capture

# A page shows no more of them; the command line lists all.
MOST_SHOWN = 20


def open_captures_of(user) -> QuerySet[Capture]:
    """Return the open captures that `user` may finish or drop, newest first, as many as a page shows."""
    rows = Capture.objects.editable_by(user).filter(status=Capture.Status.OPEN)
    return rows.select_related("team").order_by("-started_at")[:MOST_SHOWN]


@login_required
@require_POST
def capture_finish(request: HttpRequest, pk: UUID) -> HttpResponse:
    """End a capture whose agent never did, with the files as they are now."""
    from tasks import capture

    row = get_object_or_404(Capture.objects.editable_by(request.user), pk=pk)
    try:
        ended = capture.finish(row)
    except (CaptureError, Fault) as error:
        messages.error(request, str(error))
        return redirect("task-list")
    messages.success(request, f"Draft “{ended.task.title[:60]}” made")
    return redirect("task-detail", slug=ended.task.slug)


@login_required
@require_POST
def capture_drop(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Give a capture up; nothing in its repository is touched."""
    from tasks import capture

    row = get_object_or_404(Capture.objects.editable_by(request.user), pk=pk)
    try:
        capture.drop(row)
    except (CaptureError, Fault) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Dropped “{row.title[:60]}”")
    return redirect("task-list")
