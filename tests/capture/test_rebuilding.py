"""A task is made afterwards, from a session's patches or from commits; what is missing is named."""

from __future__ import annotations

import os
import subprocess

import pytest

from oneshot import store
from tasks import capture
from tasks.models import Task
from tests.sessions.builders import START, make_session, patch

pytestmark = pytest.mark.django_db

FIX = """diff --git a/adder.py b/adder.py
--- a/adder.py
+++ b/adder.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""
AGAIN = FIX.replace("-    return a - b", "-    return a + b").replace("+    return a + b\n", "+    return b + a\n", 1)
TEST = """diff --git a/tests/test_adder.py b/tests/test_adder.py
new file mode 100644
--- /dev/null
+++ b/tests/test_adder.py
@@ -0,0 +1,2 @@
+def test_adds():
+    assert True
"""


def session_of(repository, *patches: str, **fields):
    steps = [{"kind": "user", "text": "Make add add."}, *(patch(text) for text in patches)]
    commit = repository.git("rev-parse", "HEAD")
    return make_session(steps=steps, **{"commit": commit, "cwd": str(repository.path), "title": "Add"} | fields)


def test_patches_of_the_trace_are_put_onto_the_commit_that_the_session_began_at(repository):
    again = "diff --git a/adder.py b/adder.py\n--- a/adder.py\n+++ b/adder.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n"
    session = session_of(repository, FIX, TEST, again + "-    return a + b\n+    return b + a\n")
    made = capture.from_session(session, repository=repository.path)
    assert made.capture is None
    assert made.touched_files == ["adder.py", "tests/test_adder.py"]
    assert b"+    return b + a" in made.version.reference_diff()
    assert b"return a + b" not in made.version.reference_diff()
    assert made.version.instructions == "Make add add."
    assert set(made.version.hidden_test_files()) == {"tests/test_adder.py"}
    assert store.has(made.version.snapshot_digest)
    assert (made.task.session, made.task.state) == (session, Task.State.CAPTURED)


def test_patches_of_a_session_in_a_sub_directory_are_found_there(repository):
    repository.commit("package", **{"core/adder.py": "def add(a, b):\n    return a - b\n"})
    session = session_of(repository, FIX, cwd=str(repository.path / "core"))
    assert capture.from_session(session, repository=repository.path).touched_files == ["core/adder.py"]


def test_named_commits_count_before_anything_else(repository):
    session = session_of(repository, FIX)
    first = repository.git("rev-parse", "HEAD")
    repository.commit("work", **{"other.py": "x\n"})
    made = capture.from_session(session, repository=repository.path, start=first, end="main")
    assert made.touched_files == ["other.py"]


def test_without_patches_the_last_commit_of_its_time_is_the_end(repository):
    session = session_of(repository, ended_at=START)
    for name, date in (("within.py", "2026-11-20T15:05:00Z"), ("much-later.py", "2026-11-21T15:00:00Z")):
        repository.write(name, "x\n")
        repository.git("add", "-A")
        tree = repository.git("write-tree")
        done = subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", "-p", "HEAD", "-m", name, tree],
            cwd=repository.path,
            env={**os.environ, "GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date},
            check=True,
            capture_output=True,
            text=True,
        )
        repository.git("update-ref", "refs/heads/main", done.stdout.strip())
    assert capture.from_session(session, repository=repository.path).touched_files == ["within.py"]


def test_made_twice_it_is_one_task(repository):
    session = session_of(repository, FIX)
    first = capture.from_session(session, repository=repository.path)
    assert capture.from_session(session, repository=repository.path).version == first.version
    assert Task.objects.count() == 1


def test_without_a_repository_it_has_what_was_asked_and_where_the_code_is(repository):
    made = capture.from_session(session_of(repository, FIX))
    assert made.version.instructions == "Make add add."
    assert made.version.repo["git_url"] == "https://example.org/ledgerline.git"
    assert made.version.reference_diff() == b""
    assert "No repository was named" in made.notes[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"commit": ""}, "does not say at which commit it began"),
        ({"commit": "ab" * 20}, "at which the session began, is not in"),
        ({}, "shows no patches"),
    ],
)
def test_what_is_missing_is_named(repository, fields, words):
    with pytest.raises(capture.CannotRebuild, match=words):
        capture.from_session(session_of(repository, **fields), repository=repository.path)


def test_a_patch_that_does_not_apply_is_named_with_its_step(repository):
    session = session_of(repository, FIX, FIX)
    with pytest.raises(capture.CannotRebuild, match=r"step 3 \(adder.py\) does not apply"):
        capture.from_session(session, repository=repository.path)


@pytest.mark.parametrize("end", ["--upload-pack=touch x", "nowhere"])
def test_a_name_that_is_no_commit_is_refused(repository, end):
    with pytest.raises(capture.CannotRebuild, match="is no commit"):
        capture.from_session(session_of(repository), repository=repository.path, end=end)


def test_a_patch_that_leaves_the_repository_is_not_applied(repository):
    outside = FIX.replace("adder.py", "../outside.py")
    with pytest.raises(capture.CannotRebuild):
        capture.from_session(session_of(repository, outside), repository=repository.path)
