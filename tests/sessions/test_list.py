"""The list of sessions through HTTP: what it shows, its filters, search, pages and cost."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from oneshot.accounts.models import Team, User
from tests.builders import make_run, make_task, make_team, make_user
from tests.sessions.builders import START, make_session, refund
from traces.views import query

pytestmark = pytest.mark.django_db


@pytest.fixture
def mira() -> User:
    return make_user("mira", first_name="Mira", last_name="Okafor")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira)


@pytest.fixture
def page(client: Client, mira: User):
    client.force_login(mira)
    return lambda query="": client.get(f"/sessions/{query}").content.decode()


def test_an_empty_list_says_how_to_begin(page, team) -> None:
    body = page()
    for words in ("No session yet", "oneshot codex", "oneshot claude", "oneshot import_traces"):
        assert words in body


def test_a_stranger_is_asked_to_log_in(client: Client) -> None:
    body = client.get("/sessions/").content.decode()
    assert "No session yet" in body
    assert "/login/?next=/sessions/" in body


def test_a_row_says_what_a_session_was(page, team, mira) -> None:
    session = refund(team, user=mira)
    make_task(team=team, slug="refund-split", session=session, state="draft")
    body = page()
    for words in ("A refund split three ways", "ledgerline", "fix/refund-split", "Mira Okafor", "Codex", "0.169.0"):
        assert words in body
    for words in ("gpt-5.2-codex", "46 m 00 s", "422k", "$0.81", "at least", "Completed", "Draft", "refund-split"):
        assert words in body


def test_unknown_is_the_word_and_never_zero(page, team) -> None:
    make_session(team=team, cost_usd=None, tokens_input=None, tokens_output=None, ended_at=None, ending="")
    body = page()
    assert body.count("unknown</span>") >= 4
    assert "$0.00" not in body


def test_a_run_shows_its_outcome(page, team) -> None:
    session = make_session(team=team, origin="run")
    run = make_run(task=make_task(team=team, slug="adder"), outcome="unresolved", session=session)
    body = page()
    assert "Unresolved" in body
    assert f"/runs/{run.pk}/" in body


def test_what_belongs_to_other_teams_is_neither_listed_nor_linked(page, team) -> None:
    others = make_team()
    make_session(team=others, title="Their secret work")
    mine = make_session(team=team, title="Mine")
    make_task(team=others, slug="their-task", session=mine)
    body = page()
    assert "Mine" in body
    assert "Their secret work" not in body
    assert "their-task" not in body


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("?agent=codex", {"one"}),
        ("?model=claude-sonnet-4-5", {"two"}),
        ("?model=claude-sonnet", set()),
        ("?repository=https://example.org/b.git", {"two"}),
        ("?origin=run", {"three"}),
        ("?linked=yes", {"one", "three"}),
        ("?linked=no", {"two"}),
        ("?since=2026-11-22", {"three"}),
        ("?until=2026-11-20", {"one"}),
        ("?since=nonsense&agent=codex", {"one"}),
    ],
)
def test_each_filter_leaves_what_it_names(page, team, asked: str, found: set[str]) -> None:
    one = make_session(team=team, title="Title one", repository="https://example.org/a.git", started_at=START)
    make_session(
        team=team,
        title="Title two",
        agent="claude_code",
        model_names=["claude-haiku-4-5", "claude-sonnet-4-5"],
        repository="https://example.org/b.git",
        started_at=START + timedelta(days=1),
    )
    three = make_session(
        team=team, title="Title three", agent="other", origin="run", started_at=START + timedelta(days=2)
    )
    make_task(team=team, session=one)
    make_run(task=make_task(team=team), outcome="resolved", session=three)
    body = page(asked)
    assert {name for name in ("one", "two", "three") if f"Title {name}" in body} == found


def test_every_word_of_a_search_must_have_been_said(page, team) -> None:
    make_session(team=team, title="First", search_text="the parts of a refund lose a cent, große sache")
    make_session(team=team, title="Second", search_text="the webhook loses events")
    assert "First" in page("?q=REFUND+cent")
    assert "Second" not in page("?q=REFUND+cent")
    assert "First" in page("?q=Große")
    nothing = page("?q=refund+webhook")
    assert "No session matches" in nothing
    assert "2 sessions exist without these filters" in nothing


def test_a_session_is_found_by_the_beginning_of_its_id_or_thread(page, team) -> None:
    session = make_session(team=team, title="Found", thread_id="0199-abc", search_text="")
    make_session(team=team, title="Other")
    for q in (str(session.pk), "0199-a"):
        assert "Found" in page(f"?q={q}")
        assert "Other" not in page(f"?q={q}")


@pytest.mark.parametrize("sort", ["", "&sort=started", "&sort=-cost", "&sort=cost", "&sort=-tokens", "&sort=-steps"])
def test_the_pages_hold_every_session_once(client, mira, team, monkeypatch, sort: str) -> None:
    monkeypatch.setattr(query, "PAGE", 4)
    for number in range(11):
        make_session(
            team=team,
            title=f"Row {number:02}.",
            started_at=None if number in (3, 4) else START + timedelta(hours=number // 2),
            cost_usd=None if number % 4 == 1 else Decimal(number // 3),
            tokens_input=number % 3 or None,
            step_count=number % 2,
        )
    client.force_login(mira)
    seen: list[str] = []
    where = f"/sessions/?q=Row{sort}"
    for _ in range(9):
        answer = client.get(where)
        seen += [row.session.title for row in answer.context["rows"]]
        newest = answer.context["newer"]
        if not answer.context["older"]:
            break
        where = "/sessions/" + answer.context["older"]
    assert sorted(seen) == [f"Row {number:02}." for number in range(11)]
    back = client.get("/sessions/" + newest)
    assert [row.session.title for row in back.context["rows"]] == seen[4:8]


def test_a_broken_cursor_or_filter_is_the_first_page(page, team) -> None:
    make_session(team=team, title="Here")
    for asked in ("?after=x~y", "?after=~", "?before=%00", "?sort=nonsense", "?after=99999999999999999999~" + "0" * 32):
        assert "Here" in page(asked)


def test_the_number_of_queries_does_not_grow(
    client, mira, team, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        session = make_session(team=team, user=mira, steps=[], exchanges=[])
        if number % 3 == 0:
            make_task(team=team, session=session)
    client.force_login(mira)
    client.get("/sessions/")
    with django_assert_max_num_queries(11):
        client.get("/sessions/")


def test_the_filters_name_what_there_is(client, mira, team) -> None:
    make_session(team=team, repository="https://example.org/only.git", model_names=["m-1", "m-2"])
    make_session(repository="https://example.org/theirs.git")
    client.force_login(mira)
    body = client.get("/sessions/filters/").content.decode()
    assert "only.git" in body
    assert "m-2" in body
    assert "theirs.git" not in body


def test_the_search_of_every_page_finds_sessions(client, mira, team) -> None:
    refund(team)
    make_session(title="A refund of theirs")
    client.force_login(mira)
    body = client.get("/search/?q=refund").content.decode()
    assert "A refund split three ways" in body
    assert "of theirs" not in body
