"""Routes of runs: listing, reading, starting, cancelling."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.shortcuts import get_object_or_404
from ninja import Query
from ninja.responses import Status

from oneshot.api import documents as d
from oneshot.api.errors import ApiError, invalid
from oneshot.api.paging import as_cursor, as_place
from oneshot.api.routing import Request, refuse_unknown, routes
from runs import actions, agents, summary
from runs.errors import AgentError
from runs.forms import NEW, StartForm
from runs.models import Run, RunScore
from runs.queries import Listing
from runs.views.access import editable_run, visible_run
from tasks.models import Task

router = routes("runs")

IN_LIMITS = ("max_tokens", "max_cost_usd")


@router.get("/runs", response=d.Runs, summary="List runs")
def run_list(request: Request, query: Query[d.RunQuery]) -> dict[str, Any]:
    """List the runs that you may see, the newest first, fifty to a page."""
    refuse_unknown(request, d.RunQuery)
    filters = query.model_dump(exclude={"after"})
    page = Listing(**filters, after=as_place(query.after)).page(request.user)
    scores = dict(RunScore.objects.filter(run__in=[run.pk for run in page.rows]).values_list("run", "score"))
    return {"runs": [_row(request, run, scores.get(run.pk)) for run in page.rows], "next": as_cursor(page.older)}


def _row(request: Request, run: Run, score: float | None) -> dict[str, Any]:
    return {
        "id": run.pk,
        "slug": run.task.slug,
        "agent": run.agent.name,
        "agent_kind": run.agent.kind,
        "agent_version": run.agent.version,
        "model": run.agent.model,
        "attempt": run.attempt,
        "purpose": run.purpose,
        "sandbox": run.sandbox,
        "isolation": run.isolation,
        "status": run.status,
        "outcome": run.outcome or None,
        "fault": run.fault or None,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
        "seconds": run.seconds,
        "tokens_input": run.tokens_input,
        "tokens_output": run.tokens_output,
        "cost_usd": None if run.cost_usd is None else float(run.cost_usd),
        "rubric_score": score,
        "url": request.build_absolute_uri(run.get_absolute_url()),
    }


@router.get("/runs/{uuid:id}", response=d.Run, summary="Read a run")
def run_detail(request: Request, id: UUID) -> dict[str, Any]:
    """Return a run as it is now."""
    return summary.as_dict(visible_run(request, id))


@router.post("/runs", response={201: d.RunList}, summary="Start runs")
def run_start(request: Request, given: d.RunsGiven) -> Any:
    """Give the task's current version to an agent, `attempts` times. All of them are queued, or none."""
    managed = Task.objects.managed_by(request.user).select_related("current_version__task")
    task = get_object_or_404(managed, slug=given.task)
    if task.current_version is None:
        raise ApiError(409, "no_version", f"{task.slug} has no version yet.")
    form = StartForm(_as_form(given), version=task.current_version, task=task)
    if not form.is_valid():
        raise _first_of(form)
    with transaction.atomic():
        try:
            agent = form.configuration()
            runs = [
                actions.create_run(
                    version=form.version,
                    agent=agent,
                    sandbox=form.cleaned_data["sandbox"],
                    by=request.user,
                    limits=form.limits(),
                )
                for _ in range(form.cleaned_data["attempts"])
            ]
        except AgentError as error:
            raise invalid(str(error), "agent") from error
        actions.submit(runs)
    return Status(201, {"runs": [summary.as_dict(run) for run in runs]})


def _as_form(given: d.RunsGiven) -> dict[str, Any]:
    """Return what the page's form would have sent, so that both are held to the same rules."""
    fields: dict[str, Any] = given.model_dump(exclude={"task", "agent", "limits", "unvalidated"})
    fields |= {name: value for name, value in given.limits.model_dump().items() if value is not None}
    fields["agent"] = given.agent if _is_id(given.agent) else f"{NEW}{given.agent}"
    return fields | ({"unvalidated": "on"} if given.unvalidated else {})


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _first_of(form: StartForm) -> ApiError:
    name, errors = next(iter(form.errors.items()))
    if name == "agent":
        return invalid(f"Name one of {', '.join(agents.kinds())}, or the id of a configuration tried before.", name)
    if name == "unvalidated":
        return invalid("Nobody knows which tests must pass: validate the version, or set this to true.", name)
    field = "" if name == "__all__" else f"limits.{name}" if name in IN_LIMITS else name
    return invalid(str(errors[0]), field)


@router.post("/runs/{uuid:id}/cancel", response=d.Run, summary="Cancel a run")
def run_cancel(request: Request, id: UUID) -> dict[str, Any]:
    """Cancel a run: at once when it waits, within seconds when it works. One that has ended stays as it is."""
    run = editable_run(request, id)
    actions.cancel(run, by=request.user)
    return summary.as_dict(visible_run(request, id))
