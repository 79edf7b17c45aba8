"""What was tried: agent configurations, prepared images, runs, and what each run left behind."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import Role, Team
from oneshot.ids import uuid7
from runs.errors import LostClaim
from tasks.models import Task, TaskVersion


class AgentKind(models.TextChoices):
    ORACLE = "oracle", "oracle"
    NOP = "nop", "nop"
    COMMAND = "command", "command"
    CODEX = "codex", "codex"
    CLAUDE_CODE = "claude_code", "claude_code"


REFERENCE_KINDS = (AgentKind.ORACLE, AgentKind.NOP)


class AgentConfig(models.Model):
    """An agent with all its settings. Two that differ in anything are two rows here and on every board.

    Settings name environment variables that hold keys; they never hold a key.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=40, help_text="Name of an agent plug-in: oracle, nop, command, codex …")
    name = models.CharField(max_length=100)
    version = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=200, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "model"]

    def __str__(self) -> str:
        return " · ".join(part for part in (f"{self.name} {self.version}".strip(), self.model) if part)

    def save(self, *args, **kwargs) -> None:
        # The admin may edit a configuration that has no runs yet; its identity follows its content.
        self.digest = self.digest_of(
            kind=self.kind, name=self.name, version=self.version, model=self.model, settings=self.settings
        )
        super().save(*args, **kwargs)

    @staticmethod
    def digest_of(*, kind: str, name: str, version: str, model: str, settings: dict[str, Any]) -> str:
        """Return the identity of a configuration: the sha256 of everything that can change what it does."""
        document = {"kind": kind, "name": name, "version": version, "model": model, "settings": settings}
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @classmethod
    def obtain(
        cls, *, kind: str, name: str = "", version: str = "", model: str = "", settings: dict[str, Any] | None = None
    ) -> AgentConfig:
        """Return the row of exactly this configuration, made if there is none yet."""
        identity: dict[str, Any] = {"kind": kind, "name": name or kind, "version": version, "model": model}
        identity["settings"] = settings or {}
        row, _ = cls.objects.get_or_create(digest=cls.digest_of(**identity), defaults=identity)
        return row

    @property
    def is_reference(self) -> bool:
        """Whether this is oracle or nop, which boards show in grey and without a rank."""
        return self.kind in REFERENCE_KINDS


class Image(models.Model):
    """An environment made ready for one kind of sandbox: a Docker image, or a directory for the local sandbox.

    One builder at a time holds a row, by a heartbeat as runs do; a ready image is used for ever.
    """

    class Status(models.TextChoices):
        BUILDING = "building", "Building"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sandbox = models.CharField(max_length=20)
    digest = models.CharField(max_length=64, help_text="sha256 over snapshot, environment and builder version.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.BUILDING)
    reference = models.CharField(
        max_length=300, blank=True, help_text="What the sandbox starts: an image id or a path."
    )
    builder = models.CharField(max_length=100, blank=True)
    tries = models.PositiveIntegerField(default=0, help_text="Counts builds; fences off a builder that lost its claim.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    log_digest = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    fault = models.CharField(max_length=10, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sandbox", "digest"], name="one_image_per_digest")]

    def __str__(self) -> str:
        return f"{self.sandbox} image {self.digest[:12]} ({self.status})"


