"""Judges, what they said, and what people said, in the administration."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from oneshot.admin import ReadOnlyAdmin, ReadOnlyInline
from runs.judging import actions
from runs.judging.models import Calibration, JudgeConfig, Judgement, Label, RunScore, Suggestion, Verdict

# Everything that an answer depends on: made with the row, and never changed after.
IDENTITY = ["model", "base_url", "parameters", "prompt_version", "digest"]


@admin.register(JudgeConfig)
class JudgeConfigAdmin(admin.ModelAdmin):
    """What a judge is called, costs and may spend can be changed; what it answers with makes another judge."""

    list_display = ["name", "model", "enabled", "is_default", "prompt_version", "created_at"]
    list_filter = ["enabled", "is_default"]
    search_fields = ["name", "model", "digest"]
    readonly_fields = ["id", "created_by", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: JudgeConfig | None = None) -> list[str]:
        return [*self.readonly_fields, *(IDENTITY if obj else ["prompt_version", "digest"])]

    def has_delete_permission(self, request: HttpRequest, obj: JudgeConfig | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.judgements.exists())


class VerdictInline(ReadOnlyInline):
    model = Verdict
    fields = ["key", "sample", "answer", "stated", "evidence_checked", "problem", "cached", "cost_usd"]


@admin.register(Judgement)
class JudgementAdmin(ReadOnlyAdmin):
    list_display = ["short_id", "run_id", "rubric", "judge", "status", "score", "coverage", "cost_usd", "created_at"]
    list_display_links = ["short_id"]
    list_filter = ["status", "judge", "addressed"]
    list_select_related = ["judge", "rubric__task"]
    search_fields = ["run__id__startswith", "run__task__slug__startswith"]
    ordering = ["-created_at"]
    exclude = ["omitted", "suspicions"]
    readonly_fields = ["left_out", "found"]
    actions = ["judge_again"]
    inlines = [VerdictInline]

    @admin.display(description="judgement", ordering="id")
    def short_id(self, row: Judgement) -> str:
        return str(row.pk)[:13]

    @admin.display(description="omitted")
    def left_out(self, row: Judgement) -> SafeString:
        return _document(row.omitted)

    @admin.display(description="suspicions")
    def found(self, row: Judgement) -> SafeString:
        return _document(row.suspicions)

    @admin.action(description="Judge again what is not whole")
    def judge_again(self, request: HttpRequest, rows: QuerySet[Judgement]) -> None:
        queued = []
        for row in rows.select_related("run__task", "rubric", "judge"):
            try:
                again = actions.judge_run(row.run, row.rubric, actions.current(row.judge), by=request.user)
            except actions.CannotJudge as error:
                self.message_user(request, str(error), level=messages.ERROR)
                continue
            if again.status == Judgement.Status.QUEUED:
                queued.append(again)
        actions.submit(queued)
        self.message_user(request, f"{len(queued)} queued; what is judged whole stays as it is")


@admin.register(Verdict)
class VerdictAdmin(ReadOnlyAdmin):
    list_display = ["key", "sample", "answer", "stated", "evidence_checked", "problem", "cached", "judgement_id"]
    list_filter = ["answer", "evidence_checked", "problem", "cached"]
    search_fields = ["judgement__run__id__startswith", "key"]
    ordering = ["-pk"]
    exclude = ["evidence"]
    readonly_fields = ["quotes"]

    def quotes(self, row: Verdict) -> SafeString:
        return _document(row.evidence)


@admin.register(RunScore)
class RunScoreAdmin(ReadOnlyAdmin):
    list_display = ["run_id", "score", "coverage", "spread", "calibrated", "addressed", "updated_at"]
    list_filter = ["calibrated", "addressed"]
    search_fields = ["run__id__startswith", "run__task__slug__startswith"]
    ordering = ["-updated_at"]


@admin.register(Label)
class LabelAdmin(ReadOnlyAdmin):
    list_display = ["criterion", "run_id", "user", "answer", "blind", "created_at"]
    list_filter = ["answer", "blind"]
    list_select_related = ["criterion", "user"]
    search_fields = ["run__id__startswith", "user__username", "criterion__key"]
    ordering = ["-pk"]


@admin.register(Suggestion)
class SuggestionAdmin(ReadOnlyAdmin):
    list_display = ["task", "judge", "by", "status", "cost_usd", "created_at"]
    list_filter = ["status", "judge"]
    list_select_related = ["task", "judge", "by"]
    search_fields = ["task__slug__startswith", "judge__name"]
    exclude = ["items"]
    readonly_fields = ["suggested"]

    def suggested(self, row: Suggestion) -> SafeString:
        return _document(row.items)


@admin.register(Calibration)
class CalibrationAdmin(ReadOnlyAdmin):
    list_display = ["judge", "scope", "n", "kappa", "kappa_low", "test_retest", "computed_at"]
    list_filter = ["judge"]
    list_select_related = ["judge"]
    search_fields = ["judge__name", "scope"]


def _document(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)[:20_000])
