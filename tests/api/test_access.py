"""Who may ask what: every route, with no token, wrong ones, one that only reads, and each role of a team."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from oneshot import store
from oneshot.accounts.models import User, Visibility
from runs.models import Run
from tasks.access import set_visibility
from tasks.models import Finding, Task
from tests.api.asking import ask, error_of, expired_token, make_token, revoked_token
from tests.builders import DIFF, make_superuser, make_task, make_team, make_user
from tests.judging.builders import make_judge, make_judged_run
from tests.sessions.builders import make_session, said
from traces.models import Session

pytestmark = pytest.mark.django_db

SHUT_OUT = ("nobody", "stranger", "expired", "revoked")
ROLES = ("viewer", "curator", "maintainer", "owner", "administrator")


@dataclass
class World:
    """A private team with one of everything, and a token for everyone who asks."""

    tokens: dict[str, str]
    people: dict[str, User]
    task: Task
    run: Run
    session: Session
    finding: Finding


@pytest.fixture
def world() -> World:
    names = ("outsider", "viewer", "curator", "maintainer", "owner")
    people = {name: make_user(name) for name in names} | {"administrator": make_superuser()}
    team = make_team(
        viewer=people["viewer"], curator=people["curator"], member=people["maintainer"], owner=people["owner"]
    )
    task = make_task(team=team, slug="secret-task", title="Secret task")
    run, _ = make_judged_run({"key": "adds"}, task=task, diff=DIFF, log_digest=store.put(b""))
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    tokens = {name: make_token(user) for name, user in people.items()} | {
        "nobody": "",
        "stranger": f"oneshot_{'0' * 64}",
        "expired": expired_token(people["owner"]),
        "revoked": revoked_token(people["owner"]),
        "reader": make_token(people["owner"], "read"),
    }
    session = make_session(team=team, title="Secret session", steps=[said("user", "secret")])
    finding = Finding.objects.create(task=task, kind="flake", fingerprint="f", title="Flaky", message="It is.")
    return World(tokens, people, task, run, session, finding)


@dataclass(frozen=True)
class Route:
    """What a route answers to whoever may ask it: `status`, for `least` of ROLES; "" is anyone with a token."""

    status: int = 200
    least: str = "viewer"
    place: Callable[[World], dict[str, Any]] = lambda world: {}
    data: Callable[[World], dict[str, Any]] | None = None
    others: dict[str, int] = field(default_factory=dict)

    def expected(self, person: str, method: str) -> int:
        """Return the status that a person is to be answered."""
        if person in SHUT_OUT:
            return 401
        if person == "reader":
            return self.status if method == "get" else 403
        if not self.least:
            return self.status
        allowed = ROLES[ROLES.index(self.least) :]
        return self.status if person in allowed else 404


def of_task(world: World) -> dict[str, Any]:
    return {"slug": world.task.slug}


def of_run(world: World) -> dict[str, Any]:
    return {"id": world.run.pk}


def of_session(world: World) -> dict[str, Any]:
    return {"id": world.session.pk}


def a_try(world: World) -> dict[str, Any]:
    return {"task": world.task.slug, "agent": "command", "command": "true", "sandbox": "local", "unvalidated": True}


EXPECTED: dict[str, Route] = {
    "get /me": Route(least=""),
    "get /tasks": Route(least=""),
    "get /tasks/{slug}": Route(place=of_task),
    "post /tasks/{slug}/moves": Route(201, "curator", of_task, lambda world: {"to": "review"}),
    "get /tasks/{slug}/draft": Route(200, "curator", of_task),
    "patch /tasks/{slug}/draft": Route(200, "curator", of_task, lambda world: {"seen": 0, "title": "Other"}),
    "get /tasks/{slug}/findings": Route(200, "curator", of_task),
    "post /tasks/{slug}/findings/{fingerprint}/waive": Route(
        200, "maintainer", lambda world: {**of_task(world), "fingerprint": "f"}, lambda world: {"reason": "It may."}
    ),
    "post /tasks/{slug}/validations": Route(201, "curator", of_task),
    "get /runs": Route(least=""),
    "get /runs/{id}": Route(place=of_run),
    "post /runs": Route(201, "maintainer", data=a_try),
    "post /runs/{id}/cancel": Route(200, "maintainer", of_run),
    "post /rescore": Route(
        200, "maintainer", data=lambda world: {"runs": [str(world.run.pk)], "dry_run": True, "judge": "scripted"}
    ),
    "get /sessions": Route(least=""),
    "get /sessions/{id}": Route(place=of_session),
    "get /sessions/{id}/exports/{name}": Route(place=lambda world: {**of_session(world), "name": "steps.jsonl"}),
}


def test_every_route_of_the_description_has_an_entry_and_every_entry_a_route() -> None:
    paths = Client().get("/api/v1/openapi.json").json()["paths"]
    described = {f"{method} {path.removeprefix('/api/v1')}" for path, methods in paths.items() for method in methods}
    assert described == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_token_gets_what_is_its_owners(name: str, world: World) -> None:
    answers = {person: _ask(name, world, token) for person, token in world.tokens.items()}
    method = name.split()[0]
    assert answers == {person: EXPECTED[name].expected(person, method) for person in world.tokens}


def _ask(name: str, world: World, token: str) -> int:
    """Return the status of one answer, undoing whatever it changed."""
    method, path = name.split()
    route = EXPECTED[name]
    with transaction.atomic():
        answer = ask(method, path.format(**route.place(world)), token, route.data and route.data(world))
        if answer.status_code >= 400:
            error_of(answer)
        transaction.set_rollback(True)
    return answer.status_code


@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name].least])
def test_what_is_there_and_forbidden_looks_like_what_is_not_there(name: str, world: World) -> None:
    method, path = name.split()
    route = EXPECTED[name]
    data = route.data(world) if route.data else None
    forbidden = ask(method, path.format(**route.place(world)), world.tokens["outsider"], data)
    missing = {"slug": "no-such-task", "id": "00000000-0000-7000-8000-000000000000", "fingerprint": "f", "name": "x"}
    elsewhere = data and {
        **data,
        **({"task": "no-such-task"} if "task" in data else {}),
        **({"runs": [missing["id"]]} if "runs" in data else {}),
    }
    absent = ask(method, path.format(**missing), world.tokens["outsider"], elsewhere)
    assert (forbidden.status_code, forbidden.content) == (absent.status_code, absent.content) == (404, absent.content)


def test_a_secret_never_stands_in_a_strangers_lists(world: World) -> None:
    for path in ("/tasks", "/tasks?q=secret", "/runs", "/runs?task=secret-task", "/sessions", "/sessions?q=secret"):
        answer = ask("get", path, world.tokens["outsider"])
        assert b"secret" not in answer.content.lower(), path


def test_of_a_public_task_strangers_see_the_task_and_nothing_that_solves_it(world: World) -> None:
    set_visibility(world.task, Visibility.PUBLIC)
    token = world.tokens["outsider"]
    assert ask("get", "/tasks/secret-task", token).status_code == 200
    assert ask("get", f"/runs/{world.run.pk}", token).status_code == 200
    assert json.loads(ask("get", "/tasks/secret-task", token).content)["moves"] == []
    for name in ("get /tasks/{slug}/draft", "post /tasks/{slug}/moves", "post /runs", "post /rescore"):
        assert _ask(name, world, token) == 404
    assert b"return a + b" not in ask("get", "/tasks/secret-task", token).content


def test_a_cookie_opens_nothing(world: World) -> None:
    client = Client()
    client.force_login(world.people["owner"])
    assert error_of(client.get("/api/v1/me"))[:2] == (401, "unauthorized")
    assert client.post("/api/v1/runs", "{}", content_type="application/json").status_code == 401


def test_a_token_acts_as_its_owner_whoever_is_logged_in(world: World) -> None:
    client = Client()
    client.force_login(world.people["owner"])
    headers = {"Authorization": f"Bearer {world.tokens['outsider']}"}
    assert client.get("/api/v1/tasks/secret-task", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/nothing", 404),
        ("get", "/", 404),
        ("put", "/me", 405),
        ("get", "/tasks/a b", 404),
        ("get", "/runs/1", 404),
    ],
)
def test_an_address_that_is_none_is_refused_in_the_same_shape(method: str, path: str, status: int) -> None:
    assert error_of(ask(method, path))[0] == status
