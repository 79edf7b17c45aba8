"""A whole curation in a real browser: once by keys alone, once on a phone with taps."""

import pytest
from playwright.sync_api import Page, expect

from oneshot import store
from oneshot.accounts.models import User
from tasks.curation.editing import open_draft
from tasks.models import Task
from tests.builders import PASSWORD, make_task, make_team, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WORDS = "one two three four five six seven eight nine"
DIFF = f"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+{WORDS}\n".encode()
TEXT = f"Mend the sum of the two numbers. Use {WORDS}. Ask t.brandt@ledgerline.io about it.\n"


@pytest.fixture
def task() -> Task:
    owner = make_user("mira")
    tests = [{"path": "tests/test_it.py", "digest": store.put_text("def test_it(): pass\n"), "rubric_id": None}]
    fields = {"hidden_tests": tests, "instructions": TEXT, "diff": DIFF}
    task = make_task(slug="adder", title="Add", state="captured", team=make_team(owner=owner), version=fields)
    make_task(slug="next-one", title="The next one", team=task.team)
    return task


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/login/?next=/tasks/curate/")
    page.fill("[name=username]", "mira")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/adder/curate/")


def validated(task: Task) -> None:
    """Do what workers do after the validation of the newest version."""
    version = task.versions.order_by("-number").first()
    assert version is not None
    version.validations.update(status="done")
    version.record_validation(valid=True, reason="", fail_to_pass=["a::b"], pass_to_pass=[], excluded=[], checks=[])


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_contain_text("saved")


WIDTHS = pytest.mark.parametrize("width", [1440, 390])


@WIDTHS
def test_a_task_is_curated_and_published_by_keys_alone(page: Page, live_server, task: Task, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, live_server.url)
    keys = page.keyboard
    expect(page.locator(".finding")).to_have_count(2)
    keys.press("n")
    keys.press("x")  # cuts the sentence
    expect(page.locator(".finding")).to_have_count(1)
    keys.press("n")
    keys.press("x")  # redacts the address
    expect(page.locator(".finding")).to_have_count(0)
    keys.press("e")
    keys.press("Control+End")
    keys.type("Negative numbers too.")
    keys.press("Escape")
    saved(page)
    expect(page.locator("#preview")).to_contain_text("Negative numbers too.")
    keys.press("a")
    keys.type("It adds any two integers.")
    keys.press("Enter")
    expect(page.locator(".rub")).to_have_count(1)
    keys.press("Escape")
    keys.press("c")
    keys.press("]")
    expect(page.locator(".rub input[name=weight]")).to_have_value("2")
    keys.press("2")
    page.wait_for_url("**part=reference")
    expect(page.locator("table.diff").first).to_be_visible()
    keys.press("?")
    expect(page.locator("#desk-keys")).to_be_visible()
    keys.press("Escape")
    keys.press("v")
    expect(page.locator("#validation-slot")).to_contain_text("runs have ended")
    validated(task)
    page.reload()
    keys.press("P")
    keys.type("Clear now.")
    keys.press("Tab")
    keys.press("Enter")
    page.wait_for_url("**/tasks/next-one/curate/")
    task.refresh_from_db()
    assert task.state == "published"
    assert task.current_version is not None
    assert task.current_version.instructions.startswith("Mend the sum of the two numbers. Ask [removed] about it.")
    assert "Negative numbers too." in task.current_version.instructions
    assert [review.to_state for review in task.reviews.order_by("at")] == ["draft", "published"]


def test_undo_by_key_takes_the_text_back(page: Page, live_server, task: Task) -> None:
    log_in(page, live_server.url)
    field = page.locator("textarea[data-field=instructions]")
    field.fill("Other words for the same thing.")
    saved(page)
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    expect(field).to_have_value(TEXT)


def test_two_curators_at_once_lose_no_word(page: Page, live_server, task: Task) -> None:
    log_in(page, live_server.url)
    other = User.objects.create_user("jonas")
    task.team.memberships.create(user=other, role="curator")
    from tasks.curation import editing

    editing.edit(open_draft(task), "instructions", "From Jonas.", seen=0, by=other)
    page.locator("textarea[data-field=instructions]").fill("From Mira.")
    conflict = page.locator("#conflict")
    expect(conflict).to_be_visible()
    expect(conflict.locator("[data-mine]")).to_have_value("From Mira.")
    expect(conflict.locator("[data-theirs]")).to_have_value("From Jonas.")
    assert open_draft(task).content["instructions"] == "From Jonas."


@WIDTHS
def test_a_task_is_curated_and_published_by_mouse_alone(page: Page, live_server, task: Task, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, live_server.url)
    page.get_by_role("button", name="Cut the sentence").click()
    expect(page.locator(".finding")).to_have_count(1)
    page.get_by_role("button", name="Waive").click()
    page.locator("dialog[open] textarea").fill("It is a role account.")
    page.locator("dialog[open]").get_by_role("button", name="Waive").click()
    expect(page.locator(".finding")).to_have_count(0)
    page.get_by_role("link", name="Environment").click()
    page.locator("textarea[data-field=environment]").fill('{"timeout_s": 60}')
    saved(page)
    page.get_by_role("link", name="Tests", exact=False).first.click()
    page.locator("textarea[data-field=test]").fill("def test_it():\n    assert 1 + 1 == 2\n")
    saved(page)
    page.locator("summary", has_text="Templates and files").click()
    page.get_by_role("button", name="A bug to mend").click()
    expect(page.locator(".rub")).to_have_count(5)
    page.locator(".rub summary").first.click()
    page.locator(".rub").first.get_by_role("button", name="Remove").click()
    expect(page.locator(".rub")).to_have_count(4)
    page.get_by_role("button", name="Validate the draft").click()
    expect(page.locator("#validation-slot")).to_contain_text("runs have ended")
    validated(task)
    page.reload()
    page.locator("#publish").click()
    page.locator("#move-published").get_by_role("button", name="Publish").click()
    page.wait_for_url("**/tasks/next-one/curate/")
    task.refresh_from_db()
    assert task.state == "published"
    assert task.current_version is not None
    assert task.current_version.environment == {"timeout_s": 60}
    assert task.findings.get(status="waived").waiver_reason == "It is a role account."


def test_the_desk_works_on_a_phone(page: Page, live_server, task: Task) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    log_in(page, live_server.url)
    for part in ("instructions", "reference", "tests", "environment", "history"):
        page.goto(f"{live_server.url}/tasks/adder/curate/?part={part}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.goto(f"{live_server.url}/tasks/adder/curate/")
    page.get_by_role("button", name="Cut the sentence").click()
    expect(page.locator(".finding")).to_have_count(1)
    page.get_by_role("button", name="Send for review").click()
    page.locator("#move-review").get_by_role("button", name="Send for review").click()
    page.wait_for_url("**/tasks/next-one/curate/")
    task.refresh_from_db()
    assert task.state == "review"
