"""The way to the workers: Redis carries run ids, and may lose them without harm."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import django_rq
from django.utils import timezone
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.job import Job

from runs.hosts import is_surely_dead, this_host
from runs.models import Run

logger = logging.getLogger(__name__)

RUNS = "runs"
# A worker says every WORKER_TTL_S - 15 that it lives; it counts as lost when it has been silent for twice that.
WORKER_TTL_S = 30


@dataclass(frozen=True)
class WorkerInfo:
    """A live worker: its name, the process that it is ("host/namespace:pid"), and the run it works on, if any."""

    name: str
    process: str
    busy: bool


def _queue() -> Queue:
    return django_rq.get_queue(RUNS)


def job_id(run: Run) -> str:
    """Return the id of the job that carries this try of the run; a second job of the same id replaces the first."""
    return f"run-{run.pk}-{run.tries}"


def enqueue_run(run: Run) -> bool:
    """Put the run's id into the queue. False when Redis does not answer: the scheduler tries again."""
    try:
        _queue().enqueue("runs.jobs.run_job", str(run.pk), job_id=job_id(run), result_ttl=0, failure_ttl=3600)
    except RedisError as error:
        logger.warning("Redis does not answer, run %s waits: %s", run.pk, error)
        return False
    Run.objects.filter(pk=run.pk).update(enqueued_at=timezone.now())
    return True


def waiting_jobs() -> set[str] | None:
    """Return the ids of the jobs that wait in the queue; None when Redis does not answer."""
    try:
        return set(_queue().get_job_ids())
    except RedisError:
        return None


def forget(run: Run) -> None:
    """Take the run's job out of the queue, if it waits there."""
    try:
        Job.fetch(job_id(run), connection=_queue().connection).delete()
    except Exception as error:  # noqa: BLE001 - a job left in the queue finds its row ended, and does nothing
        logger.debug("job of run %s was not removed: %s", run.pk, error)


def workers(queue_name: str = RUNS) -> list[WorkerInfo]:
    """Return the live workers that serve a queue; [] when there are none or Redis does not answer."""
    try:
        rows = Worker.all(connection=_queue().connection)
    except RedisError:
        return []
    recent = datetime.now(UTC) - timedelta(seconds=2 * WORKER_TTL_S)
    alive = []
    for worker in rows:
        beat = worker.last_heartbeat
        if beat is not None and beat.tzinfo is None:
            beat = beat.replace(tzinfo=UTC)
        process = worker.name.partition("@")[2]
        serves = queue_name in worker.queue_names()
        if serves and beat is not None and beat >= recent and not is_surely_dead(process):
            alive.append(WorkerInfo(worker.name, process, worker.get_state() == "busy"))
    return alive


def worker_name() -> str:
    """Return a name for a worker of this process, from which others can tell whether it lives."""
    return f"{secrets.token_hex(4)}@{this_host()}:{os.getpid()}"
