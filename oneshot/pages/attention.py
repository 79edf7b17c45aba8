"""Next steps: what needs a person, worked out from the rows and said with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from oneshot.accounts.models import Team
from runs.models import Run, Status
from tasks.models import Task, TaskVersion

# An ungraded run that nobody has cared about for so long needs nobody any more.
RECENT = timedelta(days=14)
# One click starts at most so many runs again.
MOST_AGAIN = 100


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do. `command` is for a terminal, `link` for the page; either may be empty."""

    tone: str
    icon: str
    title: str
    why: str
    command: str = ""
    link: str = ""
    link_words: str = ""
    again: int = 0


def ungraded(user: Any) -> QuerySet[Run]:
    """Return the runs that infrastructure failed lately and that no later attempt has taken the place of."""
    later = Run.objects.filter(
        task_version=OuterRef("task_version"),
        agent=OuterRef("agent"),
        purpose=OuterRef("purpose"),
        attempt__gt=OuterRef("attempt"),
    )
    failed = Run.objects.editable_by(user).trials().filter(status=Status.INFRA_FAILED)
    return failed.filter(~Exists(later), created_at__gt=timezone.now() - RECENT).order_by("-created_at")


def steps(user: Any) -> list[Step]:
    """Return what `user` could do next, the most pressing first."""
    return list(_steps(user))


def _steps(user: Any) -> Iterator[Step]:
    # A retired task needs nothing.
    tasks = Task.objects.editable_by(user).exclude(state=Task.State.RETIRED)
    validation = TaskVersion.Validation
    counts = tasks.aggregate(
        all=Count("pk"),
        unchecked=Count("pk", filter=Q(current_version__validation=validation.NONE)),
        invalid=Count("pk", filter=Q(current_version__validation=validation.INVALID)),
        valid=Count("pk", filter=Q(current_version__validation=validation.VALID)),
    )
    if not Team.objects.of(user).exists():
        yield Step(
            tone="",
            icon="team",
            title="Join a team or make one",
            why="A team owns tasks, runs and boards. An owner can add you by your user name.",
            link=reverse("team-list"),
            link_words="Teams",
        )
        return
    if not counts["all"]:
        yield Step(
            tone="",
            icon="tasks",
            title="Bring in your tasks",
            why="A task is a repository at one commit, an instruction, and tests that the agent can't see.",
            command="oneshot import_tasks ./my-tasks",
        )
        return
    yield from _failed_runs(user)
    listing = reverse("task-list")
    if n := counts["invalid"]:
        yield Step(
            tone="warn",
            icon="infra",
            title=f"{_tasks(n)} {'is' if n == 1 else 'are'} not valid",
            why="No test fails before, or the reference does not pass. Their runs say nothing about an agent.",
            link=f"{listing}?validation={validation.INVALID}",
            link_words="See why",
        )
    if n := counts["unchecked"]:
        first = (
            tasks.filter(current_version__validation=validation.NONE).order_by("slug").values_list("slug", flat=True)
        )
        yield Step(
            tone="",
            icon="flag",
            title=f"{_tasks(n)} {'waits' if n == 1 else 'wait'} for validation",
            why="It runs the tests without and with the reference, and fixes which must pass.",
            command=f"oneshot validate_task {first[0]}",
            link=f"{listing}?validation={validation.NONE}",
            link_words="See which",
        )
    if counts["valid"] and not Run.objects.editable_by(user).trials().exists():
        slug = (
            tasks.filter(current_version__validation=validation.VALID).order_by("slug").values_list("slug", flat=True)
        )
        yield Step(
            tone="",
            icon="runs",
            title="Let an agent try",
            why="Each attempt gets a sandbox of its own, and is graded in a second one.",
            command=f"oneshot run_task {slug[0]} --agent codex",
            link=reverse("task-detail", args=[slug[0]]),
            link_words="Open the task",
        )


def _failed_runs(user: Any) -> Iterator[Step]:
    failed = list(ungraded(user)[: MOST_AGAIN + 1].values_list("error", flat=True))
    if not failed:
        return
    n, last = min(len(failed), MOST_AGAIN), failed[0].strip().splitlines()
    more = "More than " if len(failed) > MOST_AGAIN else ""
    yield Step(
        tone="warn",
        icon="infra",
        title=f"{more}{n} {'run' if n == 1 else 'runs'} could not be graded",
        why=(f"The last one: {last[0][:200]} " if last else "") + "They are left out of every score until they run.",
        link=f"{reverse('run-list')}?status={Status.INFRA_FAILED}",
        link_words="See why",
        again=n,
    )


def _tasks(n: int) -> str:
    return "1 task" if n == 1 else f"{n:,} tasks"
