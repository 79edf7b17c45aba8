"""What runs show: boards, and the roll-up of attempts that every board reads."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from oneshot.accounts.models import Role, Team, Visibility
from oneshot.ids import uuid7
from runs.models import AgentConfig
from tasks.models import Task, TaskVersion


class BoardQuerySet(models.QuerySet["Board"]):
    def visible_to(self, user) -> BoardQuerySet:
        """Return what `user` may read: public boards, and those of the user's teams."""
        public = models.Q(visibility=Visibility.PUBLIC)
        if not user.is_authenticated:
            return self.filter(public)
        return self if user.is_superuser else self.filter(public | models.Q(team__in=Team.objects.of(user)))

    def editable_by(self, user) -> BoardQuerySet:
        return self.filter(team__in=Team.objects.of(user, Role.MAINTAINER))


class Board(models.Model):
    """A named set of tasks on which agents are compared."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="boards")
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PRIVATE)
    tasks = models.ManyToManyField(Task, related_name="boards", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = BoardQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return f"/boards/{self.slug}/"


class Cell(models.Model):
    """All attempts of one agent at one task version, rolled up anew after each of them ends.

    `graded` counts the attempts that count; `ungraded` those that infrastructure failed. Medians and means are
    over graded attempts; None when no attempt has a known value.
    """

    task_version = models.ForeignKey(TaskVersion, on_delete=models.CASCADE, related_name="cells")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="cells")
    agent = models.ForeignKey(AgentConfig, on_delete=models.CASCADE, related_name="cells")
    graded = models.PositiveIntegerField(default=0)
    resolved = models.PositiveIntegerField(default=0)
    ungraded = models.PositiveIntegerField(default=0)
    not_isolated = models.PositiveIntegerField(default=0)
    seconds_median = models.FloatField(null=True, blank=True)
    # Input and output tokens together; the mean is over the `tokens_known` attempts whose usage is known.
    tokens_mean = models.FloatField(null=True, blank=True)
    tokens_known = models.PositiveIntegerField(default=0)
    # Known costs only; `cost_known` counts them. A mean is shown only when all graded attempts have a cost.
    cost_sum_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    cost_known = models.PositiveIntegerField(default=0)
    # What judges said of graded attempts: `scored` have a rubric score, of which `calibrated` were given by judges that
    # all are. The sum is over the known scores; an attempt without one counts in neither.
    judged = models.PositiveIntegerField(default=0)
    scored = models.PositiveIntegerField(default=0)
    calibrated = models.PositiveIntegerField(default=0)
    score_sum = models.FloatField(null=True, blank=True)
    refreshed_at = models.DateTimeField(default=timezone.now, help_text="When the counting of its runs began.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task_version", "agent"], name="one_cell_per_version_and_agent")]
        indexes = [models.Index(fields=["agent", "task_version"], name="cell_agent")]

    def __str__(self) -> str:
        return f"{self.resolved} of {self.graded} by {self.agent}"


class Tally(models.Model):
    """All cells of one task version in one value, so that a board of 500 tasks reads 500 rows and not 20,000.

    Written together with its cells by benchmarks/rollup.py, which also says how `packed` is laid out.
    """

    task_version = models.OneToOneField(TaskVersion, on_delete=models.CASCADE, primary_key=True, related_name="tally")
    packed = models.BinaryField(default=bytes)
    attempts = models.PositiveIntegerField(default=0, help_text="Graded and ungraded attempts of all agents.")
    refreshed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.attempts} attempts at {self.task_version_id}"
