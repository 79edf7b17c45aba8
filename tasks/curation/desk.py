"""The desk: one task on one screen, with everything that is known about it."""

from __future__ import annotations

import json
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET

from oneshot import diffs, store
from oneshot.accounts.models import User
from tasks.curation import claims, queue
from tasks.curation.changes import changes
from tasks.curation.content import EVIDENCE, SENSITIVITIES, content_of
from tasks.curation.editing import look_at
from tasks.curation.marks import marked
from tasks.curation.publishing import blockers
from tasks.curation.states import moves_for
from tasks.findings.scan import open_findings
from tasks.models import Criterion, CurationDraft, Finding, Task, TaskVersion
from tasks.patches import touched_paths
from tasks.rubrics.lint import Remark, lint, shares
from tasks.rubrics.templates import TEMPLATES

PARTS = ("instructions", "reference", "tests", "environment", "trace", "history")
PINNABLE = ("instructions", "reference", "tests", "environment")
MOST_TEST_BYTES = 300_000
MOST_IDS = 300


@login_required
@require_GET
def curation_queue(request: HttpRequest) -> HttpResponse:
    """Open the next task that waits, or say that none does."""
    found = queue.around(as_user(request), None, request.GET.get("state", ""))
    if found.next:
        return redirect("task-curate", slug=found.next)
    return render(request, "curation/empty.html", {"queue": found, "nav": "tasks"})


