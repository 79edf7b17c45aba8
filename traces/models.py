"""What was said: sessions of people and of runs, their requests to models, and the steps they are made of."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from oneshot.accounts.models import Role, Team
from oneshot.ids import uuid7
from traces import bodies


class SessionQuerySet(models.QuerySet["Session"]):
    def visible_to(self, user) -> SessionQuerySet:
        """Return what `user` may read: sessions of the user's teams, and those of public runs."""
        public = models.Q(public=True)
        if not user.is_authenticated:
            return self.filter(public)
        return self if user.is_superuser else self.filter(public | models.Q(team__in=Team.objects.of(user)))

    def editable_by(self, user) -> SessionQuerySet:
        """Return what `user` may remove or make tasks from."""
        return self.filter(team__in=Team.objects.of(user, Role.CURATOR))


class Session(models.Model):
    """One conversation with a coding agent, from whatever sources it was seen. Sums are NULL while unknown."""

    class Origin(models.TextChoices):
        PERSON = "person", "A person's own"
        RUN = "run", "A run"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="sessions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.PERSON)
    public = models.BooleanField(
        default=False, help_text="Follows the run it belongs to; a person's own is never public."
    )
    agent = models.CharField(max_length=40, help_text="codex, claude_code, or how the client calls itself.")
    agent_version = models.CharField(max_length=60, blank=True)
    thread_id = models.CharField(max_length=200, blank=True, help_text="The agent's own id of the session.")
    parent_thread_id = models.CharField(max_length=200, blank=True, help_text="Of the session whose sub-agent it is.")
    title = models.CharField(max_length=200, blank=True, help_text="The first thing the user said, on one line.")
    cwd = models.CharField(max_length=1000, blank=True)
    repository = models.CharField(
        max_length=500, blank=True, help_text="Remote URL without secrets, or the folder's name."
    )
    branch = models.CharField(max_length=300, blank=True)
    commit = models.CharField(max_length=64, blank=True)
    model_names = models.JSONField(default=list, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # "" while it goes on or nobody knows; "completed", "aborted", "failed"
    ending = models.CharField(max_length=20, blank=True)

    turn_count = models.PositiveIntegerField(default=0)
    step_count = models.PositiveIntegerField(default=0)
    request_count = models.PositiveIntegerField(default=0)
    retried_count = models.PositiveIntegerField(default=0, help_text="Requests that were sent again after a failure.")
    tokens_input = models.BigIntegerField(null=True, blank=True, help_text="Cached ones included.")
    tokens_cached = models.BigIntegerField(null=True, blank=True, help_text="Read from the service's cache.")
    tokens_cache_write = models.BigIntegerField(null=True, blank=True)
    tokens_output = models.BigIntegerField(null=True, blank=True, help_text="Reasoning included.")
    tokens_reasoning = models.BigIntegerField(null=True, blank=True)
    # Answered requests of which usage is unknown; then the token sums are lower bounds.
    unknown_usage_count = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    # Requests with unknown cost; then the cost is a lower bound.
    unknown_cost_count = models.PositiveIntegerField(default=0)
    model_seconds = models.FloatField(null=True, blank=True, help_text="Time spent waiting for the model.")
    # [{"from": ISO time or null, "to": ISO time or null, "reason": sentence}]
    gaps = models.JSONField(default=list, blank=True)
    # [{"kind": reader's name, "label": what was read, "imported_at": ISO time}]
    sources = models.JSONField(default=list, blank=True)
    # Reader whose steps are shown: a transcript knows the real commands, the wire only what the model asked for.
    steps_from = models.CharField(max_length=20, blank=True)
    # Everything said, lower case and bounded, for the search over sessions.
    search_text = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["team", "-started_at", "-id"], name="session_team_newest"),
            models.Index(fields=["-started_at", "-id"], name="session_newest"),
            models.Index(fields=["thread_id"], name="session_thread"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "agent", "thread_id"], condition=~models.Q(thread_id=""), name="one_session_per_thread"
            )
        ]

    def __str__(self) -> str:
        return self.title or self.thread_id or str(self.id)

    def get_absolute_url(self) -> str:
        return f"/sessions/{self.id}/"

    def shown_steps(self) -> models.QuerySet[Step]:
        """Return the steps of the best source, in order."""
        return self.steps.filter(source=self.steps_from).order_by("position")


