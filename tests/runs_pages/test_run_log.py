"""The log on a run's page: nothing lost, nothing twice, nothing that could hurt."""

import json

import pytest
from django.test import Client

from oneshot.accounts.models import Team, Visibility
from runs import logs
from runs.logs import RunLog
from runs.models import Run, Status
from runs.views import log as view
from tasks.models import Task
from tests.builders import make_run, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(team: Team) -> Run:
    return make_run(task=make_task(team=team, slug="adder"), status="running")


def ask(client: Client, run: Run, after: str = "") -> dict:
    response = client.get(f"/runs/{run.pk}/log/", {"after": after})
    assert response.status_code == 200
    return json.loads(response.content)


def test_a_reader_gets_every_line_once_also_across_the_end(owners: Client, run: Run) -> None:
    log, seen, cursor = RunLog(run), [], ""
    for number in range(10):
        log("agent", f"line {number}")
        log.flush()
        if number % 3 == 2:
            page = ask(owners, run, cursor)
            seen += [text for _, _, text in page["lines"]]
            cursor = page["next"]
            assert page["live"]
    assert ask(owners, run, cursor)["lines"][0][2] == "line 9"
    run.transition(Status.CANCELLED)
    log("run", "cancelled")
    log.close()
    logs.settle(run)
    page = ask(owners, run, cursor)

    assert not page["live"]
    assert seen + [text for _, _, text in page["lines"]] == [f"line {n}" for n in range(10)] + ["cancelled"]
    assert ask(owners, run, page["next"])["lines"] == []


def test_an_answer_is_bounded_and_says_how_many_lines_it_left_out(
    owners: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "LINES", 5)
    log = RunLog(run)
    log("agent", "\n".join(f"line {n}" for n in range(12)))
    log.flush()
    page = ask(owners, run)

    assert [text for _, _, text in page["lines"]] == [f"line {n}" for n in range(7, 12)]
    assert page["omitted"] == 7
    assert ask(owners, run, page["next"])["omitted"] == 0


@pytest.mark.parametrize("cursor", ["x", "-1-2", "9" * 30 + "-1", "1-" + "9" * 30, "1-2-3", "٣-٣"])
def test_a_broken_cursor_is_the_beginning(owners: Client, run: Run, cursor: str) -> None:
    log = RunLog(run)
    log("agent", "hello")
    log.flush()

    assert [text for _, _, text in ask(owners, run, cursor)["lines"]] == ["hello"]


def test_terminal_codes_are_dropped_and_invisible_characters_named(owners: Client, run: Run) -> None:
    log = RunLog(run)
    log("agent", "\x1b[31mred\x1b[0m \u202eevil <script>\n50%\r100%")
    log.flush()

    assert [text for _, _, text in ask(owners, run)["lines"]] == ["red \u2039U+202E\u203aevil <script>", "100%"]


def test_the_whole_log_is_a_text_file(owners: Client, run: Run) -> None:
    log = RunLog(run)
    log("agent", "hello")
    log.flush()
    response = owners.get(f"/runs/{run.pk}/log.txt")

    assert response.content.decode().endswith("agent    hello\n")
    assert response.headers["Content-Disposition"] == 'attachment; filename="adder-1.log"'


def test_strangers_read_a_public_log_without_what_the_tests_print(outsiders: Client, owners: Client, run: Run) -> None:
    Task.objects.filter(pk=run.task_id).update(visibility=Visibility.PUBLIC)
    Run.objects.filter(pk=run.pk).update(public=True)
    log = RunLog(run)
    log("agent", "working")
    log("grade", "assert hidden == 1\rassert more")
    log.flush()

    assert [source for _, source, _ in ask(outsiders, run)["lines"]] == ["agent"]
    whole = outsiders.get(f"/runs/{run.pk}/log.txt").content
    assert b"working" in whole
    assert b"assert" not in whole
    assert [source for _, source, _ in ask(owners, run)["lines"]] == ["agent", "grade"]
    assert b"assert" in owners.get(f"/runs/{run.pk}/log.txt").content


def test_a_log_that_the_store_has_lost_says_so(owners: Client, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(log_digest="e" * 64)
    response = owners.get(f"/runs/{run.pk}/log/")

    assert response.status_code == 410
    assert "content store has nothing" in response.json()["error"]
