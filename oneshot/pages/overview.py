"""The overview: what goes on, what came of it, and what needs a person."""

from __future__ import annotations

import hashlib
import shutil
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db.models import Count, Min
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from benchmarks.models import Board
from oneshot import health
from oneshot.accounts.models import Team
from oneshot.pages import attention
from runs import actions, queue
from runs.errors import Fault
from runs.models import ENDED, WORKING, Image, Run, Status

ROWS = 8
SANDBOX_CHECK_S = 30


def overview(request: HttpRequest) -> HttpResponse:
    """Show the state of things; a visitor is sent to what may be read without logging in."""
    if not request.user.is_authenticated:
        return _door(request)
    live = _live(request)
    todo = attention.steps(request.user)
    context = {
        **live,
        "steps": todo,
        "demo": Team.objects.owned_by(request.user).filter(is_demo=True).exists(),
        "has_demo": Team.objects.filter(is_demo=True).exists(),
        "nav": "overview",
    }
    return render(request, "overview/overview.html", context)


def _door(request: HttpRequest) -> HttpResponse:
    board = Board.objects.visible_to(request.user).order_by("-team__is_demo", "created_at").first()
    return redirect(board.get_absolute_url()) if board else redirect("login")


@login_required
@require_GET
def now(request: HttpRequest) -> HttpResponse:
    """Renew the live part of the overview; 204 while it is as the page has it."""
    live = _live(request)
    if request.GET.get("seen") == live["seen"]:
        return HttpResponse(status=204)
    context = {**live, "steps": attention.steps(request.user), "renewed": True}
    return render(request, "overview/_live.html", context)


def _live(request: HttpRequest) -> dict[str, Any]:
    """Return what changes by itself: runs that go, runs that ended, queues. `seen` names this state of it."""
    visible = Run.objects.visible_to(request.user)
    rows = visible.select_related("task", "agent", "task_version")
    working = list(rows.filter(status__in=WORKING).order_by("-created_at")[:ROWS])
    ended: list[Run] = []
    for status in ENDED:  # three short walks along an index, whatever the queue's length
        ended += rows.trials().filter(status=status).order_by("-created_at")[:ROWS]
    ended.sort(key=lambda run: run.finished_at or run.created_at, reverse=True)
    queues = _queues()
    own = Run.objects.editable_by(request.user).filter(pk__in=[run.pk for run in working])
    context = {
        "working": working,
        "own": set(own.values_list("pk", flat=True)),
        "recent": ended[:ROWS],
        "queues": queues,
        "going": queues["runs"]["going"],
        "waiting": queues["runs"]["waiting"],
    }
    facts = [f"{run.pk}{run.status}{run.outcome}" for run in (*working, *ended[:ROWS])]
    facts += [str(value) for row in queues.values() for name, value in row.items() if name != "oldest"]
    context["seen"] = hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]
    return context


def _queues() -> dict[str, dict[str, Any]]:
    """Return by queue how many wait and go, and since when the oldest waits. The rows know, not Redis."""
    open_runs = Run.objects.filter(status__in=(Status.QUEUED, *WORKING)).order_by()
    counts = dict(open_runs.values_list("status").annotate(Count("pk")))
    oldest: datetime | None = Run.objects.filter(status=Status.QUEUED).aggregate(oldest=Min("queued_at"))["oldest"]
    waiting = counts.pop(Status.QUEUED, 0)
    building = Image.objects.filter(status=Image.Status.BUILDING).count()
    return {
        "runs": {"waiting": waiting, "going": sum(counts.values()), "oldest": oldest},
        "build": {"waiting": None, "going": building, "oldest": None},
    }


@login_required
@require_GET
def machine(request: HttpRequest) -> HttpResponse:
    """Say what this machine has: workers, sandbox, disk. Asked for by itself, since Redis or Docker may be slow."""
    redis = health.redis_server()
    workers = queue.workers() if redis == "ok" else []
    context = {
        "redis": redis,
        "workers": workers,
        "busy": sum(worker.busy for worker in workers),
        "sandbox": _sandbox(),
        "disk": _disk(),
    }
    return render(request, "overview/_machine.html", context)


def _sandbox() -> dict[str, str]:
    """Return the sandbox that runs get here, what holds it, and what is wrong; asked for at most every 30 s."""
    found = cache.get("overview-sandbox")
    if found is None:
        from runs import sandboxes

        try:
            provider = sandboxes.choose(settings.SANDBOX)
            found = {"title": provider.name.capitalize(), "isolation": provider.isolation(), "problem": ""}
        except Fault as fault:
            found = {"title": "", "isolation": "", "problem": str(fault)}
        cache.set("overview-sandbox", found, SANDBOX_CHECK_S)
    return found


def _disk() -> dict[str, int] | None:
    try:
        usage = shutil.disk_usage(settings.DATA_DIR)
    except OSError:
        return None
    return {"free": usage.free, "total": usage.total, "low": usage.free < health.FREE_DISK_BYTES}


@login_required
@require_POST
def run_ungraded_again(request: HttpRequest) -> HttpResponse:
    """Start every run again that infrastructure failed and that the user may run."""
    started = 0
    try:
        for run in attention.ungraded(request.user).select_related("task_version__task", "agent")[
            : attention.MOST_AGAIN
        ]:
            actions.run_again(run, by=request.user)
            started += 1
    except Fault as fault:
        messages.error(request, f"{started} runs were started again, then: {fault}")
    else:
        messages.success(request, f"{started} {'run' if started == 1 else 'runs'} started again")
    return redirect("overview")


@login_required
@require_POST
def remove_demo(request: HttpRequest) -> HttpResponse:
    """Remove the samples: their team with its tasks, runs and board."""
    if not Team.objects.owned_by(request.user).filter(is_demo=True).exists():
        raise Http404
    from oneshot import demo

    runs = demo.remove()
    messages.success(request, f"Demo removed, {runs:,} runs with it")
    return redirect("overview")