class Validation(models.Model):
    """One check of a task version: nop and oracle runs, from which fail-to-pass and pass-to-pass are fixed."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task_version = models.ForeignKey(TaskVersion, on_delete=models.CASCADE, related_name="validations")
    sandbox = models.CharField(max_length=20)
    attempts = models.PositiveIntegerField(default=3, help_text="How often nop, and how often oracle.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    continues = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.RESTRICT,
        related_name="continued_by",
        help_text="Whose runs count too, when one check was tried again; empty for a whole validation.",
    )
    error = models.TextField(blank=True, help_text="Why it could not conclude; empty when it did.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"validation of {self.task_version}"


class Status(models.TextChoices):
    QUEUED = "queued", "Queued"
    PREPARING = "preparing", "Preparing"
    RUNNING = "running", "Running"
    COLLECTING = "collecting", "Collecting"
    GRADING = "grading", "Grading"
    FINISHED = "finished", "Finished"
    CANCELLED = "cancelled", "Cancelled"
    INFRA_FAILED = "infra_failed", "Ungraded"


WORKING = (Status.PREPARING, Status.RUNNING, Status.COLLECTING, Status.GRADING)
ENDED = (Status.FINISHED, Status.CANCELLED, Status.INFRA_FAILED)

MOVES: dict[str, tuple[str, ...]] = {
    Status.QUEUED: (Status.PREPARING, Status.CANCELLED, Status.INFRA_FAILED),
    Status.PREPARING: (Status.RUNNING, Status.QUEUED, Status.CANCELLED, Status.INFRA_FAILED),
    Status.RUNNING: (Status.COLLECTING, Status.QUEUED, Status.CANCELLED, Status.INFRA_FAILED),
    Status.COLLECTING: (Status.GRADING, Status.FINISHED, Status.QUEUED, Status.CANCELLED, Status.INFRA_FAILED),
    Status.GRADING: (Status.FINISHED, Status.QUEUED, Status.CANCELLED, Status.INFRA_FAILED),
}


class Outcome(models.TextChoices):
    RESOLVED = "resolved", "Resolved"
    UNRESOLVED = "unresolved", "Unresolved"
    EMPTY_PATCH = "empty_patch", "Empty patch"
    PATCH_FAILED = "patch_failed", "Patch failed"
    TIMEOUT = "timeout", "Timed out"
    BUDGET_EXHAUSTED = "budget_exhausted", "Budget exhausted"
    REFUSED = "refused", "Refused"


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user) -> RunQuerySet:
        """Return what `user` may read: runs of public tasks, and those of the user's teams."""
        public = models.Q(public=True)
        if not user.is_authenticated:
            return self.filter(public)
        return self if user.is_superuser else self.filter(public | models.Q(team__in=Team.objects.of(user)))

    def editable_by(self, user) -> RunQuerySet:
        """Return what `user` may cancel and repeat."""
        return self.filter(team__in=Team.objects.of(user, Role.MAINTAINER))

    def trials(self) -> RunQuerySet:
        """Return the runs that say something about an agent, without those that only validate a task."""
        return self.filter(purpose=Run.Purpose.TRIAL)

    def active(self) -> RunQuerySet:
        return self.exclude(status__in=ENDED)


