"""Keeps a claimed run alive: heartbeat, cancellation, log. And keeps a worker that lost its claim from doing harm."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from runs.errors import Cancelled, InfraError, LostClaim
from runs.logs import RunLog
from runs.models import Run
from runs.sandboxes.base import Provider, Sandbox, SandboxInfo, SandboxSpec

logger = logging.getLogger(__name__)

TICK_S = 0.5


class Keeper:
    """Watches over one claimed run from a thread. Use as a context manager around the work.

    The work calls `alive()` at its seams; the thread kills the held sandbox at once when somebody cancels the
    run or another worker takes it over, so that a running command returns.
    """

    def __init__(self, run: Run, log: RunLog) -> None:
        self._held = Run.objects.filter(pk=run.pk, tries=run.tries)
        self._log = log
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sandboxes: list[Sandbox] = []
        self._end: type[Cancelled] | type[LostClaim] | None = None
        self._beaten_at = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{run.pk}", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        while self._sandboxes:
            self.let_go(self._sandboxes[-1])

    def alive(self) -> None:
        """Raise Cancelled or LostClaim when the work must stop."""
        if self._end is not None:
            raise self._end

    def hold(self, sandbox: Sandbox) -> Sandbox:
        """Kill this sandbox when the run is cancelled, and destroy it at the end whatever happens."""
        with self._lock:
            self._sandboxes.append(sandbox)
        if self._end is not None:
            self.let_go(sandbox)
            raise self._end
        return sandbox

    def let_go(self, sandbox: Sandbox) -> None:
        """Destroy a held sandbox now; one that cannot be reached is left to the sweep."""
        with self._lock:
            if sandbox in self._sandboxes:
                self._sandboxes.remove(sandbox)
        try:
            sandbox.destroy()
        except InfraError as error:
            logger.warning("Sandbox %s was not removed, the sweep will: %s", sandbox.id, error)

    def _keep(self) -> None:
        try:
            while not self._stop.wait(TICK_S):
                self._tick()
                if self._end is not None:
                    self._kill_held()
                    return
        finally:
            connection.close()

    def _tick(self) -> None:
        try:
            self._log.flush(only_if_due=True)
            if time.monotonic() - self._beaten_at >= settings.HEARTBEAT_S:
                found = self._held.update(heartbeat_at=timezone.now())
                self._beaten_at = time.monotonic()
                if not found:
                    self._end = LostClaim
                    return
            row = self._held.values_list("cancel_requested_at", flat=True).first()
            if row is not None:
                self._end = Cancelled
        except DatabaseError as error:
            logger.warning("The database does not answer: %s", error)
            connection.close()
            # Past the lease another worker may hold the run, so this one must stop before that.
            if time.monotonic() - self._beaten_at > settings.LEASE_S * 0.8:
                self._end = LostClaim

    def _kill_held(self) -> None:
        with self._lock:
            held = list(self._sandboxes)
        for sandbox in held:
            try:
                sandbox.kill()
            except InfraError as error:
                logger.warning("Sandbox %s could not be killed: %s", sandbox.id, error)


class HoldingProvider:
    """A provider whose every sandbox is held by a keeper, for code that makes sandboxes of its own."""

    def __init__(self, provider: Provider, keeper: Keeper) -> None:
        self._provider = provider
        self._keeper = keeper
        self.name = provider.name

    def available(self) -> str:
        return self._provider.available()

    def isolation(self) -> str:
        return self._provider.isolation()

    def create(self, spec: SandboxSpec) -> Sandbox:
        return self._keeper.hold(self._provider.create(spec))

    def list(self, labels: Mapping[str, str]) -> list[SandboxInfo]:
        return self._provider.list(labels)

    def destroy(self, sandbox_id: str) -> None:
        self._provider.destroy(sandbox_id)

    def door_host(self) -> tuple[str, str]:
        return self._provider.door_host()
