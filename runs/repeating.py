"""Tries one check of a validation again: more runs of its kind, judged together with all that were made before.

Earlier runs stay evidence. So trying again can show that a test is flaky, and can never hide it; who wants to begin
anew validates the whole version again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import django_rq
from django.db import transaction
from redis.exceptions import RedisError

from runs import actions, queue, steadiness
from runs.errors import TaskError
from runs.models import AgentConfig, Run, Status, Validation
from tasks.models import TaskVersion

logger = logging.getLogger(__name__)

NOTHING, REFERENCE, ORDER, LOOK = "nop", "oracle", "order", "look"
WHAT = (NOTHING, REFERENCE, ORDER, LOOK)
# How a row of the list of checks begins, and what tries it again; the others need a look and no run.
_BY_NAME = (("Do nothing", NOTHING), ("Reference", REFERENCE), ("Another order", ORDER))
MOST_RUNS = 60


def what_repeats(check: str) -> str:
    """Return which of WHAT tries the check of this name again."""
    return next((what for name, what in _BY_NAME if check.startswith(name)), LOOK)


def earlier_runs(validation: Validation) -> list[Run]:
    """Return the runs of the validations that this one continues; [] for one that stands alone."""
    found: list[Run] = []
    earlier = validation.continues
    while earlier is not None:
        found = [*earlier.runs.select_related("agent", "image").order_by("agent__kind", "attempt"), *found]
        earlier = earlier.continues
    return found


def repeat(version: TaskVersion, what: str, *, by: Any = None) -> Validation:
    """Start to try one check again, and return the validation that does; one that is under way already instead.

    Submit its `runs`, and `submit_conclusion` when it has none. Raises TaskError when there is no validation to
    continue, InfraError when its sandbox does not work here.
    """
    if what not in WHAT:
        raise TaskError(f"There is no check {what!r}. There are {', '.join(WHAT)}.")
    under_way = version.validations.filter(status=Validation.Status.RUNNING).first()
    if under_way is not None:
        return under_way
    latest = version.validations.filter(status=Validation.Status.DONE).order_by("-created_at", "-pk").first()
    if latest is None:
        raise TaskError(f"{version} was never validated, so there is nothing to try again. Validate it first.")
    with transaction.atomic():
        validation = Validation.objects.create(
            task_version=version, sandbox=latest.sandbox, attempts=latest.attempts, created_by=by, continues=latest
        )
        earlier = earlier_runs(validation)
        if any(run.status != Status.FINISHED for run in earlier):
            raise TaskError("Not every run of the last validation was graded. Validate the whole version again.")
        if len(earlier) >= MOST_RUNS:
            raise TaskError(f"{len(earlier)} runs are enough evidence. Validate the whole version to begin anew.")
        if what in (NOTHING, REFERENCE):
            for _ in range(latest.attempts):
                actions.create_run(
                    version=version,
                    agent=AgentConfig.obtain(kind=what),
                    sandbox=latest.sandbox,
                    by=by,
                    purpose=Run.Purpose.VALIDATION,
                    validation=validation,
                )
        elif what == ORDER:
            orders = sum(steadiness.is_in_another_order(run) for run in earlier)
            steadiness.add_run_in_another_order(validation, seed=steadiness.ORDER_SEED + orders, by=by)
        version.validation = TaskVersion.Validation.RUNNING
        version.save(update_fields=["validation"])
    return validation


def submit_conclusion(validation: Validation) -> None:
    """Have a worker conclude a validation without runs of its own, once the transaction commits.

    A job that Redis loses is made up for by the sweep.
    """

    def enqueue() -> None:
        try:
            django_rq.get_queue(queue.RUNS).enqueue(
                "runs.jobs.conclude_job", str(validation.pk), job_id=f"conclude-{validation.pk}", result_ttl=0
            )
        except RedisError as error:
            logger.warning("Redis does not answer, the sweep concludes validation %s: %s", validation.pk, error)

    transaction.on_commit(enqueue)


def obstacle(validation: Validation, earlier: Sequence[Run], own: Sequence[Run]) -> str:
    """Return why earlier runs cannot be counted together with a validation's own; "" when they can."""
    if not earlier:
        return ""
    newer = Validation.objects.filter(
        task_version=validation.task_version_id,
        status=Validation.Status.DONE,
        created_at__gt=validation.created_at,
    )
    if newer.exists():
        return "A newer validation has concluded meanwhile."
    images = {run.image_id: run.image for run in [*earlier, *own] if run.image is not None}
    built = [image.finished_at for image in images.values() if image.finished_at is not None]
    rebuilt = any(run.finished_at and at > run.finished_at for run in earlier for at in built)
    if len(images) > 1 or rebuilt:
        return (
            "The environment was built anew since the earlier runs, so they cannot be counted together. "
            "Validate the whole version again."
        )
    return ""
