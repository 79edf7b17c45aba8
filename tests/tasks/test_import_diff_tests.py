"""Tests that the reference diff carries become the hidden tests of a task that has none of its own."""

import subprocess

import pytest

from tasks.actions import complete_hidden_tests, import_tasks
from tasks.formats.diff_tests import tests_of_diff as listed
from tasks.models import Task
from tests.builders import make_team
from tests.tasks.builders import DIFF, DIFF_WITH_TEST, TEST, git, make_repository, write_task

pytestmark = pytest.mark.django_db

BASE = {
    "adder.py": "def add(a, b):\n    return a - b\n",
    "tests/test_old.py": "def test_old():\n    assert True\n",
    "tests/data/café.txt": "one\n",
    "tests/gone.py": "x = 1\n",
    "tests/moved.py": "".join(f"line_{number} = {number}\n" for number in range(20)),
}


@pytest.fixture
def solved(tmp_path):
    """A repository with a base and two commits that solve the task, and its base's id."""
    root = tmp_path / "repo"
    base = make_repository(root, BASE)
    (root / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "tests" / "test_old.py").write_text("def test_old():\n    assert 1\n")
    (root / "tests" / "test_new.py").write_text(TEST)
    (root / "tests" / "data" / "café.txt").write_text("two\n")
    (root / "tests" / "gone.py").unlink()
    (root / "tests" / "moved.py").rename(root / "tests" / "helper.py")
    (root / "tests" / "data" / "blob.bin").write_bytes(bytes(range(256)))
    (root / "tests" / "run.sh").write_text("#!/bin/sh\n")
    (root / "tests" / "run.sh").chmod(0o755)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    (root / "tests" / "test_new.py").write_text(TEST + "\n\ndef test_more():\n    pass\n")
    git(root, "commit", "-qam", "second")
    return root, base


def base_of(root, commit):
    def read(path):
        done = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=root, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else None

    return read


def expected(root):
    names = git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "tests").split("\0")
    return {name: (root / name).read_bytes() for name in names if name}


@pytest.mark.parametrize("form", ["diff", "mailbox"])
def test_they_are_complete_once_the_base_is_there(tmp_path, solved, form):
    root, base = solved
    arguments = (
        ["diff", "--binary", "-M", base, "HEAD"] if form == "diff" else ["format-patch", "--stdout", f"{base}.."]
    )
    diff = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    (result,) = import_tasks([write_task(tmp_path / "task", diff=diff)], team=make_team())
    version = Task.objects.get(slug=result.slug).current_version
    before = set(version.hidden_test_files())
    assert {"tests/data/blob.bin", "tests/run.sh"} <= before
    assert "tests/test_old.py" not in before
    assert ("tests/test_new.py" in before) is (form == "diff")
    assert version.provenance["tests_from_diff"] == sorted(expected(root))
    digest = version.digest

    assert complete_hidden_tests(version, base_of(root, base)) == []
    version.refresh_from_db()
    assert version.hidden_test_files() == expected(root)
    assert version.digest == digest
    assert {test["mode"] for test in version.hidden_tests if test["path"].endswith(".sh")} == {"100755"}

    rows = version.hidden_tests
    assert complete_hidden_tests(version, lambda path: pytest.fail("the base is not needed again")) == []
    assert version.hidden_tests == rows
    assert import_tasks([tmp_path / "task"], team=version.task.team)[0].result == "unchanged"


def test_a_diff_that_does_not_fit_the_base_is_told(tmp_path, solved):
    root, base = solved
    diff = subprocess.run(["git", "diff", base, "HEAD"], cwd=root, capture_output=True, check=True).stdout
    import_tasks([write_task(tmp_path / "task", diff=diff)], team=make_team())
    version = Task.objects.get().current_version
    problems = complete_hidden_tests(version, lambda path: b"something else\n")
    assert [problem.file for problem in problems] == ["diff.patch"]
    assert "does not apply to the base" in problems[0].message


def test_a_task_with_tests_of_its_own_keeps_them_alone(tmp_path):
    scripts = {"evaluation": {"test_scripts": [{"path": "tests/test_own.py", "content": TEST}]}}
    import_tasks([write_task(tmp_path / "task", scripts, diff=DIFF_WITH_TEST)], team=make_team())
    version = Task.objects.get().current_version
    assert list(version.hidden_test_files()) == ["tests/test_own.py"]
    assert "tests_from_diff" not in version.provenance
    assert complete_hidden_tests(version, lambda path: pytest.fail("nothing to complete")) == []


def test_a_diff_without_tests_is_noted(tmp_path):
    (result,) = import_tasks([write_task(tmp_path / "task", diff=DIFF)], team=make_team())
    assert any("only tests that the repository has already" in note.message for note in result.notes)


def test_links_stubs_and_deleted_files_are_no_tests():
    diff = (
        b"diff --git a/tests/link b/tests/link\nnew file mode 120000\n--- /dev/null\n+++ b/tests/link\n"
        b"@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n"
        b"diff --git a/tests/x.bin b/tests/x.bin\nnew file mode 100644\nindex 0000000..c866266\n"
        b"Binary files /dev/null and b/tests/x.bin differ\n"
        b"diff --git a/tests/old.py b/tests/old.py\ndeleted file mode 100644\n--- a/tests/old.py\n+++ /dev/null\n"
        b"@@ -1 +0,0 @@\n-x\n"
    )
    assert listed(diff) == ([], [])
