"""The raw requests: the list, what is new in each, whole files."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from oneshot.accounts.models import Team, User
from tests.builders import make_team, make_user
from tests.sessions.builders import make_session, refund

pytestmark = pytest.mark.django_db


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira)


@pytest.fixture
def get(client: Client, mira: User):
    client.force_login(mira)

    def get(session, rest: str, status: int = 200) -> str:
        answer = client.get(f"/sessions/{session.pk}/exchanges/{rest}")
        assert answer.status_code == status
        return b"".join(answer).decode() if answer.streaming else answer.content.decode()

    return get


def message(number: int) -> dict[str, object]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"message {number}"}]}


def test_the_requests_are_listed_in_order_with_what_is_unknown(get, team) -> None:
    body = get(refund(team), "")
    assert body.index(">1 <span") < body.index(">7 <span")
    assert "212k" in body
    assert "unknown" in body
    assert "?step=3#s3" in body


def test_a_session_of_a_transcript_alone_says_why_there_are_none(get, team) -> None:
    assert "No request was recorded" in get(make_session(team=team), "")


def test_only_what_is_new_is_shown(get, team) -> None:
    session = make_session(
        team=team,
        exchanges=[{"messages": [message(n) for n in range(3)]}, {"messages": [message(n) for n in range(5)]}],
    )
    body = get(session, "2/")
    assert "The first 3 messages are those of" in body
    assert "message 3" in body
    assert "message 4" in body
    assert "message 1" not in body
    everything = get(session, "2/?all=1")
    assert "message 1" in everything


def test_a_request_of_a_sub_agent_between_two_does_not_hide_what_is_repeated(get, team) -> None:
    mine = [message(n) for n in range(40)]
    session = make_session(
        team=team, exchanges=[{"messages": mine[:30]}, {"messages": [message(99)]}, {"messages": mine[:31]}]
    )
    body = get(session, "3/")
    assert "The first 30 messages are those of" in body
    assert f"/sessions/{session.pk}/exchanges/1/" in body


def test_many_new_messages_come_in_parts(get, team) -> None:
    session = make_session(team=team, exchanges=[{"messages": [message(n) for n in range(150)]}])
    body = get(session, "1/")
    assert "message 59" in body
    assert "message 60" not in body
    assert "Show 90 more" in body
    assert "message 60" in get(session, "1/?from=60")


def test_a_message_is_sent_on_demand_as_indented_json(get, team) -> None:
    session = make_session(team=team, exchanges=[{"messages": [message(1) | {"note": "<b>"}]}])
    body = get(session, "1/messages/0/")
    assert "&quot;role&quot;: &quot;user&quot;" in body
    assert "&lt;b&gt;" in body
    get(session, "1/messages/1/", 404)


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://h.example/v1/responses", "input"), ("https://h.example/v1/messages?beta=true", "messages")],
)
def test_the_whole_request_is_what_was_sent(get, team, url: str, name: str) -> None:
    sent = [message(n) for n in range(3)]
    session = make_session(team=team, exchanges=[{"messages": sent, "url": url, "head": {"model": "m", "tools": []}}])
    assert json.loads(get(session, "1/request.txt")) == {"model": "m", "tools": [], name: sent}


def test_the_answer_is_shown_and_downloaded(get, team) -> None:
    session = make_session(team=team, exchanges=[{"answer": "data: <b>\n\n" * 30_000}])
    body = get(session, "1/")
    assert "data: &lt;b&gt;" in body
    assert len(body) < 1_000_000
    assert get(session, "1/answer.txt") == "data: <b>\n\n" * 30_000


def test_what_was_not_recorded_or_does_not_exist_is_told_apart(get, team) -> None:
    session = make_session(team=team, exchanges=[{"error": "The connection was lost.", "status": None}])
    body = get(session, "1/")
    assert "The request itself was not recorded" in body
    assert "The connection was lost." in body
    for rest in ("0/", "2/", "99999999999999999999/", "1/request.txt", "1/answer.txt", "1/other.txt"):
        get(session, rest, 404)


def test_a_request_whose_text_is_lost_or_broken_is_told_of(get, team) -> None:
    session = make_session(team=team, exchanges=[{"messages": [message(1)]}])
    session.exchanges.update(request_ref=f"{'0' * 64}:0:90")
    assert "cannot be read any more" in get(session, "1/")
    session.exchanges.update(request_ref="nonsense")
    assert "cannot be read any more" in get(session, "1/")
