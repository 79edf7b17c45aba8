"""Labelling in a real browser: by keys alone at a desk, and by taps on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from oneshot.accounts.models import User
from runs.judging.models import Label
from tasks.models import Task
from tests.builders import PASSWORD, make_task, make_team, make_user
from tests.judging.builders import add_rubric
from tests.labelling.builders import add_judge, judged

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def task() -> Task:
    task = make_task(slug="adder", team=make_team(owner=make_user("mira")))
    add_rubric(task, *[f"It does the thing number {n}." for n in range(4)])
    judged(task, add_judge(), "mnmn")
    return task


def open_page(page: Page, address: str) -> None:
    page.goto(f"{address}/login/?next=/runs/label/")
    page.fill("[name=username]", "mira")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    # Keys count from when the page's scripts have run.
    page.wait_for_url(f"{address}/runs/label/")


def question(page: Page) -> str:
    return page.locator("#question").inner_text()


def answers() -> list[tuple[str, str, str]]:
    rows = Label.objects.order_by("created_at").values_list("criterion__text", "answer", "note")
    return [(text, answer, note) for text, answer, note in rows]


def test_labelling_goes_by_keys_alone(page: Page, live_server, task: Task) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    open_page(page, live_server.url)
    keys, asked = page.keyboard, [question(page)]
    keys.press("e")
    keys.type("menace")  # the letters of the keys are letters here
    keys.press("Escape")
    keys.press("m")
    expect(page.locator("#question")).not_to_have_text(asked[0])
    asked.append(question(page))
    keys.press("n")
    expect(page.locator("#question")).not_to_have_text(asked[1])
    keys.press("u")
    expect(page.locator("#question")).to_have_text(asked[1])
    keys.press("c")
    expect(page.locator("#question")).not_to_have_text(asked[1])
    asked.append(question(page))
    keys.press("s")
    expect(page.locator("#question")).not_to_have_text(asked[2])
    asked.append(question(page))
    keys.press("?")
    expect(page.locator("#label-keys")).to_be_visible()
    keys.press("Escape")
    keys.press("m")
    expect(page.locator(".empty")).to_contain_text("You have skipped 1 item")
    assert answers() == [(asked[0], "met", "menace"), (asked[1], "cannot_assess", ""), (asked[3], "met", "")]
    assert all(seconds is not None and seconds >= 0 for seconds in Label.objects.values_list("seconds", flat=True))
    assert len(set(asked)) == 4
    assert errors == []


def test_labelling_works_on_a_phone(page: Page, live_server, task: Task) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, live_server.url)
    asked = question(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    buttons = page.locator(".answers .btn")
    for number in range(3):
        box = buttons.nth(number).bounding_box()
        assert box is not None
        assert box["height"] >= 43
        # Under the thumb, whatever is scrolled to, and above the bar of the site.
        assert 700 < box["y"] + box["height"] <= page.locator(".nav").bounding_box()["y"] + 1
    page.get_by_role("button", name="Not met").click()
    expect(page.locator("#question")).not_to_have_text(asked)
    assert answers() == [(asked, "not_met", "")]


def test_labelling_needs_no_script(browser, live_server, task: Task) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    open_page(page, live_server.url)
    page.get_by_role("button", name="Met", exact=False).first.click()
    expect(page.locator("progress")).to_have_attribute("value", "1")
    row = Label.objects.get()
    assert (row.answer, row.seconds) == ("met", None)
    page.context.close()


def test_the_person_who_labels_is_the_one_who_is_logged_in(page: Page, live_server, task: Task) -> None:
    open_page(page, live_server.url)
    page.keyboard.press("m")
    expect(page.locator("progress")).to_have_attribute("value", "1")
    assert Label.objects.get().user == User.objects.get(username="mira")
