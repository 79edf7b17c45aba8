"""Runs and sessions over the API: listed, started, cancelled, by the rules of the page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from pydantic import ValidationError

from oneshot.accounts.models import User
from oneshot.api.documents import RunsGiven
from runs import summary
from runs.models import AgentConfig, Run
from tasks.models import Task, TaskVersion
from tests.api.asking import ask, error_of, make_token
from tests.builders import make_agent, make_run, make_task, make_team, make_user
from tests.sessions.builders import make_session, said

pytestmark = pytest.mark.django_db


@pytest.fixture
def maintainer() -> User:
    return make_user("mia")


@pytest.fixture
def token(maintainer: User) -> str:
    return make_token(maintainer)


@pytest.fixture
def task(maintainer: User) -> Task:
    return make_task(team=make_team(member=maintainer), slug="mend-it", version={"validation": "valid"})


def start(token: str, **fields: Any) -> Any:
    given = {"task": "mend-it", "agent": "command", "command": "true", "sandbox": "local"}
    return ask("post", "/runs", token, given | fields)


# ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_queued_under_the_owners_name_with_their_limits(task: Task, token: str) -> None:
    answer = start(token, attempts=2, limits={"max_tokens": 5000})
    assert answer.status_code == 201, answer.content
    rows = list(Run.objects.order_by("attempt"))
    assert [document["id"] for document in answer.json()["runs"]] == [str(run.pk) for run in rows]
    assert [(run.attempt, run.created_by.username, run.limits["max_tokens"], run.status) for run in rows] == [
        (1, "mia", 5000, "queued"),
        (2, "mia", 5000, "queued"),
    ]


def test_a_configuration_that_was_tried_before_is_named_by_its_id(task: Task, token: str) -> None:
    known = make_agent(name="my-agent", settings={"command": "true"})
    make_run(task=task, agent=known)
    assert start(token, agent=str(known.pk), command="").status_code == 201
    assert Run.objects.filter(agent=known).count() == 2
    elsewhere = make_run(agent=make_agent(name="theirs", settings={"command": "false"})).agent
    assert error_of(start(token, agent=str(elsewhere.pk)))[:2] == (422, "invalid")


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": "nobody"},
        {"command": ""},
        {"command": "x" * 4001},
        {"attempts": 0},
        {"attempts": 51},
        {"sandbox": "cloud"},
        {"model": "x" * 201},
        {"limits": {"max_tokens": 0}},
        {"limits": {"max_cost_usd": "0"}},
        {"limits": {"max_cost_usd": "NaN"}},
        {"limits": {"memory_mb": 1}},
        {"agent": "codex", "limits": {"max_cost_usd": "1"}, "model": "a-model-without-a-price"},
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing(task: Task, token: str, fields: dict[str, Any]) -> None:
    assert error_of(start(token, **fields))[:2] == (422, "invalid")
    assert not Run.objects.exists()


def test_page_and_api_refuse_alike(task: Task, token: str, maintainer: User) -> None:
    page = Client()
    page.force_login(maintainer)
    for fields in ({"command": ""}, {"attempts": 51}, {"sandbox": "cloud"}, {"model": "x" * 201}):
        form = {"agent": "new:command", "command": "true", "sandbox": "local", "attempts": 1} | fields
        shown = page.post("/runs/new/mend-it/", form)
        [words] = [errors[0] for errors in shown.context["form"].errors.values()]
        assert error_of(start(token, **fields))[2] == words


def test_a_version_that_is_not_valid_is_tried_only_when_that_is_said(task: Task, token: str) -> None:
    TaskVersion.objects.update(validation="invalid")
    answer = start(token)
    assert (error_of(answer)[0], answer.json()["error"]["field"]) == (422, "unvalidated")
    assert start(token, unvalidated=True).status_code == 201


def test_no_column_of_a_run_or_an_agent_can_be_set(task: Task, token: str) -> None:
    columns = {
        name for model in (Run, AgentConfig) for f in model._meta.concrete_fields for name in (f.name, f.attname)
    }
    for name in columns - {"task", "agent", "model", "sandbox", "limits"}:
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            RunsGiven.model_validate({"task": "mend-it", "agent": "command", name: "finished"})
    for name in ("status", "outcome", "created_by", "settings"):
        assert error_of(start(token, **{name: "finished"}))[2] == f"There is no field {name!r}."
    assert not Run.objects.exists()


# ── cancelling and reading ────────────────────────────────────────────────────────────────────────────────────


def test_a_waiting_run_is_cancelled_once_and_under_a_name(task: Task, token: str) -> None:
    run = make_run(task=task)
    assert ask("post", f"/runs/{run.pk}/cancel", token).json()["status"] == "cancelled"
    again = ask("post", f"/runs/{run.pk}/cancel", token)
    assert (again.status_code, again.json()["error"]) == (200, "Cancelled by mia.")


def test_a_run_reads_as_the_command_prints_it(task: Task, token: str) -> None:
    run = make_run(task=task, outcome="resolved", cost_usd="0.25", tokens_input=10)
    document = ask("get", f"/runs/{run.pk}", token).json()
    fresh = Run.objects.select_related("task", "task_version", "agent").get(pk=run.pk)
    assert document == json.loads(json.dumps(summary.as_dict(fresh)))


def test_runs_come_a_page_at_a_time_each_once(task: Task, token: str, django_assert_max_num_queries) -> None:
    made = {str(make_run(task=task, outcome="resolved").pk) for _ in range(120)}
    seen: list[str] = []
    after = ""
    for _ in range(3):
        with django_assert_max_num_queries(8):
            page = ask("get", f"/runs?task=mend-it&after={after}", token).json()
        seen += [run["id"] for run in page["runs"]]
        after = page["next"]
    assert after is None
    assert (len(seen), set(seen)) == (120, made)


def test_filters_leave_what_they_say(task: Task, token: str) -> None:
    make_run(task=task, outcome="resolved", agent=make_agent(name="good"))
    make_run(task=task, outcome="unresolved", agent=make_agent(name="bad"))
    make_run(task=task)

    def found(query: str) -> list[tuple[str, str | None]]:
        return [(run["agent"], run["outcome"]) for run in ask("get", f"/runs?{query}", token).json()["runs"]]

    assert found("agent=good") == [("good", "resolved")]
    assert found("outcome=unsolved") == [("bad", "unresolved")]
    assert found("status=active") == [("tester", None)]
    assert found("task=another") == []


@pytest.mark.parametrize("query", ["status=done", "tsk=x", "after=x", "after=fg", "after=%F0", "agent=" + "x" * 101])
def test_a_query_that_is_not_understood_is_refused(token: str, query: str) -> None:
    assert error_of(ask("get", f"/runs?{query}", token))[:2] == (422, "invalid")


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_sessions_are_listed_read_and_exported(task: Task, token: str) -> None:
    session = make_session(team=task.team, title="Mend the adder", steps=[said("user", "please mend it")])
    make_session(title="of another team", steps=[said("user", "no")])
    [row] = ask("get", "/sessions", token).json()["sessions"]
    assert (row["id"], row["title"]) == (str(session.pk), "Mend the adder")
    document = ask("get", f"/sessions/{session.pk}", token).json()
    assert (document["team"], sorted(document["exports"])) == (
        task.team.slug,
        ["atif.json", "otlp.json", "steps.jsonl"],
    )
    path = document["exports"]["steps.jsonl"].partition("/api/v1")[2]
    lines = b"".join(ask("get", path, token).streaming_content).decode().splitlines()
    assert any("please mend it" in line for line in lines)
    assert error_of(ask("get", f"/sessions/{session.pk}/exports/all.zip", token))[0] == 404


def test_sessions_come_a_page_at_a_time(task: Task, token: str) -> None:
    made = {str(make_session(team=task.team, title=f"{number}", steps=[said("user", "x")]).pk) for number in range(60)}
    first = ask("get", "/sessions", token).json()
    second = ask("get", f"/sessions?after={first['next']}", token).json()
    seen = [row["id"] for page in (first, second) for row in page["sessions"]]
    assert (len(seen), set(seen), second["next"]) == (60, made, None)
