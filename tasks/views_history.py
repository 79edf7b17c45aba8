"""The history of a task for everyone who may read it: its versions, who decided what and why, and what was waived."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from oneshot import store
from tasks.models import Finding, Task, TaskVersion

MOST_VERSIONS = 200
MOST_DECISIONS = 300
MOST_WAIVERS = 300
# How runs/steadiness.py begins the reason of a test that a person took out.
QUARANTINED = "quarantined by "


@require_GET
def task_history(request: HttpRequest, slug: str) -> HttpResponse:
    """Show versions, decisions and waivers of a task.

    What a finding is about and which tests are quarantined would tell of the solution: members of the team see it,
    and others that there was one, who waived it and why.
    """
    task = get_object_or_404(Task.objects.visible_to(request.user).select_related("team", "current_version"), slug=slug)
    inside = Task.objects.answered_to(request.user).filter(pk=task.pk).exists()
    versions = task.versions.select_related("created_by", "published_by").defer("instructions").order_by("-number")
    waived = task.findings.filter(status=Finding.Status.WAIVED).select_related("waived_by")
    newest = versions.first()
    context: dict[str, Any] = {
        "task": task,
        "inside": inside,
        "may_edit": Task.objects.editable_by(request.user).filter(pk=task.pk).exists(),
        "versions": versions[:MOST_VERSIONS],
        "decisions": task.reviews.select_related("by", "version").order_by("-at", "-id")[:MOST_DECISIONS],
        "waivers": waived.order_by("-closed_at")[:MOST_WAIVERS],
        "quarantined": quarantined(newest) if inside and newest else [],
        "nav": "tasks",
    }
    return render(request, "tasks/history.html", context)


def quarantined(version: TaskVersion) -> list[dict[str, str]]:
    """Return {"id", "reason"} of the tests that people took out of a version; [] when the store has lost its lists."""
    try:
        excluded = version.expectations()["excluded"]
    except store.ContentMissing:
        return []
    return [test for test in excluded if str(test.get("reason", "")).startswith(QUARANTINED)]
