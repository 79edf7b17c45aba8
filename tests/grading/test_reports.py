"""JUnit reports are read whoever wrote them, and hostile ones do no harm."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.grading import reports
from runs.grading.base import Reading
from runs.grading.reports import BadReport, parse_junit


def cases(*rows: str) -> bytes:
    return f"<testsuites><testsuite name='s'>{''.join(rows)}</testsuite></testsuites>".encode()


def only(data: bytes):
    (found,) = parse_junit(data)
    return found


def test_a_test_without_children_has_passed():
    found = only(cases("<testcase classname='tests.test_a.TestX' name='test_it[1-a]' time='0.25'/>"))
    assert (found.test_id, found.verdict, found.seconds) == ("tests.test_a.TestX::test_it[1-a]", "passed", 0.25)


@pytest.mark.parametrize(
    ("child", "verdict", "message"),
    [
        ("<failure message='no'>trace</failure>", "failed", "no"),
        ("<error type='ValueError'>trace</error>", "error", "ValueError"),
        ("<skipped message='later'/>", "skipped", "later"),
        ("<skipped type='pytest.xfail' message='known'/>", "skipped", "known"),
        ("<failure>E       assert 1 == 2\nmore</failure>", "failed", "assert 1 == 2"),
        ("<skipped/><failure message='worse'/>", "failed", "worse"),
        ("<rerunFailure message='again'/>", "failed", "again"),
        ("<system-out>printed</system-out>", "passed", ""),
    ],
)
def test_the_worst_child_is_the_verdict(child, verdict, message):
    found = only(cases(f"<testcase classname='a' name='b'>{child}</testcase>"))
    assert (found.verdict, found.message) == (verdict, message)


def test_a_failing_test_keeps_what_was_printed():
    child = "<failure message='no'>trace</failure><system-out>printed</system-out>"
    found = only(cases(f"<testcase classname='a' name='b'>{child}</testcase>"))
    assert "trace" in found.output
    assert "printed" in found.output


def test_a_suite_gives_its_name_to_tests_that_have_no_class():
    assert only(cases("<testcase name='b'/>")).test_id == "s::b"
    assert only(cases("<testcase classname='' name='b'/>")).test_id == "::b"


def test_namespaces_and_a_bare_suite_are_read():
    assert only(b"<testsuite xmlns='urn:x' name='s'><testcase classname='a' name='b'/></testsuite>").test_id == "a::b"


def test_a_test_that_was_not_run_is_skipped():
    assert only(cases("<testcase classname='a' name='b' status='notrun'/>")).verdict == "skipped"


def test_of_two_results_of_one_test_the_worse_counts():
    reading = Reading()
    rows = [
        "<testcase classname='a' name='b' time='1'/>",
        "<testcase classname='a' name='b' time='2'><error/></testcase>",
    ]
    reading.add(parse_junit(cases(*rows)))
    assert reading.outcomes["a::b"].verdict == "error"
    assert reading.outcomes["a::b"].seconds == 3
    reading.add(parse_junit(cases(*rows[:1])))
    assert reading.outcomes["a::b"].verdict == "error"


@pytest.mark.parametrize("time", ["nan", "inf", "-1", "1e300", "soon", "", "0x10"])
def test_an_absurd_time_is_unknown(time):
    assert only(cases(f"<testcase classname='a' name='b' time='{time}'/>")).seconds is None


def test_a_time_with_thousands_is_read():
    assert only(cases("<testcase classname='a' name='b' time='1,234.5'/>")).seconds == 1234.5


BOMB = (
    b"<!DOCTYPE x ["
    + b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"ha" * 10) for n in range(9))
    + b"]><testsuite><testcase classname='a' name='&e8;'/></testsuite>"
)
OUTSIDE = (
    b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><testsuite><testcase classname='a' name='&e;'/></testsuite>"
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        (b"<a>" * 5000 + b"</a>" * 5000, "nested"),
        (b"", "no XML"),
        (b"1 passed", "no XML"),
        (b"<testsuite><testcase name='a'>", "no XML"),
        (b"<testsuite/><testsuite/>", "no XML"),
        (b"<?xml version='1.0' encoding='klingon'?><testsuite/>", "encoding"),
    ],
)
def test_a_hostile_report_is_refused(data, said):
    with pytest.raises(BadReport, match=said):
        parse_junit(data)


def test_too_large_and_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(reports, "LARGEST_REPORT", 100)
    with pytest.raises(BadReport, match="bytes"):
        parse_junit(cases("<testcase name='a'/>" * 10))
    monkeypatch.setattr(reports, "LARGEST_REPORT", 10_000)
    monkeypatch.setattr(reports, "MOST_TESTS", 5)
    with pytest.raises(BadReport, match="more than 5 tests"):
        parse_junit(cases("<testcase name='a'/>" * 10))


def test_control_characters_do_not_break_a_report_or_get_through():
    found = only(cases("<testcase classname='a' name='b\x00\x1b'><failure message='\x07'>\x08x</failure></testcase>"))
    assert found.test_id == "a::b\ufffd\ufffd"
    assert "\x08" not in found.output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings_are_understood(encoding):
    text = "<testsuite><testcase classname='a' name='größe'/></testsuite>"
    head = "<?xml version='1.0' encoding='latin-1'?>" if encoding == "latin-1" else ""
    assert only((head + text).encode(encoding)).test_id == "a::größe"


def test_huge_texts_are_shortened():
    failure = f"<failure message='{'m' * 9000}'>{'t' * 900_000}</failure>"
    found = only(cases(f"<testcase classname='a' name='{'n' * 5000}'>{failure}</testcase>"))
    assert len(found.test_id.encode()) <= reports.LONGEST_ID
    assert len(found.message) == 500
    assert len(found.output) < 21_000
    other = only(cases(f"<testcase classname='a' name='{'n' * 5001}'/>"))
    assert other.test_id != found.test_id


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(BadReport):
        parse_junit(data)


@given(st.text(max_size=200), st.text(max_size=200), st.floats() | st.text(max_size=20))
def test_every_outcome_can_be_stored(name, message, seconds):
    found = reports.outcome(name, "failed", seconds=seconds, message=message, output=message)
    for text in (found.test_id, found.message, found.output):
        text.encode("utf-8")
        assert "\x00" not in text
    assert len(found.message) <= 500
    assert found.seconds is None or 0 <= found.seconds <= reports.LONGEST_TEST_S
