"""What must not or cannot come in is refused with its file, field, value and mend, and nothing of it is stored."""

import json
import os
import socket

import pytest

from tasks.actions import import_tasks
from tasks.models import Rubric, Task, TaskVersion
from tests.builders import make_team
from tests.tasks.builders import EVALUATION, TEST, write_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return make_team()


def problems_of(path, team):
    """Import one task that must be refused, and return its problems as (file, field, value, message)."""
    (result,) = import_tasks([path], team=team)
    assert (result.result, result.slug, result.version) == ("refused", None, None)
    assert not Task.objects.exists()
    assert not TaskVersion.objects.exists()
    return [(problem.file, problem.field, problem.value, problem.message) for problem in result.problems]


def the_problem(path, team):
    problems = problems_of(path, team)
    assert len(problems) == 1, problems
    return problems[0]


def script(**fields):
    return {"evaluation": {"test_scripts": [{"path": "tests/test_a.py", "content": TEST} | fields]}}


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"repo.git_url": "ext::sh -c id"}, "repo.git_url", "space"),
        ({"repo.git_url": "ext::sh"}, "repo.git_url", "helper program"),
        ({"repo.git_url": "fd::17"}, "repo.git_url", "helper program"),
        ({"repo.git_url": "-oProxyCommand=id"}, "repo.git_url", "option"),
        ({"repo.git_url": "--upload-pack=id"}, "repo.git_url", "option"),
        ({"repo.git_url": "ssh://-oProxyCommand=id/x"}, "repo.git_url", "no URL of a server"),
        ({"repo.git_url": "git@-oProxyCommand=id:x"}, "repo.git_url", "no address"),
        ({"repo.git_url": "-x@example.org:x"}, "repo.git_url", "option"),
        ({"repo.git_url": "git@example.org:-x"}, "repo.git_url", "no address"),
        ({"repo.git_url": "ftp://example.org/x"}, "repo.git_url", "ftp is no way"),
        ({"repo.git_url": "javascript://x/y"}, "repo.git_url", "no way"),
        ({"repo.git_url": "https://example.org"}, "repo.git_url", "no repository"),
        ({"repo.git_url": "https://[::1/x"}, "repo.git_url", "no URL"),
        ({"repo.git_url": "https://example.org:x/y"}, "repo.git_url", "no URL"),
        ({"repo.git_url": "file://other/x"}, "repo.git_url", "file:///full/path"),
        ({"repo.git_url": "C:\\code"}, "repo.git_url", "Windows"),
        ({"repo.git_url": "acme/widget"}, "repo.git_url", "nothing at"),
        ({"repo.git_url": 5}, "repo.git_url", "must be text"),
        ({"repo": [1]}, "repo", "must be an object"),
        ({"repo.branch": "-f"}, "repo.branch", "option"),
        ({"repo.branch": "a..b"}, "repo.branch", "no name of a branch"),
        ({"repo.branch": "a b"}, "repo.branch", "no name of a branch"),
        ({"repo.start_commit_sha": "--exec=x"}, "repo.start_commit_sha", "no commit id"),
        ({"repo.start_commit_sha": "main"}, "repo.start_commit_sha", "no commit id"),
        ({"repo.start_commit_sha": "HEAD~1"}, "repo.start_commit_sha", "no commit id"),
        ({"repo.subdir": "../x"}, "repo.subdir", "leaves the repository"),
        ({"repo.subdir": "/x"}, "repo.subdir", "absolute"),
        ({"repo.subdir": "a\\b"}, "repo.subdir", "backslash"),
        ({"repo.sparse_checkout": "core"}, "repo.sparse_checkout", "must be a list"),
        ({"repo.sparse_checkout": ["core", "a/../../x"]}, "repo.sparse_checkout[1]", "leaves"),
        ({"task_id": ["x"]}, "task_id", "must be text"),
        ({"metadata.title": {"a": 1}}, "metadata.title", "must be text"),
        ({"metadata.tags": "py"}, "metadata.tags", "must be a list"),
        ({"metadata.tags": ["py", 3]}, "metadata.tags[1]", "must be text"),
        ({"sensitivity.level": "top secret"}, "sensitivity.level", "one of safe"),
        ({"environment": ["pytest"]}, "environment", "must be an object"),
        ({"environment": {"timeout": 5}}, "environment.timeout", "no such field"),
        ({"environment": {"timeout_s": "5"}}, "environment.timeout_s", "number"),
        ({"environment": {"setup": ["echo \ud800"]}}, "environment", "surrogate"),
        ({"environment": {"dockerfile": "../Dockerfile"}}, "environment.dockerfile", "leaves"),
        ({"environment": {"dockerfile": "none.Dockerfile"}}, "environment.dockerfile", "no such file"),
        ({"evaluation": []}, "evaluation", "must be an object"),
        ({"evaluation": {"rubrics": [{"id": "a", "weight": 1}]}}, "evaluation.rubrics[0].criterion", "sentence"),
        ({"evaluation": {"rubrics": ["a"]}}, "evaluation.rubrics[0]", "must be an object"),
        (script(path="/etc/cron.d/x"), "evaluation.test_scripts[0].path", "absolute"),
        (script(path="../../x.py"), "evaluation.test_scripts[0].path", "leaves"),
        (script(path="tests/../../x.py"), "evaluation.test_scripts[0].path", "leaves"),
        (script(path=".git/hooks/post-checkout"), "evaluation.test_scripts[0].path", ".git"),
        (script(path="sub/.GIT/config"), "evaluation.test_scripts[0].path", ".git"),
        (script(path="C:/x.py"), "evaluation.test_scripts[0].path", "absolute"),
        (script(path="tests\\x.py"), "evaluation.test_scripts[0].path", "backslash"),
        (script(path=""), "evaluation.test_scripts[0].path", "needs a path"),
        (script(content=None), "evaluation.test_scripts[0].content", "needs its text"),
        (script(content=[TEST]), "evaluation.test_scripts[0].content", "must be text"),
        (script(content="x = '\ud800'"), "evaluation.test_scripts[0].content", "surrogate"),
        (script(content=None, file="../x.py"), "evaluation.test_scripts[0].file", "leaves"),
        (script(content=None, file="x.py"), "evaluation.test_scripts[0].file", "no such file"),
        (script(content="x" * 8_000_001), "evaluation.test_scripts[0].content", "at most"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path, team, changes, field, word):
    file, where, _, message = the_problem(write_task(tmp_path / "t", changes), team)
    assert (file, where) == ("tb_meta.json", field)
    assert word in message


