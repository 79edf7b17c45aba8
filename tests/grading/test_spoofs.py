"""Nothing that an agent writes makes an unsolved task look solved."""

import pytest

from tests.grading import spoofs


@pytest.fixture(params=["pytest", "unittest"])
def framework(request):
    return request.param


def expectations(framework: str) -> dict:
    keep = spoofs.TO_KEEP_PYTEST if framework == "pytest" else spoofs.TO_KEEP
    return {"hidden": spoofs.HIDDEN, "fix": spoofs.TO_FIX, "keep": keep}


@pytest.mark.parametrize("name", spoofs.SPOOFS)
def test_a_spoof_is_not_resolved(arena_of, framework, name):
    arena = arena_of(spoofs.REPOSITORY, test_framework=framework)
    grade = arena.grade(arena.version(**expectations(framework)), arena.diff(spoofs.SPOOFS[name]), test_timeout_s=20)
    print(grade.outcome, grade.reason, grade.tampered)
    assert grade.outcome == "unresolved", "".join(arena.log)
    assert grade.fail_to_pass_passed == 0, "".join(arena.log)


@pytest.mark.parametrize("name", ["nothing at all"])
def test_the_reference_is_resolved(arena_of, framework, name):
    arena = arena_of(spoofs.REPOSITORY, test_framework=framework)
    grade = arena.grade(arena.version(**expectations(framework)), arena.diff({"calc.py": spoofs.FIX}))
    assert grade.outcome == "resolved", grade.reason + "".join(arena.log)
