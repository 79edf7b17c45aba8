"""The viewer through HTTP: what a step shows, windows, filters, search within, and the size of every answer."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from django.test import Client

from oneshot import store
from oneshot.accounts.models import Team, User
from tests.builders import make_task, make_team, make_user
from tests.sessions.builders import call, make_session, patch, refund, said
from traces.models import Session
from traces.views import finding
from traces.views.window import WINDOW

pytestmark = pytest.mark.django_db

MOST_BYTES = 1_000_000


@pytest.fixture
def mira() -> User:
    return make_user("mira", first_name="Mira", last_name="Okafor")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira)


@pytest.fixture
def get(client: Client, mira: User):
    client.force_login(mira)

    def get(session: Session, rest: str = "") -> str:
        answer = client.get(f"/sessions/{session.pk}/{rest}")
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def step_of(body: str, position: int) -> str:
    """Return the HTML of one step."""
    return body.partition(f'id="s{position}"')[2].partition("</article>")[0]


def shown(body: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="s(\d+)"', body)]


def test_the_head_says_what_it_was_and_what_is_not_known(get, team, mira) -> None:
    session = refund(team, user=mira)
    make_task(team=team, slug="refund-split", session=session)
    body = get(session)
    for words in ("A refund split three ways loses a cent", "Codex 0.169.0", "gpt-5.2-codex", "ledgerline", "Became"):
        assert words in body
    for words in (
        "at least, 1 request unknown",
        "14 m 20 s of it the model",
        "gateway and Codex rollout",
        "1 gap",
        "1 retried",
    ):
        assert words in body


def test_messages_are_prose_and_reasoning_stands_apart(get, team) -> None:
    body = get(refund(team))
    assert "<em>largest</em>" in step_of(body, 14)
    assert "<strong>Looking for the split</strong>" in step_of(body, 3)
    assert 'class="step think"' in body


def test_a_failed_call_is_open_and_a_successful_one_asks_for_its_result(get, team) -> None:
    session = refund(team)
    body = get(session)
    assert "NameError: name" in step_of(body, 11)
    assert "exit 1" in step_of(body, 11)
    assert "4 passed" not in step_of(body, 13)
    assert f'hx-get="/sessions/{session.pk}/steps/13/"' in step_of(body, 13)
    assert "4 passed" in get(session, "steps/13/")


def test_successful_calls_in_a_row_are_one_line_and_keep_their_addresses(get, team) -> None:
    session = refund(team)
    body = get(session)
    assert "7 tool calls, all succeeded" in body
    assert set(range(4, 11)) <= set(shown(body))
    alone = get(session, "?step=6")
    assert "7 tool calls" not in alone
    assert 'class="step on" id="s6"' in alone


def test_context_in_a_row_is_one_line(get, team) -> None:
    steps = [said("context", f"Rules {n}", name="developer", turn=0) for n in range(5)]
    session = make_session(team=team, steps=[*steps, said("user", "Hello"), said("context", "More", name="user")])
    body = get(session)
    assert "5 messages of context" in body
    assert "and 4 more" in body
    assert "Context, user" in step_of(body, 7)
    assert "Rules 3" in get(session, "steps/4/")


def test_a_patch_is_a_coloured_diff(get, team) -> None:
    patched = step_of(get(refund(team)), 12)
    assert 'class="del"' in patched
    assert 'class="add"' in patched
    assert '<span class="k">for</span>' in patched
    assert "ledgerline/split.py" in patched


def test_a_patch_in_another_form_is_shown_as_it_is(get, team) -> None:
    session = make_session(
        team=team, steps=[patch("*** Begin Patch\n*** Update File: a.py\n-x\n+<b>y</b>\n*** End Patch")]
    )
    assert "+&lt;b&gt;y&lt;/b&gt;" in get(session)


def test_tokens_and_cost_of_a_request_are_shown_once(get, team) -> None:
    body = get(refund(team))
    assert "9.0k" in step_of(body, 3)
    assert "$0.02" in step_of(body, 3)
    assert "9.0k" not in step_of(body, 4)
    assert "tokens unknown" in step_of(body, 13)
    assert body.count("$0.02") == 6


def test_a_gap_stands_where_it_was(get, team) -> None:
    body = get(refund(team))
    place = body.index("Recording gap")
    assert body.index('id="s15"') < place < body.index('id="s16"')
    assert "The gateway restarted" in body


def test_sub_agents_are_named(get, team) -> None:
    assert "sub-agent explore" in step_of(get(refund(team)), 18)


def test_kinds_can_be_hidden(get, team) -> None:
    body = get(refund(team), "?hide=tools,context")
    assert shown(body) == [2, 3, 12, 14, 15, 16, 19, 20]
    assert 'aria-pressed="false"' in body
    everything = get(refund(team), "?hide=messages,reasoning,tools,patches,context")
    assert shown(everything) == [19]


def test_a_step_that_is_asked_for_shows_although_its_kind_is_hidden(get, team) -> None:
    assert 11 in shown(get(refund(team), "?hide=tools&step=11"))


@pytest.fixture
def long(team: Team) -> Session:
    steps = []
    for number in range(400):
        turn = number // 20 + 1
        steps.append(said("user", f"Turn {turn}", turn=turn) if number % 20 == 0 else call(f"cmd {number}", turn=turn))
    return make_session(team=team, steps=steps, title="Long")


def test_a_long_session_opens_with_a_window(get, long) -> None:
    body = get(long)
    assert shown(body) == list(range(1, WINDOW + 1))
    assert f"Show steps {WINDOW + 1} to 400" in body
    assert "Show steps 1 to" not in body


def test_any_step_can_be_opened_by_its_address(get, long) -> None:
    body = get(long, "?step=212")
    assert 212 in shown(body)
    assert len(shown(body)) == WINDOW
    assert 'class="step on" id="s212"' in body
    assert "Show steps 1 to 203" in body
    assert "Show steps 264 to 400" in body


def test_a_step_beyond_the_last_is_the_last(get, long) -> None:
    for asked in ("?step=4000", "?step=99999999"):
        assert 'class="step on" id="s400"' in get(long, asked)
    assert shown(get(long, "?step=nonsense")) == shown(get(long))


def test_walking_on_and_back_leaves_nothing_out(get, long) -> None:
    seen = shown(get(long, "?step=212"))
    while seen[-1] < 400:
        seen += shown(get(long, f"steps/?after={seen[-1]}"))
    while seen[0] > 1:
        seen = shown(get(long, f"steps/?before={seen[0]}")) + seen
    assert seen == list(range(1, 401))


def test_the_viewer_can_be_embedded(get, team) -> None:
    session = refund(team)
    body = get(session, "viewer/?step=12")
    assert "<html" not in body
    assert "data-embedded" in body
    assert "hx-push-url" not in body
    assert 'id="s12"' in body
    assert "hx-push-url" in get(session, "viewer/?page=1")


def test_words_are_found_in_whole_texts(get, team) -> None:
    session = make_session(
        team=team, steps=[said("user", "hello"), call("cat log", "x" * 100_000 + " Needle <b>here</b> " + "y" * 9000)]
    )
    body = get(session, "find/?q=nEEDLE")
    assert "<mark>Needle</mark>" in body
    assert "&lt;b&gt;" in body
    assert f'href="/sessions/{session.pk}/?step=2#s2"' in body
    assert "No step has" in get(session, "find/?q=nothing+such")


def test_a_search_ends_when_its_time_is_over(get, long, monkeypatch) -> None:
    monkeypatch.setattr(finding, "SECONDS", -1.0)
    assert "looked through the first 1 steps" in get(long, "find/?q=cmd")


def test_a_session_without_steps_says_so(get, team) -> None:
    body = get(make_session(team=team, exchanges=[{}]))
    assert "No step is known" in body


def acting_parts(body: str) -> list[str]:
    """Return what could act in a page: scripts of its own, handlers, styles, links that are programs."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = dict(attrs)
            if (tag == "script" and "src" not in names) or tag in ("img", "iframe", "style"):
                found.append(tag)
            found.extend(name for name in names if name.startswith("on") or name == "style")
            found.extend(str(value) for value in names.values() if str(value).startswith("javascript:"))

    Reader().feed(body)
    return found


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_nothing_that_was_said_becomes_part_of_the_page(get, team) -> None:
    reversed_ = "\u202e"
    session = make_session(
        team=team,
        title=f"{HOSTILE} {reversed_}",
        branch=HOSTILE[:40],
        repository=f"https://example.org/{HOSTILE}",
        agent_version=HOSTILE[:50],
        model_names=[HOSTILE],
        gaps=[{"from": None, "to": "nonsense", "reason": HOSTILE}],
        steps=[
            said("user", f"{HOSTILE} [x](javascript:alert(1)) {reversed_} \x1b[31m"),
            said("reasoning", HOSTILE),
            call(HOSTILE, f"\x1b[31m{HOSTILE}\x00{reversed_}", 1, agent_path=HOSTILE, name=f"mcp__{HOSTILE}"),
            *[call(HOSTILE, HOSTILE) for _ in range(5)],
            patch(f"--- a/{HOSTILE}\n+++ b/{HOSTILE}\n@@ -1 +1 @@\n-{HOSTILE}\n+{reversed_}\n"),
            patch(HOSTILE, meta={"files": [{"path": HOSTILE}, 3]}),
            said("context", HOSTILE, name=HOSTILE),
            said("notice", HOSTILE, meta={"files": "x"}),
        ],
        exchanges=[{"error": HOSTILE, "url": HOSTILE, "model": HOSTILE[:100], "head": HOSTILE, "answer": HOSTILE}],
    )
    for rest in ("", "?step=3", "viewer/", "find/?q=script", "steps/3/", "steps/9/", "exchanges/", "exchanges/1/"):
        body = get(session, rest)
        assert "<script>alert" not in body
        assert "<img src=x" not in body
        assert 'javascript:alert(1)"' not in body
        assert reversed_ not in body
        assert "\x1b" not in body
        assert "\x00" not in body
        assert acting_parts(body) == []


