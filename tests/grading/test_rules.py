"""Only what was seen to pass has passed, and every other ending says whose turn it was."""

import os
import sys
from pathlib import Path

import pytest

from runs.errors import Cancelled, InfraError, TaskError
from runs.grading.base import Expectations, Reading, TestOutcome
from runs.grading.scoring import score
from runs.sandboxes.base import ExecResult
from tests.grading import spoofs

EXPECTED = Expectations(
    fail_to_pass=frozenset({"t::fix"}), pass_to_pass=frozenset({"t::keep"}), excluded=frozenset({"t::flaky"})
)


def reading(complete: bool = True, **verdicts: str) -> Reading:
    found = Reading(complete=complete)
    found.add(TestOutcome(test_id=f"t::{name}", verdict=verdict) for name, verdict in verdicts.items())
    return found


@pytest.mark.parametrize(
    ("verdicts", "resolved"),
    [
        ({"fix": "passed", "keep": "passed"}, True),
        ({"fix": "passed", "keep": "passed", "flaky": "failed", "new": "error"}, True),
        ({"fix": "failed", "keep": "passed"}, False),
        ({"fix": "skipped", "keep": "passed"}, False),
        ({"fix": "error", "keep": "passed"}, False),
        ({"keep": "passed"}, False),
        ({"fix": "passed", "keep": "skipped"}, False),
        ({"fix": "passed"}, False),
        ({}, False),
    ],
)
def test_every_expected_test_must_have_passed(verdicts, resolved):
    grade = score(reading(**verdicts), EXPECTED)
    assert grade.outcome == ("resolved" if resolved else "unresolved")
    assert grade.fail_to_pass_passed == (verdicts.get("fix") == "passed")
    assert grade.fail_to_pass_passed + grade.fail_to_pass_failed == 1
    assert grade.pass_to_pass_passed + grade.pass_to_pass_failed == 1
    by_id = {one.test_id: one for one in grade.results}
    assert by_id["t::fix"].group == "fail_to_pass"
    assert by_id["t::keep"].group == "pass_to_pass"
    assert by_id["t::fix"].verdict == verdicts.get("fix", "missing")


def test_others_are_shown_in_their_group_and_not_counted():
    grade = score(reading(fix="passed", keep="passed", flaky="failed", new="failed"), EXPECTED)
    assert {one.test_id: str(one.group) for one in grade.results}["t::flaky"] == "excluded"
    assert {one.test_id: str(one.group) for one in grade.results}["t::new"] == "other"
    assert grade.reason == "1 of 1 tests to fix and 1 of 1 to keep pass."


def test_a_run_that_did_not_come_to_its_end_is_never_resolved():
    found = reading(complete=False, fix="passed", keep="passed")
    found.note = "the tests did not end within 5 s"
    grade = score(found, EXPECTED)
    assert grade.outcome == "unresolved"
    assert "did not end within 5 s." in grade.reason


def test_nothing_in_a_report_that_betrays_itself_is_believed():
    found = reading(fix="passed", keep="passed", new="passed")
    found.tampered = "it lies"
    grade = score(found, EXPECTED)
    assert (grade.outcome, grade.tampered) == ("unresolved", True)
    assert [str(one.verdict) for one in grade.results] == ["missing", "missing"]
    assert grade.reason == "Nothing in the test report is believed: it lies."


@pytest.mark.parametrize(
    ("verdicts", "resolved"),
    [
        ({"a": "passed", "b": "skipped"}, True),
        ({"a": "skipped"}, False),
        ({"a": "passed", "b": "error"}, False),
        ({}, False),
    ],
)
def test_before_the_first_validation_something_must_pass_and_nothing_fail(verdicts, resolved):
    grade = score(reading(**verdicts), Expectations())
    assert grade.outcome == ("resolved" if resolved else "unresolved")
    assert {str(one.group) for one in grade.results} <= {"other"}


# In a sandbox.


def grade_spoof_repository(arena, changes, **limits):
    version = arena.version(hidden=spoofs.HIDDEN, fix=spoofs.TO_FIX, keep=spoofs.TO_KEEP)
    return arena.grade(version, arena.diff(changes), **limits)


