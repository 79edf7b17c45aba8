"""The trace of a run on its page, and who may see it; it goes where its run goes."""

import re

import pytest
from django.test import Client

from oneshot.accounts.models import Team, Visibility
from runs import sweep
from runs.models import Run
from tasks.access import set_team, set_visibility
from tests.builders import make_agent, make_run, make_task, make_team
from tests.sessions.builders import make_session, said
from traces.models import Session

pytestmark = pytest.mark.django_db


def traced(team: Team, *, public: bool = False, **fields) -> Run:
    """Return a run with its trace."""
    task = make_task(team=team, visibility=Visibility.PUBLIC if public else Visibility.PRIVATE)
    session = make_session(
        team=team, origin="run", public=public, steps=[said("user", "mend add"), said("assistant", "mended")]
    )
    agent = make_agent("codex", name="codex", model="gpt-5")
    return make_run(task=task, agent=agent, outcome="resolved", session=session, public=public, **fields)


def trace_of(client: Client, run: Run) -> str:
    response = client.get(f"/runs/{run.pk}/")
    assert response.status_code == 200
    found = re.search(r'<section id="trace">.*?</section>', response.content.decode(), re.DOTALL)
    assert found
    return found[0]


def test_the_viewer_of_sessions_is_embedded(owners: Client, team: Team) -> None:
    run = traced(team)
    part = trace_of(owners, run)
    assert f'hx-get="/sessions/{run.session_id}/viewer/"' in part
    assert "2 steps" in part
    assert "mended" in owners.get(f"/sessions/{run.session_id}/viewer/").content.decode()


def test_what_could_not_be_recorded_and_what_is_not_known_is_told(owners: Client, team: Team) -> None:
    run = traced(
        team,
        cost_usd="0.5",
        limits={"timeout_s": 60, "max_tokens": 200_000, "max_cost_usd": "2.5"},
        detail={"exchanges_not_recorded": 3, "answers_without_cost": 2},
    )
    page = " ".join(re.sub(r"<[^>]+>", " ", owners.get(f"/runs/{run.pk}/").content.decode()).split())
    assert "3 exchanges with the model could not be recorded" in page
    assert "$0.50 at least, 2 answers unknown budget $2.5" in page
    assert "budget 200k new" in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"agent": "nop", "outcome": "empty_patch"}, "asks no model"),
        ({"agent": "codex", "status": "running"}, "Not yet"),
        ({"agent": "command", "outcome": "resolved"}, "asked no model"),
        ({"agent": "codex", "outcome": "resolved", "detail": {"model_requests": 4}}, "could not be read"),
    ],
)
def test_without_a_trace_the_page_says_why(owners: Client, team: Team, fields, words) -> None:
    agent = make_agent(fields.pop("agent"))
    run = make_run(task=make_task(team=team), agent=agent, **fields)
    assert words in trace_of(owners, run)


def test_a_public_run_shows_its_trace_to_everyone_and_a_private_one_to_nobody_else(client: Client, team: Team) -> None:
    shown, hidden = traced(team, public=True), traced(team)
    assert "hx-get" in trace_of(client, shown)
    assert client.get(f"/sessions/{shown.session_id}/viewer/").status_code == 200
    assert client.get(f"/runs/{hidden.pk}/").status_code == 404
    assert client.get(f"/sessions/{hidden.session_id}/viewer/").status_code == 404


def test_a_trace_follows_the_visibility_and_the_team_of_its_task(team: Team) -> None:
    run, other = traced(team), make_team()
    person = make_session(team=team, origin="person")
    make_run(task=run.task, session=person)
    set_visibility(run.task, Visibility.PUBLIC)
    set_team(run.task, other)
    run.session.refresh_from_db()
    assert (run.session.public, run.session.team) == (True, other)
    person.refresh_from_db()
    assert (person.public, person.team) == (False, team)
    set_visibility(run.task, Visibility.PRIVATE)
    run.session.refresh_from_db()
    assert run.session.public is False


def test_a_trace_goes_with_its_run_and_nobodys_session_does(team: Team) -> None:
    run, person = traced(team), make_session(team=team, origin="person")
    kept = traced(team)
    helper = make_session(team=team, origin="run", parent_thread_id=kept.session.thread_id)
    fresh = make_session(team=team, origin="run")
    make_run(task=run.task, session=person).delete()
    run.delete()
    Session.objects.exclude(pk=fresh.pk).update(updated_at="2026-01-01T00:00:00Z")
    assert sweep.remove_orphaned_traces() == 1
    # What has just been imported may be on its way to its run.
    assert set(Session.objects.all()) == {person, fresh, kept.session, helper}
