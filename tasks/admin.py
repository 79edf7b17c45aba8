"""Tasks, versions and rubrics in the administration."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from oneshot.accounts.models import Team, Visibility
from oneshot.admin import ReadOnlyAdmin, ReadOnlyInline
from tasks.access import set_team, set_visibility
from tasks.capture.errors import BadRepository
from tasks.models import Capture, Criterion, Rubric, Task, TaskVersion


class VersionInline(ReadOnlyInline):
    model = TaskVersion
    fields = ["number", "title", "validation", "fail_to_pass_count", "pass_to_pass_count", "created_at"]
    readonly_fields = ["created_at"]
    show_change_link = True
    ordering = ["-number"]


@admin.register(Task)
class TaskAdmin(admin.ModelAdmin):
    list_display = ["slug", "title", "team", "state", "visibility", "current_version", "created_at"]
    list_filter = ["state", "visibility", "current_version__validation", "team"]
    list_select_related = ["team", "current_version__task"]
    search_fields = ["slug", "title", "external_id"]
    raw_id_fields = ["team", "current_version"]
    readonly_fields = ["id", "created_at", "page"]
    actions = ["publish", "retire", "make_public", "make_private"]
    inlines = [VersionInline]
    show_full_result_count = False

    def page(self, task: Task) -> SafeString | str:
        if task._state.adding:
            return ""
        return format_html('<a href="{}">{}</a>', reverse("task-detail", args=[task.slug]), task.slug)

    def save_model(self, request: HttpRequest, obj: Task, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        # Runs repeat both, so that their lists need no join.
        if "visibility" in form.changed_data:
            set_visibility(obj, obj.visibility)
        if "team" in form.changed_data:
            set_team(obj, Team.objects.get(pk=obj.team_id))

    @admin.action(description="Publish the chosen tasks")
    def publish(self, request: HttpRequest, tasks: QuerySet[Task]) -> None:
        self.message_user(request, f"{tasks.update(state=Task.State.PUBLISHED)} published")

    @admin.action(description="Retire the chosen tasks")
    def retire(self, request: HttpRequest, tasks: QuerySet[Task]) -> None:
        self.message_user(request, f"{tasks.update(state=Task.State.RETIRED)} retired")

    @admin.action(description="Let everyone read the chosen tasks")
    def make_public(self, request: HttpRequest, tasks: QuerySet[Task]) -> None:
        self._set_visibility(request, tasks, Visibility.PUBLIC)

    @admin.action(description="Let only their teams read the chosen tasks")
    def make_private(self, request: HttpRequest, tasks: QuerySet[Task]) -> None:
        self._set_visibility(request, tasks, Visibility.PRIVATE)

    def _set_visibility(self, request: HttpRequest, tasks: QuerySet[Task], visibility: Visibility) -> None:
        changed = 0
        for task in tasks:
            set_visibility(task, visibility)
            changed += 1
        self.message_user(request, f"{changed} changed: {visibility.label}")


@admin.register(TaskVersion)
class TaskVersionAdmin(ReadOnlyAdmin):
    list_display = ["task", "number", "title", "validation", "fail_to_pass_count", "pass_to_pass_count", "created_at"]
    list_filter = ["validation", "sensitivity"]
    list_select_related = ["task"]
    search_fields = ["task__slug", "title", "digest"]
    exclude = ["repo", "environment", "detected_environment", "hidden_tests", "overlay_files", "provenance"]
    readonly_fields = [
        "repository",
        "declared_environment",
        "guessed_environment",
        "hidden_test_files",
        "overlays",
        "came_from",
    ]

    def repository(self, version: TaskVersion) -> SafeString:
        return _document(version.repo)

    def declared_environment(self, version: TaskVersion) -> SafeString:
        return _document(version.environment)

    def guessed_environment(self, version: TaskVersion) -> SafeString:
        return _document(version.detected_environment)

    def hidden_test_files(self, version: TaskVersion) -> SafeString:
        return _document(version.hidden_tests)

    def overlays(self, version: TaskVersion) -> SafeString:
        return _document(version.overlay_files)

    def came_from(self, version: TaskVersion) -> SafeString:
        return _document(version.provenance)


class CriterionInline(ReadOnlyInline):
    model = Criterion
    fields = ["position", "key", "kind", "weight", "text"]


@admin.register(Rubric)
class RubricAdmin(ReadOnlyAdmin):
    list_display = ["task", "number", "created_by", "created_at"]
    list_select_related = ["task", "created_by"]
    search_fields = ["task__slug", "digest"]
    inlines = [CriterionInline]


@admin.register(Capture)
class CaptureAdmin(ReadOnlyAdmin):
    list_display = ["slug", "title", "status", "agent", "team", "user", "task", "started_at", "ended_at"]
    list_filter = ["status", "agent", "team"]
    list_select_related = ["team", "user", "task"]
    search_fields = ["slug", "title", "worktree", "thread_id"]
    exclude = ["detail"]
    readonly_fields = ["facts"]
    actions = ["drop"]
    ordering = ["-started_at"]

    def facts(self, capture: Capture) -> SafeString:
        return _document(capture.detail)

    @admin.action(description="Drop the chosen captures and their refs")
    def drop(self, request: HttpRequest, captures: QuerySet[Capture]) -> None:
        from tasks.capture import drop

        for capture in captures:
            try:
                drop(capture)
            except BadRepository as error:
                self.message_user(request, f"{capture.slug}: {error}", messages.ERROR)
            else:
                self.message_user(request, f"{capture.slug} dropped")


def _document(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)[:20_000])


# Registers the pages of curation.
from tasks.curation import admin as _curation  # noqa: E402, F401
