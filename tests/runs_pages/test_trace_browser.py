"""The trace on a run's page in a real browser, at two widths."""

import pytest
from playwright.sync_api import Page, expect

from tests.builders import make_agent, make_run, make_superuser, make_task, make_team
from tests.pages.browser import PHONE, WIDE, Watch, faults_of, settle, sign_in
from tests.sessions.builders import make_session, said

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_trace_is_there_when_one_comes_to_it_and_its_keys_hold_inside(context, live_server, size) -> None:
    mira = make_superuser("mira")
    team = make_team(owner=mira)
    steps = [said("user", "mend add"), *(said("assistant", f"step {number}") for number in range(30))]
    session = make_session(team=team, origin="run", steps=steps)
    agent = make_agent("codex", name="codex", model="gpt-5")
    run = make_run(
        task=make_task(team=team),
        agent=agent,
        outcome="resolved",
        session=session,
        cost_usd="0.5",
        tokens_input=1000,
        tokens_output=10,
        limits={"timeout_s": 60, "max_tokens": 200_000, "max_cost_usd": "2.5"},
    )
    sign_in(context, live_server.url, mira)
    watch = Watch(live_server.url.removeprefix("http://"))
    page: Page = watch.over(context.new_page())
    page.set_viewport_size(size)
    page.goto(f"{live_server.url}/runs/{run.pk}/#trace")
    viewer = page.locator("#trace .session-viewer")
    expect(viewer).to_be_visible()
    expect(viewer).to_contain_text("step 3")
    settle(page)
    page.keyboard.press("j")
    expect(page.locator("#trace article.step.at")).to_have_count(0)
    viewer.locator("article.step").first.evaluate("article => { article.tabIndex = -1; article.focus(); }")
    page.keyboard.press("j")
    expect(page.locator("#trace article.step.at")).to_have_count(1)
    assert faults_of(page) == []
    assert watch.seen == []
