"""The reference: a page that works under the strict policy, and examples that a shell can run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import BrowserContext, expect

from oneshot.accounts.models import ApiToken
from tests.api.asking import make_token
from tests.builders import make_run, make_task, make_team, make_user
from tests.judging.builders import add_rubric, make_judge
from tests.pages.browser import PHONE, WIDE, Watch, faults_of, settle, sign_in

DOCS = Path(settings.BASE_DIR) / "docs" / "api.md"


@pytest.mark.django_db
def test_the_description_names_each_operation_once_with_its_errors_shape() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] and operation["security"] for operation in operations)
    assert document["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"


def test_the_web_server_starts_without_the_apis_framework() -> None:
    code = "import sys, oneshot.wsgi; print([name for name in ('ninja', 'oneshot.api.root') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# ── examples ──────────────────────────────────────────────────────────────────────────────────────────────────


def examples() -> list[str]:
    """Return each curl command of the page on its own."""
    text = "\n".join(re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("curl ")]


@pytest.mark.django_db(transaction=True)
def test_every_example_of_the_documentation_works(live_server) -> None:
    owner = make_user()
    task = make_task(team=make_team(owner=owner), slug="fix-the-add-bug", state="draft")
    make_run(task=task, outcome="resolved")
    add_rubric(task)
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    environment = {"PATH": "/usr/bin:/bin", "ONESHOT_URL": live_server.url, "ONESHOT_TOKEN": make_token(owner)}
    assert len(examples()) >= 11
    for example in examples():
        done = subprocess.run(
            ["sh", "-c", f"{example} --noproxy '*' -w '\\n%{{http_code}}'"],
            env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        assert status[0] == "2", f"{example}\n{done.stdout}"
        assert json.loads(body)


def test_every_code_that_a_refusal_may_have_is_documented() -> None:
    source = "".join(path.read_text() for path in (Path(settings.BASE_DIR) / "oneshot" / "api").glob("*.py"))
    codes = set(re.findall(r"(?:ApiError|refusal)\(\s*\d+, \"(\w+)\"", source))
    assert {"conflict", "token_expired"} <= codes
    assert [code for code in codes if f"`{code}`" not in DOCS.read_text()] == []


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def watch(live_server) -> Iterator[Watch]:
    watch = Watch(live_server.url.removeprefix("http://"))
    yield watch
    assert watch.seen == []


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_request_can_be_tried_on_the_page_of_the_reference(
    live_server, context: BrowserContext, watch: Watch
) -> None:
    user = make_user("ada")
    sign_in(context, live_server.url, user)
    page = watch.over(context.new_page())
    page.set_viewport_size(WIDE)
    page.goto(f"{live_server.url}/api/v1/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".modal-ux input").fill(make_token(user))
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").click()
    page.get_by_text("Whose token this is").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table tbody .response-col_description").first).to_contain_text('"ada"')


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
def test_tokens_and_reference_fit_any_screen_and_a_token_is_made_by_hand(
    live_server, context: BrowserContext, watch: Watch, size: dict[str, int]
) -> None:
    sign_in(context, live_server.url, make_user())
    page = watch.over(context.new_page())
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.goto(f"{live_server.url}/account/tokens/")
    settle(page)
    assert faults_of(page) == []
    page.get_by_label("What will use it").fill("nightly runs on a machine with a rather long name")
    page.get_by_role("button", name="Make token").click()
    assert re.fullmatch(r"oneshot_[0-9a-f]{64}", page.locator("#new-token").inner_text())
    assert faults_of(page) == []
    page.get_by_role("button", name="Revoke").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("heading", name="Ended")).to_be_visible()
    assert ApiToken.objects.get().revoked_at is not None
    page.goto(f"{live_server.url}/api/v1/docs")
    expect(page.get_by_text("Whose token this is")).to_be_visible()
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over == 0
