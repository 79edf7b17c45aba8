"""Sessions and what they are made of in the administration; prices can be edited there."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from oneshot.admin import ReadOnlyAdmin
from traces import prices
from traces.models import Exchange, ImportCursor, ModelPrice, Session, Step, StoredMessage

RECOST_MOST = 1000


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "agent", "repository", "step_count", "request_count", "cost_usd", "team", "started_at"]
    list_filter = ["agent", "origin", "ending", "public", "team"]
    list_select_related = ["team"]
    search_fields = ["title", "repository__startswith", "thread_id__startswith"]
    ordering = ["-started_at", "-id"]
    # Long, and made from the steps.
    exclude = ["search_text"]
    readonly_fields = ["page"]
    actions = ["reckon_cost_again"]

    @admin.display(description="page")
    def page(self, session: Session) -> SafeString:
        return format_html('<a href="{}">{}</a>', session.get_absolute_url(), session)

    @admin.action(description="Reckon the cost again with the prices of now", permissions=["view"])
    def reckon_cost_again(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        changed = prices.recost(queryset[:RECOST_MOST])
        self.message_user(request, f"The cost of {changed} sessions has changed.", messages.SUCCESS)


@admin.register(Exchange)
class ExchangeAdmin(ReadOnlyAdmin):
    list_display = ["id", "session", "model", "status", "tokens_input", "tokens_output", "cost_usd", "started_at"]
    list_filter = ["source", "retried", "truncated"]
    list_select_related = ["session"]
    search_fields = ["response_id", "request_id", "model__startswith"]
    ordering = ["-id"]


@admin.register(Step)
class StepAdmin(ReadOnlyAdmin):
    list_display = ["id", "session", "source", "position", "kind", "name", "preview_start"]
    list_filter = ["kind", "source"]
    list_select_related = ["session"]
    search_fields = ["name__startswith", "call_id", "session__thread_id__startswith"]
    ordering = ["-id"]

    @admin.display(description="preview")
    def preview_start(self, step: Step) -> str:
        return step.preview[:80]


@admin.register(StoredMessage)
class StoredMessageAdmin(ReadOnlyAdmin):
    list_display = ["hash", "session"]
    list_select_related = ["session"]
    search_fields = ["hash__startswith"]
    ordering = ["-id"]


@admin.register(ImportCursor)
class ImportCursorAdmin(ReadOnlyAdmin):
    """Removing a cursor makes the next import read its source from the beginning, which changes nothing else."""

    list_display = ["source", "updated_at"]
    search_fields = ["source"]
    ordering = ["-updated_at"]


@admin.register(ModelPrice)
class ModelPriceAdmin(admin.ModelAdmin):
    """What is edited here is kept when OneShot comes with other prices."""

    list_display = ["pattern", "valid_from", "input", "cached_input", "cache_write", "output", "origin"]
    list_filter = ["origin"]
    search_fields = ["pattern", "source"]
    ordering = ["pattern", "-valid_from"]
    readonly_fields = ["origin"]

    def save_model(self, request: HttpRequest, obj: ModelPrice, form: Any, change: bool) -> None:
        obj.origin = ModelPrice.Origin.EDITED
        super().save_model(request, obj, form, change)
        self.message_user(
            request,
            "Sessions keep the cost they had. To reckon it again, choose them in the list of sessions and run the "
            "action there.",
            messages.INFO,
        )
