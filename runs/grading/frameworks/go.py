"""go: `go test -json ./...`, whose events become results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from runs.errors import TaskError
from runs.grading.base import Reading, TestOutcome
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.reports import LONGEST_OUTPUT, outcome
from runs.models import TestResult

Verdict = TestResult.Verdict

SCRIPT = """command -v go >/dev/null || { printf '%s missing\\n' "$begun"; exit 0; }
printf '%s ran\\n' "$begun"
GOFLAGS="${GOFLAGS:-} -count=1" GOPROXY=off go test -json ./... 2>&1
status=$?
printf '\\n%s exit %s\\n' "$ended" "$status"
"""

MISSING = (
    "There is no Go in the image, so its tests cannot be run. Use a base image that has it, add golang to "
    "environment.packages, or give an environment.test_command."
)

VERDICT_OF_ACTION = {"pass": Verdict.PASSED, "fail": Verdict.FAILED, "skip": Verdict.SKIPPED}


class Go:
    """A test's id is `package::TestName/subtest`. Test binaries write to a pipe that go itself reads."""

    name = "go"

    def files(self, plan: Plan) -> dict[str, bytes]:
        return {}

    def script(self, plan: Plan) -> str:
        return SCRIPT

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        if transcript.state == "missing":
            raise TaskError(MISSING)
        reading = Reading(report=transcript.body)
        reading.add(read_events(transcript.body.decode("utf-8", "replace").splitlines()))
        judge_by_status(reading, transcript.status, "go test")
        return reading


def judge_by_status(reading: Reading, status: int | None, program: str) -> None:
    """Hold results against the exit status of a program that ends with 0 exactly when all tests passed."""
    bad = any(one.verdict in (Verdict.FAILED, Verdict.ERROR) for one in reading.outcomes.values())
    if status is None:
        reading.note = f"{program} was ended before its report was complete"
    elif status == 0 and bad:
        reading.tampered = f"tests failed, but {program} ended with exit status 0"
    elif status != 0 and not bad and reading.outcomes:
        reading.tampered = f"no test failed, but {program} ended with exit status {status}"
    reading.complete = not reading.note and not reading.tampered


def read_events(lines: Iterable[str]) -> Iterator[TestOutcome]:
    """Turn the lines of `go test -json` into outcomes; lines that are no events are skipped.

    A test that began and never ended is an error, and so is a package that could not be built or ended badly
    without a failing test (`package::(package)`).
    """
    running: dict[tuple[str, str], list[str]] = {}
    failed_in: set[str] = set()
    for event in _events(lines):
        package, test, action = event["Package"], event.get("Test", ""), event["Action"]
        key = (package, test)
        if action in ("run", "start"):
            running.setdefault(key, [])
        elif action == "output":
            _keep(running.setdefault(key, []), str(event.get("Output", "")))
        elif action in VERDICT_OF_ACTION:
            output = "".join(running.pop(key, []))
            verdict = VERDICT_OF_ACTION[action]
            if test:
                if verdict == Verdict.FAILED:
                    failed_in.add(package)
                yield _outcome(package, test, verdict, event.get("Elapsed"), output)
            elif verdict == Verdict.FAILED and package not in failed_in:
                yield _outcome(package, "(package)", Verdict.ERROR, None, output)
    for (package, test), output_lines in running.items():
        if test:
            yield _outcome(package, test, Verdict.ERROR, None, "".join([*output_lines, "The test did not end."]))


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("Package"), str) and isinstance(event.get("Action"), str):
            yield {**event, "Test": str(event.get("Test") or "")}


def _keep(lines: list[str], text: str) -> None:
    if sum(map(len, lines[-50:])) < LONGEST_OUTPUT and len(lines) < 2000:
        lines.append(text)


def _outcome(package: str, test: str, verdict: Verdict, elapsed: object, output: str) -> TestOutcome:
    told = "" if verdict == Verdict.PASSED else output
    said = next((line.strip() for line in told.splitlines() if _says_something(line)), "")
    return outcome(f"{package}::{test}", verdict, seconds=elapsed, message=said, output=told)


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(("=== ", "--- "))
