"""Nothing that an agent writes makes an unsolved task look solved."""

import pytest

from tests.grading import spoofs

# Files that take no part in grading at all cannot disturb each other, so one container sees them together.
ALL_FILES = {name: text for spoof in spoofs.FILES.values() for name, text in spoof.items()}


def expectations(framework: str) -> dict:
    keep = spoofs.TO_KEEP_PYTEST if framework == "pytest" else spoofs.TO_KEEP
    return {"hidden": spoofs.HIDDEN, "fix": spoofs.TO_FIX, "keep": keep}


def assert_unsolved(arena, changes: dict) -> None:
    version = arena.version(**expectations(arena.environment["test_framework"]))
    grade = arena.grade(version, arena.diff(changes), test_timeout_s=20)
    assert grade.outcome == "unresolved", grade.reason + "".join(arena.log)
    assert grade.fail_to_pass_passed == 0, grade.reason + "".join(arena.log)
    assert grade.reason


@pytest.mark.parametrize("name", spoofs.CODE)
def test_code_that_cheats_pytest_solves_nothing(arena_of, name):
    assert_unsolved(arena_of(spoofs.REPOSITORY), spoofs.CODE[name])


@pytest.mark.parametrize("name", spoofs.CODE)
def test_code_that_cheats_unittest_solves_nothing(local_arena, name):
    assert_unsolved(local_arena(spoofs.REPOSITORY, test_framework="unittest"), spoofs.CODE[name])


@pytest.mark.parametrize("name", spoofs.FILES)
def test_files_that_steer_the_runner_solve_nothing(local_arena, name):
    assert_unsolved(local_arena(spoofs.REPOSITORY), spoofs.FILES[name])


@pytest.mark.parametrize("framework", ["pytest", "unittest"])
def test_all_such_files_together_solve_nothing(arena_of, framework):
    assert_unsolved(arena_of(spoofs.REPOSITORY, test_framework=framework), ALL_FILES)


@pytest.mark.parametrize("framework", ["pytest", "unittest"])
def test_the_reference_is_resolved(arena_of, framework):
    arena = arena_of(spoofs.REPOSITORY, test_framework=framework)
    grade = arena.grade(arena.version(**expectations(framework)), arena.diff({"calc.py": spoofs.FIX}))
    assert grade.outcome == "resolved", grade.reason + "".join(arena.log)
    assert not grade.tampered
    assert grade.isolation in ("container", "bubblewrap", "unshare", "none")


def test_an_honest_solution_may_print_and_leave_threads_and_exit_handlers(local_arena):
    noisy = spoofs.FIX + (
        "import atexit, sys, threading, time\n"
        "print('1 failed'); print('FAILED', file=sys.stderr)\n"
        "atexit.register(print, 'bye')\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
    )
    arena = local_arena(spoofs.REPOSITORY)
    grade = arena.grade(arena.version(**expectations("pytest")), arena.diff({"calc.py": noisy}), test_timeout_s=20)
    assert grade.outcome == "resolved", grade.reason


def test_an_honest_solution_that_also_changes_tests_is_resolved(local_arena):
    arena = local_arena(spoofs.REPOSITORY)
    changes = {"calc.py": spoofs.FIX, "tests/test_zero.py": "", "pytest.ini": "[pytest]\naddopts = --nonsense\n"}
    grade = arena.grade(arena.version(**expectations("pytest")), arena.diff(changes))
    assert grade.outcome == "resolved", grade.reason
    assert "left out of the diff" in arena.log[0]
    assert "pytest.ini, tests/test_zero.py" in arena.log[0]
