"""What a person does with runs and what they show: cancel one, have it made again, quarantine a flaky test."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from runs import actions
from runs.errors import Fault
from runs.steadiness import quarantine
from runs.views.access import back_to, editable_run
from tasks.curation.editing import newest_version
from tasks.models import Task


@require_POST
def run_cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Cancel a run: at once when it waits, within seconds when it works."""
    run = editable_run(request, pk)
    waited = not run.is_over and run.preparing_at is None
    if not actions.cancel(run, by=request.user):
        messages.info(request, "It had ended already")
    else:
        messages.success(request, "Run cancelled" if waited else "Stopping the run")
    return back_to(request, run.get_absolute_url())


@require_POST
def run_again(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Make and queue another attempt with the same task version, agent, sandbox and limits."""
    run = editable_run(request, pk)
    try:
        again = actions.run_again(run, by=request.user)
    except Fault as fault:
        messages.error(request, f"No run was started. {fault}")
        return back_to(request, run.get_absolute_url())
    messages.success(request, f"Attempt {again.attempt} queued")
    return redirect(again)


@login_required
@require_POST
def quarantine_test(request: HttpRequest, slug: str) -> HttpResponse:
    """Count a flaky test of the newest version no more, under one's name and for a reason."""
    task = get_object_or_404(Task.objects.managed_by(request.user), slug=slug)
    version = newest_version(task)
    test_id = request.POST.get("test_id", "")
    try:
        if version is None:
            raise ValueError(f"{task.slug} has no version.")
        quarantine(version, test_id, by=request.user, reason=request.POST.get("reason", ""))
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{test_id} counts no more")
    return redirect("task-curate", slug=slug)
