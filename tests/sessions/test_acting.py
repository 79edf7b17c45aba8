"""Removing a session, and the page that makes a task from one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import Client

from oneshot.accounts.models import Team, User
from tasks import capture
from tasks.capture.errors import CannotRebuild
from tests.builders import make_run, make_superuser, make_task, make_team, make_user
from tests.sessions.builders import make_session, refund
from traces.models import Exchange, Session, Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira)


def test_a_session_is_removed_only_after_asking(client: Client, mira, team) -> None:
    session = refund(team)
    task = make_task(team=team, slug="kept-task", session=session)
    run = make_run(task=task, outcome="resolved", session=session)
    client.force_login(mira)
    page = client.get(f"/sessions/{session.pk}/delete/").content.decode()
    assert "20 steps" in page
    assert "kept-task" in page
    assert Session.objects.count() == 1
    answer = client.post(f"/sessions/{session.pk}/delete/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sessions/")
    assert (Session.objects.count(), Step.objects.count(), Exchange.objects.count()) == (0, 0, 0)
    task.refresh_from_db()
    run.refresh_from_db()
    assert (task.session, run.session) == (None, None)


def test_who_may_read_a_public_session_may_not_remove_it(client: Client, team) -> None:
    session = make_session(team=team, public=True)
    client.force_login(make_user())
    page = client.get(f"/sessions/{session.pk}/")
    assert page.status_code == 200
    assert b"Make a task" not in page.content
    assert b"Delete this session" not in page.content
    assert client.post(f"/sessions/{session.pk}/delete/").status_code == 404
    assert client.post(f"/tasks/from-session/{session.pk}/", {"title": "x"}).status_code == 404


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, team: Team) -> list[dict]:
    """Record with what a task was asked for, and make one."""
    calls: list[dict] = []

    def from_session(session, **given):
        calls.append(given)
        return SimpleNamespace(task=make_task(team=given["team"], slug="made", session=session))

    monkeypatch.setattr(capture, "from_session", from_session)
    return calls


def test_a_member_makes_a_draft_without_naming_a_folder_of_the_server(client, mira, team, asked) -> None:
    session = refund(team, cwd="/home/mira/ledgerline")
    client.force_login(mira)
    page = client.get(f"/tasks/from-session/{session.pk}/").content.decode()
    assert 'name="repository"' not in page
    sent = {"title": "A better title", "repository": "/etc", "start": "HEAD~1"}
    answer = client.post(f"/tasks/from-session/{session.pk}/", sent)
    assert answer.headers["Location"] == "/tasks/made/"
    common = {"title": "A better title", "team": team, "user": mira}
    assert asked == [{"repository": None, "start": "", "end": ""} | common]


def test_an_administrator_names_folder_and_commits(client, team, asked) -> None:
    root = make_superuser()
    session = refund(team, cwd="/home/mira/ledgerline")
    client.force_login(root)
    assert 'value="/home/mira/ledgerline"' in client.get(f"/tasks/from-session/{session.pk}/").content.decode()
    sent = {"title": "T", "repository": "/srv/ledgerline", "start": "abc123", "end": "main"}
    client.post(f"/tasks/from-session/{session.pk}/", sent)
    places = {"repository": Path("/srv/ledgerline"), "start": "abc123", "end": "main"}
    assert asked == [places | {"title": "T", "team": team, "user": root}]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("title", "", "required"),
        ("repository", "relative/path", "Write the whole path"),
        ("start", "--upload-pack=evil", "Write a commit"),
        ("end", "a b", "Write a commit"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_field(client, team, asked, field, value, words) -> None:
    client.force_login(make_superuser())
    session = refund(team)
    answer = client.post(f"/tasks/from-session/{session.pk}/", {"title": "T", field: value})
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert asked == []


def test_the_reason_why_no_task_was_made_stands_on_the_page(client, mira, team, monkeypatch) -> None:
    def refuses(*args, **kwargs):
        raise CannotRebuild("The commit <abc> is not in the repository.")

    monkeypatch.setattr(capture, "from_session", refuses)
    client.force_login(mira)
    answer = client.post(f"/tasks/from-session/{refund(team).pk}/", {"title": "T"})
    assert answer.status_code == 400
    assert "The commit &lt;abc&gt; is not in the repository." in answer.content.decode()


def test_a_session_becomes_a_draft_with_what_was_asked(client, mira, team) -> None:
    session = refund(team)
    client.force_login(mira)
    answer = client.post(f"/tasks/from-session/{session.pk}/", {"title": "Refunds keep every cent"}, follow=True)
    assert answer.status_code == 200
    task = session.tasks.get()
    assert task.title == "Refunds keep every cent"
    assert "loses a cent" in task.current_version.instructions
