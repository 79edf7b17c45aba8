"""What became of sessions: the tasks made from them and the runs they belong to, told by the apps that own these.

Those apps stand to the right of this one, so they register here what they can answer (see their AppConfig.ready).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from django.db.models import Q


@dataclass(frozen=True, slots=True)
class Link:
    """One thing that belongs to a session: a "task" with its state, or a "run" with its outcome or status."""

    kind: str
    title: str
    url: str
    state: str


class Source(Protocol):
    """What an app can say of sessions, each with one query."""

    def links(self, sessions: Collection[UUID], user: Any) -> dict[UUID, list[Link]]:
        """Return the links that `user` may see, by session; at most a few for each."""

    def linked(self) -> Q:
        """Return the condition on sessions that something of this app belongs to them."""


_sources: dict[str, Source] = {}


def register(name: str, source: Source) -> None:
    """Let `source` answer from now on; the same name again replaces it."""
    _sources[name] = source


def of(sessions: Collection[UUID], user: Any) -> dict[UUID, list[Link]]:
    """Return what belongs to each session and `user` may see; sessions without anything are left out."""
    found: dict[UUID, list[Link]] = {}
    if sessions:
        for source in _sources.values():
            for session, links in source.links(sessions, user).items():
                found.setdefault(session, []).extend(links)
    return found


def linked() -> Q:
    """Return the condition on sessions that a task or a run belongs to them."""
    condition = Q(pk__in=[])
    for source in _sources.values():
        condition |= source.linked()
    return condition
