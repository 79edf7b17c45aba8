"""Parts of runs that other pages embed: the pulse of the header, and runs, validation and start form of a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db.models import Count, F, Q, Window
from django.db.models.functions import RowNumber
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from oneshot import store
from oneshot.accounts.models import User
from oneshot.intervals import wilson
from runs import actions, queue, repeating, validation
from runs.errors import AgentError, Fault
from runs.forms import StartForm
from runs.models import WORKING, AgentConfig, Outcome, Run, RunQuerySet, Status, Validation
from runs.views.access import task_version
from tasks.curation.publishing import freeze
from tasks.models import Task, TaskVersion

WORKERS_S = 5
MOST_AGENTS = 50
MOST_SQUARES = 12
MOST_TESTS = 200


@require_GET
def run_pulse(request: HttpRequest) -> HttpResponse:
    """Say how many runs go and wait, and how many workers live: the header asks every few seconds."""
    open_runs = Run.objects.visible_to(request.user).filter(status__in=(Status.QUEUED, *WORKING)).order_by()
    counts = dict(open_runs.values_list("status").annotate(Count("pk")))
    waiting = counts.pop(Status.QUEUED, 0)
    context = {"waiting": waiting, "going": sum(counts.values()), "workers": _workers()}
    return render(request, "runs/_pulse.html", context)


def _workers() -> dict[str, int]:
    """Return how many workers live and how many of them are busy, asked of Redis every WORKERS_S at most."""
    found = cache.get("pulse-workers")
    if found is None:
        alive = queue.workers()
        found = {"alive": len(alive), "busy": sum(worker.busy for worker in alive)}
        cache.set("pulse-workers", found, WORKERS_S)
    return found


@dataclass(kw_only=True)
class Tried:
    """What one agent's attempts at a version came to. The interval is None before any attempt was graded."""

    agent: AgentConfig
    graded: int
    resolved: int
    ungraded: int
    waiting: int
    attempts: list[Run] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        return self.resolved / self.graded if self.graded else None

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        return wilson(self.resolved, self.graded) if self.graded else (None, None)

    @property
    def earlier(self) -> int:
        return self.graded + self.ungraded + self.waiting - len(self.attempts)


@require_GET
def runs_of_task(request: HttpRequest, slug: str) -> HttpResponse:
    """Show how each agent did at a version of a task: its attempts, and Wilson's interval of its rate."""
    task = get_object_or_404(Task.objects.visible_to(request.user), slug=slug)
    version = _version(task, request)
    runs = Run.objects.visible_to(request.user).trials().filter(task_version=version)
    rows = _tried(runs)
    context = {
        "task": task,
        "version": version,
        "rows": rows,
        "live": any(row.waiting for row in rows),
        "current": version.pk == task.current_version_id,
    }
    return render(request, "runs/_of_task.html", context)


def _tried(runs: RunQuerySet) -> list[Tried]:
    numbers = {
        "graded": Count("pk", filter=Q(status=Status.FINISHED)),
        "resolved": Count("pk", filter=Q(outcome=Outcome.RESOLVED)),
        "ungraded": Count("pk", filter=Q(status=Status.INFRA_FAILED)),
        "waiting": Count("pk", filter=Q(status__in=(Status.QUEUED, *WORKING))),
    }
    counted = list(runs.order_by().values("agent").annotate(**numbers).values_list("agent", *numbers))
    agents = AgentConfig.objects.in_bulk([row[0] for row in counted])
    rows: dict[Any, Tried] = {
        pk: Tried(agent=agents[pk], **dict(zip(numbers, counts, strict=True))) for pk, *counts in counted
    }
    best = sorted(rows.values(), key=lambda row: (row.agent.is_reference, -(row.rate or 0), str(row.agent)))[
        :MOST_AGENTS
    ]
    last = Window(RowNumber(), partition_by="agent", order_by=F("attempt").desc())
    newest = runs.exclude(status=Status.CANCELLED).annotate(place=last).filter(place__lte=MOST_SQUARES)
    for run in newest.only("agent_id", "attempt", "status", "outcome").order_by("attempt"):
        rows[run.agent_id].attempts.append(run)
    return best


