"""Who has a task on the desk, so that two people do not curate the same one."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from oneshot.accounts.models import User
from tasks.models import Task, TaskQuerySet

CLAIM = timedelta(minutes=20)


def claim(task: Task, by: User) -> bool:
    """Put the task on `by`'s desk, or keep it there. False when someone else has it."""
    now = timezone.now()
    free = Q(claimed_by=None) | Q(claimed_by=by) | Q(claimed_at__lt=now - CLAIM)
    took = Task.objects.filter(free, pk=task.pk).update(claimed_by=by, claimed_at=now)
    task.refresh_from_db(fields=["claimed_by", "claimed_at"])
    return bool(took)


def release(task: Task, by: User) -> None:
    """Take the task off `by`'s desk; nothing happens when it is on another."""
    Task.objects.filter(pk=task.pk, claimed_by=by).update(claimed_by=None, claimed_at=None)
    task.refresh_from_db(fields=["claimed_by", "claimed_at"])


def holder(task: Task) -> User | None:
    """Return who has the task, or None when it is free."""
    expired = task.claimed_at is None or task.claimed_at < timezone.now() - CLAIM
    return None if expired else task.claimed_by


def free_at(task: Task) -> datetime | None:
    """Return when the claim ends unless something changes; None for a free task."""
    return task.claimed_at + CLAIM if task.claimed_at and holder(task) else None


def unclaimed(tasks: TaskQuerySet, by: User) -> TaskQuerySet:
    """Return those tasks that `by` may take."""
    return tasks.filter(Q(claimed_by=None) | Q(claimed_by=by) | Q(claimed_at__lt=timezone.now() - CLAIM))
