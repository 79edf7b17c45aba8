"""The log of a run: what is new since a cursor, and the whole of it as a file."""

from __future__ import annotations

import re
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from oneshot.store import ContentMissing
from oneshot.visible import without_colours
from runs import logs
from runs.models import Run
from runs.views.access import is_inside, sees_answers, sees_work, visible_run
from runs.views.results import attachment

LINES = 500
# Numbers that any database takes.
CURSOR = re.compile(r"[0-9]{1,18}-[0-9]{1,12}")
# What the tests print shows the hidden tests.
ANSWERS = ("grade",)


def _readable_run(request: HttpRequest, pk: UUID) -> tuple[Run, bool]:
    """Return the run, and whether the reader may see what the tests print."""
    run = visible_run(request, pk)
    answers = sees_answers(run, inside=is_inside(request.user, run))
    if not sees_work(run, answers=answers):
        raise Http404
    return run, answers


@require_GET
def run_log(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send the lines after the cursor `?after=`, at most LINES of them, with the cursor for the next request."""
    run, answers = _readable_run(request, pk)
    try:
        after = request.GET.get("after", "")
        page = logs.read(run, after if CURSOR.fullmatch(after) else "", LINES)
    except ContentMissing as error:
        return JsonResponse({"error": str(error), "live": False}, status=410)
    lines = [
        [line.t, line.source[:40], without_colours(line.text)]
        for line in page.lines
        if answers or line.source not in ANSWERS
    ]
    return JsonResponse({"lines": lines, "next": page.next, "omitted": page.omitted, "live": page.live})


@require_GET
def whole_log(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send the whole log as a text file, as it was written."""
    run, answers = _readable_run(request, pk)
    try:
        data = logs.whole(run)
    except ContentMissing as error:
        raise Http404(str(error)) from error
    if not answers:
        # Each line is a time of 24 characters, a space, and the source.
        hidden = tuple(f"{source} ".encode() for source in ANSWERS)
        data = b"\n".join(line for line in data.split(b"\n") if not line[25:].startswith(hidden))
    return attachment(data, f"{run.task.slug}-{run.attempt}.log")