@pytest.mark.parametrize("weight", ["0.5", True, -1, 10**9, [1]])
def test_a_weight_is_a_sensible_number(tmp_path, team, weight):
    rubrics = [{"id": "a", "criterion": "x", "weight": weight}]
    problem = the_problem(write_task(tmp_path / "t", {"evaluation": {"rubrics": rubrics}}), team)
    assert problem[1] == "evaluation.rubrics[0].weight"


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path, team):
    url = "https://me:ghp_0123456789@example.org/x/y"
    _, field, value, message = the_problem(write_task(tmp_path / "t", {"repo.git_url": url}), team)
    assert field == "repo.git_url"
    assert "user or password" in message
    assert "ghp_" not in value + message


def test_every_problem_of_a_task_is_reported(tmp_path, team):
    rubrics = [{"id": "a", "criterion": "x"}, {"id": "a", "criterion": "y"}]
    tests = [{"path": "tests/test_a.py", "content": TEST}, {"path": "./tests/test_a.py", "content": TEST}]
    changes = {
        "repo.branch": "-x",
        "repo.subdir": "..",
        "environment": {"cpu": 1, "network": "all"},
        "evaluation": {"rubrics": rubrics, "test_scripts": tests},
    }
    path = write_task(tmp_path / "t", changes, instructions=" \n", diff=b"not a diff\n")
    (path / "tb_meta.json").write_text((path / "tb_meta.json").read_text().replace("add returns the difference.", ""))
    assert {(file, field) for file, field, _, _ in problems_of(path, team)} == {
        ("LM_INSTRUCTIONS.md", ""),
        ("tb_meta.json", "repo.branch"),
        ("tb_meta.json", "repo.subdir"),
        ("tb_meta.json", "environment.cpu"),
        ("tb_meta.json", "environment.network"),
        ("tb_meta.json", "evaluation.rubrics[1].id"),
        ("tb_meta.json", "evaluation.test_scripts[1].path"),
        ("diff.patch", ""),
    }


@pytest.mark.parametrize(
    ("meta", "field", "word"),
    [
        ("", "line 1, column 1", "no JSON"),
        ('{"task_id": "a",\n  "repo": }', "line 2, column 11", "no JSON"),
        ("[1, 2]", "", "not an object"),
        ('{"a": NaN}', "", "NaN"),
        ("[" * 100_000, "", "nested too deeply"),
        (b'{"task_id": "\xff\xfe"}', "line 1", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "", "UTF-16"),
        (b'{"a": "\x00"}', "", "NUL"),
    ],
)
def test_metadata_that_is_no_json_object_is_named_by_line(tmp_path, team, meta, field, word):
    file, where, _, message = the_problem(write_task(tmp_path / "t", meta=meta), team)
    assert (file, where) == ("tb_meta.json", field)
    assert word in message


def test_a_task_without_metadata_is_told_so(tmp_path, team):
    path = write_task(tmp_path / "t")
    (path / "tb_meta.json").unlink()
    file, _, _, message = the_problem(path, team)
    assert file == "tb_meta.json"
    assert "missing" in message


@pytest.mark.parametrize(
    "diff",
    [
        b"--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n",
        b"diff --git a/.git/config b/.git/config\n--- a/.git/config\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n",
        b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n-a\n+b\n",
    ],
)
def test_a_diff_that_leaves_the_repository_or_is_broken_is_refused(tmp_path, team, diff):
    problems = problems_of(write_task(tmp_path / "t", diff=diff), team)
    assert {problem[0] for problem in problems} == {"diff.patch"}