class Run(models.Model):
    """One attempt of one agent at one task version: what was tried, how it ended, and what it left."""

    class Purpose(models.TextChoices):
        TRIAL = "trial", "Trial"
        VALIDATION = "validation", "Validation"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task_version = models.ForeignKey(TaskVersion, on_delete=models.CASCADE, related_name="runs")
    # Repeated from the version, so that lists and access checks over a million rows need no join.
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="runs")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="runs")
    public = models.BooleanField(default=False)
    agent = models.ForeignKey(AgentConfig, on_delete=models.PROTECT, related_name="runs")
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.TRIAL)
    validation = models.ForeignKey(Validation, null=True, blank=True, on_delete=models.CASCADE, related_name="runs")
    attempt = models.PositiveIntegerField(help_text="1 for the first attempt of this agent at this version.")
    sandbox = models.CharField(max_length=20, help_text="docker or local.")
    isolation = models.CharField(
        max_length=20, blank=True, help_text="What really held it: container, bubblewrap, unshare, or none."
    )
    network = models.CharField(max_length=20, default="model-only")
    limits = models.JSONField(default=dict, help_text="timeout_s, test_timeout_s, memory_mb, cpus, pids, disk_mb.")

    status = models.CharField(max_length=15, choices=Status.choices, default=Status.QUEUED)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)
    fault = models.CharField(max_length=10, blank=True, help_text="task, agent or infra: whose the error is.")
    error = models.TextField(blank=True)
    detail = models.JSONField(default=dict, blank=True, help_text="Small facts: final message, limit hit, versions.")

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(default=timezone.now)
    preparing_at = models.DateTimeField(null=True, blank=True)
    running_at = models.DateTimeField(null=True, blank=True)
    collecting_at = models.DateTimeField(null=True, blank=True)
    grading_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # The claim: `tries` counts claims and fences off a worker that lost its own.
    tries = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True, help_text="Not before this time, after a failed try.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    image = models.ForeignKey(Image, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    exit_code = models.IntegerField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="Wall time from claim to end.")
    tokens_input = models.BigIntegerField(null=True, blank=True)
    tokens_cached = models.BigIntegerField(null=True, blank=True)
    tokens_output = models.BigIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    diff_digest = models.CharField(max_length=64, blank=True)
    diff_bytes = models.BigIntegerField(null=True, blank=True)
    lines_added = models.IntegerField(null=True, blank=True)
    lines_removed = models.IntegerField(null=True, blank=True)
    fail_to_pass_passed = models.IntegerField(null=True, blank=True)
    fail_to_pass_failed = models.IntegerField(null=True, blank=True)
    pass_to_pass_passed = models.IntegerField(null=True, blank=True)
    pass_to_pass_failed = models.IntegerField(null=True, blank=True)
    log_digest = models.CharField(max_length=64, blank=True)
    session = models.ForeignKey(
        "traces.Session", null=True, blank=True, on_delete=models.SET_NULL, related_name="runs", help_text="Its trace."
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="run_newest"),
            models.Index(fields=["team", "-created_at"], name="run_team_newest"),
            models.Index(fields=["status", "-created_at"], name="run_status_newest"),
            models.Index(fields=["outcome", "-created_at"], name="run_outcome_newest"),
            models.Index(fields=["task", "-created_at"], name="run_task_newest"),
            models.Index(fields=["agent", "-created_at"], name="run_agent_newest"),
            models.Index(fields=["sandbox", "-created_at"], name="run_sandbox_newest"),
            models.Index(fields=["fault", "-created_at"], name="run_fault_newest", condition=~models.Q(fault="")),
            models.Index(fields=["-created_at"], name="run_public_newest", condition=models.Q(public=True)),
            models.Index(fields=["seconds", "id"], name="run_time"),
            models.Index(fields=["cost_usd", "id"], name="run_cost"),
            models.Index(fields=["task_version", "agent", "purpose", "attempt"], name="run_cell"),
            models.Index(
                fields=["heartbeat_at"],
                name="run_alive",
                condition=models.Q(status__in=["preparing", "running", "collecting", "grading"]),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(outcome="") | models.Q(status="finished"), name="only_a_finished_run_has_an_outcome"
            ),
            models.CheckConstraint(
                condition=~models.Q(status="finished") | ~models.Q(outcome=""), name="a_finished_run_has_an_outcome"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task.slug} by {self.agent}, attempt {self.attempt}"

    def get_absolute_url(self) -> str:
        return f"/runs/{self.id}/"

    def transition(self, to: str, **fields: Any) -> None:
        """Move to status `to` and set `fields`, if the row still is where this instance believes it to be.

        One conditional UPDATE on id, status and tries. Raises ValueError for a move that is not allowed and
        LostClaim when the row has moved on in other hands; then nothing was written.
        """
        if to not in MOVES.get(self.status, ()):
            raise ValueError(f"A run cannot go from {self.status} to {to}.")
        fields = {**self._times_of(to), **fields}
        held = Run.objects.filter(pk=self.pk, status=self.status, tries=self.tries)
        if not held.update(status=to, **fields):
            raise LostClaim(f"Run {self.pk} is no longer {self.status} in try {self.tries}.")
        self.status = Status(to)
        for name, value in fields.items():
            setattr(self, name, value)

    def _times_of(self, to: str) -> dict[str, Any]:
        now = timezone.now()
        if to == Status.QUEUED:
            return {"queued_at": now, **dict.fromkeys(PHASE_COLUMNS[1:], None)}
        if to in ENDED:
            return {"finished_at": now}
        return {f"{to}_at": now}

    def phases(self) -> list[tuple[str, datetime, datetime | None]]:
        """Return (status, start, end) of each phase so far, in order; the end of the current one is None."""
        starts = [(column.removesuffix("_at"), getattr(self, column)) for column in PHASE_COLUMNS]
        begun = [(name, start) for name, start in starts if start is not None]
        ends = [start for _, start in begun[1:]] + [self.finished_at]
        return [(name, start, end) for (name, start), end in zip(begun, ends, strict=True)]

    def phase_seconds(self) -> dict[str, float]:
        """Return the seconds of each phase that has ended."""
        return {name: (end - start).total_seconds() for name, start, end in self.phases() if end is not None}

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    @property
    def is_graded(self) -> bool:
        """Whether it counts in rates and means: it finished with one of the seven outcomes."""
        return self.status == Status.FINISHED

    def diff(self) -> bytes:
        """Return what the agent changed; empty when it changed nothing or the run ended before collecting."""
        return store.get(self.diff_digest) if self.diff_digest else b""


