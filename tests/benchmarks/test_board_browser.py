"""Boards in a real browser: the chart under the strict policy, filling while one watches, both themes, both widths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from benchmarks.models import Board
from oneshot.accounts.models import User
from runs.events import announce_end
from runs.models import AgentConfig, Run
from tasks.models import Task
from tests.benchmarks.builders import make_board, make_tasks, try_tasks
from tests.builders import make_agent, make_superuser, make_team
from tests.pages.browser import PHONE, WIDE, Watch, faults_of, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LONG = "an-agent-with-a-name-that-no-phone-can-show-in-one-line-" + "x" * 30


@pytest.fixture
def admin() -> User:
    return make_superuser("mira")


@pytest.fixture
def tasks(admin: User) -> list[Task]:
    return make_tasks(16, team=make_team(slug="payments", name="Payments", owner=admin))


@pytest.fixture
def agents(tasks: list[Task]) -> list[AgentConfig]:
    agents = [make_agent(name=name, model="m") for name in ("strong", "<i>odd</i>", LONG)]
    marks = ("yyy " * 14 + "yyn yun", "yyn " * 8 + "nny " * 8, "nnn " * 15 + "uuu")
    costs = (Decimal("0.90"), Decimal("0.20"), None)
    for agent, words, cost, seconds in zip(agents, marks, costs, (360.0, 95.0, 4000.0), strict=True):
        tokens = {"tokens_input": 400_000, "tokens_output": int(seconds) * 100}
        try_tasks(agent, tasks, words, cost_usd=cost, seconds=seconds, isolation="container", **tokens)
    try_tasks(make_agent("oracle"), tasks, "y " * 16)
    return agents


@pytest.fixture
def board(tasks: list[Task], agents: list[AgentConfig]) -> Board:
    return make_board(tasks)


@pytest.fixture
def browse(new_context: Callable[..., BrowserContext], live_server, admin: User) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a signed-in window; at the end nothing may have broken the policy."""
    watch = Watch(live_server.url.removeprefix("http://"))

    def browse(**options: object) -> Page:
        context = new_context(**{"viewport": WIDE, "base_url": live_server.url} | options)
        context.set_default_timeout(8000)
        sign_in(context, live_server.url, admin)
        return watch.over(context.new_page())

    yield browse
    assert watch.seen == []


def drawn(page: Page) -> Page:
    """Wait until the chart stands."""
    # A function: a bare expression would be evaluated anew at each look, which the policy forbids.
    page.wait_for_function("() => document.getElementById('plot')?.dataset.drawn > 0")
    return page


COLOUR = "getComputedStyle(document.querySelector('#plot .ytick text')).fill"


def colour_of_axis(page: Page) -> str:
    return page.evaluate(COLOUR)


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark"), ({"width": 320, "height": 640}, "light")]
)
def test_a_board_fits_its_window_and_draws_its_chart_without_breaking_the_policy(browse, board, viewport, scheme):
    page = browse(viewport=viewport, color_scheme=scheme)
    page.goto("/boards/board/")
    drawn(page)
    assert faults_of(page) == []
    assert page.locator("#plot .scatterlayer .point").count() == 2
    expect(page.locator("#chart-caption")).to_have_text(
        re.compile(r"Dashed: nothing here is both cheaper and better\. an-agent.* is left out because its cost")
    )
    box = page.locator("#plot .main-svg").first.bounding_box()
    assert box["width"] <= viewport["width"]


def test_names_are_drawn_as_text(browse, board):
    page = browse()
    page.goto("/boards/board/")
    drawn(page)
    assert "<i>odd</i>" in page.locator("#plot .annotation-text").all_text_contents()
    page.locator("#plot .scatterlayer .point").nth(1).hover(force=True)
    expect(page.locator("#plot .hoverlayer")).to_contain_text("<i>odd</i>")
    expect(page.locator("#plot .hoverlayer")).to_contain_text("95 % interval")


def test_the_chart_can_be_saved_as_a_picture(browse, board):
    page = browse(accept_downloads=True)
    page.goto("/boards/board/")
    drawn(page)
    page.locator("#plot").hover()
    with page.expect_download() as download:
        page.locator("#plot .modebar-btn").click()
    assert download.value.suggested_filename.endswith(".svg")


