"""What people and commands do with runs: create, submit, wait, cancel, run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.db.models import Max
from django.utils import timezone

from oneshot.accounts.models import Visibility
from runs import budgets, queue, sweep
from runs.events import announce_end
from runs.models import ENDED, AgentConfig, Run, Status, Validation
from tasks.models import TaskVersion

WATCH_S = 0.3
# How often a command that waits looks whether the workers still live.
WORKERS_GONE_S = 5.0


def resolve_limits(version: TaskVersion, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the limits of a run: what was asked for, over what the task says, over the site's settings.

    There is a budget (max_tokens, max_cost_usd) only where one is asked for. Raises ValueError for a bad one.
    """
    environment = version.effective_environment()
    limits: dict[str, Any] = {
        "timeout_s": settings.AGENT_TIMEOUT_S,
        "test_timeout_s": environment.get("timeout_s") or settings.TEST_TIMEOUT_S,
        "memory_mb": environment.get("memory_mb") or settings.MEMORY_MB,
        "cpus": environment.get("cpus") or settings.CPUS,
        "pids": settings.PIDS,
        "disk_mb": settings.DISK_MB,
    }
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    return limits | given | budgets.read(given)


@transaction.atomic
def create_run(
    *,
    version: TaskVersion,
    agent: AgentConfig,
    sandbox: str = "auto",
    by=None,
    purpose: str = Run.Purpose.TRIAL,
    validation: Validation | None = None,
    limits: dict[str, Any] | None = None,
    network: str = "",
) -> Run:
    """Make a queued run, numbered after the attempts that this agent has made at this version.

    `sandbox` "auto" becomes the one that works here. `limits` may hold budgets for the model: max_tokens (uncached
    input and output) and max_cost_usd. Raises InfraError when no sandbox works, AgentError when a budget in dollars
    cannot be kept, ValueError for a budget that is none.
    """
    from runs import sandboxes

    task = version.task
    resolved = resolve_limits(version, limits)
    budgets.check(agent, resolved)
    # The lock makes two creators of the same attempt number wait for each other.
    TaskVersion.objects.select_for_update().get(pk=version.pk)
    earlier = Run.objects.filter(task_version=version, agent=agent, purpose=purpose)
    return Run.objects.create(
        task_version=version,
        task=task,
        team_id=task.team_id,
        public=task.visibility == Visibility.PUBLIC,
        agent=agent,
        purpose=purpose,
        validation=validation,
        attempt=(earlier.aggregate(last=Max("attempt"))["last"] or 0) + 1,
        sandbox=sandboxes.choose(sandbox).name,
        network=network or version.effective_environment().get("network") or "model-only",
        limits=resolved,
        created_by=by,
    )


def submit(runs: Run | Iterable[Run]) -> None:
    """Put queued runs into the queue once the transaction commits.

    When Redis is away nothing is lost: the row is queued, and the scheduler puts it in later.
    """
    ids = [run.pk for run in ([runs] if isinstance(runs, Run) else runs)]

    def enqueue() -> None:
        for run in Run.objects.filter(pk__in=ids, status=Status.QUEUED).order_by("queued_at", "attempt", "pk"):
            queue.enqueue_run(run)

    transaction.on_commit(enqueue)


def cancel(run: Run, by=None) -> bool:
    """Cancel a run: at once when it waits, within seconds when it works. False when it had already ended.

    A working run is told through its row; its worker stops the sandbox and records the end.
    """
    who = f"Cancelled by {by}." if by else "Cancelled."
    now = timezone.now()
    waiting = Run.objects.filter(pk=run.pk, status=Status.QUEUED)
    if waiting.update(status=Status.CANCELLED, finished_at=now, cancel_requested_at=now, error=who):
        run.refresh_from_db()
        announce_end(run)
        return True
    working = Run.objects.filter(pk=run.pk).exclude(status__in=ENDED)
    return bool(working.update(cancel_requested_at=now, error=who))


def run_again(run: Run, by=None) -> Run:
    """Make and submit another attempt with the same task version, agent, sandbox and limits."""
    again = create_run(
        version=run.task_version,
        agent=run.agent,
        sandbox=run.sandbox,
        by=by,
        limits=run.limits,
        network=run.network,
    )
    submit(again)
    return again


def drive(
    runs: Sequence[Run], *, here: bool | None = None, on_change: Callable[[Run], None] | None = None
) -> list[Run]:
    """Bring runs to their end and return them as they then are.

    Live workers do the work when there are any; else (or with `here=True`) this process does it, as many at a
    time as it has processors. `on_change` is called with each run whose status has changed. Ctrl-C cancels what
    has not ended, waits for it to stop, and raises KeyboardInterrupt.
    """
    if here is None:
        here = not queue.workers()
    ids = [run.pk for run in runs]
    pool = ThreadPoolExecutor(max_workers=max(1, settings.WORKERS))
    futures: list[Future[None]] = []
    asked_at = time.monotonic()
    workers_gone = False

    def work(run_id: str) -> None:
        futures.append(pool.submit(_execute_here, run_id))

    def look_after() -> None:
        """Raise what broke in this process; take over from workers that have gone, and from what they left."""
        nonlocal asked_at, workers_gone
        for future in futures:
            if future.done() and not future.cancelled():
                future.result()
        if here or time.monotonic() - asked_at < WORKERS_GONE_S:
            return
        asked_at = time.monotonic()
        if not queue.workers():
            workers_gone = True
            sweep.take_back_lost_runs()
            for run in Run.objects.filter(pk__in=ids, status=Status.QUEUED, retry_at=None):
                work(str(run.pk))

    def revive(run_id: str) -> None:
        if here or workers_gone:
            Run.objects.filter(pk=run_id, status=Status.QUEUED).update(retry_at=None)
            work(run_id)

    try:
        if here:
            for run in runs:
                work(str(run.pk))
        else:
            submit(runs)
        return _watch(ids, on_change, revive=revive, check=look_after)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _execute_here(run_id: str) -> None:
    from runs.execution import execute

    try:
        execute(run_id)
    finally:
        connections.close_all()


def _watch(
    ids: list[Any],
    on_change: Callable[[Run], None] | None,
    revive: Callable[[str], None],
    check: Callable[[], None],
) -> list[Run]:
    """Follow runs until all have ended; `revive` is called with a queued run whose time to retry has come, and
    `check` every time, to raise what makes waiting pointless."""
    seen: dict[Any, tuple[str, int]] = {}
    try:
        while True:
            rows = list(Run.objects.filter(pk__in=ids).select_related("task", "agent", "task_version"))
            for run in rows:
                if seen.get(run.pk) != (run.status, run.tries):
                    seen[run.pk] = (run.status, run.tries)
                    if on_change:
                        on_change(run)
                if run.status == Status.QUEUED and run.retry_at and run.retry_at <= timezone.now():
                    revive(str(run.pk))
            if all(run.is_over for run in rows):
                return sorted(rows, key=lambda run: ids.index(run.pk))
            check()
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        for run in Run.objects.filter(pk__in=ids).exclude(status__in=ENDED):
            cancel(run)
        raise
