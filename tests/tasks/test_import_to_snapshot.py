"""An imported task can be prepared: its base is fetched, trimmed, and its hidden tests are completed from it."""

import io
import subprocess
import tarfile

import pytest

from oneshot import store
from tasks.actions import import_tasks
from tasks.models import Task
from tasks.patches import touched_paths
from tasks.snapshot import ensure_snapshot
from tests.builders import make_team
from tests.tasks.builders import git, make_repository, write_task

pytestmark = pytest.mark.django_db

BASE = {
    "core/adder.py": "def add(a, b):\n    return a - b\n",
    "core/tests/test_adder.py": "def test_old():\n    pass\n",
    "core/secret.txt": "the answer\n",
    "core/debug.log": "x\n",
    "docs/index.md": "# Docs\n",
}


@pytest.fixture
def repository(tmp_path):
    """A repository whose solution is committed after the base, which is no tip; and the base's id."""
    root = tmp_path / "repo"
    base = make_repository(root, BASE)
    (root / "core" / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "core" / "tests" / "test_adder.py").write_text("def test_new():\n    pass\n")
    git(root, "commit", "-qam", "solve it")
    return root, base


def prepare(path):
    (result,) = import_tasks([path], team=make_team())
    assert result.problems == []
    version = Task.objects.get(slug=result.slug).current_version
    ensure_snapshot(version, lambda source, text: None)
    version.refresh_from_db()
    with tarfile.open(fileobj=io.BytesIO(store.get(version.snapshot_digest))) as archive:
        return version, {member.name for member in archive if member.isfile()}


@pytest.mark.parametrize("form", ["diff", "mailbox"])
@pytest.mark.parametrize("subdir", ["", "core"])
def test_changed_tests_and_removals_with_and_without_a_subdirectory(tmp_path, repository, subdir, form):
    root, base = repository
    words = ["diff", "--binary", base, "HEAD"] if form == "diff" else ["format-patch", "--stdout", f"{base}.."]
    diff = subprocess.run(["git", *words], cwd=root, capture_output=True, check=True).stdout
    changes = {"repo.git_url": "../repo", "repo.start_commit_sha": base, "repo.subdir": subdir}
    removals = {"overlay_files/remove_repo_paths.txt": "core/secret.txt\n*.log\n"}
    version, files = prepare(write_task(tmp_path / "task", changes, diff=diff, files=removals))
    prefix = "" if subdir else "core/"
    assert files == {f"{prefix}adder.py", f"{prefix}tests/test_adder.py"} | (set() if subdir else {"docs/index.md"})
    assert version.hidden_test_files() == {f"{prefix}tests/test_adder.py": b"def test_new():\n    pass\n"}
    assert import_tasks([tmp_path / "task"], team=version.task.team)[0].result == "unchanged"


def test_a_lost_binary_does_not_keep_the_rest_of_the_diff_from_a_subdirectory(tmp_path, repository):
    root, base = repository
    (root / "core" / "logo.bin").write_bytes(bytes(range(256)))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "logo")
    diff = subprocess.run(["git", "diff", base, "HEAD"], cwd=root, capture_output=True, check=True).stdout
    changes = {"repo.git_url": "../repo", "repo.start_commit_sha": base, "repo.subdir": "core"}
    version, _ = prepare(write_task(tmp_path / "task", changes, diff=diff))
    assert touched_paths(version.reference_diff()) == ["adder.py", "tests/test_adder.py"]


def test_a_task_of_overlay_files_alone_can_be_prepared(tmp_path):
    path = write_task(tmp_path / "task", {"repo": {}}, diff=None, files={"overlay_repo_files/adder.py": "x = 1\n"})
    (path / "repo_info.json").unlink()
    assert prepare(path)[1] == {"adder.py"}
