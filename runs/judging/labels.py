"""Writes people's labels. One person has one label per item; a change of mind takes the place of the former one."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from runs.judging.models import Label
from runs.models import Run
from tasks.models import Criterion

LONGEST_NOTE = 2_000
LONGEST_S = 4 * 3600.0


@transaction.atomic
def give(
    *, user: Any, run: Run, criterion: Criterion, answer: str, note: str = "", blind: bool = True, seconds: float | None
) -> Label:
    """Keep what a person says about a criterion of a run. `seconds` is how long they looked; None is unknown."""
    Label.objects.filter(user=user, run=run, criterion=criterion).delete()
    return Label.objects.create(
        user=user,
        run=run,
        criterion=criterion,
        answer=answer,
        note=note.strip()[:LONGEST_NOTE],
        blind=blind,
        seconds=seconds if seconds is not None and 0 <= seconds <= LONGEST_S else None,
    )


def newest(user: Any) -> Label | None:
    """Return the label that this person gave last."""
    return Label.objects.filter(user=user).order_by("-created_at", "-pk").first()


def take_back(user: Any) -> Label | None:
    """Remove the label that this person gave last and return it; None when there is none."""
    label = newest(user)
    if label is not None:
        Label.objects.filter(pk=label.pk).delete()
    return label