def _version(task: Task, request: HttpRequest) -> TaskVersion:
    version = task_version(task, request.GET.get("version", ""))
    if version is None:
        raise Http404
    return version


@require_GET
def validation_of_task(request: HttpRequest, slug: str) -> HttpResponse:
    """Show what validation found about a version, or how far it is."""
    task = get_object_or_404(Task.objects.visible_to(request.user).select_related("team"), slug=slug)
    return render(request, "runs/_validation.html", _validation_context(request, task, _version(task, request)))


def _validation_context(request: HttpRequest, task: Task, version: TaskVersion) -> dict[str, Any]:
    editable = Task.objects.editable_by(request.user).filter(pk=task.pk).exists()
    latest = version.validations.order_by("-created_at").first()
    runs = list(latest.runs.select_related("agent").order_by("agent__kind", "attempt")[:60]) if latest else []
    going = bool(latest and latest.status == Validation.Status.RUNNING)
    context: dict[str, Any] = {
        "task": task,
        "version": version,
        "may_edit": editable,
        "answers": task.team.is_demo or Task.objects.answered_to(request.user).filter(pk=task.pk).exists(),
        "latest": latest,
        "going": going,
        "runs": runs,
        "ended": sum(run.is_over for run in runs),
        "most": MOST_TESTS,
        "current": version.pk == task.current_version_id,
    }
    if context["answers"]:
        try:
            context["found"] = found = version.expectations()
            for check in found["checks"]:
                check["again"] = repeating.what_repeats(check["name"])
        except store.ContentMissing as error:
            context["lost"] = str(error)
    return context


@login_required
@require_POST
def run_validate(request: HttpRequest, slug: str) -> HttpResponse:
    """Start a validation of a version: nop and oracle, three times each; with `again`, of one of its checks."""
    task = get_object_or_404(Task.objects.editable_by(request.user).select_related("team"), slug=slug)
    from_draft = bool(request.POST.get("draft"))
    version = freeze(task, by=cast(User, request.user)) if from_draft else _version(task, request)
    problem = ""
    try:
        again = request.POST.get("again", "")
        if again:
            started = repeating.repeat(version, again, by=request.user)
        else:
            started = validation.start_validation(version, by=request.user)
        actions.submit(started.runs.all())
        if not started.runs.exists():
            repeating.submit_conclusion(started)
    except Fault as fault:
        problem = str(fault)
    if not request.headers.get("HX-Request"):
        return redirect("task-curate" if from_draft else "task-detail", slug=slug)
    version.refresh_from_db()
    return render(request, "runs/_validation.html", _validation_context(request, task, version) | {"problem": problem})


@login_required
@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest, slug: str) -> HttpResponse:
    """Send the form that starts runs of the current version; on POST start them."""
    task = get_object_or_404(Task.objects.managed_by(request.user).select_related("current_version"), slug=slug)
    if task.current_version is None:
        raise Http404
    version = task.current_version
    form = StartForm(request.POST or None, version=version, task=task)
    if request.method == "POST" and form.is_valid():
        where = _start(request, task, form)
        if where:
            in_page = request.headers.get("HX-Request")
            return HttpResponseClientRedirect(where) if in_page else redirect(where)
    template = "runs/_start.html" if request.headers.get("HX-Request") else "runs/start.html"
    return render(request, template, {"task": task, "version": version, "form": form, "nav": "tasks"})


def _start(request: HttpRequest, task: Task, form: StartForm) -> str:
    """Start the runs that the form asks for, and return where they can be watched; "" when it could not be done."""
    started: list[Run] = []
    try:
        agent = form.configuration()
        for _ in range(form.cleaned_data["attempts"]):
            run = actions.create_run(
                version=form.version,
                agent=agent,
                sandbox=form.cleaned_data["sandbox"],
                by=request.user,
                limits=form.limits(),
            )
            started.append(run)
    except AgentError as error:
        form.refuse(error)
    except Fault as fault:
        form.add_error(None, str(fault))
    actions.submit(started)
    if not started or form.errors:
        return ""
    if len(started) == 1:
        return started[0].get_absolute_url()
    return f"{reverse('run-list')}?task={task.slug}&agent={agent.pk}"
