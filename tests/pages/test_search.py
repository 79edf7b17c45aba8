"""Jumping to what one remembers a part of."""

import pytest
from django.test import Client

from benchmarks.models import Board
from oneshot.accounts.models import Visibility
from runs.models import Run
from tests.builders import make_public_task, make_run, make_superuser, make_task, make_team

pytestmark = pytest.mark.django_db


@pytest.fixture
def admins(client: Client) -> Client:
    client.force_login(make_superuser())
    return client


def urls(client: Client, q: str) -> list[str]:
    return [hit["url"] for hit in client.get("/search/", {"q": q}).context["hits"]]


def test_a_run_is_found_by_the_beginning_of_its_id(admins: Client) -> None:
    run = make_run(outcome="resolved")
    assert urls(admins, str(run.pk)) == [f"/runs/{run.pk}/"]
    assert f"/runs/{run.pk}/" in urls(admins, str(run.pk)[:8].upper())
    assert urls(admins, "ffffff") == []


def test_a_task_and_a_board_are_found_by_title_and_slug(admins: Client) -> None:
    make_task(slug="split", title="Refunds lose a cent")
    Board.objects.create(slug="refund-board", title="Money", team=make_team())
    assert urls(admins, "refund") == ["/boards/refund-board/", "/tasks/split/"]
    assert urls(admins, "CENT lose") == ["/tasks/split/"]


def test_a_visitor_finds_only_what_is_public(client: Client) -> None:
    make_task(slug="closed", title="Refunds")
    shown = make_public_task(slug="open", title="Refunds")
    run = make_run(task=shown, outcome="resolved")
    hidden = make_run(outcome="resolved")
    assert urls(client, "refunds") == ["/tasks/open/"]
    assert urls(client, str(run.pk)) == [f"/runs/{run.pk}/"]
    assert urls(client, str(hidden.pk)) == []


@pytest.mark.parametrize("q", ["", "  ", "%", "'", "\x00", "a" * 5000, "0" * 32, "-", "<b>"])
def test_an_odd_question_gets_an_answer(admins: Client, q: str) -> None:
    response = admins.get("/search/", {"q": q})
    assert response.status_code == 200
    assert "<b>" not in response.content.decode().partition("<main")[2].replace("<b>Live", "")


def test_the_dialog_gets_a_fragment_and_a_browser_a_page(admins: Client) -> None:
    make_task(slug="split")
    assert "<html" not in admins.get("/search/?q=split", headers={"HX-Request": "true"}).content.decode()
    assert "<html" in admins.get("/search/?q=split").content.decode()
    assert "Nothing that you may see" in admins.get("/search/?q=zzz").content.decode()


def test_a_public_board_is_found_by_everyone(client: Client) -> None:
    Board.objects.create(slug="demo", title="Demo", team=make_team(), visibility=Visibility.PUBLIC)
    assert urls(client, "demo") == ["/boards/demo/"]
    assert Run.objects.count() == 0
