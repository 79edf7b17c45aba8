"""Validation of a task version: nop and oracle try it, and what their tests do fixes what must pass.

Fail-to-pass are the tests that fail in every nop run and pass in every oracle run, pass-to-pass those that pass in
all of both. Everything else is left out, with its reason.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from runs import actions, repeating, steadiness
from runs.errors import Fault, InfraError, TaskError
from runs.models import AgentConfig, Run, Status, TestResult, Validation
from tasks.models import TaskVersion

logger = logging.getLogger(__name__)

ATTEMPTS = 3
MOST_NAMED = 5
TIMES = "\N{MULTIPLICATION SIGN}"

Verdict = TestResult.Verdict
BAD = (Verdict.FAILED, Verdict.ERROR, Verdict.MISSING)
# A test that fails like this knows names that only the reference makes.
NOT_THERE_YET = ("ImportError", "ModuleNotFoundError", "cannot import name", "No module named", "collection failure")

OK, WARNING, FAILED = "ok", "warning", "failed"


def start_validation(version: TaskVersion, *, sandbox: str = "auto", attempts: int = ATTEMPTS, by=None) -> Validation:
    """Make the runs of a validation, and return it; submit or drive its `runs` to set it going.

    A validation that is under way already is returned instead of a second one. Raises TaskError when the version has
    no reference diff, InfraError when no sandbox works here.
    """
    if not version.reference_diff_digest:
        raise TaskError(
            f"{version} has no reference diff, so nothing can show which tests must pass. "
            "Add diff.patch to the task and import it again."
        )
    under_way = version.validations.filter(status=Validation.Status.RUNNING, runs__in=Run.objects.active()).first()
    if under_way is not None:
        return under_way
    with transaction.atomic():
        validation = Validation.objects.create(task_version=version, sandbox=sandbox, attempts=attempts, created_by=by)
        for kind in ("nop", "oracle"):
            agent = AgentConfig.obtain(kind=kind)
            for _ in range(attempts):
                run = actions.create_run(
                    version=version,
                    agent=agent,
                    sandbox=sandbox,
                    by=by,
                    purpose=Run.Purpose.VALIDATION,
                    validation=validation,
                )
        steadiness.add_run_in_another_order(validation, by=by)
        validation.sandbox = run.sandbox
        validation.save(update_fields=["sandbox"])
        version.validation = TaskVersion.Validation.RUNNING
        version.save(update_fields=["validation"])
    return validation


def run_ended(run: Run) -> None:
    """Conclude the validation of a run that has ended, if it has one and this was its last."""
    if run.validation_id:
        conclude(Validation.objects.select_related("task_version__task").get(pk=run.validation_id))


def conclude(validation: Validation) -> bool:
    """Record what a validation found, once all its runs have ended. True for the one caller that recorded it.

    When a run could not be graded for a reason that is not the task's, the validation has failed and the version is
    what it was before.
    """
    own = list(validation.runs.select_related("agent", "image").order_by("agent__kind", "attempt"))
    if validation.status != Validation.Status.RUNNING or not all(run.is_over for run in own):
        return False
    version = validation.task_version
    earlier = repeating.earlier_runs(validation)
    runs = [*earlier, *own]
    ungraded = [run for run in runs if run.status != Status.FINISHED]
    if ungraded or not runs:
        return _end_undecided(validation, ungraded)
    if obstacle := repeating.obstacle(validation, earlier, own):
        return _fail(validation, obstacle)
    found = _derive(validation, runs)
    try:
        found.checks = [*_image_checks(version, runs, found), *found.checks]
    except Fault as fault:
        return _fail(validation, f"The image could not be checked: {fault}")
    with transaction.atomic():
        if not _take(validation, Validation.Status.DONE):
            return False
        version.record_validation(
            valid=not found.fault,
            reason=found.fault,
            fail_to_pass=found.fail_to_pass,
            pass_to_pass=found.pass_to_pass,
            excluded=found.excluded,
            checks=found.checks,
        )
    return True


def await_conclusion(validation: Validation, *, patience_s: float = 60) -> None:
    """Return when a validation whose runs have all ended is concluded, by whoever ended the last of them.

    When that process died before it could, this one concludes.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        validation.refresh_from_db()
        if validation.status != Validation.Status.RUNNING:
            return
        time.sleep(0.1)
    conclude(validation)


def _take(validation: Validation, status: str, error: str = "") -> bool:
    """End the validation, unless another process already has."""
    open_still = Validation.objects.filter(pk=validation.pk, status=Validation.Status.RUNNING)
    took = open_still.update(status=status, error=error, finished_at=timezone.now())
    if took:
        validation.refresh_from_db()
    return bool(took)


def _end_undecided(validation: Validation, ungraded: list[Run]) -> bool:
    """End a validation of which some runs have no outcome: by the task's fault it is not valid, else undecided."""
    of_task = next((run for run in ungraded if run.fault == TaskError.side), None)
    others = [run for run in ungraded if run.fault != TaskError.side]
    if of_task is None or others:
        run = others[0] if others else None
        return _fail(validation, (run.error if run else "") or "A run of the validation was cancelled.")
    with transaction.atomic():
        if not _take(validation, Validation.Status.DONE):
            return False
        check = _check("Runs", FAILED, of_task.error)
        validation.task_version.record_validation(
            valid=False, reason=of_task.error, fail_to_pass=[], pass_to_pass=[], excluded=[], checks=[check]
        )
    return True


