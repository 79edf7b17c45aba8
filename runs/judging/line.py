"""The judge's queue and its repair: Redis carries ids and may lose them, quiet rows go back into the queue."""

from __future__ import annotations

import logging
from datetime import timedelta

import django_rq
from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

from runs import hosts, queue
from runs.judging.models import Judgement

logger = logging.getLogger(__name__)

JUDGE = "judge"
IN_FLIGHT_S = 4.0
Status = Judgement.Status


def job_id(judgement: Judgement) -> str:
    return f"judge-{judgement.pk}-{judgement.tries}"


def enqueue(judgement: Judgement) -> bool:
    """Put the id into the queue. False when Redis does not answer: the scheduler tries again."""
    try:
        django_rq.get_queue(JUDGE).enqueue(
            "runs.judging.jobs.judge_job",
            str(judgement.pk),
            job_id=job_id(judgement),
            result_ttl=0,
            failure_ttl=3600,
        )
    except RedisError as error:
        logger.warning("Redis does not answer, judgement %s waits: %s", judgement.pk, error)
        return False
    Judgement.objects.filter(pk=judgement.pk).update(enqueued_at=timezone.now())
    return True


def has_workers() -> bool:
    """Return whether a live worker serves the judge's queue."""
    return bool(queue.workers(JUDGE))


def repair() -> int:
    """Take back the work of lost workers, and queue what Redis has lost; return how many."""
    # Imported late: every process that sweeps would pay for it.
    from runs.judging import suggesting

    return take_back() + enqueue_waiting() + suggesting.repair()


def take_back(*, stopped: bool = False) -> int:
    """Requeue judgements whose worker is gone, or end them with what they have when that happened too often.

    `stopped` says that the workers were stopped on purpose, as `up` does on Ctrl-C: no failure is counted.
    """
    # Imported late: every process that sweeps would pay for it.
    from runs.judging.execution import end

    count = 0
    quiet = timezone.now() - timedelta(seconds=settings.LEASE_S)
    for judgement in Judgement.objects.filter(status=Status.RUNNING):
        if judgement.heartbeat_at and judgement.heartbeat_at >= quiet and not hosts.is_surely_dead(judgement.worker):
            continue
        failures = judgement.failures + (0 if stopped else 1)
        if failures >= settings.MAX_TRIES:
            end(judgement, f"Its worker was lost {failures} times.")
            count += 1
            continue
        held = Judgement.objects.filter(pk=judgement.pk, status=Status.RUNNING, tries=judgement.tries)
        count += held.update(
            status=Status.QUEUED,
            failures=failures,
            worker="",
            heartbeat_at=None,
            enqueued_at=None,
            queued_at=timezone.now(),
        )
    return count


def enqueue_waiting() -> int:
    """Put queued judgements into the queue whose time has come, or whose job Redis has lost."""
    now = timezone.now()
    due = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    settled = Q(enqueued_at__isnull=True) | Q(enqueued_at__lt=now - timedelta(seconds=IN_FLIGHT_S))
    rows = Judgement.objects.filter(due, settled, status=Status.QUEUED).order_by("queued_at")
    if not rows.exists():
        return 0
    try:
        waiting = set(django_rq.get_queue(JUDGE).get_job_ids())
    except RedisError:
        return 0
    return sum(job_id(row) not in waiting and enqueue(row) for row in rows.iterator())
