"""Boards and their roll-up in the administration."""

from django.contrib import admin

from benchmarks.models import Board, Cell, Tally
from oneshot.admin import ReadOnlyAdmin


@admin.register(Board)
class BoardAdmin(admin.ModelAdmin):
    list_display = ["title", "slug", "team", "visibility", "created_at"]
    list_filter = ["visibility", "team"]
    list_select_related = ["team"]
    search_fields = ["title", "slug"]
    prepopulated_fields = {"slug": ["title"]}
    raw_id_fields = ["team", "tasks"]
    readonly_fields = ["id", "created_at"]


@admin.register(Cell)
class CellAdmin(ReadOnlyAdmin):
    list_display = ["task", "task_version_id", "agent", "graded", "resolved", "ungraded", "scored", "refreshed_at"]
    list_select_related = ["task", "agent"]
    search_fields = ["task__slug", "agent__name"]
    ordering = ["-refreshed_at"]


@admin.register(Tally)
class TallyAdmin(ReadOnlyAdmin):
    """All cells of a version in one value; `oneshot rebuild_rollups` makes it anew."""

    list_display = ["task_version", "attempts", "refreshed_at"]
    list_select_related = ["task_version__task"]
    search_fields = ["task_version__task__slug"]
    ordering = ["-refreshed_at"]