PHASE_COLUMNS = ("queued_at", "preparing_at", "running_at", "collecting_at", "grading_at")


class TestResult(models.Model):
    """How one test ended in the grading of one run."""

    __test__ = False  # its name would make pytest collect it

    class Group(models.TextChoices):
        FAIL_TO_PASS = "fail_to_pass", "To fix"
        PASS_TO_PASS = "pass_to_pass", "To keep"
        EXCLUDED = "excluded", "Quarantined, not counted"
        OTHER = "other", "Other"

    class Verdict(models.TextChoices):
        PASSED = "passed", "Passed"
        FAILED = "failed", "Failed"
        ERROR = "error", "Error"
        SKIPPED = "skipped", "Skipped"
        MISSING = "missing", "Not collected"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="test_results")
    test_id = models.TextField(help_text="JUnit's classname::name.")
    group = models.CharField(max_length=15, choices=Group.choices, default=Group.OTHER)
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    seconds = models.FloatField(null=True, blank=True)
    message = models.CharField(max_length=500, blank=True)
    output_digest = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "test_id"], name="one_result_per_test")]

    def __str__(self) -> str:
        return f"{self.test_id} {self.verdict}"


class Artifact(models.Model):
    """A file that a run left: logs, reports, transcripts. Its bytes are in the content store."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="artifacts")
    name = models.CharField(max_length=300)
    media_type = models.CharField(max_length=100, default="text/plain")
    digest = models.CharField(max_length=64)
    bytes = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="one_artifact_per_name")]

    def __str__(self) -> str:
        return self.name


class LogChunk(models.Model):
    """Some lines of a run's or image's live log; at the end they become one document in the content store."""

    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.CASCADE, related_name="log_chunks")
    image = models.ForeignKey(Image, null=True, blank=True, on_delete=models.CASCADE, related_name="log_chunks")
    # JSON lines {"t": seconds since epoch, "s": source, "x": text}; at most 32 KB together
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["run", "id"], name="log_run"),
            models.Index(fields=["image", "id"], name="log_image"),
        ]

    def __str__(self) -> str:
        return f"{len(self.text)} characters of log"


# Registered with the app, and thereby known to migrations.
from runs.judging.models import (  # noqa: E402
    Calibration,
    JudgeConfig,
    Judgement,
    Label,
    RunScore,
    Suggestion,
    Verdict,
)

__all__ = [
    "ENDED",
    "MOVES",
    "PHASE_COLUMNS",
    "REFERENCE_KINDS",
    "WORKING",
    "AgentConfig",
    "AgentKind",
    "Artifact",
    "Calibration",
    "Image",
    "JudgeConfig",
    "Judgement",
    "Label",
    "LogChunk",
    "Outcome",
    "Run",
    "RunQuerySet",
    "RunScore",
    "Status",
    "Suggestion",
    "TestResult",
    "Validation",
    "Verdict",
]
