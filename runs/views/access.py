"""Who may see and do what with a run. Missing and forbidden look the same: 404."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.utils.http import url_has_allowed_host_and_scheme

from oneshot.accounts.models import Team
from runs.models import AgentKind, Run
from tasks.models import Task, TaskVersion


def visible_run(request: HttpRequest, pk: UUID) -> Run:
    """Return a run that the reader may see, or raise Http404."""
    runs = Run.objects.visible_to(request.user).select_related(
        "task", "task_version", "team", "agent", "image", "session"
    )
    return get_object_or_404(runs, pk=pk)


def editable_run(request: HttpRequest, pk: UUID) -> Run:
    """Return a run that the user may cancel and repeat, or raise Http404."""
    runs = Run.objects.editable_by(request.user).select_related("task", "task_version", "task_version__task", "agent")
    return get_object_or_404(runs, pk=pk)


def may_edit(user: Any, run: Run) -> bool:
    return Run.objects.editable_by(user).filter(pk=run.pk).exists()


def is_inside(user: Any, run: Run) -> bool:
    """Whether the reader is a member of the run's team, in whatever role."""
    return Team.objects.of(user).filter(pk=run.team_id).exists()


def sees_answers(run: Run, *, inside: bool) -> bool:
    """Whether the reader may see what would tell an agent the solution: reference, hidden tests and their output.

    Members of the team may; everybody may for the demo, whose answers come with OneShot. The runs of other public
    tasks are shown without them.
    """
    return inside or run.team.is_demo


def sees_work(run: Run, *, answers: bool) -> bool:
    """Whether the reader may see what the agent did. The oracle's work is the reference itself."""
    return answers or run.agent.kind != AgentKind.ORACLE


def task_version(task: Task, number: str) -> TaskVersion | None:
    """Return the version with this number, the current one for "", or None."""
    if not number:
        return task.current_version
    return task.versions.filter(number=number).first() if number.isdecimal() and len(number) < 7 else None


def back_to(request: HttpRequest, otherwise: str) -> HttpResponseRedirect:
    """Redirect to the page of this site that the form named as `next`, or to `otherwise`."""
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(wanted if wanted and safe else otherwise)
