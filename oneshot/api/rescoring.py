"""The route that has runs judged again, without running any agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import Http404
from ninja.responses import Status

from oneshot.api import documents as d
from oneshot.api.errors import ApiError, invalid
from oneshot.api.routing import Request, routes
from runs import models
from runs.judging import actions
from runs.judging.models import Judgement
from runs.models import REFERENCE_KINDS, Run
from tasks.models import Task

router = routes("judging")

MOST_RUNS = 200


@router.post("/rescore", response={200: d.Rescoring, 202: d.Rescoring}, summary="Judge runs again")
def rescore(request: Request, given: d.RescoreGiven) -> Any:
    """Judge graded runs with a rubric or a judge that they do not have yet; with `dry_run` only say what it takes.

    What is judged already is not asked again. 200: a plan, nothing was changed. 202: queued; the runs' `rubric_score`
    changes once it is judged.
    """
    planned = actions.plan(
        _runs(request, given), actions.judges_named([given.judge] if given.judge else []), given.rubric
    )
    if not planned:
        which = "a rubric" if given.rubric is None else f"a rubric {given.rubric}"
        raise ApiError(422, "cannot_judge", f"None of these runs is graded and of a task with {which}.")
    rows = [] if given.dry_run else actions.start(planned, by=request.user)
    return Status(200 if given.dry_run else 202, _document(planned, rows, dry_run=given.dry_run))


def _runs(request: Request, given: d.RescoreGiven) -> list[Run]:
    """Return the runs that were named, those of a task without the references. Raises Http404 when one is missing."""
    if bool(given.runs) == bool(given.task):
        raise invalid("Name either runs or a task.", "runs")
    rows = Run.objects.editable_by(request.user).trials().filter(status=models.Status.FINISHED)
    rows = rows.select_related("task", "task_version", "agent", "session").order_by("created_at", "pk")
    if given.runs:
        found = list(rows.filter(pk__in=given.runs))
        if len(found) < len(set(given.runs)):
            raise Http404
        return found
    if not Task.objects.managed_by(request.user).filter(slug=given.task).exists():
        raise Http404
    found = list(rows.filter(task__slug=given.task).exclude(agent__kind__in=REFERENCE_KINDS)[: MOST_RUNS + 1])
    if len(found) > MOST_RUNS:
        raise invalid(
            f"{given.task} has more than {MOST_RUNS} graded runs. Name runs, at most so many at a time.", "task"
        )
    return found


def _document(planned: Sequence[actions.Planned], rows: Sequence[Judgement], *, dry_run: bool) -> dict[str, Any]:
    usd = actions.total_usd(planned)
    status = {(row.run_id, row.judge_id): row.status for row in rows}
    return {
        "dry_run": dry_run,
        "questions": sum(item.requests for item in planned),
        "estimate_usd": None if usd is None else float(usd),
        "runs": [
            {
                "run": item.run.pk,
                "slug": item.run.task.slug,
                "judge": item.judge.name,
                "rubric": item.rubric.number,
                "done": item.done,
                "questions": item.requests,
                "estimate_usd": None if item.usd is None else float(item.usd),
                "before": item.before,
                "status": status.get((item.run.pk, item.judge.pk)),
            }
            for item in planned
        ],
    }
