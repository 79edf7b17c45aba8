"""Lets apps to the right of `runs` hear that a run has ended or was judged, without `runs` importing them."""

import logging
from collections.abc import Callable
from uuid import UUID

from runs.models import Run

logger = logging.getLogger(__name__)
_listeners: list[Callable[[Run], None]] = []
_of_scores: list[Callable[[Run], None]] = []
_repairs: list[Callable[[], int]] = []


def when_run_ends(listener: Callable[[Run], None]) -> None:
    """Register `listener`; it is called with each ended run, outside of the transaction that ended it."""
    if listener not in _listeners:
        _listeners.append(listener)


def announce_end(run: Run) -> None:
    """Tell every listener. A listener's error is logged and never changes how the run ended."""
    for listener in _listeners:
        try:
            listener(run)
        except Exception:
            logger.exception("%s failed for run %s", listener, run.pk)


def when_judged(listener: Callable[[Run], None]) -> None:
    """Register `listener`; it is called with each run whose rubric score was computed, once that is committed."""
    if listener not in _of_scores:
        _of_scores.append(listener)


def announce_judged(run_id: UUID) -> None:
    """Tell every listener of scores. A listener's error is logged and changes no score."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return
    for listener in _of_scores:
        try:
            listener(run)
        except Exception:
            logger.exception("%s failed for the score of run %s", listener, run_id)


def when_swept(repair: Callable[[], int]) -> None:
    """Register `repair`; each sweep calls it, to mend what a killed process left undone. It returns how much it did."""
    if repair not in _repairs:
        _repairs.append(repair)


def announce_sweep() -> int:
    """Call every repair and return how much they did together. An error is logged and stops no other repair."""
    done = 0
    for repair in _repairs:
        try:
            done += repair()
        except Exception:
            logger.exception("%s failed", repair)
    return done
