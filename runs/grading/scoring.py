"""Holds what a report says against what validation fixed. Strict: only a test that was seen to pass has passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from runs.grading.base import Expectations, Grade, Reading, TestOutcome
from runs.grading.reports import MOST_TESTS
from runs.models import Outcome, TestResult

Group = TestResult.Group
Verdict = TestResult.Verdict

NOT_BELIEVED = "The report is not believed, so this counts as not passed."


def score(reading: Reading, expected: Expectations) -> Grade:
    """Return the grade of a reading.

    Every expected test must have passed, in a run that came to its end with a report that does not betray itself.
    Without expectations (a version that is being validated) something must have passed and nothing failed.
    """
    results = _grouped(reading, expected)
    to_fix, to_keep = (_counts(results, group) for group in (Group.FAIL_TO_PASS, Group.PASS_TO_PASS))
    if expected:
        good = to_fix[1] == 0 and to_keep[1] == 0
    else:
        verdicts = [one.verdict for one in results]
        good = Verdict.PASSED in verdicts and not {Verdict.FAILED, Verdict.ERROR, Verdict.MISSING} & set(verdicts)
    resolved = good and reading.complete
    return Grade(
        outcome=Outcome.RESOLVED if resolved else Outcome.UNRESOLVED,
        results=results,
        reason=_reason(reading, expected, results, to_fix, to_keep),
        fail_to_pass_passed=to_fix[0],
        fail_to_pass_failed=to_fix[1],
        pass_to_pass_passed=to_keep[0],
        pass_to_pass_failed=to_keep[1],
        tampered=bool(reading.tampered),
    )


def nothing_passed(expected: Expectations, *, outcome: str, reason: str) -> Grade:
    """Return the grade of a diff that no test was run on."""
    grade = score(Reading(), expected)
    return replace(grade, outcome=outcome, reason=reason)


def _grouped(reading: Reading, expected: Expectations) -> list[TestOutcome]:
    """Return one outcome for every expected test, and those of the others that the report names."""
    wanted = expected.fail_to_pass | expected.pass_to_pass
    believed = {} if reading.tampered else reading.outcomes
    message = NOT_BELIEVED if reading.tampered else ""
    results = [
        replace(found, group=expected.group_of(test_id))
        if (found := believed.get(test_id))
        else TestOutcome(test_id=test_id, group=expected.group_of(test_id), verdict=Verdict.MISSING, message=message)
        for test_id in sorted(wanted)
    ]
    others = [one for test_id, one in believed.items() if test_id not in wanted]
    room = max(0, MOST_TESTS - len(results))
    return results + [replace(one, group=expected.group_of(one.test_id)) for one in others[:room]]


def _counts(results: Iterable[TestOutcome], group: Group) -> tuple[int, int]:
    """Return how many of a group (passed, did not pass)."""
    verdicts = [one.verdict for one in results if one.group == group]
    passed = verdicts.count(Verdict.PASSED)
    return passed, len(verdicts) - passed


def _reason(
    reading: Reading,
    expected: Expectations,
    results: list[TestOutcome],
    to_fix: tuple[int, int],
    to_keep: tuple[int, int],
) -> str:
    if reading.tampered:
        return f"Nothing in the test report is believed: {reading.tampered}."
    said = _said(to_fix, to_keep) if expected else _said_without_expectations(results)
    if not reading.outcomes:
        said = "No test was run."
    return f"{said} {_sentence(reading.note)}".strip()


def _said(to_fix: tuple[int, int], to_keep: tuple[int, int]) -> str:
    if not to_fix[1] and not to_keep[1]:
        return f"{sum(to_fix)} of {sum(to_fix)} tests to fix and {sum(to_keep)} of {sum(to_keep)} to keep pass."
    parts = []
    if to_fix[1]:
        parts.append(f"{to_fix[1]} of {sum(to_fix)} tests to fix do not pass")
    if to_keep[1]:
        parts.append(f"{to_keep[1]} of {sum(to_keep)} tests to keep no longer pass")
    return ", ".join(parts) + "."


def _said_without_expectations(results: list[TestOutcome]) -> str:
    verdicts = [one.verdict for one in results]
    passed, skipped = verdicts.count(Verdict.PASSED), verdicts.count(Verdict.SKIPPED)
    bad = len(verdicts) - passed - skipped
    return f"{passed} tests passed, {bad} failed, {skipped} were skipped."


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:].rstrip('.')}." if note else ""