def _fail(validation: Validation, error: str) -> bool:
    with transaction.atomic():
        if not _take(validation, Validation.Status.FAILED, error):
            return False
        version = validation.task_version
        if not version.validations.filter(status=Validation.Status.RUNNING).exists():
            version.validation = _state_before(version)
            version.save(update_fields=["validation"])
    return True


def _state_before(version: TaskVersion) -> str:
    """Return what the last validation that concluded made of the version."""
    if version.validated_at is None:
        return TaskVersion.Validation.NONE
    return TaskVersion.Validation.INVALID if version.validation_reason else TaskVersion.Validation.VALID


@dataclass(kw_only=True)
class Found:
    """What the runs of a validation show. `fault` says in a sentence why the version is not valid, or is empty."""

    fail_to_pass: list[str] = field(default_factory=list)
    pass_to_pass: list[str] = field(default_factory=list)
    excluded: list[dict[str, str]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    fault: str = ""


Seen = dict[str, list[str]]
"""Verdicts of each test, one for each run; a test that a run did not report is missing there."""


def _derive(validation: Validation, runs: list[Run]) -> Found:
    before = [run for run in runs if run.agent.kind == "nop"]
    after = [run for run in runs if run.agent.kind == "oracle" and not steadiness.is_in_another_order(run)]
    shuffled = [run for run in runs if steadiness.is_in_another_order(run)]
    by_hand = steadiness.quarantined_by_hand(validation.task_version)
    seen_before, seen_after, messages = _verdicts(validation, before, after)
    found = Found()
    for test_id in sorted(seen_before.keys() | seen_after.keys()):
        if _is_no_test(test_id, seen_before[test_id], seen_after[test_id]):
            continue
        reason = by_hand.get(test_id) or _place(seen_before[test_id], seen_after[test_id])
        if reason == "fail_to_pass":
            found.fail_to_pass.append(test_id)
        elif reason == "pass_to_pass":
            found.pass_to_pass.append(test_id)
        else:
            found.excluded.append({"id": test_id, "reason": reason})
    moved = steadiness.tests_that_need_their_order(shuffled, [*found.fail_to_pass, *found.pass_to_pass])
    found.fail_to_pass = [test for test in found.fail_to_pass if test not in moved]
    found.pass_to_pass = [test for test in found.pass_to_pass if test not in moved]
    found.excluded += [{"id": test, "reason": steadiness.NEEDS_ORDER} for test in moved]
    found.fault = _fault(found, after, seen_after)
    found.checks = [
        _before_check(found, before, seen_before, messages),
        _after_check(found, after, seen_after),
        steadiness.order_check(validation.task_version, shuffled, moved),
        steadiness.network_check(runs),
        steadiness.instructions_check(validation.task_version),
        _quarantine_check(found),
    ]
    return found


def _verdicts(validation: Validation, before: list[Run], after: list[Run]) -> tuple[Seen, Seen, dict[str, str]]:
    """Return what nop's and oracle's runs say of every test, and a message of each test that nop fails."""
    rows = TestResult.objects.filter(run__in=[*before, *after]).values_list("run_id", "test_id", "verdict", "message")
    by_run: dict[Any, dict[str, str]] = {run.pk: {} for run in [*before, *after]}
    messages: dict[str, str] = {}
    nops = {run.pk for run in before}
    for run_id, test_id, verdict, message in rows:
        by_run[run_id][test_id] = verdict
        if run_id in nops and verdict in BAD:
            messages.setdefault(test_id, message)
    names = sorted({test_id for verdicts in by_run.values() for test_id in verdicts})

    def seen(group: list[Run]) -> Seen:
        return {name: [by_run[run.pk].get(name, Verdict.MISSING) for run in group] for name in names}

    return seen(before), seen(after), messages


def _place(before: list[str], after: list[str]) -> str:
    """Return fail_to_pass, pass_to_pass, or the reason why a test is neither."""
    passed_before, passed_after = before.count(Verdict.PASSED), after.count(Verdict.PASSED)
    if passed_after == len(after):
        if passed_before == len(before):
            return "pass_to_pass"
        if all(verdict in BAD for verdict in before):
            return "fail_to_pass"
        if all(verdict == Verdict.SKIPPED for verdict in before):
            return "skipped before, passes with the reference"
        return f"flaky: {_counted(before)} before the change"
    if all(verdict == Verdict.SKIPPED for verdict in after):
        return "skipped with the reference"
    if all(verdict == Verdict.MISSING for verdict in after):
        return "not collected with the reference"
    if passed_after or Verdict.SKIPPED in after:
        return f"flaky: {_counted(after)} with the reference"
    return "passes before, fails with the reference" if passed_before else "always fails"


def _is_no_test(test_id: str, before: list[str], after: list[str]) -> bool:
    """Whether it is a test file that could not be imported before the change: its tests then have ids of their own."""
    return test_id.startswith("::") and all(verdict in BAD for verdict in before) and set(after) == {Verdict.MISSING}


def _counted(verdicts: list[str]) -> str:
    counts = Counter(verdicts)
    if counts[Verdict.PASSED]:
        return f"passed {counts[Verdict.PASSED]} of {len(verdicts)} times"
    return f"skipped {counts[Verdict.SKIPPED]} of {len(verdicts)} times"


def _fault(found: Found, after: list[Run], seen_after: Seen) -> str:
    """Return why the version is not valid, the deepest reason first."""
    for run in after:
        if run.outcome == "patch_failed":
            return f"The reference does not apply. {_grading(run)}".strip()
        if not run.diff_bytes:
            return f"The reference changed nothing. {run.error}".strip()
        if run.detail.get("tampered"):
            return f"The reference cannot be graded. {_grading(run)}".strip()
    reported = any(verdict != Verdict.MISSING for verdicts in seen_after.values() for verdict in verdicts)
    if not reported:
        return f"No test was collected with the reference. {_grading(after[0])}".strip()
    if not any(Verdict.PASSED in verdicts for verdicts in seen_after.values()):
        return f"The reference does not pass: no test passes with it. {_grading(after[0])}".strip()
    if not found.fail_to_pass:
        unsteady = sum(row["reason"].startswith("flaky") for row in found.excluded)
        more = f" {unsteady} tests are flaky." if unsteady else ""
        return (
            "No test fails before the change and passes with the reference, so nothing tells a solution from doing "
            f"nothing.{more} Add a hidden test that the change makes pass."
        )
    return ""


def _grading(run: Run) -> str:
    return str(run.detail.get("grading") or "")


def _check(name: str, status: str, evidence: str, runs: Iterable[Run] = ()) -> dict[str, Any]:
    """Return one row of the list of checks; `seconds` is what its runs took, None when it took none."""
    spent = [run.seconds for run in runs if run.seconds is not None]
    return {
        "name": name,
        "status": status,
        "evidence": evidence,
        "seconds": round(sum(spent), 3) if spent else None,
    }


def _before_check(found: Found, runs: list[Run], seen: Seen, messages: Mapping[str, str]) -> dict[str, Any]:
    name = f"Do nothing {TIMES} {len(runs)}"
    if not found.fail_to_pass:
        return _check(name, FAILED, "No test fails every time that passes with the reference", runs)
    count = len(found.fail_to_pass)
    evidence = f"{count} of {count} fail-to-pass tests fail every time"
    coupled = [test for test in found.fail_to_pass if _is_coupled(seen[test], messages.get(test, ""))]
    if not coupled:
        return _check(name, OK, evidence, runs)
    evidence += (
        f"; {len(coupled)} of them only because something is not there yet ({_named(coupled)}): "
        "see that the instructions say which names to use"
    )
    return _check(name, WARNING, evidence, runs)


def _is_coupled(verdicts: list[str], message: str) -> bool:
    """Whether a test cannot even be collected or imported before the change."""
    return set(verdicts) == {Verdict.MISSING} or any(words in message for words in NOT_THERE_YET)


def _after_check(found: Found, runs: list[Run], seen: Seen) -> dict[str, Any]:
    name = f"Reference {TIMES} {len(runs)}"
    collected = [test for test, verdicts in seen.items() if set(verdicts) - {Verdict.MISSING, Verdict.SKIPPED}]
    steady = [test for test in collected if set(seen[test]) == {Verdict.PASSED}]
    evidence = f"{len(steady)} of {len(collected)} tests pass every time"
    if not steady:
        return _check(name, FAILED, f"{evidence}. {_grading(runs[0])}".strip(), runs)
    return _check(name, OK if len(steady) == len(collected) else WARNING, evidence, runs)


def _quarantine_check(found: Found) -> dict[str, Any]:
    quarantined = [row for row in found.excluded if not row["reason"].startswith("skipped")]
    if not quarantined:
        skipped = f"; {len(found.excluded)} are skipped" if found.excluded else ""
        return _check("Quarantined", OK, f"No test is left out for being unreliable{skipped}")
    named = [f"{row['id']} ({row['reason']})" for row in quarantined]
    return _check("Quarantined", WARNING, f"{len(quarantined)} left out: {_named(named)}")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _image_checks(version: TaskVersion, runs: list[Run], found: Found) -> list[dict[str, Any]]:
    """Return what the image shows: one commit, built, and nothing of the answer in it. A failed one is a fault."""
    from runs import images, sandboxes

    image = next((run.image for run in runs if run.image is not None), None)
    if image is None:
        return []
    try:
        checks = [dict(check) for check in images.checks(version, image, sandboxes.get(image.sandbox))]
    except (OSError, LookupError, ValueError) as error:
        raise InfraError(str(error)) from error
    bad = next((check for check in checks if check["status"] == FAILED), None)
    if bad and not found.fault:
        found.fault = f"{bad['name']}: {bad['evidence']}"
    return checks
