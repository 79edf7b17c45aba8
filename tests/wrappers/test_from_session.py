"""`oneshot capture from-session …` as a person types it."""

from __future__ import annotations

import json
import subprocess

import pytest
from django.core.management.base import CommandError

from oneshot import places
from tasks.models import Task
from tests.builders import make_team
from tests.conftest import AUTHOR
from tests.sessions.builders import make_session, patch
from tests.traces.wire import lines, user
from tests.wrappers.test_terminal import document, run

pytestmark = pytest.mark.django_db

THREAD = "01a1b2c3-0000-7000-8000-00000000beef"
FIX = """diff --git a/adder.py b/adder.py
--- a/adder.py
+++ b/adder.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""


@pytest.fixture
def here(repository, monkeypatch, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setattr(places, "_started_in", folder)
    return folder


@pytest.fixture
def repository(git_repository):
    return git_repository({"adder.py": "def add(a, b):\n    return a - b\n"}, "work")


def session_in(repository, head, **fields):
    steps = [{"kind": "user", "text": "Make add add."}, patch(FIX)]
    known = {"commit": head, "cwd": str(repository), "title": "Add", "thread_id": THREAD}
    return make_session(steps=steps, **known | fields)


@pytest.fixture
def head(repository):
    return (repository / ".git" / "refs" / "heads" / "main").read_text().strip()


@pytest.mark.parametrize("how", ["id", "thread", "beginning"])
def test_a_session_is_named_by_id_or_thread_and_worked_where_it_says(here, repository, head, how):
    session = session_in(repository, head)
    name = {"id": str(session.pk), "thread": THREAD, "beginning": str(session.pk)[:23]}[how]
    made = document("from-session", name, "--title", "Mend add")
    assert made["touched_files"] == ["adder.py"]
    task = Task.objects.get()
    assert (task.slug, task.title, task.session) == (made["task"], "Mend add", session)
    assert made["url"].endswith(f"/tasks/{task.slug}/")


def test_words_for_a_person_and_commits_by_name(here, repository, head):
    session = session_in(repository, "", cwd="/gone")
    (repository / "new.py").write_text("x = 1\n")
    for words in (["add", "-A"], [*AUTHOR, "commit", "-qm", "work"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    out, status = run(
        *("from-session", str(session.pk), "--repository", "../work", "--start", head, "--end", "main"),
    )
    assert status == 0
    assert "1 file changed" in out
    assert Task.objects.get().versions.get().reference_diff().startswith(b"diff --git a/new.py")


def test_without_its_folder_the_draft_has_no_code_and_says_so(here, repository, head):
    made = document("from-session", str(session_in(repository, head, cwd="/gone").pk))
    assert made["diff_bytes"] == 0
    assert "No repository was named" in made["notes"][0]


def test_a_thread_that_was_never_imported_is_found_in_the_agents_files(here, repository, head, monkeypatch, tmp_path):
    make_team()
    sessions = tmp_path / "codex" / "sessions" / "2025" / "11" / "20"
    sessions.mkdir(parents=True)
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    at = "2025-11-20T12:00:00Z"
    meta = {"id": THREAD, "cwd": str(repository), "cli_version": "0.169.0", "git": {"commit_hash": head}}
    item = {"type": "FileChange", "id": "p1", "status": "completed"} | {
        "changes": {str(repository / "adder.py"): {"type": "update", "unified_diff": FIX.split("adder.py\n", 3)[-1]}}
    }
    (sessions / f"rollout-2025-11-20T12-00-00-{THREAD}.jsonl").write_bytes(
        lines(
            {"timestamp": at, "type": "session_meta", "payload": meta},
            {"timestamp": at, "type": "response_item", "payload": {"id": "m1", **user("Make add add.")}},
            {"timestamp": at, "type": "event_msg", "payload": {"type": "item_completed", "item": item}},
        )
    )
    assert document("from-session", THREAD)["touched_files"] == ["adder.py"]


@pytest.mark.parametrize("name", ["nothing", "", "../../etc", "0" * 40])
def test_a_session_that_is_not_known_is_told_with_the_mend(here, name):
    with pytest.raises(CommandError, match=r"No session is called.*import_traces") as error:
        run("from-session", name)
    assert error.value.returncode == 2


def test_what_fits_several_is_told_with_their_ids(here, repository, head):
    first = session_in(repository, head)
    session_in(repository, head, thread_id=THREAD.replace("beef", "cafe"))
    with pytest.raises(CommandError, match=rf"fits several(.|\n)*{first.pk}"):
        run("from-session", "01a1b2c3")


def test_what_keeps_it_from_being_rebuilt_is_told(here, repository, head):
    session = session_in(repository, "ab" * 20)
    with pytest.raises(CommandError, match="is not in"):
        run("from-session", str(session.pk))
    out, status = run("from-session", str(session.pk), "--json")
    assert (status, json.loads(out)["ok"]) == (2, False)
    assert json.loads(out)["code"]
