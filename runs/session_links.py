"""Tells the pages of sessions which runs they are the traces of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from runs.models import Run
from traces.links import Link

MOST = 200


class RunLinks:
    """The runs whose traces sessions are."""

    def links(self, sessions: Collection[UUID], user: Any) -> dict[UUID, list[Link]]:
        found: dict[UUID, list[Link]] = {}
        runs = Run.objects.visible_to(user).filter(session__in=sessions).order_by("created_at", "pk")
        for session, pk, slug, outcome, status in runs.values_list("session", "pk", "task__slug", "outcome", "status")[
            :MOST
        ]:
            link = Link(kind="run", title=slug, url=reverse("run-detail", args=[pk]), state=outcome or status)
            found.setdefault(session, []).append(link)
        return found

    def linked(self) -> Q:
        return Q(pk__in=Run.objects.filter(session__isnull=False).values("session"))