def test_a_diff_that_does_not_apply_is_a_failed_patch_in_gits_words(local_arena):
    arena = local_arena(spoofs.REPOSITORY)
    diff = arena.diff({"calc.py": spoofs.FIX}).replace(b"return a - b", b"return a * b")
    version = arena.version(hidden=spoofs.HIDDEN, fix=spoofs.TO_FIX, keep=spoofs.TO_KEEP)
    grade = arena.grade(version, diff)
    assert grade.outcome == "patch_failed"
    assert "error: patch failed: calc.py:1" in grade.reason
    assert (grade.fail_to_pass_passed, grade.fail_to_pass_failed, grade.pass_to_pass_failed) == (0, 1, 1)
    assert {str(one.verdict) for one in grade.results} == {"missing"}


def test_binary_files_links_modes_and_deletions_arrive(local_arena):
    arena = local_arena({**spoofs.REPOSITORY, "old.txt": "x\n"}, test_framework="unittest")
    hidden = {
        "test_files.py": "import os, unittest\n\nclass T(unittest.TestCase):\n    def test_files(self):\n"
        "        self.assertEqual(open('data.bin', 'rb').read(), bytes(range(256)))\n"
        "        self.assertEqual(os.readlink('link'), 'calc.py')\n"
        "        self.assertFalse(os.path.exists('old.txt'))\n"
    }
    changes = {"data.bin": bytes(range(256)), "link": "->calc.py", "old.txt": None}
    grade = arena.grade(arena.version(hidden=hidden, fix=["test_files.T::test_files"]), arena.diff(changes))
    assert grade.outcome == "resolved", grade.reason + "".join(arena.log)


def test_tests_that_do_not_end_in_time_count_as_failed_and_the_others_do_not(local_arena):
    repository = {**spoofs.REPOSITORY, "tests/test_zz.py": "import time\n\n\ndef test_long():\n    time.sleep(600)\n"}
    # Deaf to the alarm that ends a single test that hangs.
    repository["tests/conftest.py"] = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
    arena = local_arena(repository)
    grade = grade_spoof_repository(arena, {"calc.py": spoofs.FIX}, test_timeout_s=3)
    assert grade.outcome == "unresolved"
    assert "did not end within 3 s" in grade.reason
    assert arena.verdicts(grade)[spoofs.TO_FIX[0]] == "passed"
    assert not grade.tampered


HANGS = """
import time, unittest

class T(unittest.TestCase):
    def test_hangs(self):
        while True:
            try:
                time.sleep(600)
            except Exception:
                pass
"""


@pytest.mark.parametrize("framework", ["pytest", "unittest"])
def test_one_test_that_hangs_costs_only_itself(local_arena, framework):
    arena = local_arena({**spoofs.REPOSITORY, "tests/test_aa.py": HANGS}, test_framework=framework)
    grade = grade_spoof_repository(arena, {"calc.py": spoofs.FIX}, test_timeout_s=6)
    assert grade.outcome == "resolved", grade.reason
    assert arena.verdicts(grade)["tests.test_aa.T::test_hangs"] in ("failed", "error")


def test_a_memory_limit_is_told_and_counts_against_the_diff(local_arena):
    hungry = spoofs.FIX + "hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 24))\n"
    grade = grade_spoof_repository(local_arena(spoofs.REPOSITORY), {"calc.py": hungry}, memory_mb=256)
    assert grade.outcome == "unresolved"
    assert not grade.tampered
    assert "memory" in grade.reason.lower()


def test_a_suite_without_tests_never_passes(local_arena):
    arena = local_arena({"calc.py": spoofs.BUG})
    grade = arena.grade(arena.version(), b"")
    assert grade.outcome == "unresolved"
    assert grade.reason == "No test was run. No test was found."


def test_a_missing_pytest_is_the_tasks_fault(local_arena):
    arena = local_arena(spoofs.REPOSITORY)
    with pytest.raises(TaskError, match=r"pytest .* is not installed in the image.*environment\.setup"):
        arena.without_path().grade(arena.version(), b"")


def test_reference_tests_that_do_not_fit_are_the_tasks_fault(local_arena):
    arena = local_arena(spoofs.REPOSITORY)
    reference = arena.diff({"tests/helper.py": "x = 1\n"}).replace(b"return a == b", b"return a != b")
    with pytest.raises(TaskError, match=r"own tests cannot be put into the base.*helper\.py"):
        arena.grade(arena.version(reference=reference), b"")


