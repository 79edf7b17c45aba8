"""The panel of open captures in a real browser, on a phone and on a desk, and its two buttons."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tasks import capture
from tasks.models import Capture
from tests.builders import make_superuser, make_task, make_team
from tests.pages.browser import PHONE, WIDE, Watch, faults_of, settle, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_open_captures_fit_both_widths_and_are_dropped_after_a_question(
    live_server, context: BrowserContext, page: Page, repository
):
    admin = make_superuser("mira")
    team = make_team(owner=admin)
    make_task(team=team)
    title = "A title of many words " + "x" * 90
    row = capture.start(worktree=repository.path, title=title, team=team)
    sign_in(context, live_server.url, admin)
    watch = Watch(live_server.url.removeprefix("http://"))
    watch.over(page)
    for size in (PHONE, WIDE):
        page.set_viewport_size(size)
        page.goto(f"{live_server.url}/tasks/")
        settle(page)
        assert faults_of(page) == []
    page.get_by_role("button", name="Drop", exact=True).click()
    dialog = page.locator(f"#drop-{row.pk}")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Drop", exact=True).click()
    expect(page.get_by_text("Being recorded")).to_have_count(0)
    assert Capture.objects.get().status == "dropped"
    assert watch.seen == []