@pytest.mark.parametrize(
    "name",
    ["tb_meta.json", "LM_INSTRUCTIONS.md", "diff.patch", "repo_info.json", "notes.md", "trace/session_id.txt",
     "overlay_files/x", "overlay_repo_files/x", "overlay_repo_files", "evaluation/x", "Dockerfile"],
)  # fmt: skip
def test_links_are_never_followed(tmp_path, team, name):
    secret = tmp_path / "secret"
    secret.write_text('{"task_id": "stolen"}')
    path = write_task(tmp_path / "t")
    target = path / name
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(secret)
    problems = problems_of(path, team)
    assert [(file, message) for file, _, _, message in problems if "symbolic link" in message] == [
        (name, "It is a symbolic link, which could lead out of the task. Put the file itself there.")
    ]


def test_a_linked_folder_of_the_format_is_refused(tmp_path, team):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "LM_INSTRUCTIONS.md").write_text("Steal.")
    path = write_task(tmp_path / "t", instructions=None)
    (path / "overlay_files").symlink_to(outside)
    assert ("overlay_files", True) in [(p[0], "symbolic link" in p[3]) for p in problems_of(path, team)]


def test_a_pipe_or_socket_does_not_hang_the_import(tmp_path, team, monkeypatch):
    path = write_task(tmp_path / "t")
    (path / "diff.patch").unlink()
    os.mkfifo(path / "diff.patch")
    (path / "LM_INSTRUCTIONS.md").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        # The name of a socket may not be long.
        monkeypatch.chdir(path)
        listener.bind("LM_INSTRUCTIONS.md")
        files = {problem[0] for problem in problems_of(path, team)}
    assert {"diff.patch", "LM_INSTRUCTIONS.md"} <= files


def test_overlay_files_cannot_reach_git(tmp_path, team):
    path = write_task(tmp_path / "t", layout="prepared", files={"overlay_repo_files/.git/hooks/post-checkout": "x"})
    file, _, _, message = the_problem(path, team)
    assert file == "overlay_repo_files/.git/hooks/post-checkout"
    assert ".git" in message


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"overlay_files": {"../../PWNED": "x"}}, "overlay_files.../../PWNED"),
        ({"overlay_repo_files": {"/etc/x": "x"}}, "overlay_repo_files./etc/x"),
        ({"inject_files": [{"path": ".git/config", "content": "x"}]}, "inject_files[0].path"),
        ({"remove_repo_paths": ["docs", "../../home"]}, "remove_repo_paths[1]"),
        ({"remove_repo_paths": ["/"]}, "remove_repo_paths[0]"),
        ({"promt": "x"}, "promt"),
        ({"prompt": 1}, "prompt"),
    ],
)
def test_overrides_are_taken_only_as_far_as_they_are_safe(tmp_path, team, overrides, field):
    path = write_task(tmp_path / "t", layout="prepared", files={"overrides.json": json.dumps(overrides)})
    problem = the_problem(path, team)
    assert problem[:2] == ("overrides.json", field)


def test_too_large_a_file_is_refused(tmp_path, team, monkeypatch):
    monkeypatch.setattr("tasks.formats.files.MAX_TREE_FILES", 3)
    files = {f"overlay_repo_files/{number}.txt": "x" for number in range(5)}
    problems = problems_of(write_task(tmp_path / "many", files=files), team)
    assert "more than 3 files" in problems[0][3]
    path = write_task(tmp_path / "long", instructions="x" * 2_000_001)
    assert "larger than 2,000,000 bytes" in the_problem(path, team)[3]


def test_a_refused_task_keeps_what_was_there(tmp_path, team):
    import_tasks([write_task(tmp_path / "a", {"evaluation": EVALUATION})], team=team)
    (result,) = import_tasks([write_task(tmp_path / "b", {"repo.branch": "-x"})], team=team)
    assert (result.result, result.slug) == ("refused", "fix-the-adder")
    assert (TaskVersion.objects.count(), Rubric.objects.count()) == (1, 1)


def test_a_fault_midway_through_storing_leaves_nothing(tmp_path, team, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(Rubric.objects, "create", fail)
    with pytest.raises(RuntimeError):
        import_tasks([write_task(tmp_path / "a", {"evaluation": EVALUATION})], team=team)
    assert not Task.objects.exists()
    assert not TaskVersion.objects.exists()


def test_a_stranger_cannot_name_a_repository_of_this_machine(tmp_path, team):
    (tmp_path / "repo").mkdir()
    for number, url in enumerate((str(tmp_path / "repo"), f"file://{tmp_path}/repo", "../repo")):
        path = write_task(tmp_path / f"t{number}", {"repo.git_url": url})
        (result,) = import_tasks([path], team=team, local_repositories=False)
        assert "on this machine" in result.problems[0].message
