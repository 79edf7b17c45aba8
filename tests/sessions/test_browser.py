"""The viewer in a real browser: walking by keys, folding, hiding, finding, deep links, two widths and two themes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from oneshot.accounts.models import Team, User
from tests.builders import make_superuser, make_task, make_team
from tests.pages.browser import PHONE, WIDE, Watch, settle, sign_in, walk
from tests.sessions.builders import call, make_session, patch, refund, said
from traces.models import Session

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LONG = "a-very-long-name-without-any-space-that-a-phone-cannot-show-in-one-line-" + "x" * 60


@pytest.fixture
def site(live_server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("runs.queue.workers", lambda: [])
    return live_server.url


@pytest.fixture
def watch(site: str) -> Iterator[Watch]:
    """Whatever the test does, no page may put an error into the console or ask another host."""
    watch = Watch(site.removeprefix("http://"))
    yield watch
    assert watch.seen == []


@pytest.fixture
def mira() -> User:
    return make_superuser("mira", first_name="Mira", last_name="Okafor")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira)


@pytest.fixture
def browse(new_context: Callable[..., BrowserContext], site: str, watch: Watch, mira: User) -> Callable[..., Page]:
    """Return a function that opens a window of Mira's, with options of a browser context."""

    def browse(path: str, **options: object) -> Page:
        context = new_context(**{"viewport": WIDE, "base_url": site} | options)
        context.set_default_timeout(8000)
        sign_in(context, site, mira)
        page = watch.over(context.new_page())
        page.goto(path)
        return page

    return browse


def at(page: Page) -> str | None:
    """Return the id of the step at which reading stands."""
    chosen = page.locator("article.step.at, article.step.on")
    return chosen.first.get_attribute("id") if chosen.count() else None


def test_a_session_can_be_read_by_keys(browse, team) -> None:
    session = refund(team)
    page = browse(f"/sessions/{session.pk}/")
    for _ in range(3):
        page.keyboard.press("j")
    assert at(page) == "s3"
    page.keyboard.press("k")
    assert at(page) == "s2"
    page.keyboard.press("J")
    assert at(page) == "s15"
    page.keyboard.press("K")
    assert at(page) == "s2"
    page.keyboard.press("k")
    fold = page.locator("#s1 details.fold")
    page.keyboard.press("o")
    expect(fold).to_have_attribute("open", "")
    expect(fold).to_contain_text("You are a coding agent. You are")
    page.keyboard.press("o")
    expect(fold).not_to_have_attribute("open", "")
    page.keyboard.press("f")
    expect(page.get_by_placeholder("Find in this session")).to_be_focused()
    page.keyboard.type("jk")
    assert at(page) == "s1"


def test_the_shortcuts_list_the_keys_of_the_viewer(browse, team) -> None:
    page = browse(f"/sessions/{refund(team).pk}/")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_contain_text("Next and previous turn")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/sessions/")


def test_a_result_is_fetched_when_it_is_opened(browse, team) -> None:
    page = browse(f"/sessions/{refund(team).pk}/")
    call_ = page.locator("#s13")
    call_.locator("summary").click()
    expect(call_).to_contain_text("4 passed in 0.12s")
    group = page.locator("details.calls")
    group.locator("summary").first.click()
    expect(page.locator("#s6")).to_be_visible()


def test_kinds_are_hidden_and_the_address_says_so(browse, team) -> None:
    session = refund(team)
    page = browse(f"/sessions/{session.pk}/")
    page.get_by_role("button", name="Tools").click()
    expect(page.locator("#s11")).to_have_count(0)
    expect(page.get_by_role("button", name="Tools")).to_have_attribute("aria-pressed", "false")
    page.wait_for_url(f"**/sessions/{session.pk}/?hide=tools")
    page.reload()
    expect(page.locator("#s12")).to_be_visible()
    expect(page.locator("#s11")).to_have_count(0)


@pytest.fixture
def long(team: Team) -> Session:
    steps = [
        said("user", f"Turn {n // 20 + 1}", turn=n // 20 + 1)
        if n % 20 == 0
        else call(f"cmd {n}", exit_code=n % 3, turn=n // 20 + 1)
        for n in range(300)
    ]
    return make_session(team=team, steps=steps, title="Long")


def test_a_link_to_a_step_shows_it(browse, long) -> None:
    page = browse(f"/sessions/{long.pk}/?step=150#s150")
    expect(page.locator("#s150")).to_be_in_viewport()
    assert at(page) == "s150"
    page.get_by_role("link", name="Show steps 1 to").click()
    expect(page.locator("#s90")).to_be_attached()
    settle(page)
    page.get_by_role("link", name="Show steps 1 to").click()
    expect(page.locator("#s60")).to_be_attached()
    settle(page)


def test_walking_beyond_the_window_fetches_what_follows(browse, long) -> None:
    page = browse(f"/sessions/{long.pk}/?step=59")
    last = page.locator("article.step").last
    last.locator("summary, .body").first.click()
    for _ in range(80):
        page.keyboard.press("j")
        if page.locator("#s125").count():
            break
    expect(page.locator("#s125")).to_be_attached()


def test_the_outline_leads_to_steps_that_are_not_on_the_page(browse, long) -> None:
    page = browse(f"/sessions/{long.pk}/")
    page.locator('.outline a[data-step="281"]').click()
    expect(page.locator("#s281")).to_be_in_viewport()
    page.wait_for_url("**/?step=281")
    assert at(page) == "s281"
    page.locator('.outline a[data-step="1"]').click()
    expect(page.locator("#s1")).to_be_in_viewport()


def test_what_is_found_is_one_click_away(browse, long) -> None:
    page = browse(f"/sessions/{long.pk}/")
    page.keyboard.press("f")
    page.keyboard.type("cmd 222")
    hit = page.locator(".found a")
    expect(hit).to_have_count(1)
    hit.click()
    expect(page.locator("#s223")).to_be_in_viewport()


def test_pages_fit_the_window_and_name_their_parts(browse, watch, team, site) -> None:
    session = refund(team, branch=LONG, agent_version=LONG[:60], model_names=[LONG[:100], "b"], repository=LONG)
    make_task(team=team, session=session, slug=LONG[:100])
    hostile = make_session(
        team=team,
        title=LONG,
        steps=[
            said("user", LONG * 20),
            said("assistant", f"```\n{LONG * 3}\n```\n\n| a | b |\n|---|---|\n| {LONG} | {LONG} |"),
            call(LONG, LONG * 40, 1, name=LONG, agent_path=LONG),
            *[call(LONG, "x") for _ in range(5)],
            patch(f"--- a/{LONG}\n+++ b/{LONG}\n@@ -1 +1 @@\n-{LONG * 4}\n+x\n"),
            said("context", LONG * 9),
            said("notice", LONG),
        ],
        exchanges=[
            {"url": f"https://h.example/{LONG}", "error": LONG * 3, "messages": [{"role": LONG, "content": LONG}]}
        ],
    )
    paths = ["/sessions/"]
    for one in (session, hostile):
        paths += [f"/sessions/{one.pk}/{rest}" for rest in ("", "?step=4", "exchanges/", "exchanges/1/", "delete/")]
        paths.append(f"/tasks/from-session/{one.pk}/")
    for viewport, scheme in ((WIDE, "light"), (PHONE, "dark")):
        page = browse("/sessions/", viewport=viewport, color_scheme=scheme)
        assert walk(page, site, paths) == {}
