"""The pages in a real browser: nothing inline, nothing from elsewhere, at two widths, in two themes, by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from oneshot import store
from oneshot.accounts.models import User
from runs.models import Run
from tests.builders import PASSWORD, make_rubric, make_run, make_superuser, make_task, make_team, make_user
from tests.pages.browser import PHONE, WIDE, Watch, settle, sign_in, walk

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LONG = "a-very-long-name-without-any-space-that-a-phone-cannot-show-in-one-line-" + "x" * 40


@pytest.fixture
def site(live_server, monkeypatch: pytest.MonkeyPatch) -> str:
    found = {"title": "Docker", "isolation": "container", "problem": ""}
    monkeypatch.setattr("oneshot.pages.overview._sandbox", lambda: found)
    return live_server.url


@pytest.fixture
def watch(site: str) -> Iterator[Watch]:
    """Whatever the test does, no page may put an error into the console or ask another host."""
    watch = Watch(site.removeprefix("http://"))
    yield watch
    assert watch.seen == []


@pytest.fixture
def admin() -> User:
    return make_superuser("mira", first_name="Mira", last_name="Okafor")


@pytest.fixture
def world(admin: User) -> Run:
    """A team, a demo, tasks in several states with long words, runs that go and runs that ended."""
    team = make_team(owner=admin, member=make_user("jonas"), name="Payments", slug="payments")
    make_team(owner=admin, is_demo=True, slug="demo")
    hidden = [{"path": f"tests/{LONG}.py", "digest": store.put(b"x = 1\n" * 50), "rubric_id": None}]
    instructions = f"Fix `{LONG}`.\n\n| a | b |\n|:-:|---|\n| 1 | 2 |\n\n```\n{LONG}\n```\n"
    full = make_task(
        team=team,
        slug="full",
        title=f"Full {LONG}",
        tags=["money"],
        version={"hidden_tests": hidden, "instructions": instructions},
    )
    full.current_version.record_validation(
        valid=True, reason="", fail_to_pass=[f"{LONG}::test"] * 20, pass_to_pass=["b"], excluded=[], checks=[]
    )
    make_rubric(full, "It adds.")
    for number in range(3):
        make_task(team=team, slug=f"task{number}", title=f"Task {number}")
    make_run(task=full, status="infra_failed", error=LONG)
    make_run(task=full)
    make_run(task=full, outcome="timeout", cost_usd="0.74")
    return make_run(task=full, status="running")


@pytest.fixture
def browse(new_context: Callable[..., BrowserContext], site: str, watch: Watch) -> Callable[..., Page]:
    """Return a function that opens a window for a user (or a visitor), with options of a browser context."""

    def browse(user: User | None = None, **options: object) -> Page:
        context = new_context(**{"viewport": WIDE, "base_url": site} | options)
        context.set_default_timeout(8000)
        if user is not None:
            sign_in(context, site, user)
        return watch.over(context.new_page())

    return browse


PAGES = (
    "/",
    "/tasks/",
    "/tasks/?q=nothing-like-it",
    "/tasks/full/",
    "/tasks/task1/?version=1",
    "/search/?q=task",
    "/account/",
    "/teams/",
    "/teams/payments/",
    "/password/",
)


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark"), ({"width": 320, "height": 640}, "light")]
)
def test_every_page_fits_its_window_and_names_its_controls(
    browse, site: str, admin: User, world: Run, viewport: dict[str, int], scheme: str
) -> None:
    page = browse(admin, viewport=viewport, color_scheme=scheme)
    assert walk(page, site, PAGES) == {}


def test_a_visitors_pages_fit_too(browse, site: str, world: Run) -> None:
    page = browse(viewport=PHONE)
    assert walk(page, site, ["/login/", "/tasks/", "/search/?q=x"]) == {}


def test_a_page_that_is_not_there_says_so_within_the_frame(browse, site: str, watch: Watch) -> None:
    page = browse(viewport=PHONE)
    page.goto("/no/such/page/")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no page here, or you may not see it")
    # Chromium itself notes the 404; a page can do nothing about it.
    watch.seen = [words for words in watch.seen if "404" not in words]


def test_the_administration_works_under_the_policy(browse, site: str, admin: User, world: Run) -> None:
    page = browse(admin)
    paths = ("", "runs/run/", f"runs/run/{world.pk}/change/", "tasks/task/add/", f"accounts/user/{admin.pk}/change/")
    for path in paths:
        page.goto(f"/admin/{path}")
        expect(page.locator("#site-name")).to_have_text("OneShot administration")
    page.goto("/admin/tasks/task/add/")
    with page.expect_popup() as popup:
        page.locator("#lookup_id_team").click()
    popup.value.get_by_role("link", name="Payments").click()
    expect(page.locator("#id_team")).not_to_have_value("")


def test_logging_in_by_hand_says_what_is_wrong_and_then_lets_in(browse, world: Run) -> None:
    page = browse()
    page.goto("/login/?next=/tasks/")
    page.keyboard.type("jonas")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("4 tries are left")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url("/tasks/")


def test_slash_finds_and_enter_opens(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/account/")
    page.keyboard.press("/")
    page.keyboard.type("task 1")
    expect(page.locator("#jump-results a")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url("/tasks/task1/")


def test_question_mark_lists_the_keys_and_escape_closes(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_g_and_a_letter_go_to_a_page(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/account/")
    for keys, path in (("gt", "/tasks/"), ("go", "/")):
        for key in keys:
            page.keyboard.press(key)
        expect(page).to_have_url(path)


def test_j_and_k_choose_a_row_and_enter_opens_it(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/tasks/?sort=title")
    rows = page.locator('tbody tr[aria-selected="true"] .name')
    for key, title in (("j", "Full"), ("j", "Task 0"), ("j", "Task 1"), ("k", "Task 0")):
        page.keyboard.press(key)
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text(title)
    page.keyboard.press("Enter")
    expect(page).to_have_url("/tasks/task0/")


def test_keys_do_nothing_while_typing(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/tasks/")
    page.keyboard.press("f")
    page.keyboard.type("j?/gt")
    expect(page.get_by_label("Search tasks").first).to_have_value("j?/gt")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator('tr[aria-selected="true"]')).to_have_count(0)


def test_keys_can_be_turned_off(browse, world: Run) -> None:
    page = browse(User.objects.get(username="jonas"))
    page.goto("/account/")
    page.get_by_role("checkbox", name="Keyboard shortcuts").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Saved")
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url("/account/")


def test_the_first_tab_stop_skips_to_the_content(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/tasks/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def test_a_theme_switches_at_once_and_stays(browse, admin: User, world: Run) -> None:
    page = browse(admin, color_scheme="light")
    page.goto("/")

    def canvas() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = canvas()
    page.locator("details.menu summary").click()
    with page.expect_response("**/theme/"):
        page.locator("details.menu").get_by_text("Dark", exact=True).click()
    dark = canvas()
    assert dark != light
    page.goto("/tasks/")
    assert canvas() == dark
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_copy_button_copies_the_command(browse, admin: User, world: Run) -> None:
    page = browse(admin, permissions=["clipboard-read", "clipboard-write"])
    page.goto("/tasks/full/")
    page.get_by_role("button", name="Copy command").click()
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert "oneshot run_task full" in page.evaluate("navigator.clipboard.readText()")


def test_times_are_in_the_readers_zone_and_utc_is_in_the_title(browse, admin: User, world: Run) -> None:
    page = browse(admin, timezone_id="Asia/Tokyo")
    page.goto("/")
    shown = page.evaluate(
        """() => { const e = document.createElement('time'); e.dateTime = '2025-03-01T20:30:15+00:00';
        e.dataset.time = 'moment'; document.querySelector('main').append(e); writeTimes(); return e.textContent; }"""
    )
    assert shown == "2 Mar 2025, 05:30"
    assert page.locator("time[title$=UTC]").count() > 0


def test_a_hidden_test_is_loaded_when_it_is_opened(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/tasks/full/")
    tests = page.locator("#tests details")
    expect(tests.locator("pre")).to_have_count(0)
    tests.locator("summary").click(position={"x": 8, "y": 8})
    expect(tests.locator("pre")).to_contain_text("x = 1")


def test_the_overview_follows_a_run_without_a_reload(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/")
    expect(page.locator("#live").get_by_text("Running")).to_be_visible()
    page.evaluate("window.stayed = true")
    Run.objects.filter(pk=world.pk).update(status="grading")
    expect(page.locator("#live").get_by_text("Grading")).to_be_visible()
    assert page.evaluate("window.stayed")
    expect(page.locator("#lede")).to_contain_text("1 run is going, 1 waits.")


def test_a_tab_that_nobody_sees_asks_nothing(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/")
    settle(page)
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.clock.run_for(10_000)
    assert asked == []


def test_harm_is_asked_about_first(browse, admin: User, world: Run) -> None:
    page = browse(admin)
    page.goto("/")
    page.get_by_role("button", name="Remove demo").click()
    dialog = page.get_by_role("dialog", name="Remove the demo?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()


def test_a_phone_has_its_pages_at_the_bottom(browse, admin: User, world: Run) -> None:
    page = browse(admin, viewport=PHONE)
    page.goto("/")
    bar = page.get_by_role("navigation", name="Main")
    assert bar.bounding_box()["y"] > PHONE["height"] - 80
    bar.get_by_role("link", name="More").click()
    expect(page).to_have_url("/account/")


def test_pages_work_without_a_script(browse, admin: User, world: Run) -> None:
    page = browse(admin, java_script_enabled=False)
    page.goto("/tasks/")
    page.get_by_role("link", name="Task 1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Task 1")
    page.goto("/teams/payments/")
    expect(page.get_by_role("button", name="Change")).to_have_count(2)