def test_no_answer_is_longer_than_a_megabyte_whatever_a_step_holds(get, team, client) -> None:
    texts = ("x" * 5_000_000, "\0" * 200_000, "&" * 400_000, "|" * 100_000, "\u202e" * 90_000, "a\n" * 200_000)
    diff = "--- a/x\n+++ b/x\n@@ -1,99999 +1,99999 @@\n" + "+\n" * 60_000
    nasty = "--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n" + "".join(f"+{chr(0) * 900}\n" for _ in range(40))
    steps = []
    for text in texts:
        steps += [
            said("user", text),
            said("assistant", text),
            call(text, text, 1),
            call("short", text),
            said("context", text),
        ]
    steps += [patch(diff), patch(nasty)] * 12
    session = make_session(team=team, steps=steps)
    assert len(get(session)) < MOST_BYTES
    assert len(get(session, "steps/?after=10")) < MOST_BYTES
    for position in range(1, len(steps) + 1 - 20):
        for rest in (f"steps/{position}/", f"steps/{position}/?whole=1"):
            assert len(get(session, rest)) < MOST_BYTES, (position, rest)


def test_the_whole_of_a_text_can_be_had_as_a_file(client, mira, team) -> None:
    session = make_session(team=team, steps=[call("<script>", "<b>" + "x" * 70_000)])
    client.force_login(mira)
    answer = client.get(f"/sessions/{session.pk}/steps/1/result.txt")
    assert answer.content == b"<b>" + b"x" * 70_000
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert client.get(f"/sessions/{session.pk}/steps/1/text.txt").content == b"<script>"
    for path in ("steps/1/other.txt", "steps/2/text.txt", "steps/99999999999999999999/"):
        assert client.get(f"/sessions/{session.pk}/{path}").status_code == 404


def test_a_text_that_the_store_has_lost_is_told_of(get, team) -> None:
    session = make_session(team=team, steps=[call("x", "y" * 2000, 1), said("user", "z" * 900)])
    session.steps.update(body_ref=f"{'0' * 64}:0:900", result_ref=f"{'0' * 64}:0:900")
    with pytest.raises(store.ContentMissing) as lost:
        store.get("0" * 64)
    assert str(lost.value)[:20] in get(session)
    assert "No step has" in get(session, "find/?q=zzz")


def test_the_number_of_queries_does_not_depend_on_the_length(
    client, mira, team, long, django_assert_max_num_queries
) -> None:
    client.force_login(mira)
    for session in (refund(team), long):
        client.get(f"/sessions/{session.pk}/")
        with django_assert_max_num_queries(13):
            client.get(f"/sessions/{session.pk}/?step=11")
        with django_assert_max_num_queries(9):
            client.get(f"/sessions/{session.pk}/steps/?after=3")
