"""Judging again over the API: the plan first, then for real, with a judge at a scripted endpoint."""

from __future__ import annotations

import pytest

from runs.judging import actions
from runs.judging.models import Judgement, RunScore
from runs.models import AgentConfig, Run
from tests.api.asking import ask, error_of, make_token
from tests.builders import make_run, make_task, make_team, make_user
from tests.judging.builders import add_rubric, make_judge, make_judged_run, saying
from tests.servers.chat import chat_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def token() -> str:
    return make_token(make_user("mia"))


@pytest.fixture
def run(token: str) -> Run:
    from oneshot.accounts.models import User

    team = make_team(member=User.objects.get(username="mia"))
    return make_judged_run({"key": "adds"}, {"key": "safe"}, task=make_task(team=team, slug="mend-it"))[0]


def test_a_dry_run_says_what_it_would_ask_and_cost_and_changes_nothing(token: str, run: Run) -> None:
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    answer = ask("post", "/rescore", token, {"task": "mend-it", "dry_run": True})
    document = answer.json()
    assert (answer.status_code, document["dry_run"]) == (200, True)
    assert document["questions"] >= 2
    assert document["estimate_usd"] > 0
    [row] = document["runs"]
    assert (row["run"], row["judge"], row["rubric"], row["done"], row["status"], row["before"]) == (
        str(run.pk),
        "scripted",
        1,
        False,
        None,
        None,
    )
    assert not Judgement.objects.exists()


def test_it_is_judged_and_the_run_has_its_score(token: str, run: Run) -> None:
    with chat_server(saying(safe="not_met")) as server:
        make_judge(server.url, "by-name")
        given = {"runs": [str(run.pk)], "judge": "by-name"}
        answer = ask("post", "/rescore", token, given)
        assert (answer.status_code, answer.json()["runs"][0]["status"]) == (202, "queued")
        judgement = Judgement.objects.get()
        assert judgement.created_by.username == "mia"
        actions.finish([judgement], here=True)
        asked = len(server.requests)
        assert ask("get", f"/runs/{run.pk}", token).json()["rubric_score"] == 0.5
        again = ask("post", "/rescore", token, given).json()
        assert (again["questions"], again["runs"][0]["done"], again["runs"][0]["before"]) == (0, True, 0.5)
        assert len(server.requests) == asked
    assert RunScore.objects.get().score == 0.5


def test_a_newer_rubric_or_an_older_one_by_its_number(token: str, run: Run) -> None:
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    add_rubric(run.task, "It adds, and fast.")
    rubrics = [
        ask("post", "/rescore", token, {"task": "mend-it", "dry_run": True, **more}).json()["runs"][0]["rubric"]
        for more in ({}, {"rubric": 1})
    ]
    assert rubrics == [2, 1]


def test_references_and_ungraded_runs_of_a_task_are_left_out(token: str, run: Run) -> None:
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    make_run(task=run.task, outcome="resolved", agent=AgentConfig.obtain(kind="oracle"))
    waiting = make_run(task=run.task)
    document = ask("post", "/rescore", token, {"task": "mend-it", "dry_run": True}).json()
    assert [row["run"] for row in document["runs"]] == [str(run.pk)]
    assert error_of(ask("post", "/rescore", token, {"runs": [str(waiting.pk)], "dry_run": True}))[0] == 404


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, "invalid", "either runs or a task"),
        ({"task": "mend-it", "judge": "nobody"}, "cannot_judge", "no judge 'nobody'"),
        ({"task": "mend-it", "rubric": 9}, "cannot_judge", "a rubric 9"),
        ({"task": "mend-it", "samples": 9}, "invalid", "no field 'samples'"),
        ({"runs": ["x"]}, "invalid", "UUID"),
        ({"runs": ["00000000-0000-7000-8000-000000000000"] * 201}, "invalid", "200"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(token: str, run: Run, given: dict, code: str, words: str) -> None:
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    status, said, message = error_of(ask("post", "/rescore", token, given))
    assert (status, said) == (422, code)
    assert words in message
    assert not Judgement.objects.exists()


def test_one_run_of_another_team_and_none_is_judged(token: str, run: Run) -> None:
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    other, _ = make_judged_run({"key": "adds"})
    assert error_of(ask("post", "/rescore", token, {"runs": [str(run.pk), str(other.pk)]}))[0] == 404
    assert not Judgement.objects.exists()
