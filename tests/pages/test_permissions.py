"""Who may open what: every route, for a visitor, an outsider, each role of a team, and an administrator.

A route without an entry in EXPECTED fails the first test, so that nobody adds a page without deciding this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from benchmarks.models import Board
from oneshot import store
from oneshot.accounts import tokens
from oneshot.accounts.models import Membership, Team, User
from runs.models import Artifact, JudgeConfig, Run, TestResult
from tasks.models import Capture, Finding, Task
from tests.builders import DIFF, make_rubric, make_run, make_superuser, make_task, make_team, make_user
from tests.sessions.builders import make_session, said
from traces.models import Session

pytestmark = pytest.mark.django_db

PEOPLE = ("visitor", "outsider", "viewer", "curator", "member", "owner", "administrator")
# Whom a route's statuses name, in order. A member is a maintainer; viewers and curators get what a member gets, or
# what an outsider gets where the route takes more than their role.
NAMED = ("visitor", "outsider", "member", "owner", "administrator")
RANKS = ("viewer", "curator", "member")
SLUG = "secret-task"


@dataclass
class World:
    """A private team with one of everything, and the five people."""

    people: dict[str, User | None]
    team: Team
    task: Task
    run: Run
    result: TestResult
    artifact: Artifact
    board: Board
    session: Session
    finding: Finding


@pytest.fixture
def world() -> World:
    owner, member, outsider = make_user("owner"), make_user("member"), make_user("outsider")
    viewer, curator = make_user("viewer"), make_user("curator")
    team = make_team(owner=owner, member=member, curator=curator, viewer=viewer, slug="secret", name="Secret")
    tests = [{"path": "tests/test_adder.py", "digest": store.put(b"def test(): pass\n"), "rubric_id": None}]
    task = make_task(team=team, slug=SLUG, version={"hidden_tests": tests})
    run = make_run(task=task, outcome="resolved", diff_digest=store.put(DIFF), log_digest=store.put(b""))
    output = store.put(b"1 failed")
    result = TestResult.objects.create(
        run=run, test_id="a::b", group="fail_to_pass", verdict="failed", output_digest=output
    )
    artifact = Artifact.objects.create(run=run, name="notes.txt", digest=store.put(b"notes"), bytes=5)
    board = Board.objects.create(slug="secret-board", title="Secret board", team=team)
    board.tasks.add(task)
    messages = [{"role": "user", "content": "secret"}]
    session = make_session(
        team=team, title="Secret session", steps=[said("user", "secret")], exchanges=[{"messages": messages}]
    )
    people: dict[str, User | None] = {
        "visitor": None,
        "outsider": outsider,
        "viewer": viewer,
        "curator": curator,
        "member": member,
        "owner": owner,
        "administrator": make_superuser(),
    }
    finding = Finding.objects.create(task=task, kind="flake", fingerprint="f", title="Flaky", message="It is.")
    return World(people, team, task, run, result, artifact, board, session, finding)


@dataclass(frozen=True)
class Route:
    """What a route answers to each of NAMED, in their order, and the `least` of RANKS that it takes."""

    statuses: str
    kwargs: Callable[[World], dict[str, Any]] = lambda world: {}
    method: str = "get"
    data: dict[str, Any] = field(default_factory=dict)
    query: str = ""
    least: str = "viewer"

    def status(self, person: str) -> int:
        """Return what a person is to be answered."""
        named = dict(zip(NAMED, map(int, self.statuses.split()), strict=True))
        if person not in named:
            person = "member" if RANKS.index(person) >= RANKS.index(self.least) else "outsider"
        return named[person]


def of_team(world: World) -> dict[str, Any]:
    return {"slug": world.team.slug}


def of_member(world: World) -> dict[str, Any]:
    return {"slug": world.team.slug, "pk": Membership.objects.get(team=world.team, user__username="member").pk}


def of_token(world: World) -> dict[str, Any]:
    # Nobody but its owner knows it, whatever their role.
    owner = world.people["owner"]
    assert owner is not None
    token = owner.api_tokens.first() or tokens.issue(user=owner, name="nightly", scope="read")[0]
    return {"pk": token.pk}


def of_task(world: World) -> dict[str, Any]:
    return {"slug": world.task.slug}


def of_finding(world: World) -> dict[str, Any]:
    return {"slug": world.task.slug, "fingerprint": world.finding.fingerprint}


def of_version(world: World) -> dict[str, Any]:
    return {"slug": world.task.slug, "number": 1}


def of_test(world: World) -> dict[str, Any]:
    return {"slug": world.task.slug, "number": 1, "position": 0}


def of_run(world: World) -> dict[str, Any]:
    return {"pk": world.run.pk}


def of_artifact(world: World) -> dict[str, Any]:
    return {"pk": world.run.pk, "artifact": world.artifact.pk}


def of_session(world: World) -> dict[str, Any]:
    return {"pk": world.session.pk}


def of_capture(world: World) -> dict[str, Any]:
    # Its folder does not exist: finishing says so and leaves it.
    row = {"team": world.team, "title": "Captured", "worktree": "/nonexistent", "git_dir": "/nonexistent/.git"}
    return {"pk": Capture.objects.get_or_create(slug="captured_20261120_120000", defaults=row)[0].pk}


def of_label(world: World) -> dict[str, Any]:
    rubric = world.task.rubrics.first() or make_rubric(world.task)
    return {"pk": world.run.pk, "criterion": rubric.criteria.get().pk}


def of_judge(world: World) -> dict[str, Any]:
    return {"pk": (JudgeConfig.objects.first() or JudgeConfig.objects.create(name="mini", model="m")).pk}


def of_board(world: World) -> dict[str, Any]:
    return {"slug": world.board.slug}


EVERYONE = "200 200 200 200 200"
SIGNED_IN = "302 200 200 200 200"
TEAM_ONLY = "404 404 200 200 200"
CURATORS = "302 404 302 302 302"

EXPECTED: dict[str, Route] = {
    # the frame
    "overview": Route(SIGNED_IN),
    "overview-now": Route(SIGNED_IN),
    "overview-machine": Route(SIGNED_IN),
    "ungraded-again": Route("302 302 302 302 302", method="post"),
    "demo-remove": Route("302 404 404 404 404", method="post"),
    "search": Route(EVERYONE, query="?q=secret"),
    "health-live": Route(EVERYONE),
    "health-ready": Route("503 503 503 503 503"),
    # people and teams
    "login": Route("200 302 302 302 302"),
    "logout": Route("302 302 302 302 302", method="post"),
    "sign-up": Route("404 404 404 404 404"),
    "password-change": Route(SIGNED_IN),
    "account": Route(SIGNED_IN),
    "token-list": Route(SIGNED_IN),
    "token-revoke": Route("302 404 404 302 404", of_token, "post"),
    "theme": Route("302 302 302 302 302", method="post", data={"theme": "dark"}),
    "team-list": Route(SIGNED_IN),
    "team-detail": Route("302 404 200 200 200", of_team),
    "team-rename": Route("302 404 404 302 302", of_team, "post", {"name": "Renamed"}),
    "team-invite": Route("302 404 404 302 302", of_team, "post", {"username": "outsider", "role": "curator"}),
    "member-role": Route("302 404 404 302 302", of_member, "post", {"role": "owner"}),
    "member-remove": Route("302 404 302 302 302", of_member, "post", least="member"),
    # the API: tests/api walks through its own routes; none of them is opened by a cookie
    "api": Route("401 401 401 401 401", lambda world: {"rest": "me"}),
    "api-docs": Route(EVERYONE),
    "api-openapi": Route(EVERYONE),
    # tasks
    "task-list": Route(EVERYONE),
    "task-detail": Route(TEAM_ONLY, of_task),
    "task-history": Route(TEAM_ONLY, of_task),
    "task-visibility": Route("404 404 302 302 302", of_task, "post", {"visibility": "public"}, least="member"),
    "task-reference-diff": Route(TEAM_ONLY, of_version),
    "task-hidden-test": Route(TEAM_ONLY, of_test),
    # sessions
    "session-list": Route(EVERYONE),
    "session-filters": Route(EVERYONE),
    "session-detail": Route(TEAM_ONLY, of_session),
    "session-viewer": Route(TEAM_ONLY, of_session),
    "session-steps": Route(TEAM_ONLY, of_session, query="?after=0"),
    "session-step": Route(TEAM_ONLY, lambda world: {**of_session(world), "position": 1}),
    "session-step-text": Route(TEAM_ONLY, lambda world: {**of_session(world), "position": 1, "part": "text"}),
    "session-find": Route(TEAM_ONLY, of_session, query="?q=secret"),
    "session-exchanges": Route(TEAM_ONLY, of_session),
    "session-exchange": Route(TEAM_ONLY, lambda world: {**of_session(world), "number": 1}),
    "session-exchange-message": Route(TEAM_ONLY, lambda world: {**of_session(world), "number": 1, "index": 0}),
    "session-exchange-text": Route(TEAM_ONLY, lambda world: {**of_session(world), "number": 1, "part": "request"}),
    "session-export": Route(TEAM_ONLY, lambda world: {**of_session(world), "name": "atif.json"}),
    "session-delete": Route("302 404 200 200 200", of_session, least="curator"),
    "capture-finish": Route("302 404 302 302 302", of_capture, "post", least="curator"),
    "capture-drop": Route("302 404 302 302 302", of_capture, "post", least="curator"),
    "task-from-session": Route("302 404 200 200 200", of_session, least="curator"),
    # curation
    "curation-queue": Route("302 200 302 302 302", least="curator"),
    "task-curate": Route("302 404 200 200 200", of_task, least="curator"),
    "curation-rail": Route("302 404 200 200 200", of_task, least="curator"),
    "curation-preview": Route("302 404 200 200 200", of_task, least="curator"),
    "curation-edit": Route(CURATORS, of_task, "post", {"field": "title", "value": "Other"}, least="curator"),
    "curation-tests": Route(CURATORS, of_task, "post", {"op": "add", "path": "a.py"}, least="curator"),
    "curation-rubric": Route(CURATORS, of_task, "post", {"op": "add", "text": "It adds."}, least="curator"),
    "curation-undo": Route(CURATORS, of_task, "post", least="curator"),
    "curation-claim": Route(CURATORS, of_task, "post", least="curator"),
    "curation-move": Route(CURATORS, of_task, "post", {"to": "review"}, least="curator"),
    "finding-mend": Route(CURATORS, of_finding, "post", least="curator"),
    "finding-waive": Route(CURATORS, of_finding, "post", {"reason": "fine"}, least="curator"),
    "rubric-suggestions": Route("302 404 200 200 200", of_task, least="curator"),
    "rubric-suggest": Route(CURATORS, of_task, "post", least="curator"),
    "rubric-file": Route("302 404 200 200 200", lambda world: {**of_task(world), "form": "json"}),
    "version-changes": Route("302 404 200 200 200", of_version),
    # runs
    "run-list": Route(EVERYONE),
    "run-rows": Route(EVERYONE),
    "run-filters": Route(EVERYONE),
    "run-cancel-queued": Route(SIGNED_IN),
    "run-pulse": Route(EVERYONE),
    "runs-of-task": Route(TEAM_ONLY, of_task),
    "validation-of-task": Route(TEAM_ONLY, of_task),
    "run-validate": Route("302 404 302 302 302", of_task, "post", least="curator"),
    "test-quarantine": Route(CURATORS, of_task, "post", {"test_id": "a::b", "reason": "flaky"}, least="member"),
    "run-new": Route("302 404 200 200 200", of_task, least="member"),
    "run-detail": Route(TEAM_ONLY, of_run),
    "run-status": Route(TEAM_ONLY, of_run),
    "run-cancel": Route("404 404 302 302 302", of_run, "post", least="member"),
    "run-again": Route("404 404 302 302 302", of_run, "post", least="member"),
    "run-verdicts": Route(TEAM_ONLY, of_run),
    "run-rescore": Route("404 404 302 302 302", of_run, "post", least="member"),
    "label-next": Route(SIGNED_IN),
    "label-give": Route(CURATORS, of_label, "post", {"answer": "met"}, least="curator"),
    "label-skip": Route(CURATORS, of_label, "post", least="curator"),
    "label-undo": Route("302 302 302 302 302", method="post"),
    "judge-list": Route(SIGNED_IN),
    "judge-detail": Route(SIGNED_IN, of_judge),
    "judge-recompute": Route(CURATORS, of_judge, "post", least="member"),
    "run-log": Route(TEAM_ONLY, of_run),
    "run-log-whole": Route(TEAM_ONLY, of_run),
    "run-diff": Route(TEAM_ONLY, of_run),
    "run-diff-file": Route(TEAM_ONLY, lambda world: {**of_run(world), "side": "run"}, query="?file=0"),
    "run-manifest": Route(TEAM_ONLY, of_run),
    "run-tests": Route(TEAM_ONLY, lambda world: {**of_run(world), "group": "fail_to_pass"}),
    "run-test": Route(TEAM_ONLY, lambda world: {**of_run(world), "result": world.result.pk}),
    "run-artifact": Route(TEAM_ONLY, of_artifact),
    "run-artifact-preview": Route(TEAM_ONLY, of_artifact),
    # boards
    "leaderboard": Route(SIGNED_IN),
    "leaderboard-live": Route(EVERYONE),
    "board-list": Route(SIGNED_IN),
    "board-excerpt": Route(EVERYONE),
    "board-create": Route(SIGNED_IN),
    "board-detail": Route(TEAM_ONLY, of_board),
    "board-live": Route(TEAM_ONLY, of_board),
    "board-edit": Route("302 404 200 200 200", of_board, least="member"),
    "board-delete": Route("302 404 200 200 200", of_board, least="member"),
}


def routes() -> Iterator[str]:
    """Yield the name of every route but those of the administration, which test_admin.py walks through."""
    yield from _names(get_resolver().url_patterns)


def _names(patterns: list[Any]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                yield from _names(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield pattern.name or f"unnamed: {pattern.pattern}"


def test_every_route_has_an_entry_and_every_entry_a_route() -> None:
    assert set(routes()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_person_gets_what_is_theirs(name: str, world: World) -> None:
    route = EXPECTED[name]
    url = reverse(name, kwargs=route.kwargs(world)) + route.query
    answers = {person: _status(url, route, user) for person, user in world.people.items()}
    assert answers == {person: route.status(person) for person in PEOPLE}


def _status(url: str, route: Route, user: User | None) -> int:
    """Return the status of one answer, undoing whatever it changed."""
    client = Client()
    if user is not None:
        client.force_login(user)
    with transaction.atomic():
        send = getattr(client, route.method)
        status = send(url, route.data).status_code if route.data else send(url).status_code
        transaction.set_rollback(True)
    return status


def test_a_get_of_what_only_a_post_does_is_refused(world: World) -> None:
    client = Client()
    client.force_login(world.people["administrator"])
    posts = {name: route for name, route in EXPECTED.items() if route.method == "post"}
    answers = {name: client.get(reverse(name, kwargs=route.kwargs(world))).status_code for name, route in posts.items()}
    assert answers == dict.fromkeys(posts, 405)


def test_a_secret_never_shows_in_a_strangers_lists(world: World) -> None:
    outsider = Client()
    outsider.force_login(world.people["outsider"])
    for person in (Client(), outsider):
        for url in (
            "/tasks/?q=secret",
            "/search/?q=secret",
            f"/search/?q={world.run.pk}",
            "/",
            "/teams/",
            "/sessions/?q=secret",
        ):
            body = person.get(url, follow=True).content.decode()
            assert SLUG not in body
            assert "Secret board" not in body
            assert "Secret session" not in body
