"""rust: `cargo test`, whose stable text output becomes results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from runs.errors import TaskError
from runs.grading.base import Reading, TestOutcome
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.frameworks.go import judge_by_status
from runs.grading.reports import outcome
from runs.models import TestResult

Verdict = TestResult.Verdict

SCRIPT = """command -v cargo >/dev/null || { printf '%s missing\\n' "$begun"; exit 0; }
printf '%s ran\\n' "$begun"
CARGO_NET_OFFLINE=true CARGO_TERM_COLOR=never RUST_BACKTRACE=0 cargo test --no-fail-fast 2>&1
status=$?
printf '\\n%s exit %s\\n' "$ended" "$status"
"""

MISSING = (
    "There is no cargo in the image, so its tests cannot be run. Use a base image that has Rust, add cargo to "
    "environment.packages, or give an environment.test_command."
)

RUNNING = re.compile(r"\s+Running (?:unittests )?(\S+) \((?:.*/)?([^/()]+?)-[0-9a-f]{8,}(?:\.exe)?\)")
DOC_TESTS = re.compile(r"\s+Doc-tests (\S+)")
RESULT = re.compile(r"test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:, .*)?(?: <([0-9.]+)s>)?")
STARTED = re.compile(r"running ([0-9]+) tests?")
SUMMARY = re.compile(r"test result: (?:ok|FAILED)\. ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored; .*")
STDOUT_OF = re.compile(r"---- (.+?) stdout ----")

VERDICT_OF_WORD = {"ok": Verdict.PASSED, "FAILED": Verdict.FAILED, "ignored": Verdict.SKIPPED}


class Rust:
    """A test's id is `crate:file::path::of::test`, or `crate:doc::…` for the examples in documentation."""

    name = "rust"

    def files(self, plan: Plan) -> dict[str, bytes]:
        return {}

    def script(self, plan: Plan) -> str:
        return SCRIPT

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        if transcript.state == "missing":
            raise TaskError(MISSING)
        reading = Reading(report=transcript.body)
        lines = transcript.body.decode("utf-8", "replace").splitlines()
        reading.add(read_lines(lines))
        judge_by_status(reading, transcript.status, "cargo test")
        if not reading.tampered and (odd := counts_that_disagree(lines)):
            reading.tampered, reading.complete = odd, False
        return reading


def read_lines(lines: Iterable[str]) -> Iterator[TestOutcome]:
    """Turn the output of `cargo test` into outcomes, with what failing tests printed."""
    target = ""
    found: list[tuple[str, Verdict, str | None]] = []
    printed: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        if match := RUNNING.fullmatch(line):
            target, current = f"{match.group(2)}:{match.group(1)}", None
        elif match := DOC_TESTS.fullmatch(line):
            target, current = f"{match.group(1)}:doc", None
        elif match := RESULT.fullmatch(line):
            found.append((f"{target}::{match.group(1)}", VERDICT_OF_WORD[match.group(2)], match.group(3)))
        elif match := STDOUT_OF.fullmatch(line):
            current = printed.setdefault(f"{target}::{match.group(1)}", [])
        elif line.startswith(("failures:", "test result:")):
            current = None
        elif current is not None and len(current) < 500:
            current.append(line)
    for name, verdict, seconds in found:
        output = "\n".join(printed.get(name, [])).strip() if verdict == Verdict.FAILED else ""
        said = [line for line in output.splitlines() if line and not line.startswith(("thread '", "note: "))]
        yield outcome(name, verdict, seconds=seconds, message=said[0] if said else "", output=output)


def counts_that_disagree(lines: Iterable[str]) -> str:
    """Return a sentence when a test binary announces, runs and sums up different numbers of tests; else "".

    The tests of a binary and the code under test print to the same place, so this is what tells of forged lines.
    """
    announced, seen = None, 0
    for line in lines:
        if match := STARTED.fullmatch(line):
            if announced is not None:
                return "a test binary ended without summing up its tests"
            announced, seen = int(match.group(1)), 0
        elif RESULT.fullmatch(line):
            seen += 1
        elif match := SUMMARY.fullmatch(line):
            total = sum(int(number) for number in match.groups())
            if announced is None or not announced == seen == total:
                return f"a test binary announced {announced} tests, named {seen} and summed up {total}"
            announced = None
    return "" if announced is None else "a test binary ended without summing up its tests"
