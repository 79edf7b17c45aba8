"""Grading: a diff, the hidden tests, a fresh sandbox without network, and what the report says (docs/grading.md)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runs.agents.base import Log
from runs.errors import InfraError, TaskError
from runs.grading import frameworks
from runs.grading.base import Expectations, Grade, Reading, TestOutcome
from runs.grading.channel import Transcript, read_transcript
from runs.grading.driver import Plan
from runs.grading.protected import Guard
from runs.grading.reports import LARGEST_REPORT
from runs.grading.scoring import nothing_passed, score
from runs.models import Image, Outcome
from runs.sandboxes.base import HOME, ExecResult, Limits, Provider, Sandbox, SandboxSpec

if TYPE_CHECKING:
    from tasks.models import TaskVersion

__all__ = ["Expectations", "Grade", "TestOutcome", "grade"]

logger = logging.getLogger(__name__)

LIFETIME_MARGIN_S = 300
LARGEST_KEPT_OUTPUT = 2_000_000
LARGEST_LIVE_OUTPUT = 400_000
MOST_NAMED = 20


def grade(
    *,
    version: TaskVersion,
    diff: bytes,
    image: Image,
    provider: Provider,
    limits: Mapping[str, Any],
    labels: Mapping[str, str],
    log: Log,
    alive: Callable[[], None] = lambda: None,
) -> Grade:
    """Grade a diff against a version's tests in a sandbox of its own, and remove that again.

    `limits` are a run's; the tests get `test_timeout_s`. Raises TaskError when the task's tests cannot be run on
    this image at all, InfraError when the sandbox fails, and whatever `alive` raises.
    """
    alive()
    environment = version.effective_environment()
    framework = frameworks.of(environment)
    expected = Expectations.of(version)
    hidden, reference = version.hidden_test_files(), version.reference_diff()
    guard = Guard.of(framework=framework.name, environment=environment, hidden=hidden, reference=reference)
    kept = _without_protected(guard, diff, log)
    sandbox = provider.create(_spec(environment, image, limits, labels))
    try:
        log(
            "grade",
            f"sandbox {sandbox.id[:12]}, isolation {sandbox.isolation}, network none, tests by {framework.name}\n",
        )
        directory = f"{HOME}/.oneshot-{secrets.token_hex(8)}"
        plan = Plan(
            environment=environment,
            guard=guard,
            diff=kept,
            reference=reference,
            hidden=hidden,
            root=sandbox.workdir,
            directory=sandbox.path(directory),
            timeout_s=float(limits["test_timeout_s"]),
            order_seed=limits.get("test_order_seed"),
        )
        sandbox.put_tree(directory, plan.files() | framework.files(plan))
        result = _run(sandbox, plan, framework.script(plan), limits, log)
    finally:
        _destroy(sandbox)
    alive()
    transcript = read_transcript(result.stdout, plan.tokens)
    if transcript.state == "patch":
        reason = f"The diff does not apply to the base: {' '.join(transcript.words.split())[:1000]}"
        failed = nothing_passed(expected, outcome=Outcome.PATCH_FAILED, reason=reason)
        return replace(failed, isolation=sandbox.isolation)
    _raise_for_task(transcript, result)
    reading = framework.read(transcript, plan)
    _name_alike(reading, sandbox.workdir, environment.get("workdir") or "/work")
    _note_ending(reading, result, limits)
    return replace(score(reading, expected), artifacts=_artifacts(reading, result), isolation=sandbox.isolation)


def _without_protected(guard: Guard, diff: bytes, log: Log) -> bytes:
    kept, dropped = guard.clean(diff)
    if dropped:
        more = f" and {len(dropped) - MOST_NAMED} more" if len(dropped) > MOST_NAMED else ""
        names = ", ".join(dropped[:MOST_NAMED]) + more
        log("grade", f"left out of the diff, because it decides how tests come out: {names}\n")
    return kept


def _spec(
    environment: Mapping[str, Any], image: Image, limits: Mapping[str, Any], labels: Mapping[str, str]
) -> SandboxSpec:
    return SandboxSpec(
        image=image.reference,
        labels={**labels, "oneshot.purpose": "grade"},
        limits=Limits(
            memory_mb=limits["memory_mb"],
            cpus=limits["cpus"],
            pids=limits["pids"],
            disk_mb=limits["disk_mb"],
            lifetime_s=limits["test_timeout_s"] + LIFETIME_MARGIN_S,
        ),
        network="none",
        workdir=environment.get("workdir") or "/work",
    )


def _run(sandbox: Sandbox, plan: Plan, script: str, limits: Mapping[str, Any], log: Log) -> ExecResult:
    live = _LiveOutput(log)
    result = sandbox.exec(
        plan.argv(script),
        stdin=plan.tokens.as_input(),
        timeout_s=limits["test_timeout_s"],
        max_output_bytes=LARGEST_REPORT + 4_000_000,
        sink=live,
    )
    live.finish()
    return result


def _destroy(sandbox: Sandbox) -> None:
    try:
        sandbox.destroy()
    except InfraError as error:
        # The result stands; the sweep removes what is left.
        logger.warning("Grading sandbox %s was not removed: %s", sandbox.id, error)


def _raise_for_task(transcript: Transcript, result: ExecResult) -> None:
    """Raise for what no agent could have caused: it happens before any line of the agent's is there."""
    if transcript.state == "git":
        raise TaskError("There is no git in the image, so no diff can be applied. Add git to environment.packages.")
    if transcript.state == "tests":
        raise TaskError(
            f"The task's own tests cannot be put into the base: {' '.join(transcript.words.split())[:1000]}. "
            "Make the reference diff and the hidden tests from the start commit again."
        )
    if not transcript.state:
        said = result.stderr[-500:].decode("utf-8", "replace").strip()
        ended = "took too long" if result.timed_out else f"ended with exit status {result.exit_code}"
        limit = f" by its {result.limit} limit" if result.limit else ""
        raise InfraError(f"The grading sandbox {ended}{limit} before the tests began. {said}".strip())