def test_the_axis_changes_without_a_reload_and_stands_in_the_address(browse, board):
    page = browse()
    page.goto("/boards/board/?sort=cost")
    drawn(page)
    page.evaluate("window.stayed = true")
    page.get_by_role("link", name="Time", exact=True).click()
    expect(page.get_by_role("heading", name="Score against time")).to_be_visible()
    expect(page.locator("#plot .xtitle")).to_have_text("Median time of a run")
    expect(page).to_have_url(re.compile(r"\?sort=cost&x=time$"))
    assert page.locator("#plot .scatterlayer .point").count() == 3
    assert page.evaluate("window.stayed")
    page.reload()
    expect(page.locator("#plot .xtitle")).to_have_text("Median time of a run")


def test_the_chart_follows_the_theme(browse, board):
    page = browse(color_scheme="light")
    page.goto("/boards/board/")
    drawn(page)
    light = colour_of_axis(page)
    page.locator("details.menu summary").last.click()
    page.locator("details.menu").get_by_text("Dark", exact=True).click()
    page.wait_for_function(f"light => {COLOUR} !== light", arg=light)
    dark = colour_of_axis(page)
    page.locator("details.menu").get_by_text("System", exact=True).click()
    page.wait_for_function(
        "dark => getComputedStyle(document.querySelector('#plot .ytick text')).fill !== dark", arg=dark
    )
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "dark => getComputedStyle(document.querySelector('#plot .ytick text')).fill === dark", arg=dark
    )


def test_the_chart_follows_the_width(browse, board):
    page = browse()
    page.goto("/boards/board/")
    drawn(page)
    page.set_viewport_size(PHONE)
    page.wait_for_function("() => document.querySelector('#plot .main-svg').getBoundingClientRect().width < 380")


def test_a_board_fills_while_one_watches(browse, tasks, agents, board):
    fresh = make_agent(name="fresh", model="new")
    waiting = try_tasks(fresh, tasks[:6], "r q q q q q")
    page = browse()
    page.goto("/boards/board/")
    drawn(page)
    page.evaluate("window.stayed = true")
    expect(page.get_by_role("status").filter(has_text="6 runs are still going")).to_be_visible()
    row = page.locator("tr", has=page.get_by_role("link", name="fresh", exact=True))
    expect(row).to_contain_text("nothing graded yet")
    row.get_by_role("link", name="fresh", exact=True).focus()
    for number, run in enumerate(waiting, start=1):
        Run.objects.filter(pk=run.pk).update(status="finished", outcome="resolved", cost_usd="0.5", seconds=20)
        run.refresh_from_db()
        announce_end(run)
        if number in (1, 6):
            expect(row).to_contain_text("100.0 %")
    expect(page.get_by_text("still going")).to_have_count(0)
    expect(page.locator("#plot .scatterlayer .point")).to_have_count(3)
    expect(row.get_by_role("link", name="fresh", exact=True)).to_be_focused()
    assert page.evaluate("window.stayed")


def test_a_square_opens_its_run_and_the_rest_of_the_tasks_is_one_click_away(browse, board, tasks):
    page = browse()
    page.goto("/boards/board/")
    first = page.locator(".matrix tbody tr").first
    run = Run.objects.filter(agent__name="strong", task=tasks[0], attempt=1).get()
    expect(first.locator(".att a").first).to_have_attribute("href", run.get_absolute_url())
    expect(page.locator(".matrix tbody tr")).to_have_count(14)
    page.get_by_role("link", name="All 16").click()
    expect(page.locator(".matrix tbody tr")).to_have_count(16)


def test_without_a_script_the_table_has_all_numbers(browse, board):
    page = browse(java_script_enabled=False)
    page.goto("/boards/board/")
    expect(page.locator("noscript p")).to_have_text(re.compile("The chart needs JavaScript"))
    expect(page.locator("table.board tbody tr")).to_have_count(4)
    page.get_by_role("link", name="Cost per solved").click()
    expect(page.locator("table.board tbody tr").first).to_contain_text("odd")


def test_a_board_is_made_by_filtering_and_ticking(browse, tasks):
    page = browse()
    page.goto("/boards/new/")
    assert faults_of(page) == []
    page.get_by_label("Title").fill("By hand")
    page.get_by_placeholder("Filter by title, slug or tag").fill("t03")
    expect(page.locator("#pick-tasks li:visible")).to_have_count(1)
    page.locator("#pick-tasks li:visible input").check()
    page.get_by_role("button", name="Make board").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("By hand")
    assert [task.slug for task in Board.objects.get(slug="by-hand").tasks.all()] == [tasks[3].slug]
    page.goto("/boards/")
    assert faults_of(page) == []
