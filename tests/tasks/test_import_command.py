"""`import_tasks` speaks to people in lines, to programs in one JSON document, and by its exit status."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError

from oneshot.management.base import BadInput
from tasks import actions
from tasks.actions import import_tasks
from tasks.models import Task
from tests.builders import make_team
from tests.tasks.builders import make_repository, write_task

pytestmark = pytest.mark.django_db


def run(*arguments):
    """Return (exit status, standard output)."""
    out, status = StringIO(), 0
    try:
        call_command("import_tasks", *map(str, arguments), stdout=out, stderr=StringIO())
    except SystemExit as end:
        status = end.code
    return status, out.getvalue()


def test_json_is_one_document_with_the_promised_keys(tmp_path):
    good, bad = write_task(tmp_path / "good"), write_task(tmp_path / "bad", {"task_id": "bad", "repo.branch": "-x"})
    status, text = run(good, bad, "--json")
    assert status == 2
    first, second = json.loads(text)["tasks"]
    assert first == {
        "path": str(good),
        "slug": "fix-the-adder",
        "version": 1,
        "result": "new",
        "problems": [],
        "notes": first["notes"],
    }
    assert (second["slug"], second["version"], second["result"]) == (None, None, "refused")
    assert second["problems"] == [
        {
            "file": "tb_meta.json",
            "field": "repo.branch",
            "value": "-x",
            "message": "It would be taken for an option of git. Write the plain name of the branch.",
        }
    ]


def test_people_get_a_line_for_each_task_and_a_count(tmp_path):
    write_task(tmp_path / "tasks" / "a", {"task_id": "a"})
    write_task(tmp_path / "tasks" / "b", {"task_id": "b", "repo.branch": "-x"})
    run(tmp_path / "tasks" / "a")
    status, text = run(tmp_path / "tasks", tmp_path / "nothing")
    assert status == 2
    lines = text.splitlines()
    assert lines[0] == f"unchanged    a v1  {tmp_path}/tasks/a"
    assert f"refused      {tmp_path}/tasks/b" in lines
    assert "    tb_meta.json, repo.branch is '-x': It would be taken for an option of git." in text
    assert lines[-1] == "3 tasks: 1 unchanged, 2 refused."


def test_all_in_is_status_zero(tmp_path):
    status, text = run(write_task(tmp_path / "a"))
    assert status == 0
    assert text.splitlines()[-1] == "1 task: 1 new."


def test_the_team_is_named_or_the_oldest(tmp_path):
    team = make_team(slug="curators")
    make_team(slug="others")
    run(write_task(tmp_path / "a", {"task_id": "a"}))
    run(write_task(tmp_path / "b", {"task_id": "b"}), "--team", "others", "--public")
    assert Task.objects.get(slug="a").team == team
    other = Task.objects.get(slug="b")
    assert (other.team.slug, other.visibility) == ("others", "public")
    with pytest.raises(BadInput, match="curators, others"):
        run(tmp_path / "a", "--team", "nobody")


def test_a_dry_run_says_that_nothing_was_stored(tmp_path):
    _, text = run(write_task(tmp_path / "a"), "--dry-run")
    assert "Nothing was stored." in text
    assert not Task.objects.exists()


@pytest.mark.parametrize("name", ["nothing", "file.txt", "empty"])
def test_a_path_without_a_task_is_refused(tmp_path, name):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    status, text = run(tmp_path / name)
    assert status == 2
    assert text.splitlines()[-1] == "1 task: 1 refused."


def test_the_metadata_file_stands_for_its_task(tmp_path):
    assert run(write_task(tmp_path / "a") / "tb_meta.json")[0] == 0


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "../repo", "./../repo"])
def test_a_local_repository_is_found_from_the_tasks_directory(tmp_path, form, monkeypatch):
    monkeypatch.chdir("/")
    commit = make_repository(tmp_path / "repo", {"adder.py": "x = 1\n"})
    url = form.format(path=tmp_path / "repo")
    path = write_task(tmp_path / "task", {"repo.git_url": url, "repo.start_commit_sha": commit, "repo.branch": ""})
    (result,) = import_tasks([path], team=make_team())
    assert (result.problems, result.notes[1:]) == ([], [])
    expected = url if form.startswith("file") else str(tmp_path / "repo")
    assert Task.objects.get().current_version.repo["git_url"] == expected


def test_a_base_that_is_not_named_is_the_tip(tmp_path):
    path = write_task(tmp_path / "task", {"repo.start_commit_sha": "head"})
    (result,) = import_tasks([path], team=make_team())
    assert Task.objects.get().current_version.repo["start_commit_sha"] == "HEAD"
    assert "tip of the branch" in result.notes[0].message


def test_a_name_taken_by_another_import_at_the_same_moment_is_tried_again(tmp_path, monkeypatch):
    real, calls = actions.free_slug, []

    def taken_once(*names):
        calls.append(names)
        if len(calls) == 1:
            raise IntegrityError("slug")
        return real(*names)

    monkeypatch.setattr(actions, "free_slug", taken_once)
    (result,) = import_tasks([write_task(tmp_path / "a")], team=make_team())
    assert (result.result, len(calls)) == ("new", 2)
