"""What is asked: a task, its immutable versions, and the rubric that goes with it."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import Role, Team, Visibility
from oneshot.ids import uuid7


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, user) -> TaskQuerySet:
        """Return what `user` may read: public tasks, and those of the user's teams."""
        public = models.Q(visibility=Visibility.PUBLIC)
        if not user.is_authenticated:
            return self.filter(public)
        return self if user.is_superuser else self.filter(public | models.Q(team__in=Team.objects.of(user)))

    def answered_to(self, user) -> TaskQuerySet:
        """Return the tasks whose reference and hidden tests `user` may read: those of the user's teams."""
        return self.filter(team__in=Team.objects.of(user))

    def editable_by(self, user) -> TaskQuerySet:
        """Return what `user` may curate: change, validate, label."""
        return self.filter(team__in=Team.objects.of(user, Role.CURATOR))

    def managed_by(self, user) -> TaskQuerySet:
        """Return what `user` may publish, give to agents, and show to others."""
        return self.filter(team__in=Team.objects.of(user, Role.MAINTAINER))


class Task(models.Model):
    """A piece of work to give to agents. Its content lives in versions; the task is the name they share."""

    class State(models.TextChoices):
        CAPTURED = "captured", "Captured"
        DRAFT = "draft", "Draft"
        REVIEW = "review", "In review"
        PUBLISHED = "published", "Published"
        RETIRED = "retired", "Retired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=120, unique=True)
    title = models.CharField(max_length=300)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="tasks")
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PRIVATE)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    tags = models.JSONField(default=list, blank=True)
    external_id = models.CharField(
        max_length=300, blank=True, help_text="The id it had where it came from, such as fix-it_20261120_225428."
    )
    current_version = models.ForeignKey(
        "TaskVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="current_of"
    )
    session = models.ForeignKey(
        "traces.Session",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tasks",
        help_text="The session it was captured from.",
    )
    # Who curates it now; free again when nothing has changed for a while (tasks/curation/claims.py).
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="claimed_tasks"
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["team", "state", "slug"], name="task_team_state")]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "external_id"], condition=~models.Q(external_id=""), name="one_task_per_external_id"
            )
        ]

    def __str__(self) -> str:
        return self.slug


class Network(models.TextChoices):
    NONE = "none", "None"
    MODEL_ONLY = "model-only", "Model only"
    FULL = "full", "Full"


class TaskVersion(models.Model):
    """The content of a task, fixed by its digest. A change of anything makes another version."""

    class Validation(models.TextChoices):
        NONE = "none", "Not validated"
        RUNNING = "running", "Validating"
        VALID = "valid", "Valid"
        INVALID = "invalid", "Not valid"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="sha256 over everything that agents and graders get to see.")
    title = models.CharField(max_length=300)
    instructions = models.TextField()
    # {"git_url", "branch", "start_commit_sha", "end_commit_sha", "subdir", "sparse_checkout": [path]}
    repo = models.JSONField(default=dict)
    reference_diff_digest = models.CharField(max_length=64, blank=True)
    # As declared by the task (see tasks/environment.py); {} means that it is detected from the repository.
    environment = models.JSONField(default=dict, blank=True)
    # [{"path": repo-relative, "digest": content store, "rubric_id": str or null}], overwritten before grading
    hidden_tests = models.JSONField(default=list, blank=True)
    # [{"path", "digest", "mode"}] written over the snapshot before the agent sees it
    overlay_files = models.JSONField(default=list, blank=True)
    sensitivity = models.CharField(max_length=20, default="unknown")
    provenance = models.JSONField(default=dict, blank=True)

    # Filled by preparation: the base as one commit in one archive, and what was guessed about its environment.
    snapshot_digest = models.CharField(max_length=64, blank=True)
    snapshot_commit = models.CharField(max_length=64, blank=True)
    detected_environment = models.JSONField(null=True, blank=True)

    # Filled by validation. The lists themselves are one document in the content store: `expectations()`.
    validation = models.CharField(max_length=10, choices=Validation.choices, default=Validation.NONE)
    validation_reason = models.TextField(blank=True)
    validated_at = models.DateTimeField(null=True, blank=True)
    expectations_digest = models.CharField(max_length=64, blank=True)
    fail_to_pass_count = models.PositiveIntegerField(null=True, blank=True)
    pass_to_pass_count = models.PositiveIntegerField(null=True, blank=True)
    excluded_count = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="published_versions"
    )

    class Meta:
        ordering = ["task", "number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="one_version_per_number"),
            models.UniqueConstraint(fields=["task", "digest"], name="one_version_per_content"),
        ]

    def __str__(self) -> str:
        return f"{self.task.slug} v{self.number}"

    def reference_diff(self) -> bytes:
        """Return the diff that solves the task; empty when the task came without one."""
        return store.get(self.reference_diff_digest) if self.reference_diff_digest else b""

    def hidden_test_files(self) -> dict[str, bytes]:
        """Return the hidden test files by their path in the repository."""
        return {test["path"]: store.get(test["digest"]) for test in self.hidden_tests}

    def expectations(self) -> dict[str, Any]:
        """Return what validation fixed: fail_to_pass [id], pass_to_pass [id], excluded [{id, reason}],
        checks [{name, status, evidence, seconds}]. Every list is empty before the first validation."""
        if not self.expectations_digest:
            return {"fail_to_pass": [], "pass_to_pass": [], "excluded": [], "checks": []}
        return json.loads(store.get(self.expectations_digest))

    def record_validation(
        self,
        *,
        valid: bool,
        reason: str,
        fail_to_pass: list[str],
        pass_to_pass: list[str],
        excluded: list[dict[str, str]],
        checks: list[dict[str, Any]],
    ) -> None:
        """Keep what a validation found. `reason` says in a sentence why a version is not valid; empty if it is."""
        lists = {"fail_to_pass": fail_to_pass, "pass_to_pass": pass_to_pass, "excluded": excluded, "checks": checks}
        self.validation = self.Validation.VALID if valid else self.Validation.INVALID
        self.validation_reason = reason
        self.validated_at = timezone.now()
        self.expectations_digest = store.put_text(json.dumps(lists, sort_keys=True))
        self.fail_to_pass_count = len(fail_to_pass)
        self.pass_to_pass_count = len(pass_to_pass)
        self.excluded_count = len(excluded)
        self.save(
            update_fields=[
                "validation",
                "validation_reason",
                "validated_at",
                "expectations_digest",
                "fail_to_pass_count",
                "pass_to_pass_count",
                "excluded_count",
            ]
        )

    def effective_environment(self) -> dict[str, Any]:
        """Return the declared environment over the detected one over the site's settings (tasks/environment.py)."""
        from tasks.environment import resolve

        return resolve(self.environment, self.detected_environment)


