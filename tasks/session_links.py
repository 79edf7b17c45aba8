"""Tells the pages of sessions which tasks were made from them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from tasks.models import Task
from traces.links import Link

MOST = 200


class TaskLinks:
    """The tasks that were captured from sessions."""

    def links(self, sessions: Collection[UUID], user: Any) -> dict[UUID, list[Link]]:
        found: dict[UUID, list[Link]] = {}
        tasks = Task.objects.visible_to(user).filter(session__in=sessions).order_by("created_at", "pk")
        for session, slug, state in tasks.values_list("session", "slug", "state")[:MOST]:
            link = Link(kind="task", title=slug, url=reverse("task-detail", args=[slug]), state=state)
            found.setdefault(session, []).append(link)
        return found

    def linked(self) -> Q:
        return Q(pk__in=Task.objects.filter(session__isnull=False).values("session"))
