"""The queue: what waits for a curator, oldest first, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from oneshot.accounts.models import User
from tasks.curation import claims
from tasks.models import Finding, Task, TaskQuerySet

WAITING = (Task.State.CAPTURED, Task.State.DRAFT, Task.State.REVIEW)
SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Place:
    """One task of the queue as the list shows it. `holder` is someone else who has it, or None."""

    task: Task
    holder: User | None
    findings: int
    mine: bool


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What a curator sees of the queue around the task on the desk."""

    places: list[Place]
    waiting: int
    previous: str
    next: str


def waiting(user: Any, state: str = "") -> TaskQuerySet:
    """Return the tasks that wait for someone like `user`, oldest first."""
    tasks = Task.objects.editable_by(user).filter(state__in=[state] if state in WAITING else WAITING)
    return tasks.filter(current_version__isnull=False).order_by("created_at", "id")


def around(user: User, task: Task | None, state: str = "") -> Queue:
    """Return the head of the queue, and the slugs before and after `task`; those that others have are passed by."""
    found = waiting(user, state)
    open_findings = Count("findings", filter=Q(findings__status=Finding.Status.OPEN))
    rows = found.select_related("claimed_by").annotate(open_findings=open_findings)[:SHOWN]
    places = []
    for row in rows:
        holder = claims.holder(row)
        other = holder if holder is not None and holder.pk != user.pk else None
        places.append(
            Place(
                task=row,
                holder=other,
                findings=row.open_findings,
                mine=holder is not None and holder.pk == user.pk,
            )
        )
    free = claims.unclaimed(found, user)
    before = after = ""
    if task is not None:
        here = {"created_at": task.created_at, "pk": task.pk}
        later = Q(created_at__gt=here["created_at"]) | Q(created_at=here["created_at"], pk__gt=here["pk"])
        earlier = Q(created_at__lt=here["created_at"]) | Q(created_at=here["created_at"], pk__lt=here["pk"])
        after = free.filter(later).values_list("slug", flat=True).first() or ""
        before = free.filter(earlier).order_by("-created_at", "-id").values_list("slug", flat=True).first() or ""
    else:
        after = free.values_list("slug", flat=True).first() or ""
    return Queue(places=places, waiting=found.count(), previous=before, next=after)
