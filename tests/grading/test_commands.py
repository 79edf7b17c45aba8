"""Test commands that only run pytest are run by the guarded runner; all others stay commands."""

import pytest

from runs.grading import frameworks
from runs.grading.frameworks.commands import as_pytest

JUNIT = "--junitxml=$ONESHOT_JUNIT"
CALC = "def add(a, b):\n    return a - b\n"
GOOD = {"calc.py": CALC.replace("-", "+")}
TEST = "from calc import add\n\ndef test_add():\n    assert add(2, 2) == 4\n"
KEEP = "def test_keep():\n    pass\n"


def grade(arena, changes, **options):
    return arena.grade(arena.version(**options), arena.diff(changes))


@pytest.mark.parametrize(
    ("command", "program", "arguments", "root_on_path"),
    [
        (f"python3 -m pytest {JUNIT} tests", "python3", ("tests",), True),
        (f"python -m pytest -q -k 'not slow' {JUNIT}", "python", ("-q", "-k", "not slow"), True),
        ('pytest --junit-xml "$ONESHOT_JUNIT" tests/unit', "pytest", ("tests/unit",), False),
        (f"/opt/venv/bin/pytest {JUNIT}", "/opt/venv/bin/pytest", (), False),
        (f"cd /work && ./.venv/bin/python3.12 -m pytest {JUNIT}", "./.venv/bin/python3.12", (), True),
        ("A=1 pytest --junitxml=${ONESHOT_JUNIT} -x -n 4", "pytest", ("-x", "-n", "4"), False),
    ],
)
def test_a_command_that_only_runs_pytest_is_understood(command, program, arguments, root_on_path):
    found = as_pytest({"test_command": command})
    assert found
    assert (found.program, found.arguments, found.root_on_path) == (program, arguments, root_on_path)
    assert frameworks.of({"test_command": command}).name == "pytest"


@pytest.mark.parametrize(
    "command",
    [
        "pytest",
        "pytest --junitxml=report.xml",
        f"pytest {JUNIT} || true",
        f"pytest {JUNIT}; pytest more",
        f"pytest {JUNIT} tests/*.py",
        f"pytest {JUNIT} $TESTS",
        f"pytest {JUNIT} > out.txt",
        f"pytest {JUNIT} 'a\"$(date)\"'",
        f"pytest {JUNIT} -c other.ini",
        f"pytest {JUNIT} --rootdir=sub",
        f"pytest {JUNIT} -- tests",
        f"cd sub && pytest {JUNIT}",
        f"python -m coverage run -m pytest {JUNIT}",
        f"pytest {JUNIT} 'open",
        f"tox -- {JUNIT}",
        "make check",
    ],
)
def test_any_other_command_is_left_to_the_shell(command):
    assert as_pytest({"test_command": command}) is None
    assert frameworks.of({"test_command": command}).name == "script"


@pytest.mark.parametrize("command", [f"python -m pytest {JUNIT} tests", f"true && python -m pytest {JUNIT} tests"])
def test_a_test_file_that_cannot_be_imported_yet_leaves_the_others_alone(local_arena, command):
    arena = local_arena({"calc.py": CALC, "tests/test_a.py": KEEP}, test_command=command)
    hidden = {"tests/test_b.py": "from calc import there_is_no_such_name\n"}
    verdicts = {one.test_id: one.verdict for one in grade(arena, {}, hidden=hidden).results}
    assert verdicts["tests.test_a::test_keep"] == "passed"
    assert set(verdicts.values()) == {"passed", "error"}


@pytest.mark.parametrize("program", ["python -m pytest", "python3 -m pytest"])
def test_a_pytest_command_takes_the_tests_that_it_names(local_arena, program):
    files = {"calc.py": CALC, "tests/test_a.py": TEST, "tests/test_k.py": KEEP, "more/test_m.py": KEEP}
    arena = local_arena(files, test_command=f"{program} {JUNIT} -q tests")
    found = grade(arena, GOOD)
    assert {one.test_id for one in found.results} == {"tests.test_a::test_add", "tests.test_k::test_keep"}
    assert found.outcome == "resolved"


PATCHES_PYTEST = """
import _pytest.reports as reports
old = reports.TestReport.from_item_and_call.__func__

def new(cls, item, call):
    call.excinfo = None
    return old(cls, item, call)

reports.TestReport.from_item_and_call = classmethod(new)
"""


def test_code_that_bends_pytest_gains_nothing_under_a_command_either(local_arena):
    arena = local_arena({"calc.py": CALC, "tests/test_a.py": TEST}, test_command=f"python -m pytest {JUNIT} tests")
    found = grade(arena, {"calc.py": CALC + PATCHES_PYTEST})
    assert found.outcome == "unresolved"
    assert found.tampered


def test_a_hidden_test_that_no_pattern_finds_keeps_its_neighbours(local_arena):
    arena = local_arena({"calc.py": CALC, "tests/test_k.py": KEEP})
    found = grade(arena, {}, hidden={"tests/speed.py": KEEP})
    assert {one.test_id for one in found.results} == {"tests.speed::test_keep", "tests.test_k::test_keep"}
