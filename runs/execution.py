"""One run, from claim to end: prepare, run, collect, grade. Executed at least once, recorded exactly once.

Every step may be the last one before the process is killed. The row then goes quiet, and the sweep hands it to
another worker; a worker that comes back late finds that its claim is gone, and writes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from oneshot import store
from runs import agents, budgets, grading, hosts, images, logs, sandboxes
from runs.agents.base import Agent, Assignment, Ending, Log, ModelNeed
from runs.collecting import DiffTooLarge, collect_diff
from runs.errors import AgentError, Cancelled, Fault, InfraError, LostClaim
from runs.events import announce_end
from runs.grading.base import Grade
from runs.keeper import HoldingProvider, Keeper
from runs.models import Artifact, Image, Outcome, Run, Status, TestResult
from runs.relay import Holder, Relay, open_door
from runs.sandboxes.base import Limits, Network, Provider, Sandbox, SandboxSpec
from runs.tracing import import_trace
from tasks.patches import line_counts
from traces.redaction import redact

logger = logging.getLogger(__name__)

# Beyond the agent's and the tests' own limits: creating, collecting, and a loaded machine.
LIFETIME_MARGIN_S = 600


def claim(run_id: str) -> Run | None:
    """Take a queued run for this process. None when it is not queued (any more): then it is not ours."""
    now = timezone.now()
    took = Run.objects.filter(pk=run_id, status=Status.QUEUED).update(
        status=Status.PREPARING,
        tries=F("tries") + 1,
        worker=hosts.this_process(),
        heartbeat_at=now,
        preparing_at=now,
        retry_at=None,
        fault="",
        error="",
    )
    if not took:
        return None
    return Run.objects.select_related("task", "task_version", "task_version__task", "agent").get(pk=run_id)


def execute(run_id: str) -> None:
    """Execute a run if it is still queued. Returns when it has ended, waits for another try, or was never ours."""
    run = claim(run_id)
    if run is None:
        return
    log = logs.RunLog(run)
    started = time.monotonic()
    if run.tries > 1:
        log("run", f"try {run.tries}")
    with Keeper(run, log) as keeper:
        try:
            _Execution(run, log, keeper, started).go()
        except LostClaim:
            logger.info("Run %s was taken over; this worker writes nothing more", run_id)
            return
        except Cancelled:
            _end(run, log, Status.CANCELLED, started)
        except Fault as fault:
            _end_ungraded(run, log, fault, started)
        except Exception as error:
            logger.exception("Run %s met an error of OneShot itself", run_id)
            _end_ungraded(run, log, InfraError(f"OneShot itself failed: {type(error).__name__}: {error}"), started)
    log.close()
    if run.is_over:
        # In this order: whoever finds an unsettled log knows that the end may not have been told.
        announce_end(run)
        logs.settle(run)


def _end(run: Run, log: logs.RunLog, status: str, started: float, **fields: Any) -> None:
    if status == Status.CANCELLED:
        log("run", "cancelled")
    if run.detail.get("model_requests"):
        # What the model was asked says most about why there is nothing to grade.
        fields |= _spent(run) | {"session": import_trace(run, {}, log)}
    with contextlib.suppress(LostClaim):
        run.transition(status, seconds=time.monotonic() - started, **fields)


def _end_ungraded(run: Run, log: logs.RunLog, fault: Fault, started: float) -> None:
    """Try again later what infrastructure failed, up to the limit; show everything else as ungraded."""
    failures = run.detail.get("failures", 0) + 1
    detail = {**run.detail, "failures": failures}
    log("error", str(fault))
    if isinstance(fault, InfraError) and failures < settings.MAX_TRIES:
        wait_s = settings.RETRY_BASE_S * 2 ** (failures - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        log("run", f"another try in {wait_s:.0f} s")
        log.flush()
        with contextlib.suppress(LostClaim):
            run.transition(
                Status.QUEUED,
                detail=detail,
                error=str(fault),
                fault=fault.side,
                retry_at=timezone.now() + timedelta(seconds=wait_s),
                heartbeat_at=None,
                worker="",
            )
        return
    _end(run, log, Status.INFRA_FAILED, started, detail=detail, error=str(fault), fault=fault.side)


class _Execution:
    """The phases of one claimed run. What a phase finds out is written with the move to the next."""

    def __init__(self, run: Run, log: logs.RunLog, keeper: Keeper, started: float) -> None:
        self.run = run
        self.version = run.task_version
        self.log = log
        self.keeper = keeper
        self.started = started
        self.provider: Provider = sandboxes.get(run.sandbox)
        self.artifacts: dict[str, tuple[str, bytes]] = {}
        self.transcripts: dict[str, bytes] = {}
        self.asks_model = False
        # The model's key and the door's token.
        self.secrets: tuple[str, ...] = ()

    def go(self) -> None:
        agent = agents.load(self.run.agent)
        if problem := agent.check():
            raise AgentError(problem)
        if problem := self.provider.available():
            raise InfraError(problem)
        agent.prepare(self.log)
        image = images.ensure(self.version, self.run.sandbox, log=self.log, alive=self.keeper.alive)
        self._move(Status.RUNNING, image=image)
        sandbox, ending = self._try(agent, image)
        ending.final_message, ending.error = (
            redact(text, extra=self.secrets) for text in (ending.final_message, ending.error)
        )
        self._move(Status.COLLECTING, isolation=sandbox.isolation, **_found(self.run, ending))
        diff, too_large = self._collect(sandbox)
        self.keeper.let_go(sandbox)
        self.artifacts |= ending.artifacts
        self.transcripts = ending.transcripts
        outcome = ending.outcome or (Outcome.PATCH_FAILED if too_large else "")
        if too_large or (not diff and self.run.purpose == Run.Purpose.TRIAL):
            self._finish(outcome or Outcome.EMPTY_PATCH, grade=None, error=too_large or ending.error)
            return
        self._move(Status.GRADING)
        grade = self._grade(diff, image)
        self._finish(outcome or grade.outcome, grade=grade, error=ending.error)

    def _move(self, status: str, **fields: Any) -> None:
        self.keeper.alive()
        self.run.transition(status, **fields)

    def _labels(self, purpose: str) -> dict[str, str]:
        return {
            "oneshot.instance": sandboxes.instance(),
            "oneshot.run": str(self.run.pk),
            "oneshot.try": str(self.run.tries),
            "oneshot.purpose": purpose,
        }

    def _limits(self) -> Limits:
        asked = self.run.limits
        return Limits(
            memory_mb=asked["memory_mb"],
            cpus=asked["cpus"],
            pids=asked["pids"],
            disk_mb=asked["disk_mb"],
            lifetime_s=asked["timeout_s"] + LIFETIME_MARGIN_S,
        )

    def _try(self, agent: Agent, image: Image) -> tuple[Sandbox, Ending]:
        need = self._need(agent)
        if need and self.run.network == "none":
            raise AgentError(
                f"The agent {self.run.agent.name} needs a model, and this run's network is none. "
                "Use model-only: it reaches the model's service and nothing else."
            )
        listen, host = self.provider.door_host() if need else ("", "")
        relay: Relay | None = None
        try:
            with open_door(need, listen, self.log, self._holder()) if need else nullcontext() as relay:
                self.secrets = relay.ledger.secrets if relay else ()
                sandbox = self._sandbox(agent, image, relay)
                ending = agent.run(sandbox, self._assignment(relay, host), self.log)
        except Exception:
            # A killed sandbox makes every call fail; the reason is the cancellation.
            self.keeper.alive()
            raise
        finally:
            if relay:
                _charge(self.run, relay, self.log)
        self.keeper.alive()
        return sandbox, ending

    def _sandbox(self, agent: Agent, image: Image, relay: Relay | None) -> Sandbox:
        spec = SandboxSpec(
            image=image.reference,
            labels=self._labels("run"),
            limits=self._limits(),
            network=cast(Network, self.run.network),
            mounts=agent.mounts(),
            door=relay.door if relay else None,
            workdir=self.version.effective_environment().get("workdir") or "/work",
        )
        sandbox = self.keeper.hold(self.provider.create(spec))
        self.log("run", f"sandbox {sandbox.id[:12]}, isolation {sandbox.isolation}, network {self.run.network}")
        return sandbox

    def _assignment(self, relay: Relay | None, host: str) -> Assignment:
        return Assignment(
            instructions=self.version.instructions,
            reference_diff=self.version.reference_diff() if self.run.agent.kind == "oracle" else b"",
            timeout_s=self.run.limits["timeout_s"],
            model_url=relay.url(host) if relay else "",
            model_token=relay.door.token if relay else "",
            model_use=relay.usage if relay else None,
        )

    def _need(self, agent: Agent) -> ModelNeed | None:
        need = agent.model()
        self.asks_model = need is not None
        return budgets.within(need, self.run.limits) if need else None

    def _holder(self) -> Holder:
        lifetime_s = self.run.limits["timeout_s"] + LIFETIME_MARGIN_S
        return Holder(
            run=str(self.run.pk),
            attempt=self.run.tries,
            prices=budgets.price_table(),
            expires_at=time.time() + lifetime_s,
        )

    def _collect(self, sandbox: Sandbox) -> tuple[bytes, str]:
        """Return the diff, and a sentence when it is too large to keep."""
        try:
            diff = collect_diff(sandbox)
        except DiffTooLarge as error:
            return b"", str(error)
        except Fault:
            self.keeper.alive()
            raise
        added, removed = line_counts(diff)
        self.run.diff_digest = store.put(diff) if diff else ""
        self.run.diff_bytes, self.run.lines_added, self.run.lines_removed = len(diff), added, removed
        self.log("run", f"diff of {len(diff)} bytes, {added} lines added, {removed} removed")
        return diff, ""

    def _grade(self, diff: bytes, image: Image) -> Grade:
        try:
            return grading.grade(
                version=self.version,
                diff=diff,
                image=image,
                provider=HoldingProvider(self.provider, self.keeper),
                limits=self.run.limits,
                labels=self._labels("grade"),
                log=self.log,
                alive=self.keeper.alive,
            )
        except Fault:
            self.keeper.alive()
            raise

    def _kept(self, artifacts: dict[str, tuple[str, bytes]]) -> Iterator[tuple[str, str, bytes]]:
        """Yield (name, media type, bytes) with secrets taken out of texts: a model may know and say them."""
        for name, (kind, data) in artifacts.items():
            if kind.startswith(("text/", "application/json")):
                text = data.decode("utf-8", "surrogateescape")
                data = redact(text, extra=self.secrets).encode("utf-8", "surrogateescape")
            yield name, kind, data

    def _finish(self, outcome: str, *, grade: Grade | None, error: str) -> None:
        """Record everything in one transaction: the whole result, or nothing of it."""
        self.keeper.alive()
        run = self.run
        fields: dict[str, Any] = {
            "outcome": outcome,
            "diff_digest": run.diff_digest,
            "diff_bytes": run.diff_bytes,
            "lines_added": run.lines_added,
            "lines_removed": run.lines_removed,
            "error": error,
            "seconds": time.monotonic() - self.started,
        }
        fields |= _counts(run, grade)
        if self.asks_model or self.transcripts:
            fields["session"] = import_trace(run, self.transcripts, self.log, self.secrets)
        artifacts = self.artifacts | (grade.artifacts if grade else {})
        stored = [
            Artifact(run=run, name=name, media_type=kind, digest=store.put(data), bytes=len(data))
            for name, kind, data in self._kept(artifacts)
        ]
        if grade:
            fields["detail"] = {**run.detail, "grading": grade.reason, "tampered": grade.tampered}
        with transaction.atomic():
            run.transition(Status.FINISHED, **fields)
            Artifact.objects.filter(run=run).delete()
            Artifact.objects.bulk_create(stored)
            TestResult.objects.filter(run=run).delete()
            TestResult.objects.bulk_create(_rows(run, grade), batch_size=500)
        self.log("run", f"outcome {outcome}" + (f": {grade.reason}" if grade and grade.reason else ""))


def _charge(run: Run, relay: Relay, log: Log) -> None:
    """Note on the run, in memory, what its model came to, however the try ended, and what is missing in the records."""
    use, account = relay.usage, relay.account
    run.tokens_input, run.tokens_cached, run.tokens_output = use.input, use.cached, use.output
    run.detail["model_requests"] = use.requests
    if account is None:
        return
    spent = account.spent
    run.cost_usd = None if spent.cost_usd is None else spent.cost_usd.quantize(Decimal("0.000001"))
    for name, count in (("answers_without_cost", spent.unknown_cost), ("exchanges_not_recorded", account.lost)):
        run.detail.pop(name, None)
        if count:
            run.detail[name] = count
    if account.lost:
        log("model", f"{account.lost} exchanges were not recorded: {account.trouble}")


SPENT = ("tokens_input", "tokens_cached", "tokens_output", "cost_usd")


def _spent(run: Run) -> dict[str, Any]:
    """Return what the relay counted; it stands also for runs that end without a grade."""
    return {name: getattr(run, name) for name in SPENT} if "model_requests" in run.detail else {}


def _found(run: Run, ending: Ending) -> dict[str, Any]:
    """Return the columns that an agent's ending fills. What the relay counted goes before what the agent says."""
    said: dict[str, Any] = {name: getattr(ending, name) for name in SPENT}
    return {
        **said,
        **{name: value for name, value in _spent(run).items() if value is not None},
        "exit_code": ending.exit_code,
        "error": ending.error,
        "detail": {**run.detail, **ending.detail, "final_message": ending.final_message[:2000]},
    }


def _counts(run: Run, grade: Grade | None) -> dict[str, Any]:
    """Return the test counts. Without a grading the tests to fix are known to fail; the others are unknown."""
    if grade is not None:
        return {
            "fail_to_pass_passed": grade.fail_to_pass_passed,
            "fail_to_pass_failed": grade.fail_to_pass_failed,
            "pass_to_pass_passed": grade.pass_to_pass_passed,
            "pass_to_pass_failed": grade.pass_to_pass_failed,
        }
    return {"fail_to_pass_passed": 0, "fail_to_pass_failed": run.task_version.fail_to_pass_count}


def _rows(run: Run, grade: Grade | None) -> list[TestResult]:
    return [
        TestResult(
            run=run,
            test_id=result.test_id,
            group=result.group,
            verdict=result.verdict,
            seconds=result.seconds,
            message=result.message[:500],
            output_digest=store.put_text(result.output) if result.output else "",
        )
        for result in (grade.results if grade else [])
    ]