def test_the_references_tests_and_configuration_hold_for_everyone(local_arena):
    files = {
        "calc.py": "def add(a, b):\n    return a - b\n",
        "pyproject.toml": "[project]\nname = 'calc'\n\n[tool.pytest.ini_options]\ntestpaths = ['tests']\n",
        "tests/test_old.py": "from calc import add\n\n\ndef test_old():\n    assert add(0, 0) == 0\n",
    }
    arena = local_arena(files)
    reference = arena.diff(
        {
            "calc.py": spoofs.FIX,
            "pyproject.toml": files["pyproject.toml"] + "addopts = '--strict-markers'\nmarkers = ['sums']\n",
            "tests/test_new.py": "import pytest\nfrom calc import add\n\n\n@pytest.mark.sums\ndef test_new():\n"
            "    assert add(1, 1) == 2\n",
        }
    )
    version = arena.version(reference=reference, fix=["tests.test_new::test_new"], keep=["tests.test_old::test_old"])
    assert arena.grade(version, reference).outcome == "resolved"
    mine = arena.diff({"calc.py": spoofs.FIX, "pyproject.toml": files["pyproject.toml"].replace("calc", "mine")})
    grade = arena.grade(version, mine)
    assert grade.outcome == "resolved", grade.reason + "".join(arena.log)
    nop = arena.grade(version, b"")
    assert arena.verdicts(nop) == {"tests.test_new::test_new": "failed", "tests.test_old::test_old": "passed"}


def test_hidden_tests_run_where_the_suite_would_not_look(local_arena):
    arena = local_arena(spoofs.REPOSITORY)
    hidden = {"checks/deep/test_there.py": "def test_there():\n    pass\n", "checks/data.txt": "x"}
    grade = arena.grade(arena.version(hidden=hidden, fix=["checks.deep.test_there::test_there"]), b"")
    assert grade.outcome == "resolved", "".join(arena.log)


def test_what_is_left_over_says_why_nothing_was_collected(local_arena):
    arena = local_arena({**spoofs.REPOSITORY, "pytest.ini": "[pytest]\naddopts = --no-such-option\n"})
    grade = arena.grade(arena.version(), b"")
    assert grade.outcome == "unresolved"
    assert "--no-such-option" in "".join(arena.log)
    assert "exit status 4" in grade.reason


class Broken:
    """A sandbox whose one command ends in the given way."""

    id, isolation, workdir, home = "broken", "none", "/work", "/home/agent"

    def __init__(self, result: ExecResult) -> None:
        self.result, self.destroyed = result, False

    def path(self, path):
        return path

    def put_tree(self, path, files):
        pass

    def exec(self, argv, **options):
        return self.result

    def destroy(self):
        self.destroyed = True


def broken(arena, **fields) -> Broken:
    defaults = {"exit_code": None, "stdout": b"", "stderr": b"no such device", "seconds": 1.0}
    sandbox = Broken(ExecResult(**defaults | fields))
    arena.provider = type("One", (), {"name": "one", "create": lambda self, spec: sandbox})()
    return sandbox


@pytest.mark.parametrize("fields", [{}, {"timed_out": True}, {"limit": "memory"}, {"exit_code": 127}])
def test_a_sandbox_that_fails_before_the_tests_began_is_infrastructure(plain_arena, fields):
    arena = plain_arena(spoofs.REPOSITORY)
    sandbox = broken(arena, **fields)
    with pytest.raises(InfraError, match=r"before the tests began\. no such device"):
        arena.grade(arena.version(), b"")
    assert sandbox.destroyed


def test_a_cancelled_run_stops_before_and_after_the_sandbox(plain_arena):
    from runs import grading
    from tests.grading.arena import LIMITS

    arena = plain_arena(spoofs.REPOSITORY)
    sandbox = broken(arena)
    asked = []

    def alive():
        asked.append(sandbox.destroyed)
        if sandbox.destroyed:
            raise Cancelled

    with pytest.raises(Cancelled):
        grading.grade(
            version=arena.version(),
            diff=b"",
            image=arena.image,
            provider=arena.provider,
            limits=LIMITS,
            labels={},
            log=lambda source, text: None,
            alive=alive,
        )
    assert asked == [False, True]


NAMED_AFTER_FILES = """
import os
import pytest

@pytest.mark.parametrize("path", [os.path.abspath(__file__)])
def test_path(path):
    pass
"""


def test_tests_named_after_files_have_one_id_wherever_the_repository_lies(plain_arena, monkeypatch):
    # The system's Python may have no pytest; the one that runs this test has.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    arena = plain_arena({"test_a.py": NAMED_AFTER_FILES})
    grade = arena.grade(arena.version(), b"")
    assert [one.test_id for one in grade.results] == ["test_a::test_path[/work/test_a.py]"]
