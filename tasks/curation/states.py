"""The states of a task, who may move it, and what each move needs."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from oneshot.accounts.models import Role, Team, User
from tasks.models import Review, Task, TaskVersion

State = Task.State


class NotAllowed(Exception):
    """A task cannot be moved like this; the message says why and what to do."""


@dataclass(frozen=True)
class Move:
    """A way from one state to another: the least role, the button's words, and whether a reason must be given."""

    to: str
    words: str
    least: str = Role.CURATOR
    reason: bool = False


MOVES: dict[str, tuple[Move, ...]] = {
    State.CAPTURED: (Move(State.DRAFT, "Take up"), Move(State.RETIRED, "Discard", reason=True)),
    State.DRAFT: (
        Move(State.REVIEW, "Send for review"),
        Move(State.PUBLISHED, "Publish", Role.MAINTAINER),
        Move(State.RETIRED, "Retire", Role.MAINTAINER, reason=True),
    ),
    State.REVIEW: (
        Move(State.DRAFT, "Send back", reason=True),
        Move(State.PUBLISHED, "Publish", Role.MAINTAINER),
    ),
    State.PUBLISHED: (
        Move(State.PUBLISHED, "Publish changes", Role.MAINTAINER),
        Move(State.RETIRED, "Retire", Role.MAINTAINER, reason=True),
    ),
    State.RETIRED: (Move(State.DRAFT, "Take up again", Role.MAINTAINER, reason=True),),
}


def moves_for(task: Task, user) -> list[Move]:
    """Return the moves that `user` may make with the task as it is."""
    return [move for move in MOVES[task.state] if Team.objects.of(user, Role(move.least)).filter(pk=task.team_id)]


def move(task: Task, to: str, *, by: User, reason: str = "", version: TaskVersion | None = None) -> Review:
    """Move a task and keep the decision. Raises NotAllowed.

    To publish goes through tasks/curation/publishing.py, which looks at what is published.
    """
    allowed = next((known for known in MOVES[task.state] if known.to == to), None)
    if allowed is None:
        raise NotAllowed(f"A task that is {State(task.state).label.lower()} cannot become {State(to).label.lower()}.")
    if not Team.objects.of(by, Role(allowed.least)).filter(pk=task.team_id).exists():
        raise NotAllowed(f"To do this takes a {Role(allowed.least).label.lower()} of {task.team.name}.")
    if allowed.reason and not reason.strip():
        raise NotAllowed("Say why: the reason stays with the task.")
    with transaction.atomic():
        if not Task.objects.filter(pk=task.pk, state=task.state).update(state=to):
            raise NotAllowed("Someone else has just moved this task. Load the page again.")
        review = Review.objects.create(
            task=task, version=version, from_state=task.state, to_state=to, reason=reason.strip(), by=by
        )
    task.state = to
    return review
