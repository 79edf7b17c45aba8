"""What a person does with a run: cancel it, or have it made again."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from runs import actions
from runs.errors import Fault
from runs.views.access import back_to, editable_run


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
