"""Repairs what killed processes left behind: quiet rows, lost jobs, orphaned sandboxes, unfinished logs.

Runs every few seconds in the scheduler, and once whenever a worker or `up` starts. Safe to run anywhere, at any
time, in any number: each repair is one conditional UPDATE, or the removal of something nobody owns.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from runs import hosts, images, logs, queue, sandboxes
from runs.errors import InfraError, LostClaim
from runs.events import announce_end, announce_sweep
from runs.judging import line
from runs.models import ENDED, WORKING, LogChunk, Run, Status, Validation
from traces.models import Session

logger = logging.getLogger(__name__)

# A job that was put into the queue this recently may be on its way from Redis to a claim.
IN_FLIGHT_S = 4.0
# A trace is imported a little before its run is told of it.
TRACE_IN_FLIGHT_S = 3600.0
# It looks at all sessions, so not at every sweep.
TRACES_EVERY_S = 3600
MOST_TRACES = 500


def sweep() -> Counter[str]:
    """Do every repair once, and return how many of each were made."""
    done: Counter[str] = Counter()
    done["taken back"] = take_back_lost_runs()
    done["queued again"] = queue_waiting_runs()
    done["sandboxes removed"] = remove_orphaned_sandboxes()
    done["ends completed"] = complete_ends()
    done["judgements queued again"] = line.repair()
    if cache.add("traces-swept", True, TRACES_EVERY_S):
        done["traces removed"] = remove_orphaned_traces()
    done["boards caught up"] = announce_sweep()
    return +done


def take_back_lost_runs(*, stopped: bool = False) -> int:
    """Requeue runs whose worker is gone, or end them when it has been lost too often.

    `stopped` says that the workers were stopped on purpose, as `up` does on Ctrl-C: no failure is counted.
    """
    count = 0
    quiet = timezone.now() - timedelta(seconds=settings.LEASE_S)
    for run in Run.objects.filter(status__in=WORKING).select_related("task"):
        silent = run.heartbeat_at is None or run.heartbeat_at < quiet
        if silent or hosts.is_surely_dead(run.worker):
            count += _take_back(run, stopped=stopped)
    return count


def _take_back(run: Run, *, stopped: bool) -> bool:
    failures = run.detail.get("failures", 0) + (0 if stopped else 1)
    detail = {**run.detail, "failures": failures}
    try:
        if run.cancel_requested_at:
            run.transition(Status.CANCELLED)
        elif failures >= settings.MAX_TRIES:
            run.transition(
                Status.INFRA_FAILED,
                detail=detail,
                fault=InfraError.side,
                error=f"Its worker was lost {failures} times, the last one while {run.status}. "
                "Look for a lack of memory on the workers, then run it again.",
            )
        else:
            logger.info("Run %s: worker %s is gone, queued again", run.pk, run.worker)
            run.transition(Status.QUEUED, detail=detail, heartbeat_at=None, worker="", retry_at=None)
    except LostClaim:
        return False
    if run.status == Status.QUEUED:
        queue.enqueue_run(run)
    else:
        announce_end(run)
    return True


def queue_waiting_runs() -> int:
    """Put queued runs into the queue whose time to retry has come, or whose job Redis has lost."""
    now = timezone.now()
    due = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    settled = Q(enqueued_at__isnull=True) | Q(enqueued_at__lt=now - timedelta(seconds=IN_FLIGHT_S))
    rows = Run.objects.filter(due, settled, status=Status.QUEUED).order_by("queued_at")
    if not rows.exists():
        return 0
    waiting = queue.waiting_jobs()
    if waiting is None:
        return 0
    count = 0
    for run in rows.iterator():
        if queue.job_id(run) not in waiting and queue.enqueue_run(run):
            count += 1
    return count


def remove_orphaned_sandboxes() -> int:
    """Remove this installation's sandboxes on this machine that no live try of a run owns, or whose time is over."""
    count = 0
    now = timezone.now()
    for name in sandboxes.names():
        provider = sandboxes.get(name)
        if provider.available():
            continue
        try:
            found = provider.list({"oneshot.instance": sandboxes.instance()})
            for info in found:
                if info.expires_at < now or not _has_owner(info.labels):
                    provider.destroy(info.id)
                    count += 1
        except InfraError as error:
            logger.warning("The %s sandboxes cannot be swept: %s", name, error)
    return count


def _has_owner(labels: Any) -> bool:
    if labels.get("oneshot.purpose") == "build":
        return images.has_builder(labels)
    owner = Run.objects.filter(pk=labels.get("oneshot.run"), tries=labels.get("oneshot.try") or 0, status__in=WORKING)
    return owner.exists()


def remove_orphaned_traces() -> int:
    """Remove traces of runs that are no more, or that a lost try has left; those of people stay."""
    old = timezone.now() - timedelta(seconds=TRACE_IN_FLIGHT_S)
    parents = Session.objects.filter(team=OuterRef("team"), thread_id=OuterRef("parent_thread_id")).exclude(
        thread_id=""
    )
    orphans = Session.objects.filter(origin=Session.Origin.RUN, updated_at__lt=old, runs__isnull=True)
    # A sub-agent's session belongs to that of its main agent.
    orphans = orphans.exclude(Exists(parents))
    ids = list(orphans.values_list("pk", flat=True)[:MOST_TRACES])
    Session.objects.filter(pk__in=ids, runs__isnull=True).delete()
    return len(ids)


def complete_ends() -> int:
    """Finish what a process did not live to do after it had ended a run: settle the log, tell the listeners."""
    # Imported late: it imports what creates runs, which imports this.
    from runs.validation import conclude

    count = 0
    left = LogChunk.objects.filter(run__status__in=ENDED).values("run")
    long_over = timezone.now() - timedelta(seconds=IN_FLIGHT_S)
    for run in Run.objects.filter(pk__in=left, finished_at__lt=long_over):
        announce_end(run)
        logs.settle(run)
        count += 1
    open_validations = Validation.objects.filter(status=Validation.Status.RUNNING)
    for validation in open_validations:
        runs = validation.runs.all()
        if not all(run.is_over and (run.finished_at or long_over) <= long_over for run in runs):
            continue
        if runs:
            announce_end(runs[0])
            count += 1
        elif validation.continues_id and validation.created_at < long_over:
            count += conclude(validation)
    return count
