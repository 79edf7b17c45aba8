"""The pages of runs in a real browser: live without a reload, by keyboard, at two widths and in two themes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from oneshot import store
from oneshot.accounts.models import Team, User
from runs import logs
from runs.logs import RunLog
from runs.models import Artifact, Run, TestResult
from tasks.models import Task
from tests.builders import DIFF, make_agent, make_run, make_superuser, make_task, make_team
from tests.pages.browser import PHONE, WIDE, Watch, settle, sign_in, walk

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LONG = "a-very-long-name-without-any-space-that-a-phone-cannot-show-in-one-line-" + "x" * 60


@pytest.fixture
def site(live_server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("runs.queue.workers", lambda: [])
    monkeypatch.setattr("runs.sandboxes.choose", lambda name="auto": type("Provider", (), {"name": "local"}))
    return live_server.url


@pytest.fixture
def watch(site: str) -> Iterator[Watch]:
    """Whatever the test does, no page may put an error into the console or ask another host."""
    watch = Watch(site.removeprefix("http://"))
    yield watch
    assert watch.seen == []


@pytest.fixture
def mira() -> User:
    return make_superuser("mira")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira, slug="payments", name="Payments")


@pytest.fixture
def task(team: Team) -> Task:
    return make_task(team=team, slug="adder", title="Make it add")


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


def say(run: Run, *lines: str, source: str = "agent") -> None:
    log = RunLog(run)
    log(source, "\n".join(lines))
    log.flush()


def finish(run: Run) -> None:
    """Record an end, with the diff, the tests and the settled log of a real run."""
    digest = store.put(DIFF)
    TestResult.objects.create(run=run, test_id="t::adds", group="fail_to_pass", verdict="passed", seconds=0.02)
    run.transition("finished", outcome="resolved", diff_digest=digest, diff_bytes=len(DIFF), seconds=12.0)
    say(run, "outcome resolved", source="run")
    logs.settle(run)


def test_a_run_is_followed_from_the_queue_to_its_end_without_a_reload(browse: Callable[..., Page], task: Task) -> None:
    run = make_run(task=task)
    page = browse(run.get_absolute_url())
    page.evaluate("window.neverReloaded = true")
    headline = page.locator("h1")
    expect(headline).to_have_text("Queued")
    expect(page.locator("#log-state")).to_have_text("Nothing is logged yet")
    page.locator("#again").focus()

    run.tries = 1
    Run.objects.filter(pk=run.pk).update(tries=1)
    run.transition("preparing")
    expect(headline).to_have_text("Preparing")
    run.transition("running")
    say(run, "first", "second", "<b>third</b>")
    expect(headline).to_have_text("Running")
    expect(page.locator("#log-lines li")).to_have_count(3)
    expect(page.locator("#log-live")).to_be_visible()
    say(run, "fourth")
    expect(page.locator("#log-lines li").last).to_contain_text("fourth")
    run.transition("collecting")
    run.transition("grading")
    expect(page.locator(".phases li").last).to_contain_text("Grading")

    finish(run)
    expect(headline).to_have_text("Resolved")
    expect(page.locator("#diff table.diff").first).to_be_visible()
    expect(page.locator("#tests")).to_contain_text("t::adds")
    expect(page.locator("#tabs")).to_contain_text("Tests 1")
    expect(page).to_have_title("Resolved: adder, attempt 1 · OneShot")
    expect(page.locator("#log-lines li").last).to_contain_text("outcome resolved")
    expect(page.locator("#log-live")).to_be_hidden()
    assert [line.rpartition("agent")[2].strip() for line in page.locator("#log-lines li").all_inner_texts()[:4]] == [
        "first", "second", "<b>third</b>", "fourth",
    ]  # fmt: skip
    assert page.locator("#log-lines b").count() == 0
    assert page.evaluate("window.neverReloaded")
    assert page.evaluate("document.activeElement.id") == "again"
    assert page.locator("#cancel").count() == 0


def test_the_log_stops_following_when_the_reader_scrolls_up(browse: Callable[..., Page], task: Task) -> None:
    run = make_run(task=task, status="running")
    say(run, *(f"line {number}" for number in range(300)))
    page = browse(run.get_absolute_url())
    log, state = page.locator("#log-lines"), page.locator("#log-state")
    expect(state).to_have_text("300 lines, following the end")

    log.evaluate("e => e.scrollTop = 100")
    expect(state).to_have_text("300 lines, not following")
    say(run, "one more")
    expect(state).to_have_text("301 lines, not following")
    assert log.evaluate("e => e.scrollTop") == 100

    page.get_by_role("button", name="Go to the end").click()
    expect(state).to_have_text("301 lines, following the end")
    expect(log.locator("li").last).to_be_in_viewport()


def test_the_log_can_be_paused_and_filtered_and_loses_nothing(browse: Callable[..., Page], task: Task) -> None:
    run = make_run(task=task, status="running")
    say(run, "built", source="build")
    say(run, "working")
    page = browse(run.get_absolute_url())
    lines = page.locator("#log-lines li")
    expect(lines).to_have_count(2)

    page.keyboard.press("p")
    say(run, "while paused")
    expect(page.locator("#log-state")).to_have_text("3 lines, paused, 1 wait")
    expect(lines).to_have_count(2)
    page.keyboard.press("p")
    expect(lines).to_have_count(3)

    page.get_by_role("button", name="Build").click()
    expect(lines.filter(visible=True)).to_have_count(1)
    page.locator("#log-sources").get_by_role("button", name="All").click()
    expect(lines.filter(visible=True)).to_have_count(3)


def test_a_flood_is_bounded_and_counted(browse: Callable[..., Page], task: Task) -> None:
    run = make_run(task=task, status="running")
    say(run, *(f"line {number}" for number in range(2000)))
    page = browse(run.get_absolute_url())

    expect(page.locator("#log-lines li")).to_have_count(501)
    expect(page.locator("#log-lines .hole")).to_have_text(
        "… 1,500 earlier lines left out here; the download has them all …"
    )
    expect(page.locator("#log-state")).to_have_text("2,000 lines, following the end")


def test_keys_cancel_a_run_and_make_it_again(browse: Callable[..., Page], task: Task) -> None:
    run = make_run(task=task)
    page = browse(run.get_absolute_url())
    page.keyboard.press("x")
    expect(page.locator("h1")).to_have_text("Cancelled")
    run.refresh_from_db()
    assert run.status == "cancelled"

    page.keyboard.press("r")
    expect(page.locator("h1")).to_have_text("Queued")
    expect(page.locator("#toasts")).to_contain_text("Attempt 2 queued")


def test_rows_are_walked_cancelled_and_opened_by_keys_while_the_list_renews(
    browse: Callable[..., Page], task: Task
) -> None:
    first, second, third = (make_run(task=task) for _ in range(3))  # the newest stands on top
    page = browse("/runs/")
    selected = page.locator('#rows tr[aria-selected="true"]')
    page.keyboard.press("x")  # no row is chosen, so nothing may happen
    for _ in range(2):
        page.keyboard.press("j")
    expect(selected).to_have_attribute("data-run", str(second.pk))

    Run.objects.filter(pk=first.pk).update(tries=1, status="running", preparing_at=first.queued_at)
    expect(page.locator("#rows")).to_contain_text("Running")
    expect(selected).to_have_attribute("data-run", str(second.pk))
    page.keyboard.press("x")
    expect(page.locator("#toasts")).to_contain_text("Run cancelled")
    second.refresh_from_db()
    third.refresh_from_db()
    assert (second.status, third.status) == ("cancelled", "queued")

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/runs/{third.pk}/$"))


def test_the_queue_is_cancelled_after_a_question(browse: Callable[..., Page], task: Task) -> None:
    for _ in range(3):
        make_run(task=task)
    page = browse("/runs/")
    page.get_by_role("link", name="Cancel queued").click()
    dialog = page.locator("#cancel-queued")
    expect(dialog).to_contain_text("Cancel 3 queued runs?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert Run.objects.filter(status="queued").count() == 3

    page.get_by_role("link", name="Cancel queued").click()
    dialog.get_by_role("button", name="Cancel 3 runs").click()
    expect(page.locator("#toasts")).to_contain_text("3 runs cancelled")


def test_filters_are_chosen_in_a_dialog_and_live_in_the_address(browse: Callable[..., Page], task: Task) -> None:
    make_run(task=task, outcome="timeout", agent=make_agent("codex", name="codex"))
    make_run(task=task, outcome="resolved")
    page = browse("/runs/")
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("Outcome", exact=True).select_option("timeout")
    page.get_by_role("button", name="Show runs").click()

    expect(page).to_have_url(re.compile("outcome=timeout"))
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.get_by_label("Remove the filter Outcome: Timed out").click()
    expect(page.locator("#rows tbody tr")).to_have_count(2)


@pytest.fixture
def rich(task: Task) -> list[str]:
    """Paths of pages with long words, long files and every part filled."""
    diff = (
        DIFF + f"diff --git a/{LONG}.csv b/{LONG}.csv\n--- /dev/null\n+++ b/{LONG}.csv\n@@ -0,0 +1,2100 @@\n".encode()
    )
    diff += b"".join(b"+%d\n" % number for number in range(2100))
    agent = make_agent("codex", name=LONG[:90], model="gpt-5", settings={"reasoning_effort": "high"})
    run = make_run(
        task=task,
        agent=agent,
        outcome="unresolved",
        diff_digest=store.put(diff),
        diff_bytes=len(diff),
        lines_added=2101,
        lines_removed=1,
        tokens_input=400_000,
        tokens_cached=300_000,
        tokens_output=9_000,
        detail={"final_message": f"Done: `{LONG}`", "grading": LONG},
        error=LONG,
        worker=LONG[:90],
    )
    output = store.put_text("x" * 400)
    for name in ("t::a", LONG):
        TestResult.objects.create(
            run=run, test_id=name, group="fail_to_pass", verdict="failed", message=LONG, output_digest=output
        )
    Artifact.objects.create(run=run, name=LONG, media_type="text/plain", digest=output, bytes=400)
    say(run, LONG * 3, source="error")
    broken = make_run(task=task, status="infra_failed", fault="task", error=f"{LONG}\n{LONG}", tries=3)
    going = make_run(task=task, status="running", isolation="none")
    waits = make_run(task=task, error=LONG, fault="infra", retry_at=going.queued_at)
    runs = (run, broken, going, waits)
    return ["/runs/", f"/runs/?q={LONG}", "/runs/new/adder/", *(run.get_absolute_url() for run in runs)]


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(WIDE, "light"), (WIDE, "dark"), (PHONE, "dark"), ({"width": 320, "height": 700}, "light")],
    ids=["1440", "1440-dark", "390-dark", "320"],
)
def test_every_page_fits_and_names_what_it_offers(
    browse: Callable[..., Page], site: str, rich: list[str], size: dict[str, int], scheme: str
) -> None:
    page = browse("/runs/", viewport=size, color_scheme=scheme)
    assert walk(page, site, rich) == {}


def test_long_files_tests_and_artifacts_open_where_they_are(browse: Callable[..., Page], rich: list[str]) -> None:
    page = browse(rich[3])
    page.get_by_role("button", name="Show 2,100 changed lines").click()
    expect(page.locator("#diff tr.add")).to_have_count(2102)  # those of the reference beside
    page.locator("details.test summary").first.click()
    expect(page.locator("details.test .code").first).to_be_visible()
    page.locator("details.artifact summary").first.click()
    expect(page.locator("details.artifact .code").first).to_be_visible()
    settle(page)


def test_a_lost_connection_is_said_and_mended(browse: Callable[..., Page], task: Task, watch: Watch) -> None:
    run = make_run(task=task, status="running")
    page = browse(run.get_absolute_url())
    expect(page.locator("#log-state")).to_have_text("Nothing is logged yet")
    page.context.set_offline(True)
    expect(page.locator("#log-state")).to_contain_text("The log stands still")
    say(run, "meanwhile")
    page.context.set_offline(False)
    expect(page.locator("#log-lines")).to_contain_text("meanwhile", timeout=15000)
    # What the browser and htmx say of the requests that found no network is what this test asks for.
    of_the_gap = ("ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest")
    watch.seen[:] = [words for words in watch.seen if not any(said in words for said in of_the_gap)]
