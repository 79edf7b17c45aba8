"""The whole way of a validation: a task directory, an image, sandboxes, the verdict; as a person would do it."""

import json

import pytest

from tests.grading.arena import git
from tests.installation import Installation
from tests.prepare.repositories import Repository

REPOSITORY = {
    "adder.py": "def add(a, b):\n    return a - b\n",
    "test_adder.py": "import unittest\nfrom adder import add\n\nclass T(unittest.TestCase):\n"
    "    def test_zero(self):\n        self.assertEqual(add(0, 0), 0)\n",
}
FIX = {"adder.py": "def add(a, b):\n    return a + b\n"}
HIDDEN = (
    "import unittest\nfrom adder import add\n\nclass H(unittest.TestCase):\n"
    "    def test_sum(self):\n        self.assertEqual(add(1, 2), 3)\n"
    "    def test_never(self):\n        self.assertEqual(add(1, 2), 4)\n"
)


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


def add_task(installation: Installation, changes: dict[str, str], **environment) -> str:
    """Write a task into a directory, import it, and return its slug."""
    repository = Repository(installation.folder / "origin")
    commit = repository.commit(**REPOSITORY)
    for name, text in changes.items():
        repository.write(name, text)
    git(repository.path, "add", "--all")
    folder = installation.folder / "add-adds"
    folder.mkdir()
    (folder / "diff.patch").write_bytes(git(repository.path, "diff", "--cached", "--binary"))
    (folder / "LM_INSTRUCTIONS.md").write_text("Make add add.\n")
    meta = {
        "task_id": "add-adds",
        "metadata": {"title": "Add adds", "tags": []},
        "repo": {"git_url": repository.path.as_uri(), "branch": "main", "start_commit_sha": commit},
        "environment": {"test_framework": "unittest", "network": "none", **environment},
        "evaluation": {"rubrics": [], "test_scripts": [{"path": "test_hidden.py", "content": HIDDEN}]},
    }
    (folder / "tb_meta.json").write_text(json.dumps(meta))
    (task,) = installation.json("import_tasks", str(folder))["tasks"]
    assert task["result"] == "new", task
    return task["slug"]


@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_a_real_task_is_validated_and_then_graded_by_what_was_found(installation, sandbox, request):
    environment = {}
    if sandbox == "docker":
        # Without a language nothing has to be installed, and so nothing fetched.
        environment |= {"base_image": request.getfixturevalue("docker_test_image"), "languages": []}
    slug = add_task(installation, FIX, **environment)
    document = installation.json("validate_task", slug, "--attempts", "2", "--sandbox", sandbox)
    assert document["valid"] is True, document
    assert document["reason"] == ""
    assert document["fail_to_pass"] == ["test_hidden.H::test_sum"]
    assert document["pass_to_pass"] == ["test_adder.T::test_zero"]
    assert document["excluded"] == [{"id": "test_hidden.H::test_never", "reason": "always fails"}]
    names = [row["name"].split(" \N{MULTIPLICATION SIGN}")[0] for row in document["checks"]]
    assert names == [
        *("Snapshot", "Image", "Answer not in the image", "Do nothing", "Reference"),
        *("Another order", "Network off", "Answer in the instructions", "Quarantined"),
    ]
    (run,) = installation.json("run_task", slug, "--agent", "oracle", "--sandbox", sandbox)["runs"]
    assert run["outcome"] == "resolved"
    assert run["fail_to_pass"] == {"passed": 1, "failed": 0}
    assert run["pass_to_pass"] == {"passed": 1, "failed": 0}
    artifacts = installation.rows("SELECT name FROM runs_artifact WHERE run_id = ?", run["id"].replace("-", ""))
    assert {"junit.xml", "test-output.txt"} <= {row["name"] for row in artifacts}


def test_a_useless_reference_is_told_in_words_and_by_the_exit_status(installation):
    slug = add_task(installation, {"notes.txt": "x\n"})
    ended = installation.command("validate_task", slug, "--attempts", "1", "--sandbox", "local", check=False)
    assert ended.returncode == 1, ended.stderr
    assert f"Not valid: {slug} v1." in ended.stdout
    assert "so nothing tells a solution from doing nothing" in ended.stdout
    assert "test_hidden.H::test_never: always fails" in ended.stdout
    assert "nop and oracle, 1 times each" in ended.stderr
