"""What of an agent's diff takes part in grading, and what is left out."""

import pytest

from runs.grading.protected import Guard


def guard(framework: str = "pytest", reference: bytes = b"", hidden=(), **environment) -> Guard:
    return Guard.of(framework=framework, environment=environment, hidden=hidden, reference=reference)


def added(path: str, text: str = "x") -> bytes:
    return (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\nindex 0000000..1111111\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1 @@\n+{text}\n"
    ).encode()


def changed(path: str) -> bytes:
    return (
        f"diff --git a/{path} b/{path}\nindex 1111111..2222222 100644\n--- a/{path}\n+++ b/{path}\n"
        "@@ -1 +1 @@\n-old\n+new\n"
    ).encode()


def kept(some: Guard, *diffs: bytes) -> bool:
    clean, dropped = some.clean(b"".join(diffs))
    assert bool(dropped) != bool(clean)
    return not dropped


@pytest.mark.parametrize(
    "path",
    [
        "src/calc.py",
        "calc/types.py",
        "setup.py",
        "pyproject.toml",
        "setup.cfg",
        "README.md",
        "package.json",
        "src/attr/_funcs.py",
        "latest/news.py",
        "Makefile",
    ],
)
def test_ordinary_files_are_kept(path):
    assert kept(guard(), changed(path))
    assert kept(guard(), added(path))


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py",
        "tests/helper.py",
        "test_a.py",
        "conftest.py",
        "src/calc/conftest.py",
        "pytest.ini",
        "tox.ini",
        "sitecustomize.py",
        "src/usercustomize.py",
        "a.pth",
        "calc.egg-info/entry_points.txt",
        "src/calc-1.dist-info/METADATA",
        "tests/__pycache__/helper.cpython-311.pyc",
        "calc/__pycache__/calc.cpython-311.pyc",
        ".venv/bin/python",
        "node_modules/x/index.js",
    ],
)
def test_what_decides_about_tests_is_left_out(path):
    assert not kept(guard(), changed(path))
    assert not kept(guard(), added(path))


@pytest.mark.parametrize(
    "path", ["json.py", "src/unittest.py", "pytest/__init__.py", "pytest_cov.py", "lib/re.py", "time.so"]
)
def test_a_new_module_may_not_stand_in_for_the_library(path):
    assert not kept(guard(), added(path))
    assert kept(guard(), changed(path)), "one that was there before is the repository's own"


def test_the_path_of_the_environment_counts():
    assert not kept(guard(env={"PYTHONPATH": "/work/code:lib"}), added("code/json.py"))
    assert kept(guard(), added("code/json.py"))


def test_what_the_reference_had_to_change_an_agent_may_change_too():
    assert kept(guard(reference=added("queue.py")), added("queue.py"))
    assert not kept(guard(reference=changed("tests/test_a.py")), changed("tests/test_a.py"))


def test_hidden_tests_and_what_stands_in_their_way_are_left_out():
    some = guard(hidden=["checks/deep/hidden.py"])
    assert not kept(some, changed("checks/deep/hidden.py"))
    assert not kept(some, added("checks"))
    assert not kept(some, added("checks/deep"))
    assert kept(some, added("checks/deep/other.py"))


def test_a_rename_is_left_out_as_a_whole():
    diff = (
        b"diff --git a/tests/test_a.py b/old/a.py\nsimilarity index 100%\nrename from tests/test_a.py\n"
        b"rename to old/a.py\n"
    )
    clean, dropped = guard().clean(diff + changed("calc.py"))
    assert dropped == ["tests/test_a.py"]
    assert clean == changed("calc.py")


@pytest.mark.parametrize(
    ("framework", "path", "is_kept"),
    [
        ("rust", "Cargo.toml", False),
        ("rust", "crates/a/.cargo/config.toml", False),
        ("rust", "src/lib.rs", True),
        ("node", ".npmrc", False),
        ("node", "package.json", True),
        ("go", "go.work", False),
        ("go", "go.mod", True),
        ("pytest", "Cargo.toml", True),
    ],
)
def test_files_of_other_runners_are_guarded(framework, path, is_kept):
    assert kept(guard(framework), changed(path)) == is_kept


@pytest.mark.parametrize(
    ("command", "path", "is_kept"),
    [
        ("make check", "Makefile", False),
        ("make check", "src/calc.c", True),
        ("sh ./scripts/check.sh --all", "scripts/check.sh", False),
        ("cd web && npm test -- --reporter junit", "web/package.json", False),
        ("python -m pytest --junitxml=$ONESHOT_JUNIT", "pyproject.toml", False),
        ("sh run.sh", "pyproject.toml", True),
        ("python 'unclosed", "unclosed", True),
    ],
)
def test_what_a_test_command_reads_is_guarded(command, path, is_kept):
    assert kept(guard("script", test_command=command), changed(path)) == is_kept


def test_the_references_tests_are_told_from_its_solution():
    reference = changed("calc.py") + changed("tests/test_a.py") + changed("pyproject.toml")
    some = guard(reference=reference)
    assert some.tests_of_reference(reference) == [changed("tests/test_a.py")]
    assert some.config_of_reference(reference) == [changed("pyproject.toml")]
    assert some.tests_of_reference(changed("calc.py")) == []
