"""What the frameworks share whose runner is ours: it signs what it sends, so the reading can tell what to believe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runs.errors import TaskError
from runs.grading.base import Reading, TestOutcome
from runs.grading.channel import Frames, Transcript, read_frames
from runs.grading.driver import Plan
from runs.grading.reports import BadReport, outcome, parse_junit
from runs.models import TestResult

Verdict = TestResult.Verdict


def read_signed(transcript: Transcript, plan: Plan, *, checks: bool, missing: str) -> Reading:
    """Return the reading of a signed transcript. `checks` says that the two tests of our own must be in it.

    Raises TaskError with the sentence `missing` when the image lacks the runner.
    """
    if transcript.state == "missing":
        raise TaskError(missing)
    frames = read_frames(transcript.body, plan.tokens)
    if frames.missing is not None:
        raise TaskError(f"{missing} {str(frames.missing.get('why') or '')[:300]}".strip())
    reading = Reading(report=frames.report or b"")
    if frames.forged:
        reading.tampered = "something else than the test runner wrote to its report"
        return reading
    if frames.end is None or frames.report is None:
        return _unfinished(reading, frames, plan)
    try:
        reading.add(parse_junit(frames.report))
    except BadReport as error:
        if frames.report:
            reading.note = str(error)
            return reading
    _check_end(reading, frames.end, transcript, plan, checks=checks)
    return reading


def _unfinished(reading: Reading, frames: Frames, plan: Plan) -> Reading:
    """Keep what was told of single tests before the runner ended too early."""
    reading.add(_told(frames.cases))
    for name in _names_of_checks(plan):
        reading.outcomes.pop(name, None)
    last = frames.cases[-1].get("id") if frames.cases else None
    reading.note = "the test runner ended before its report" + (f"; the last test to end was {last}" if last else "")
    return reading


def _told(cases: Iterable[dict[str, Any]]) -> Iterable[TestOutcome]:
    for case in cases:
        if case.get("verdict") in Verdict.values:
            yield outcome(
                str(case.get("id")), case["verdict"], seconds=case.get("seconds"), message=case.get("message")
            )


def _names_of_checks(plan: Plan) -> tuple[str, str]:
    """Return the test ids of (the check that must pass, the one that must fail)."""
    module, good, bad = (plan.tokens.name(purpose) for purpose in ("module", "passes", "fails"))
    return f"test_{module}::test_{good}", f"test_{module}::test_{bad}"


def _check_end(reading: Reading, end: dict[str, Any], transcript: Transcript, plan: Plan, *, checks: bool) -> None:
    """Hold the report against the exit status and our own tests, and take those out of it."""
    good, bad = (_pop(reading, name) for name in _names_of_checks(plan))
    status = end.get("status")
    if changed := end.get("changed"):
        names = ", ".join(str(name) for name in changed[:5])
        reading.tampered = f"the test runner's own code was replaced while the tests ran ({names})"
    elif status not in (0, 1):
        how = "was stopped" if status is None else f"stopped with exit status {status}"
        reading.note = f"the test runner {how}" + (f": {end['error']}" if end.get("error") else "")
    elif transcript.status is not None and transcript.status != status and transcript.status < 128:
        reading.tampered = f"the test runner said {status}, but ended with exit status {transcript.status}"
    elif checks and not (good is None and bad is None and not reading.outcomes):
        reading.tampered = _fault_of_checks(good, bad, status)
    elif not checks and (status == 0) != all(_is_fine(one) for one in reading.outcomes.values()):
        reading.tampered = f"the report and the exit status {status} contradict each other"
    if not reading.outcomes and not reading.tampered and not reading.note:
        reading.note = "no test was found"
    reading.complete = not reading.tampered and not reading.note


def _pop(reading: Reading, name: str) -> Verdict | None:
    found = reading.outcomes.pop(name, None)
    return None if found is None else found.verdict


def _fault_of_checks(good: Verdict | None, bad: Verdict | None, status: int) -> str:
    if good is None or bad is None:
        return "the report lacks the tests that the grading itself had put there"
    if bad != Verdict.FAILED:
        return f"a test that the grading itself had put there to fail was reported as {bad}"
    if good != Verdict.PASSED:
        return f"a test that the grading itself had put there to pass was reported as {good}"
    return "tests failed, but the test runner ended with exit status 0" if status == 0 else ""


def _is_fine(one: TestOutcome) -> bool:
    return one.verdict in (Verdict.PASSED, Verdict.SKIPPED)
