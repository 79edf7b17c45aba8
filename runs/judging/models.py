"""Rows of the judge: its configurations, one judgement per run, rubric and judge, verdicts, people's labels, scores."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from oneshot.ids import uuid7
from tasks.models import Criterion, Rubric

# The hidden question of every judgement: no criterion of the rubric, and no part of any score.
HIDDEN_KEY = "_addresses_the_evaluator"

# What a configuration may set, and what holds when it does not. Sent to the model as they are: None means not at all.
DEFAULTS: dict[str, Any] = {
    "temperature": 0.0,
    "seed": None,
    "reasoning_effort": None,
    "max_tokens": 2000,
    "samples": 3,
    "timeout_s": 120.0,
    "retries": 4,
    "parallel": 4,
    "evidence_chars": 120_000,
}


class JudgeConfig(models.Model):
    """A judge: model, endpoint, parameters and the wording of the prompts. A change of any is another row.

    It names the variable that holds its key; it never holds a key.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    model = models.CharField(max_length=200)
    base_url = models.CharField(max_length=500, default="https://api.openai.com/v1")
    key_env = models.CharField(
        max_length=100, blank=True, help_text="Variable of the worker that holds the key; empty when none is needed."
    )
    parameters = models.JSONField(default=dict, blank=True)
    prompt_version = models.CharField(max_length=40, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False, help_text="Judges every graded run whose task has a rubric.")
    # {"input", "cached_input", "output"}: USD per million tokens, where the table of prices lacks the model
    prices = models.JSONField(default=dict, blank=True)
    run_budget_usd = models.DecimalField(
        max_digits=10, decimal_places=4, null=True, blank=True, help_text="Most that one judgement may cost."
    )
    daily_budget_usd = models.DecimalField(
        max_digits=10, decimal_places=4, null=True, blank=True, help_text="Most that it may cost in 24 hours."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(enabled=True), name="one_enabled_judge_per_name"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"

    def save(self, *args, **kwargs) -> None:
        # Imported when needed: most commands never make a judge.
        from runs.judging import prompts

        self.prompt_version = self.prompt_version or prompts.version()
        self.digest = self.digest_of(
            model=self.model,
            base_url=self.base_url,
            parameters=self.parameters,
            prompt_version=self.prompt_version,
        )
        super().save(*args, **kwargs)

    @staticmethod
    def digest_of(*, model: str, base_url: str, parameters: dict[str, Any], prompt_version: str) -> str:
        """Return the identity of a judge: the sha256 of everything that can change what it answers."""
        document = {
            "model": model,
            "base_url": base_url.rstrip("/"),
            "parameters": DEFAULTS | parameters,
            "prompt_version": prompt_version,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def parameter(self, name: str) -> Any:
        """Return a parameter as set, else its default."""
        return self.parameters.get(name, DEFAULTS[name])


class Judgement(models.Model):
    """One judge's answers about one run under one rubric: at most one row, taken up again where it stopped."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Judging"
        DONE = "done", "Judged"
        PARTIAL = "partial", "Judged in part"
        UNKNOWN = "unknown", "Unknown"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="judgements")
    rubric = models.ForeignKey(Rubric, on_delete=models.CASCADE, related_name="judgements")
    judge = models.ForeignKey(JudgeConfig, on_delete=models.PROTECT, related_name="judgements")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    error = models.TextField(blank=True, help_text="Why it is not whole: an outage, a budget, a fault of the set-up.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    # The claim, as runs have it: `tries` fences off a worker that lost its own.
    tries = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    score = models.FloatField(null=True, blank=True, help_text="0 to 1; NULL is unknown, never 0.")
    ungated_score = models.FloatField(null=True, blank=True, help_text="What it is without the rule of essentials.")
    coverage = models.FloatField(null=True, blank=True, help_text="Share of the weight that could be assessed.")
    score_note = models.CharField(max_length=300, blank=True, help_text="Why there is no score, or why it is 0.")
    addressed = models.BooleanField(
        null=True, blank=True, help_text="Whether the run holds text meant for the evaluator; NULL is unknown."
    )
    # [{"ref", "what"}]: found by our own patterns, whatever the judge says
    suspicions = models.JSONField(default=list, blank=True)
    # [{"section", "what", "lines", "reason"}]: what the judge did not get to see
    omitted = models.JSONField(default=list, blank=True)
    omitted_count = models.PositiveIntegerField(default=0)
    requests = models.PositiveIntegerField(default=0)
    tokens_input = models.BigIntegerField(null=True, blank=True)
    tokens_cached = models.BigIntegerField(null=True, blank=True)
    tokens_output = models.BigIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    estimate_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["status", "queued_at"], name="judgement_status"),
            models.Index(fields=["judge", "-finished_at"], name="judgement_judge"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["run", "rubric", "judge"], name="one_judgement_per_run_rubric_judge"),
            models.CheckConstraint(
                condition=models.Q(score__isnull=True) | models.Q(score__gte=0, score__lte=1), name="score_from_0_to_1"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.judge.name} on {self.run_id} ({self.status})"

    @property
    def is_over(self) -> bool:
        return self.status not in (self.Status.QUEUED, self.Status.RUNNING)


class Answer(models.TextChoices):
    MET = "met", "Met"
    NOT_MET = "not_met", "Not met"
    CANNOT_ASSESS = "cannot_assess", "Cannot assess"


class Verdict(models.Model):
    """What a judge answered to one criterion in one sample. Never changed once written."""

    class Evidence(models.TextChoices):
        VALID = "valid", "Valid"
        REPAIRED = "repaired", "Repaired"
        INVALID = "invalid", "Invalid"
        NONE = "none", "None given"

    class Problem(models.TextChoices):
        REFUSED = "refused", "Refused to answer"
        MALFORMED = "malformed", "Answer could not be read"

    judgement = models.ForeignKey(Judgement, on_delete=models.CASCADE, related_name="verdicts")
    criterion = models.ForeignKey(
        Criterion, null=True, blank=True, on_delete=models.CASCADE, related_name="verdicts", help_text="NULL: hidden."
    )
    key = models.CharField(max_length=100, help_text="The criterion's key, or that of the hidden question.")
    sample = models.PositiveSmallIntegerField(help_text="From 0.")
    answer = models.CharField(max_length=15, choices=Answer.choices, help_text="As counted, after the check.")
    stated = models.CharField(max_length=15, blank=True, help_text="As the model said it.")
    problem = models.CharField(max_length=10, choices=Problem.choices, blank=True)
    evidence_checked = models.CharField(max_length=10, choices=Evidence.choices, default=Evidence.NONE)
    evidence_reason = models.CharField(max_length=500, blank=True)
    # [{"ref", "quote", "valid", "reason", "path", "side", "line", "text"}]
    evidence = models.JSONField(default=list, blank=True)
    rationale = models.TextField(blank=True)
    prompt_digest = models.CharField(max_length=64)
    cache_key = models.CharField(max_length=64, db_index=True)
    cached = models.BooleanField(default=False, help_text="Taken from an equal question to the same judge.")
    reply_digest = models.CharField(max_length=64, blank=True, help_text="The raw answer in the content store.")
    tokens_input = models.BigIntegerField(null=True, blank=True)
    tokens_cached = models.BigIntegerField(null=True, blank=True)
    tokens_output = models.BigIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    requests = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["judgement", "key", "sample"]
        constraints = [
            models.UniqueConstraint(fields=["judgement", "key", "sample"], name="one_verdict_per_criterion_and_sample")
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.sample}: {self.answer}"


class RunScore(models.Model):
    """The rubric score of a run as lists and boards show it: of its newest judged rubric, over the judges that count.

    Recomputed from judgements whenever one ends; `score` NULL is unknown, and `note` says why.
    """

    run = models.OneToOneField("runs.Run", on_delete=models.CASCADE, related_name="rubric_score")
    rubric = models.ForeignKey(Rubric, on_delete=models.CASCADE, related_name="+")
    score = models.FloatField(null=True, blank=True, help_text="Mean over judges; 0 to 1.")
    coverage = models.FloatField(null=True, blank=True, help_text="The least of the judges.")
    spread = models.FloatField(null=True, blank=True, help_text="Highest less lowest score, with several judges.")
    # [{"id", "name", "score"}]
    judges = models.JSONField(default=list)
    calibrated = models.BooleanField(
        default=False, help_text="Whether every judge was calibrated when it was computed."
    )
    addressed = models.BooleanField(null=True, blank=True)
    note = models.CharField(max_length=300, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return "unknown" if self.score is None else f"{self.score:.2f}"


class Label(models.Model):
    """A person's own answer to one criterion about one run, given without seeing what a judge said."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="labels")
    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="labels")
    criterion = models.ForeignKey(Criterion, on_delete=models.CASCADE, related_name="labels")
    answer = models.CharField(max_length=15, choices=Answer.choices)
    note = models.TextField(blank=True)
    blind = models.BooleanField(default=True, help_text="False when the judge's verdict had been seen; never counted.")
    seconds = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["user", "run", "criterion"], name="one_label_per_person_and_question")
        ]

    def __str__(self) -> str:
        return f"{self.user} on {self.criterion}: {self.answer}"


