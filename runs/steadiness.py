"""Whether a task's tests say the same every time: in another order, without a network, and over all later runs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from oneshot import store
from runs import actions
from runs.models import AgentConfig, Run, Status, TestResult, Validation
from tasks.findings.leaks import answer_of, leaks_in
from tasks.models import Finding, TaskVersion

logger = logging.getLogger(__name__)

ORDER_SEED = 1
NEEDS_ORDER = "depends on the order of the tests: fails with the reference in another one"
BY_HAND = "quarantined by"
# Frameworks whose tests can be put into another order from outside.
ORDERED = ("pytest",)
# So many failures of a test with the reference block publishing; one may be the machine's.
BLOCKING_FAILURES = 2
OK, WARNING, FAILED = "ok", "warning", "failed"
MOST_NAMED = 5


def add_run_in_another_order(validation: Validation, *, seed: int = ORDER_SEED, by: Any = None) -> Run | None:
    """Give a validation one more run of the oracle, whose tests are shuffled. None where tests cannot be."""
    version = validation.task_version
    if version.effective_environment().get("test_framework", "pytest") not in ORDERED:
        return None
    return actions.create_run(
        version=version,
        agent=AgentConfig.obtain(kind="oracle"),
        sandbox=validation.sandbox,
        by=by,
        purpose=Run.Purpose.VALIDATION,
        validation=validation,
        limits={"test_order_seed": seed},
    )


def is_in_another_order(run: Run) -> bool:
    """Whether the run's tests were shuffled."""
    return run.limits.get("test_order_seed") is not None


def tests_that_need_their_order(runs: Iterable[Run], tests: Iterable[str]) -> list[str]:
    """Return those of `tests`, which pass in their own order, that some run in another order did not pass."""
    counted, moved = set(tests), set()
    for run in runs:
        passed = TestResult.objects.filter(run=run, verdict=TestResult.Verdict.PASSED).values_list("test_id", flat=True)
        moved |= counted - set(passed)
    return sorted(moved)


def order_check(version: TaskVersion, runs: Sequence[Run], moved: list[str]) -> dict[str, Any]:
    """Return the row about the order of the tests."""
    name = "Another order"
    spent = sum(run.seconds for run in runs if run.seconds is not None)
    seconds = round(spent, 3) if spent else None
    if not runs:
        framework = version.effective_environment().get("test_framework", "pytest")
        return _row(name, OK, f"Tests of {framework} cannot be put into another order, so this was not tried")
    if not moved:
        times = f" {len(runs)} times" if len(runs) > 1 else ""
        return _row(name, OK, f"With the tests shuffled{times}, the same ones pass", seconds)
    named = ", ".join(moved[:MOST_NAMED]) + (f" and {len(moved) - MOST_NAMED} more" if len(moved) > MOST_NAMED else "")
    return _row(name, WARNING, f"{len(moved)} left out, since they need their order: {named}", seconds)


def network_check(runs: Iterable[Run]) -> dict[str, Any]:
    """Return the row about the network. Every grading is without one, so what needs it cannot have passed."""
    return _row("Network off", OK, f"All {len(list(runs))} gradings ran without a network")


def instructions_check(version: TaskVersion) -> dict[str, Any]:
    """Return the row about the answer in the instructions."""
    tests = [(path, data.decode("utf-8", "replace")) for path, data in version.hidden_test_files().items()]
    answer = answer_of(version.reference_diff().decode("utf-8", "replace"), tests)
    found = leaks_in(version.instructions, answer)
    blocking = [one for one in found if one.severity == "block"]
    name = "Answer in the instructions"
    if blocking:
        return _row(name, WARNING, f"{blocking[0].message} Publishing is blocked until it is mended or waived")
    if found:
        return _row(name, WARNING, found[0].message)
    return _row(name, OK, "Nothing of the reference is said")


def _row(name: str, status: str, evidence: str, seconds: float | None = None) -> dict[str, Any]:
    return {"name": name, "status": status, "evidence": evidence, "seconds": seconds}