class Exchange(models.Model):
    """One request to a model and what came back. The same request seen by two sources is one row."""

    id = models.BigAutoField(primary_key=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="exchanges")
    # What makes it the same: the answer's own id where it has one, else the id its source gave it.
    key = models.CharField(max_length=200)
    source = models.CharField(max_length=20)
    started_at = models.DateTimeField(null=True, blank=True)
    first_byte_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    method = models.CharField(max_length=10, blank=True)
    url = models.CharField(max_length=1000, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="NULL when there was no HTTP answer.")
    model = models.CharField(max_length=120, blank=True)
    response_id = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=200, blank=True)
    wire_id = models.CharField(
        max_length=100,
        blank=True,
        help_text="Its id in the database that it was recorded in, when it was seen on the wire.",
    )
    request_digest = models.CharField(
        max_length=64, blank=True, help_text="Of the messages it sent, to find the one that was sent again."
    )
    stop_reason = models.CharField(max_length=60, blank=True)
    error = models.CharField(max_length=1000, blank=True)
    tokens_input = models.BigIntegerField(null=True, blank=True)
    tokens_cached = models.BigIntegerField(null=True, blank=True)
    tokens_cache_write = models.BigIntegerField(null=True, blank=True)
    tokens_output = models.BigIntegerField(null=True, blank=True)
    tokens_reasoning = models.BigIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    request_bytes = models.BigIntegerField(null=True, blank=True)
    response_bytes = models.BigIntegerField(null=True, blank=True)
    # Where request and answer lie (traces/bodies.py); "" when the source did not have them.
    # A request is {"head": document without its messages, "messages": [reference]}, so that history is stored once.
    request_ref = models.CharField(max_length=100, blank=True)
    response_ref = models.CharField(max_length=100, blank=True)
    truncated = models.BooleanField(default=False, help_text="The source kept only a part of the answer.")
    retried = models.BooleanField(default=False, help_text="It failed and the client sent it again.")

    class Meta:
        ordering = ["session", "started_at", "id"]
        constraints = [models.UniqueConstraint(fields=["session", "key"], name="one_exchange_per_key")]

    def __str__(self) -> str:
        return f"{self.method} {self.url} {self.status or 'no answer'}"


class Step(models.Model):
    """One thing said or done, in order. A tool call carries its result. Long texts lie in the content store."""

    class Kind(models.TextChoices):
        USER = "user", "User"
        ASSISTANT = "assistant", "Assistant"
        REASONING = "reasoning", "Reasoning"
        TOOL = "tool", "Tool call"
        PATCH = "patch", "Patch"
        CONTEXT = "context", "Context"  # system prompt, environment, files that the client adds by itself
        NOTICE = "notice", "Notice"  # compaction, abort, error

    id = models.BigAutoField(primary_key=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="steps")
    source = models.CharField(max_length=20)
    position = models.PositiveIntegerField(help_text="From 1, within session and source.")
    key = models.CharField(max_length=200, help_text="The source's own id of it, so that it is imported once.")
    turn = models.PositiveIntegerField(default=0, help_text="From 1; 0 before the user first spoke.")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=200, blank=True, help_text="Of the tool, such as shell or mcp__x__y.")
    call_id = models.CharField(max_length=200, blank=True)
    # "" for the main conversation, else how its source calls the sub-agent that did it.
    agent_path = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    preview = models.CharField(max_length=500, blank=True, help_text="What was said, or the command, or the paths.")
    body_ref = models.CharField(max_length=100, blank=True, help_text="The whole of it when longer than the preview.")
    body_bytes = models.BigIntegerField(default=0)
    result_preview = models.CharField(max_length=500, blank=True)
    result_ref = models.CharField(max_length=100, blank=True)
    result_bytes = models.BigIntegerField(null=True, blank=True, help_text="NULL when no result was seen.")
    exit_code = models.IntegerField(null=True, blank=True)
    failed = models.BooleanField(null=True, blank=True, help_text="NULL when the source does not say.")
    exchange = models.ForeignKey(Exchange, null=True, blank=True, on_delete=models.SET_NULL, related_name="steps")
    # Small facts: {"files": [{"path", "change", "added", "removed"}]} of a patch, {"language"} …
    meta = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["session", "source", "position"]
        indexes = [models.Index(fields=["session", "source", "turn"], name="step_turn")]
        constraints = [
            models.UniqueConstraint(fields=["session", "source", "position"], name="one_step_per_position"),
            models.UniqueConstraint(fields=["session", "source", "key"], name="one_step_per_key"),
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.kind} {self.preview[:60]}"

    def body(self) -> str:
        """Return the whole text: what was said, a call's arguments, a patch's diff."""
        return bodies.read_text(self.body_ref) if self.body_ref else self.preview

    def result(self) -> str:
        """Return the whole result of a tool call; "" when none was seen."""
        return bodies.read_text(self.result_ref) if self.result_ref else self.result_preview


class StoredMessage(models.Model):
    """Where a message of a session's requests lies, by its hash: requests repeat the history every time."""

    id = models.BigAutoField(primary_key=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="stored_messages")
    hash = models.CharField(max_length=64)
    ref = models.CharField(max_length=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "hash"], name="one_message_per_hash")]

    def __str__(self) -> str:
        return self.hash


class ImportCursor(models.Model):
    """How far a source has been read, so that an import costs what is new."""

    source = models.CharField(
        max_length=1000, unique=True, help_text="Absolute path, and what tells its content apart."
    )
    position = models.JSONField(default=dict, help_text="The reader's own notion of how far.")
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.source


class ModelPrice(models.Model):
    """What a model costs from a day on, in USD per million tokens. NULL is unknown, never free."""

    class Origin(models.TextChoices):
        SHIPPED = "shipped", "Came with OneShot"
        EDITED = "edited", "Set here"

    pattern = models.CharField(max_length=120, help_text="A model's name, or a shell pattern such as gpt-5.1-codex*.")
    valid_from = models.DateField()
    input = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    cached_input = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    cache_write = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    output = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where the figures come from.")
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.EDITED)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pattern", "valid_from"], name="one_price_per_day")]

    def __str__(self) -> str:
        return f"{self.pattern} from {self.valid_from}"