class Rubric(models.Model):
    """Criteria that a judge or a person answers for each run, versioned apart from the task."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="rubrics")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["task", "number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="one_rubric_per_number"),
            models.UniqueConstraint(fields=["task", "digest"], name="one_rubric_per_content"),
        ]

    def __str__(self) -> str:
        return f"rubric {self.number} of {self.task.slug}"


def default_evidence() -> list[str]:
    """Return what a judge sees when a criterion does not say; what the agent tells about itself persuades too well."""
    return ["diff", "tests"]


class Criterion(models.Model):
    """One question of a rubric."""

    class Kind(models.TextChoices):
        ESSENTIAL = "essential", "Essential"
        IMPORTANT = "important", "Important"
        OPTIONAL = "optional", "Optional"
        PITFALL = "pitfall", "Pitfall"

    rubric = models.ForeignKey(Rubric, on_delete=models.CASCADE, related_name="criteria")
    position = models.PositiveIntegerField()
    key = models.CharField(max_length=100, help_text="Its id in the task's files, such as task_completion.")
    text = models.TextField()
    weight = models.DecimalField(max_digits=8, decimal_places=4)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.IMPORTANT)
    checks = models.JSONField(default=list, blank=True)
    # What the judge may see of a run: "diff", "tests", "trajectory", "final_message".
    sees = models.JSONField(default=default_evidence, blank=True)

    class Meta:
        ordering = ["rubric", "position"]
        constraints = [models.UniqueConstraint(fields=["rubric", "key"], name="one_criterion_per_key")]

    def __str__(self) -> str:
        return self.key


class CaptureQuerySet(models.QuerySet["Capture"]):
    def visible_to(self, user) -> CaptureQuerySet:
        """Return the captures of the user's teams."""
        return self.filter(team__in=Team.objects.of(user))

    def editable_by(self, user) -> CaptureQuerySet:
        """Return what `user` may finish or drop."""
        return self.filter(team__in=Team.objects.of(user, Role.CURATOR))


class Capture(models.Model):
    """Someone's work being recorded: a snapshot of the repository at its start, and in the end a task draft.

    The snapshots are commits under private refs of the user's repository, refs/oneshot/captures/<id>/.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        ENDED = "ended", "Ended"
        DROPPED = "dropped", "Dropped"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="captures")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    slug = models.CharField(max_length=120, unique=True, help_text="task_slug of the MCP tools: title and time stamp.")
    title = models.CharField(max_length=300)
    notes = models.TextField(blank=True)
    summary = models.TextField(blank=True)
    labels = models.JSONField(default=list, blank=True)
    # Absolute path of the worktree's top, and of its git directory (of the worktree's own, for a linked one).
    worktree = models.CharField(max_length=1000)
    git_dir = models.CharField(max_length=1000)
    head_commit = models.CharField(
        max_length=64, blank=True, help_text="HEAD at the start; empty before a first commit."
    )
    branch = models.CharField(max_length=300, blank=True)
    remote_urls = models.JSONField(default=list, blank=True)
    start_commit = models.CharField(max_length=64, help_text="Private commit of the tree as it was at the start.")
    end_commit = models.CharField(max_length=64, blank=True)
    diff_digest = models.CharField(max_length=64, blank=True)
    agent = models.CharField(max_length=40, blank=True, help_text="codex, claude_code, or empty for none.")
    thread_id = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(
        default=dict, blank=True, help_text="Small facts: readiness at the start, submodules, client."
    )
    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.SET_NULL, related_name="captures")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = CaptureQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["status", "-started_at"], name="capture_status_newest"),
            models.Index(fields=["worktree", "status"], name="capture_worktree"),
        ]

    def __str__(self) -> str:
        return self.slug


# Registered with the app, and thereby known to migrations.
from tasks.curation.models import CurationDraft, DraftEdit, Finding, Review  # noqa: E402

__all__ = [
    "Capture",
    "Criterion",
    "CurationDraft",
    "DraftEdit",
    "Finding",
    "Network",
    "Review",
    "Rubric",
    "Task",
    "TaskVersion",
]
