"""`oneshot capture …` as a person types it."""

import io
import json
import subprocess

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from oneshot import places
from tasks.models import Capture

pytestmark = pytest.mark.django_db


@pytest.fixture
def here(git_repository, monkeypatch):
    folder = git_repository({"adder.py": "def add(a, b):\n    return a - b\n"}, "work")
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        subprocess.run(["git", "config", key, value], cwd=folder, check=True)
    monkeypatch.setattr(places, "_started_in", folder)
    return folder


def run(*words):
    """Return what was printed, and the exit status."""
    out = io.StringIO()
    try:
        call_command("capture", *words, stdout=out, stderr=io.StringIO())
    except SystemExit as status:
        return out.getvalue(), status.code
    return out.getvalue(), 0


def document(*words):
    return json.loads(run(*words, "--json")[0])


def test_from_start_to_end_by_hand(here):
    started = document("start", "Mend add", "--notes", "add subtracts", "--label", "maths")
    assert started["ok"]
    (open_one,) = document("status")["captures"]
    assert (open_one["task_slug"], open_one["title"]) == (started["task_slug"], "Mend add")
    (here / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    ended = document("end", "--summary", "It adds now.")
    assert ended["touched_files"] == ["adder.py"]
    assert document("status")["captures"] == []
    assert Capture.objects.get().labels == ["maths"]
    # Asked for again by its name, it tells the same.
    assert document("finish", started["task_slug"])["task"] == ended["task"]


def test_words_for_a_person(here):
    assert "Nothing is being recorded" in run("status")[0]
    assert run("start", "Mend add")[0].startswith("Recording mend-add_")
    assert "by hand, 0 min" in run("status")[0]
    (here / "new.txt").write_text("x\n")
    out, _ = run("end")
    assert "1 file changed" in out
    assert "/tasks/" in out


def test_a_recording_is_dropped_by_how_its_name_begins(here):
    run("start", "Mend add")
    assert "Dropped mend-add_" in run("drop", "mend-")[0]
    assert Capture.objects.get().status == Capture.Status.DROPPED
    refs = subprocess.run(["git", "for-each-ref", "refs/oneshot"], cwd=here, capture_output=True, text=True)
    assert refs.stdout == ""


def test_what_fits_several_or_none_is_told(here):
    run("start", "Mend add")
    (here / "new.txt").write_text("x\n")
    run("start", "Mend the rest")
    with pytest.raises(CommandError, match="fits several: mend-"):
        run("drop", "mend-")
    with pytest.raises(CommandError, match="No recording that is open"):
        run("drop", "other")


def test_without_a_recording_here_it_says_how_to_find_one(here):
    with pytest.raises(CommandError, match="oneshot capture status"):
        run("end")


def test_a_repository_that_is_not_ready_says_what_to_do(here):
    (here / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")
    out, status = run("readiness")
    assert status == 1
    assert "merge_in_progress" in out
    assert "git merge --abort" in out
    answer, status = run("start", "Mend add", "--json")
    assert status == 1
    assert json.loads(answer)["code"] == "NOT_READY"
    assert json.loads(answer)["details"]["issues"][0]["id"] == "merge_in_progress"
    assert document("autofix")["ok"] is False


def test_every_action_has_an_example(capsys):
    from tasks.management.commands.capture import HELP

    for name in HELP:
        with pytest.raises(SystemExit):
            call_command("capture", name, "--help")
        assert f"oneshot capture {name}" in capsys.readouterr().out.split("example:")[1]
