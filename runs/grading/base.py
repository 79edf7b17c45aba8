"""What a grading is made of: the outcome of each test, the sets that validation fixed, and the grade."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runs.models import TestResult

if TYPE_CHECKING:
    from tasks.models import TaskVersion

LONGEST_MESSAGE = 500
LONGEST_OUTPUT = 20_000


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """How one test ended. `seconds` is None when the report does not say, or says nonsense."""

    __test__ = False  # its name would make pytest collect it

    test_id: str
    group: TestResult.Group = TestResult.Group.OTHER
    verdict: TestResult.Verdict
    seconds: float | None = None
    message: str = ""
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """The sets that validation fixed for a task version; all empty before the first one."""

    fail_to_pass: frozenset[str] = frozenset()
    pass_to_pass: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    @classmethod
    def of(cls, version: TaskVersion) -> Expectations:
        """Return the sets of a version. Those of a version found not valid do not count: it is graded as if new."""
        if version.validation_reason:
            return cls()
        lists = version.expectations()
        return cls(
            fail_to_pass=frozenset(lists["fail_to_pass"]),
            pass_to_pass=frozenset(lists["pass_to_pass"]),
            excluded=frozenset(row["id"] for row in lists["excluded"]),
        )

    def __bool__(self) -> bool:
        return bool(self.fail_to_pass or self.pass_to_pass)

    def group_of(self, test_id: str) -> TestResult.Group:
        """Return what a test counts as."""
        if test_id in self.fail_to_pass:
            return TestResult.Group.FAIL_TO_PASS
        if test_id in self.pass_to_pass:
            return TestResult.Group.PASS_TO_PASS
        return TestResult.Group.EXCLUDED if test_id in self.excluded else TestResult.Group.OTHER


@dataclass(kw_only=True)
class Reading:
    """What a framework's report says, before it is held against the expectations.

    `complete` means that the tests ran to their end. `tampered` says in a sentence how the report betrays itself;
    then nothing in it is believed. `note` says why it is not complete, or what else a person should know.
    """

    outcomes: dict[str, TestOutcome] = field(default_factory=dict)
    complete: bool = False
    tampered: str = ""
    note: str = ""
    report: bytes = b""

    def add(self, outcomes: Iterable[TestOutcome]) -> None:
        """Add outcomes; of two with one id the worse verdict counts, and their seconds are summed."""
        for outcome in outcomes:
            first = self.outcomes.get(outcome.test_id)
            self.outcomes[outcome.test_id] = outcome if first is None else _worse(first, outcome)


# Of two results with the same id the one further right counts.
_SEVERITY = ("passed", "skipped", "missing", "error", "failed")


def _worse(first: TestOutcome, second: TestOutcome) -> TestOutcome:
    worst = max(first, second, key=lambda outcome: _SEVERITY.index(outcome.verdict))
    known = [outcome.seconds for outcome in (first, second) if outcome.seconds is not None]
    return TestOutcome(
        test_id=worst.test_id,
        group=worst.group,
        verdict=worst.verdict,
        seconds=sum(known) if known else None,
        message=worst.message,
        output=worst.output,
    )


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What grading one diff came to. `reason` is a sentence for a person.

    `outcome` is resolved, unresolved or patch_failed. Artifacts are name → (media type, bytes).
    """

    outcome: str
    results: list[TestOutcome] = field(default_factory=list)
    reason: str = ""
    fail_to_pass_passed: int = 0
    fail_to_pass_failed: int = 0
    pass_to_pass_passed: int = 0
    pass_to_pass_failed: int = 0
    artifacts: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tampered: bool = False
    isolation: str = ""
