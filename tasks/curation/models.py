"""What curation keeps: the draft that is being worked on, every edit of it, decisions, and findings."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from oneshot import store
from oneshot.ids import uuid7


class CurationDraft(models.Model):
    """The working copy of a task's content. Versions are frozen from it; it is changed in place, edit by edit."""

    task = models.OneToOneField("tasks.Task", on_delete=models.CASCADE, related_name="curation_draft")
    # What it was made from; a freeze makes it the frozen one.
    base_version = models.ForeignKey("tasks.TaskVersion", null=True, blank=True, on_delete=models.SET_NULL)
    base_rubric = models.ForeignKey("tasks.Rubric", null=True, blank=True, on_delete=models.SET_NULL)
    content = models.JSONField(default=dict, help_text="The fields of tasks/curation/content.py.")
    revision = models.PositiveIntegerField(default=0, help_text="Counts edits; an autosave names the one it saw.")
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"draft of {self.task.slug}, revision {self.revision}"


class DraftEdit(models.Model):
    """One change of one field of a draft. Never changed: an undo is another edit."""

    draft = models.ForeignKey(CurationDraft, on_delete=models.CASCADE, related_name="edits")
    revision = models.PositiveIntegerField(help_text="Of the draft after this edit.")
    field = models.CharField(max_length=40)
    before_digest = models.CharField(max_length=64)
    after_digest = models.CharField(max_length=64)
    undoes = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="undone_by")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["draft", "revision"]
        constraints = [models.UniqueConstraint(fields=["draft", "revision"], name="one_edit_per_revision")]

    def __str__(self) -> str:
        return f"{self.field} at revision {self.revision}"

    def before(self) -> Any:
        """Return the value of the field before this edit."""
        return json.loads(store.get(self.before_digest))

    def after(self) -> Any:
        """Return the value of the field after this edit."""
        return json.loads(store.get(self.after_digest))


class Review(models.Model):
    """A decision about a task: who moved it from where to where, when, and why. Never changed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="reviews")
    version = models.ForeignKey("tasks.TaskVersion", null=True, blank=True, on_delete=models.SET_NULL)
    from_state = models.CharField(max_length=10)
    to_state = models.CharField(max_length=10)
    reason = models.TextField(blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["task", "at", "id"]

    def __str__(self) -> str:
        return f"{self.task.slug}: {self.from_state} to {self.to_state}"


class FindingQuerySet(models.QuerySet["Finding"]):
    def blocking(self) -> FindingQuerySet:
        """Return what keeps a task from being published."""
        return self.filter(status=Finding.Status.OPEN, severity=Finding.Severity.BLOCK)


class Finding(models.Model):
    """Something in a task that should not be there, with its place. Fixed by itself when it is gone, or waived."""

    class Kind(models.TextChoices):
        SECRET = "secret", "Secret"
        PERSONAL = "personal", "Personal data"
        LEAK = "leak", "Answer in the instructions"
        LICENCE = "licence", "Licence"
        VISIBILITY = "visibility", "Visibility"
        FLAKE = "flake", "Flaky test"
        VALIDATION = "validation", "Validation"
        QUALITY = "quality", "Quality"

    class Severity(models.TextChoices):
        BLOCK = "block", "Blocks publishing"
        WARN = "warn", "Worth a look"

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        FIXED = "fixed", "Fixed"
        WAIVED = "waived", "Waived"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    severity = models.CharField(max_length=5, choices=Severity.choices, default=Severity.WARN)
    status = models.CharField(max_length=6, choices=Status.choices, default=Status.OPEN)
    # The same thing at the same place keeps its row, and with it the waiver.
    fingerprint = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    message = models.CharField(max_length=1000, help_text="What it is and what to do; secrets are masked.")
    # {"part": "instructions|reference|tests|environment|trace|title", "path": of a test, "step": of the trace,
    #  "start": character, "end": character, "line": from 1}
    place = models.JSONField(default=dict)
    waivable = models.BooleanField(default=True)
    found_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    waived_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT)
    waiver_reason = models.TextField(blank=True)

    objects = FindingQuerySet.as_manager()

    class Meta:
        ordering = ["task", "severity", "found_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["task", "fingerprint"], name="one_finding_per_place"),
            models.CheckConstraint(
                condition=~models.Q(status="waived") | ~models.Q(waiver_reason=""), name="a_waiver_has_a_reason"
            ),
        ]

    def __str__(self) -> str:
        return self.title
