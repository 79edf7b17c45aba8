"""Runs, agents, images and validations in the administration."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from oneshot.admin import ReadOnlyAdmin, ReadOnlyInline
from runs import actions, agents
from runs.errors import Fault
from runs.judging import admin as judging_admin  # noqa: F401 - registers its pages
from runs.models import AgentConfig, Artifact, Image, LogChunk, Run, TestResult, Validation


class AgentConfigForm(forms.ModelForm):
    """Takes only what an agent of its kind would start with."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        named = {name: cleaned.get(name) for name in ("kind", "name", "version", "model")}
        try:
            agents.load(AgentConfig(**named, settings=cleaned.get("settings") or {}))
        except Fault as fault:
            raise forms.ValidationError(str(fault)) from fault
        return cleaned


@admin.register(AgentConfig)
class AgentConfigAdmin(admin.ModelAdmin):
    """A configuration can be changed until it has runs; after that its identity stands."""

    list_display = ["name", "kind", "version", "model", "created_at"]
    list_filter = ["kind"]
    search_fields = ["name", "model", "digest"]
    form = AgentConfigForm
    readonly_fields = ["id", "digest", "created_at"]

    def has_change_permission(self, request: HttpRequest, obj: AgentConfig | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.runs.exists())

    def has_delete_permission(self, request: HttpRequest, obj: AgentConfig | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.runs.exists())


class ArtifactInline(ReadOnlyInline):
    model = Artifact
    fields = ["name", "media_type", "bytes", "digest"]


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ["short_id", "task", "agent", "attempt", "status", "outcome", "sandbox", "team", "created_at"]
    list_display_links = ["short_id"]
    list_filter = ["status", "outcome", "purpose", "sandbox", "isolation", "fault"]
    list_select_related = ["task", "agent", "team"]
    search_fields = ["id__startswith", "task__slug__startswith"]
    ordering = ["-created_at", "-id"]
    exclude = ["limits", "detail"]
    readonly_fields = ["page", "limits_set", "details"]
    actions = ["cancel_runs", "run_again"]
    inlines = [ArtifactInline]

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        # A row that goes while a worker holds it would leave that worker's sandbox to the sweep.
        return super().has_delete_permission(request, obj) and (obj is None or obj.is_over)

    @admin.display(description="run", ordering="id")
    def short_id(self, run: Run) -> str:
        return str(run.pk)[:13]

    def page(self, run: Run) -> SafeString:
        return format_html('<a href="{}">{}</a>', run.get_absolute_url(), run)

    @admin.display(description="limits")
    def limits_set(self, run: Run) -> SafeString:
        return _document(run.limits)

    def details(self, run: Run) -> SafeString:
        return _document(run.detail)

    @admin.action(description="Cancel the chosen runs")
    def cancel_runs(self, request: HttpRequest, runs: QuerySet[Run]) -> None:
        cancelled = sum(actions.cancel(run, by=request.user) for run in runs)
        self.message_user(request, f"{cancelled} cancelled; those that had ended stay as they are")

    @admin.action(description="Run the chosen runs again")
    def run_again(self, request: HttpRequest, runs: QuerySet[Run]) -> None:
        started = 0
        try:
            for run in runs.select_related("task_version__task", "agent"):
                actions.run_again(run, by=request.user)
                started += 1
        except Fault as fault:
            self.message_user(request, str(fault), level=messages.ERROR)
        self.message_user(request, f"{started} started")


@admin.register(Image)
class ImageAdmin(ReadOnlyAdmin):
    list_display = ["short_digest", "sandbox", "status", "tries", "started_at", "finished_at", "size_bytes"]
    list_filter = ["sandbox", "status", "fault"]
    search_fields = ["digest", "reference"]
    ordering = ["-started_at"]

    @admin.display(description="image", ordering="digest")
    def short_digest(self, image: Image) -> str:
        return image.digest[:12]


@admin.register(Validation)
class ValidationAdmin(ReadOnlyAdmin):
    list_display = ["task_version", "sandbox", "attempts", "status", "created_by", "created_at", "finished_at"]
    list_filter = ["status", "sandbox"]
    list_select_related = ["task_version__task", "created_by"]
    search_fields = ["task_version__task__slug"]


@admin.register(TestResult)
class TestResultAdmin(ReadOnlyAdmin):
    list_display = ["test_id", "group", "verdict", "seconds", "run_id"]
    list_filter = ["group", "verdict"]
    search_fields = ["run__id__startswith"]
    search_help_text = "The beginning of a run's id"
    ordering = ["-pk"]


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    list_display = ["name", "media_type", "bytes", "run_id", "created_at"]
    search_fields = ["run__id__startswith", "name"]
    ordering = ["-pk"]


@admin.register(LogChunk)
class LogChunkAdmin(ReadOnlyAdmin):
    """What live logs have not been folded into one document yet."""

    list_display = ["id", "run_id", "image_id", "created_at"]
    search_fields = ["run__id__startswith"]
    ordering = ["-pk"]


def _document(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)[:20_000])
