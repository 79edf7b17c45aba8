"""What go and cargo print becomes results."""

import json

import pytest

from runs.grading.base import Reading
from runs.grading.frameworks.go import judge_by_status, read_events
from runs.grading.frameworks.rust import counts_that_disagree, read_lines


def events(*rows: tuple) -> list[str]:
    names = ("Action", "Package", "Test", "Output", "Elapsed")
    return [
        json.dumps({name: value for name, value in zip(names, row, strict=False) if value is not None}) for row in rows
    ]


def by_id(outcomes) -> dict[str, str]:
    reading = Reading()
    reading.add(outcomes)
    return {name: str(one.verdict) for name, one in reading.outcomes.items()}


def test_go_events_become_results():
    lines = events(
        ("run", "ex/a", "TestGood"),
        ("output", "ex/a", "TestGood", "=== RUN   TestGood\n"),
        ("pass", "ex/a", "TestGood", None, 0.01),
        ("run", "ex/a", "TestBad"),
        ("run", "ex/a", "TestBad/one"),
        ("output", "ex/a", "TestBad/one", "    a_test.go:7: got 1, want 2\n"),
        ("fail", "ex/a", "TestBad/one", None, 0),
        ("fail", "ex/a", "TestBad", None, 0),
        ("skip", "ex/a", "TestLater", None, 0),
        ("fail", "ex/a", None, None, 0.1),
    )
    outcomes = {one.test_id: one for one in read_events(lines)}
    assert {name: str(one.verdict) for name, one in outcomes.items()} == {
        "ex/a::TestGood": "passed",
        "ex/a::TestBad": "failed",
        "ex/a::TestBad/one": "failed",
        "ex/a::TestLater": "skipped",
    }
    assert outcomes["ex/a::TestBad/one"].message == "a_test.go:7: got 1, want 2"
    assert outcomes["ex/a::TestGood"].seconds == 0.01


def test_a_go_package_that_does_not_build_is_an_error():
    lines = [
        "# ex/b",
        "b.go:3:1: syntax error",
        *events(("output", "ex/b", None, "FAIL\tex/b [build failed]\n"), ("fail", "ex/b")),
    ]
    assert by_id(read_events(lines)) == {"ex/b::(package)": "error"}


def test_a_go_test_that_never_ends_is_an_error():
    assert by_id(read_events(events(("run", "ex/a", "TestHangs")))) == {"ex/a::TestHangs": "error"}


def test_what_is_no_go_event_is_skipped():
    assert by_id(read_events(["{", "null", "[]", '{"Action": 1}', '{"Action":"pass","Test":"T"}', "--- PASS: T"])) == {}


CARGO = """
   Compiling adder v0.1.0 (/work)
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.33s
     Running unittests src/lib.rs (target/debug/deps/adder-92948b65e88960b4)

running 3 tests
test tests::adds ... ok
test tests::breaks ... FAILED
test tests::later ... ignored, not yet

failures:

---- tests::breaks stdout ----
thread 'tests::breaks' panicked at src/lib.rs:17:9:
assertion `left == right` failed
  left: 4
 right: 5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::breaks

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--lib`
     Running tests/whole.rs (target/debug/deps/whole-77a88c65e88960b4)

running 1 test
test adds_from_outside - should panic ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests adder

running 1 test
test src/lib.rs - add (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.21s
"""


def test_cargo_lines_become_results():
    outcomes = {one.test_id: one for one in read_lines(CARGO.splitlines())}
    assert {name: str(one.verdict) for name, one in outcomes.items()} == {
        "adder:src/lib.rs::tests::adds": "passed",
        "adder:src/lib.rs::tests::breaks": "failed",
        "adder:src/lib.rs::tests::later": "skipped",
        "whole:tests/whole.rs::adds_from_outside": "passed",
        "adder:doc::src/lib.rs - add (line 3)": "passed",
    }
    assert outcomes["adder:src/lib.rs::tests::breaks"].message == "assertion `left == right` failed"
    assert "right: 5" in outcomes["adder:src/lib.rs::tests::breaks"].output
    assert counts_that_disagree(CARGO.splitlines()) == ""


@pytest.mark.parametrize(
    "change",
    [
        ("running 3 tests", "running 2 tests"),
        ("test tests::later ... ignored, not yet\n", ""),
        ("test tests::adds ... ok\n", "test tests::adds ... ok\ntest tests::forged ... ok\n"),
        ("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.21s\n", ""),
    ],
)
def test_forged_cargo_lines_do_not_add_up(change):
    assert counts_that_disagree(CARGO.replace(*change).splitlines())


@pytest.mark.parametrize(
    ("status", "verdict", "complete", "tampered"),
    [
        (0, "ok", True, False),
        (101, "FAILED", True, False),
        (0, "FAILED", False, True),
        (101, "ok", False, True),
        (None, "ok", False, False),
    ],
)
def test_results_and_exit_status_must_agree(status, verdict, complete, tampered):
    reading = Reading()
    reading.add(read_lines([f"test a ... {verdict}"]))
    judge_by_status(reading, status, "cargo test")
    assert (reading.complete, bool(reading.tampered)) == (complete, tampered)