class Suggestion(models.Model):
    """Criteria that a judge's model suggested for a task's rubric. A person takes them one by one; no code does."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Asking"
        DONE = "done", "Suggested"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="suggestions")
    judge = models.ForeignKey(JudgeConfig, on_delete=models.PROTECT, related_name="suggestions")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    error = models.TextField(blank=True)
    # [{"text", "kind", "weight", "sees", "reason"}]
    items = models.JSONField(default=list, blank=True)
    tries = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=100, blank=True)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    tokens_input = models.BigIntegerField(null=True, blank=True)
    tokens_cached = models.BigIntegerField(null=True, blank=True)
    tokens_output = models.BigIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["task"],
                condition=models.Q(status__in=("queued", "running")),
                name="one_open_suggestion_per_task",
            )
        ]

    def __str__(self) -> str:
        return f"{len(self.items)} for {self.task.slug} by {self.judge.name}"

    @property
    def is_over(self) -> bool:
        return self.status not in (self.Status.QUEUED, self.Status.RUNNING)


class Calibration(models.Model):
    """How well a judge agreed with people, at one moment and over one scope ("all" or a task's slug)."""

    judge = models.ForeignKey(JudgeConfig, on_delete=models.CASCADE, related_name="calibrations")
    scope = models.CharField(max_length=120, default="all")
    n = models.PositiveIntegerField(help_text="Pairs of label and verdict where both say met or not met.")
    left_out = models.PositiveIntegerField(default=0, help_text="Pairs where one of them could not assess.")
    agreement = models.FloatField(null=True, blank=True)
    kappa = models.FloatField(null=True, blank=True)
    kappa_low = models.FloatField(null=True, blank=True)
    kappa_high = models.FloatField(null=True, blank=True)
    # {"met": {"precision", "recall", "f1", "support"}, "not_met": …}
    per_class = models.JSONField(default=dict)
    # {person's answer: {judge's answer: count}}
    confusion = models.JSONField(default=dict)
    test_retest = models.FloatField(null=True, blank=True, help_text="Share of pairs of samples with equal answers.")
    human_kappa = models.FloatField(null=True, blank=True, help_text="Agreement between people on the same questions.")
    computed_at = models.DateTimeField(default=timezone.now)
    computed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        ordering = ["-computed_at"]
        indexes = [models.Index(fields=["judge", "scope", "-computed_at"], name="calibration_newest")]

    def __str__(self) -> str:
        return f"κ {self.kappa} over {self.n}"

    @property
    def is_enough(self) -> bool:
        """Whether it makes its judge count as calibrated: enough pairs, and κ's lower bound above the set one."""
        return (
            self.n >= settings.JUDGE_LEAST_LABELS
            and self.kappa_low is not None
            and self.kappa_low >= settings.JUDGE_LEAST_KAPPA
        )


def usd(value: float | Decimal | None) -> Decimal | None:
    """Return money as the columns hold it; None stays unknown."""
    return None if value is None else Decimal(str(value)).quantize(Decimal("0.000001"))
