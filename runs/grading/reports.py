"""Reads JUnit XML that may be hostile: no entities, bounded in size, depth and number, odd characters and times."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from runs.grading.base import LONGEST_MESSAGE, LONGEST_OUTPUT, TestOutcome
from runs.models import TestResult

LARGEST_REPORT = 48_000_000
MOST_TESTS = 100_000
DEEPEST = 60
# Rows are found by an index, and an index row of PostgreSQL holds 2.7 kB.
LONGEST_ID = 1_000
LONGEST_TEST_S = 1_000_000.0

Verdict = TestResult.Verdict

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# pytest writes these headings also where nothing was captured.
EMPTY_CAPTURE = re.compile(r"-{5,} Captured (?:Log|Out|Err) -{5,}\s*(?=-{5,} Captured|\Z)")
VERDICT_OF_TAG = {
    "failure": Verdict.FAILED,
    "error": Verdict.ERROR,
    "skipped": Verdict.SKIPPED,
    # Surefire's: failed at last, after some tries.
    "rerunFailure": Verdict.FAILED,
    "rerunError": Verdict.ERROR,
}


class BadReport(Exception):
    """The report cannot be read; the message says why."""


def outcome(
    name: str, verdict: str, *, seconds: object = None, message: object = "", output: object = ""
) -> TestOutcome:
    """Return a test's outcome with everything made printable and bounded; `name` is `classname::name`."""
    text = clean(output)
    short = " ".join(clean(message).split()) or first_line(text)
    return TestOutcome(
        test_id=bounded_id(name),
        verdict=Verdict(verdict),
        seconds=read_seconds(seconds),
        message=short if len(short) <= LONGEST_MESSAGE else short[: LONGEST_MESSAGE - 1] + "…",
        output=shorten(text, LONGEST_OUTPUT),
    )


def clean(text: object) -> str:
    """Return text without the control characters that no report, page or database takes."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text)) if text else ""


def first_line(text: str) -> str:
    """Return what a traceback says in a line: pytest's first `E` line, else the first that is not empty."""
    lines = [line.strip() for line in text[:LONGEST_OUTPUT].splitlines() if line.strip()]
    said = next((line[1:].strip() for line in lines if line.startswith("E  ")), "")
    return said or (lines[0] if lines else "")


def shorten(text: str, most: int) -> str:
    """Cut the middle out of a text that is too long, and say so there."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def bounded_id(name: str) -> str:
    """Return a test id that fits into a database index; a longer one keeps its start and gets a digest."""
    name = clean(name).replace("\n", " ").replace("\r", " ").strip()
    raw = name.encode("utf-8", "replace")
    if len(raw) <= LONGEST_ID:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return raw[: LONGEST_ID - 20].decode("utf-8", "ignore") + f"…{digest}"


def read_seconds(value: object) -> float | None:
    """Return a duration, or None for what is none: no number, infinite, negative, longer than eleven days."""
    try:
        seconds = float(str(value).replace(",", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= LONGEST_TEST_S else None


def parse_junit(data: bytes) -> list[TestOutcome]:
    """Return the test cases of a JUnit report in its order, duplicates included. Raises BadReport."""
    if len(data) > LARGEST_REPORT:
        raise BadReport(f"The report has {len(data):,} bytes; at most {LARGEST_REPORT:,} are read.")
    target = _Cases()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        parser.feed(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _decode(data)))
        parser.close()
    except DefusedXmlException as error:
        raise BadReport("The report declares a document type or entities, which no test report needs.") from error
    except ParseError as error:
        raise BadReport(f"The report is no XML: {error}.") from error
    return target.outcomes


def parse_all(reports: Iterable[bytes]) -> list[TestOutcome]:
    """Return the test cases of several reports, such as one for each module. Raises BadReport."""
    return [case for report in reports for case in parse_junit(report)]


def _decode(data: bytes) -> str:
    """Decode by byte order mark or declaration; the parser then gets text and believes neither."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]{1,40})["']""", data[:300])
    try:
        return data.decode(declared.group(1).decode() if declared else "utf-8-sig", "replace").removeprefix("\ufeff")
    except LookupError as error:
        raise BadReport("The report declares an encoding that does not exist.") from error


class _Cases:
    """Gathers test cases while the parser walks, so that a report is never held as a tree."""

    def __init__(self) -> None:
        self.outcomes: list[TestOutcome] = []
        self._depth = 0
        self._suites: list[str] = []
        self._case: dict[str, str] | None = None
        self._verdict = Verdict.PASSED
        self._message = ""
        self._reading = ""
        self._texts: list[str] = []
        self._room = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadReport(f"The report is nested more than {DEEPEST} levels deep.")
        tag = tag.rpartition("}")[2]
        if tag == "testcase":
            self._case, self._message, self._texts, self._room = attributes, "", [], 4 * LONGEST_OUTPUT
            not_run = attributes.get("status") in ("notrun", "skipped", "disabled")
            self._verdict = Verdict.SKIPPED if not_run else Verdict.PASSED
        elif self._case is None:
            self._suites.append(attributes.get("name", ""))
        elif tag in VERDICT_OF_TAG:
            self._reading = tag
            self._found(VERDICT_OF_TAG[tag], attributes)
        elif tag in ("system-out", "system-err"):
            self._reading = tag

    def _found(self, verdict: Verdict, attributes: dict[str, str]) -> None:
        order = (Verdict.PASSED, Verdict.SKIPPED, Verdict.ERROR, Verdict.FAILED)
        if order.index(verdict) > order.index(self._verdict):
            self._verdict = verdict
            kind, message = attributes.get("type", ""), attributes.get("message", "")
            self._message = message if message or not kind else kind

    def data(self, text: str) -> None:
        if self._reading and self._room > 0:
            self._texts.append(text[: self._room])
            self._room -= len(text)

    def end(self, tag: str) -> None:
        self._depth -= 1
        tag = tag.rpartition("}")[2]
        if tag == "testcase" and self._case is not None:
            self._finish(self._case)
            self._case = None
        elif self._case is None:
            if self._suites:
                self._suites.pop()
        elif tag == self._reading:
            self._reading = ""
            self._texts.append("\n")

    def _finish(self, case: dict[str, str]) -> None:
        if len(self.outcomes) >= MOST_TESTS:
            raise BadReport(f"The report has more than {MOST_TESTS:,} tests.")
        classname = case.get("classname") or case.get("class") or ""
        if not classname and "classname" not in case and self._suites:
            classname = self._suites[-1]
        self.outcomes.append(
            outcome(
                f"{classname}::{case.get('name', '')}",
                self._verdict,
                seconds=case.get("time"),
                message=self._message if self._verdict != Verdict.PASSED else "",
                output=EMPTY_CAPTURE.sub("", "".join(self._texts)).strip("\n")
                if self._verdict != Verdict.PASSED
                else "",
            )
        )

    def close(self) -> None:
        """Nothing is left to do; the parser asks for it."""
