"""Administration of what curation keeps; history is there to be read."""

from __future__ import annotations

from django.contrib import admin

from oneshot.admin import ReadOnlyAdmin, ReadOnlyInline
from tasks.curation.models import CurationDraft, DraftEdit, Finding, Review


class DraftEditInline(ReadOnlyInline):
    model = DraftEdit
    fields = ("revision", "field", "by", "at", "undoes")


@admin.register(CurationDraft)
class CurationDraftAdmin(ReadOnlyAdmin):
    list_display = ("task", "revision", "updated_by", "updated_at")
    search_fields = ("task__slug", "task__title")
    list_select_related = ("task", "updated_by")
    inlines = [DraftEditInline]


@admin.register(DraftEdit)
class DraftEditAdmin(ReadOnlyAdmin):
    list_display = ("draft", "revision", "field", "by", "at")
    list_filter = ("field",)
    search_fields = ("draft__task__slug",)
    list_select_related = ("draft__task", "by")


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = ("task", "from_state", "to_state", "by", "at", "reason")
    list_filter = ("to_state",)
    search_fields = ("task__slug", "reason")
    list_select_related = ("task", "by")


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    list_display = ("task", "kind", "severity", "status", "title", "waived_by", "found_at")
    list_filter = ("kind", "severity", "status")
    search_fields = ("task__slug", "title", "message", "waiver_reason")
    list_select_related = ("task", "waived_by")