@login_required
@require_GET
def task_curate(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a task on the desk, in the part that `?part=` names, with another pinned below by `?pin=`."""
    task = editable_task(request, slug)
    try:
        draft = look_at(task)
    except ValueError as error:
        raise Http404 from error
    part = request.GET.get("part", "")
    part = part if part in PARTS else PARTS[0]
    pin = request.GET.get("pin", "reference" if part == "instructions" else "")
    pin = pin if pin in PINNABLE and pin != part else ""
    context = rail_context(request, draft) | {
        "queue": queue.around(as_user(request), task, request.GET.get("state", "")),
        "part": part,
        "pin": pin,
        "nav": "tasks",
        "free_at": claims.free_at(task),
    }
    for name in (part, pin):
        context |= part_context(request, draft, name, context["findings"])
    return render(request, "curation/desk.html", context)


@login_required
@require_GET
def curation_rail(request: HttpRequest, slug: str) -> HttpResponse:
    """Renew findings, rubric and what stands against publishing, after an edit."""
    return render(request, "curation/_rail.html", rail_context(request, look_at(editable_task(request, slug))))


@login_required
@require_GET
def curation_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """Renew the instructions as they will be read."""
    draft = look_at(editable_task(request, slug))
    return HttpResponse(marked(draft.content["instructions"], open_findings(draft)))


@login_required
@require_GET
def version_changes(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Show what a version changed against the one before it."""
    task = get_object_or_404(Task.objects.answered_to(request.user), slug=slug)
    version = get_object_or_404(task.versions.select_related("task"), number=number)
    before = task.versions.select_related("task").filter(number__lt=number).order_by("-number").first()
    found = changes(content_of(before, None), content_of(version, None), store.get) if before else []
    return render(request, "curation/_changes.html", {"changes": found, "before": before, "version": version})


def as_user(request: HttpRequest) -> User:
    """Return who is logged in; the views here let nobody else in."""
    return cast(User, request.user)


def editable_task(request: HttpRequest, slug: str) -> Task:
    """Return a task that the user may curate, or raise Http404."""
    tasks = Task.objects.editable_by(request.user)
    return get_object_or_404(tasks.select_related("team", "current_version", "claimed_by", "session"), slug=slug)


def rail_context(request: HttpRequest, draft: CurationDraft) -> dict[str, Any]:
    """Return findings, rubric, validation and moves of a draft."""
    task = draft.task
    findings = open_findings(draft)
    holder = claims.holder(task)
    against = blockers(draft, findings)
    version = draft.base_version
    return {
        "task": task,
        "draft": draft,
        "version": version,
        "findings": findings,
        "blocking": sum(finding.severity == Finding.Severity.BLOCK for finding in findings),
        "waived": Finding.objects.filter(task=task, status=Finding.Status.WAIVED).select_related("waived_by"),
        "criteria": criteria_rows(draft),
        "kinds": Criterion.Kind.values,
        "evidence": EVIDENCE,
        "sensitivities": SENSITIVITIES,
        "rubric_ops": [
            ("up", "Up"),
            ("down", "Down"),
            ("heavier", "Heavier"),
            ("lighter", "Lighter"),
            ("remove", "Remove"),
        ],
        "templates": [(name, words) for name, (words, _) in TEMPLATES.items()],
        "against": against,
        "moves": moves_for(task, request.user),
        "holder": holder if holder is not None and holder.pk != request.user.pk else None,
        "mine": holder is not None and holder.pk == request.user.pk,
        "may_manage": Task.objects.managed_by(request.user).filter(pk=task.pk).exists(),
        "undoable": draft.pk is not None
        and draft.edits.filter(by=as_user(request), undoes=None, undone_by=None).exists(),
    }


def criteria_rows(draft: CurationDraft) -> list[dict[str, Any]]:
    """Return the criteria with their share of the weight and what lint says of each."""
    criteria = draft.content["criteria"]
    digest = draft.content["reference_diff"]
    paths = touched_paths(store.get(digest)) if digest else []
    remarks: dict[str, list[Remark]] = {}
    for remark in lint(criteria, paths):
        remarks.setdefault(remark.key, []).append(remark)
    parts = shares(criteria)
    return [
        {**criterion, "share": parts.get(criterion["key"]), "remarks": remarks.get(criterion["key"], [])}
        for criterion in criteria
    ]


def part_context(request: HttpRequest, draft: CurationDraft, part: str, findings: list[Finding]) -> dict[str, Any]:
    """Return what one part of the task needs to be shown."""
    content = draft.content
    if part == "instructions":
        return {"preview": marked(content["instructions"], findings)}
    if part == "reference":
        return {"diff": diffs.of(content["reference_diff"]) if content["reference_diff"] else None}
    if part == "tests":
        return _tests_context(request, draft)
    if part == "environment":
        version = draft.base_version
        resolved = version.effective_environment() if version else {}
        return {
            "environment": json.dumps(content["environment"], indent=2, ensure_ascii=False),
            "resolved": json.dumps(resolved, indent=2, ensure_ascii=False, default=str),
        }
    if part == "history":
        return _history_context(draft)
    return {}


def _tests_context(request: HttpRequest, draft: CurationDraft) -> dict[str, Any]:
    tests = draft.content["tests"]
    at = request.GET.get("test", "0")
    position = int(at) if at.isdecimal() and int(at) < len(tests) else 0
    shown = tests[position] if tests else None
    data = store.get(shown["digest"]) if shown else b""
    is_text = b"\0" not in data[:8000] and len(data) <= MOST_TEST_BYTES
    expected = draft.base_version.expectations() if draft.base_version else {}
    return {
        "tests": tests,
        "test": shown,
        "test_position": position,
        "test_text": data.decode("utf-8", "replace") if is_text else None,
        "test_bytes": len(data),
        "to_fix": expected.get("fail_to_pass", [])[:MOST_IDS],
        "to_keep": expected.get("pass_to_pass", [])[:MOST_IDS],
        "more_to_keep": max(0, len(expected.get("pass_to_pass", [])) - MOST_IDS),
        "excluded": expected.get("excluded", [])[:MOST_IDS],
    }


def _history_context(draft: CurationDraft) -> dict[str, Any]:
    task = draft.task
    versions: list[TaskVersion] = list(
        task.versions.select_related("created_by", "published_by").defer("instructions").order_by("-number")[:100]
    )
    return {
        "versions": versions,
        "reviews": task.reviews.select_related("by", "version").order_by("-at")[:100],
        "edits": draft.edits.select_related("by").order_by("-revision")[:50] if draft.pk else [],
        "closed": task.findings.exclude(status=Finding.Status.OPEN).select_related("waived_by").order_by("-closed_at"),
    }