def _name_alike(reading: Reading, root: str, workdir: str) -> None:
    """Give tests that are named after files the same ids wherever a sandbox has its repository."""
    if root != workdir:
        found = [replace(one, test_id=one.test_id.replace(root, workdir)) for one in reading.outcomes.values()]
        reading.outcomes = {one.test_id: one for one in found}


def _note_ending(reading: Reading, result: ExecResult, limits: Mapping[str, Any]) -> None:
    """Let a limit that was hit be the reason, rather than the half report that it leaves."""
    reason = ""
    if result.timed_out:
        reason = f"the tests did not end within {limits['test_timeout_s']:g} s, and what had not ended counts as failed"
    elif result.limit and not reading.complete:
        reason = f"the tests were ended by the {result.limit} limit of the sandbox"
    elif len(result.stdout) > LARGEST_REPORT:
        reason = f"the report is over {LARGEST_REPORT // 1_000_000} MB"
    if reason:
        reading.note, reading.tampered, reading.complete = reason, "", False
    elif not reading.outcomes and not reading.note:
        reading.note = "the tests ended without a result: " + _last_words(result) if _last_words(result) else ""


def _last_words(result: ExecResult) -> str:
    """Return the last lines that the tests printed, as one."""
    lines = result.stderr[-4000:].decode("utf-8", "replace").strip().splitlines()
    return " / ".join(line.strip() for line in lines[-4:] if line.strip())[:600]


def _artifacts(reading: Reading, result: ExecResult) -> dict[str, tuple[str, bytes]]:
    artifacts = {}
    if reading.report:
        xml = reading.report.lstrip()[:1] == b"<"
        name, kind = ("junit.xml", "application/xml") if xml else ("test-report.txt", "text/plain")
        artifacts[name] = (kind, _shortened(reading.report, 4 * LARGEST_KEPT_OUTPUT))
    if result.stderr:
        artifacts["test-output.txt"] = ("text/plain", _shortened(result.stderr, LARGEST_KEPT_OUTPUT))
    return artifacts


def _shortened(data: bytes, most: int) -> bytes:
    if len(data) <= most:
        return data
    half = most // 2
    return data[:half] + f"\n… {len(data) - 2 * half} bytes left out …\n".encode() + data[-half:]


class _LiveOutput:
    """Passes whole lines of what the tests print on to the log, up to a size."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = b""
        self._room = LARGEST_LIVE_OUTPUT

    def __call__(self, stream: str, data: bytes) -> None:
        # Standard output carries the report, which nobody wants to read.
        if stream != "stderr" or self._room <= 0:
            return
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if len(self._rest) > 10_000:
            whole, newline, self._rest = whole + newline + self._rest, b"\n", b""
        self._tell(whole + newline)

    def finish(self) -> None:
        """Pass on a last line without an end."""
        if self._room > 0:
            self._tell(self._rest)

    def _tell(self, lines: bytes) -> None:
        if not lines:
            return
        self._room -= len(lines)
        self._log("grade", lines.decode("utf-8", "replace"))
        if self._room <= 0:
            self._log("grade", "… more in test-output.txt …\n")