def quarantined_by_hand(version: TaskVersion) -> dict[str, str]:
    """Return {test id: reason} of what a maintainer has taken out: no validation brings it back."""
    try:
        excluded = version.expectations()["excluded"]
    except store.ContentMissing as error:
        # Validating again is what mends a lost list, so its loss must not stop that.
        logger.warning("What was quarantined in %s is not known any more: %s", version, error)
        return {}
    return {row["id"]: row["reason"] for row in excluded if row["reason"].startswith(BY_HAND)}


# Over all later runs


def watch_reference(run: Run) -> None:
    """After a run of the oracle, open or renew a finding for each counted test that failed with the reference."""
    if run.status != Status.FINISHED or run.agent.kind != "oracle" or is_in_another_order(run):
        return
    version = run.task_version
    if version.validation != TaskVersion.Validation.VALID:
        return
    counted = (TestResult.Group.FAIL_TO_PASS, TestResult.Group.PASS_TO_PASS)
    failed = run.test_results.filter(group__in=counted).exclude(verdict=TestResult.Verdict.PASSED)
    for test_id in failed.exclude(verdict=TestResult.Verdict.SKIPPED).values_list("test_id", flat=True):
        _note_flake(version, test_id)


def record_of(version: TaskVersion, test_id: str) -> tuple[int, int]:
    """Return how often a test passed, of how many runs with the reference in its own order."""
    runs = Run.objects.filter(
        task_version=version, agent__kind="oracle", status=Status.FINISHED, limits__test_order_seed__isnull=True
    )
    results = TestResult.objects.filter(run__in=runs, test_id=test_id)
    return results.filter(verdict=TestResult.Verdict.PASSED).count(), results.count()


def _note_flake(version: TaskVersion, test_id: str) -> None:
    passed, total = record_of(version, test_id)
    severity = Finding.Severity.BLOCK if total - passed >= BLOCKING_FAILURES else Finding.Severity.WARN
    message = f"{test_id[:600]} passed {passed} of {total} times with the reference (version {version.number})."
    fields: dict[str, Any] = {
        "kind": Finding.Kind.FLAKE,
        "severity": severity,
        "title": "A flaky test",
        "message": f"{message} Quarantine it, or mend the test.",
        "place": {"part": "tests", "test_id": test_id},
    }
    row, made = Finding.objects.get_or_create(task=version.task, fingerprint=_fingerprint(test_id), defaults=fields)
    if not made:
        # What was waived stays waived; its record goes on.
        again = {} if row.status == Finding.Status.WAIVED else {"status": Finding.Status.OPEN, "closed_at": None}
        Finding.objects.filter(pk=row.pk).update(**fields, **again)


def _fingerprint(test_id: str) -> str:
    return store.digest_of(f"flake\0{test_id}".encode())


@transaction.atomic
def quarantine(version: TaskVersion, test_id: str, *, by: Any, reason: str) -> None:
    """Count a test no more, from now on: it goes to the excluded ones with who did it and why.

    Runs that are graded already keep their grade. Raises ValueError for a test that is not counted, or without a
    reason, or when no fail-to-pass test would be left.
    """
    version = TaskVersion.objects.select_for_update().get(pk=version.pk)
    lists = version.expectations()
    if not reason.strip():
        raise ValueError("Say why the test counts no more: the reason stays with the task.")
    if test_id not in [*lists["fail_to_pass"], *lists["pass_to_pass"]]:
        raise ValueError(f"{test_id} does not count in {version}.")
    fail_to_pass = [test for test in lists["fail_to_pass"] if test != test_id]
    if not fail_to_pass:
        raise ValueError("It is the last test that tells a solution from doing nothing. Mend it instead.")
    version.record_validation(
        valid=version.validation == TaskVersion.Validation.VALID,
        reason=version.validation_reason,
        fail_to_pass=fail_to_pass,
        pass_to_pass=[test for test in lists["pass_to_pass"] if test != test_id],
        excluded=[*lists["excluded"], {"id": test_id, "reason": f"{BY_HAND} {by}: {reason.strip()}"}],
        checks=lists["checks"],
    )
    Finding.objects.filter(task=version.task_id, fingerprint=_fingerprint(test_id), status=Finding.Status.OPEN).update(
        status=Finding.Status.FIXED, closed_at=timezone.now()
    )
