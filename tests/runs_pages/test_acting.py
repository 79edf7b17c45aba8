"""Cancelling a run and making it again, by those who may."""

import pytest
from django.test import Client

from oneshot.accounts.models import Team
from runs import actions
from runs.errors import InfraError
from runs.models import Run
from tests.builders import make_run, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def queued(team: Team) -> Run:
    return make_run(task=make_task(team=team, slug="adder"), limits={"timeout_s": 7})


def test_a_queued_run_is_cancelled_at_once(owners: Client, queued: Run) -> None:
    page = owners.post(f"/runs/{queued.pk}/cancel/", follow=True).content.decode()

    queued.refresh_from_db()
    assert (queued.status, queued.error) == ("cancelled", "Cancelled by owner.")
    assert "Run cancelled" in page
    assert "Cancelled by owner." in page


def test_a_working_run_is_told_to_stop(owners: Client, team: Team) -> None:
    run = make_run(task=make_task(team=team), status="running")
    page = owners.post(f"/runs/{run.pk}/cancel/", follow=True).content.decode()

    run.refresh_from_db()
    assert run.status == "running"
    assert run.cancel_requested_at is not None
    assert "Stopping the run" in page


def test_an_ended_run_stays_as_it_ended(owners: Client, team: Team) -> None:
    run = make_run(task=make_task(team=team), outcome="resolved")
    page = owners.post(f"/runs/{run.pk}/cancel/", follow=True).content.decode()

    run.refresh_from_db()
    assert run.status == "finished"
    assert "It had ended already" in page


def test_a_run_is_made_again_as_the_next_attempt(owners: Client, queued: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.sandboxes.choose", lambda name: type("Provider", (), {"name": name}))
    response = owners.post(f"/runs/{queued.pk}/again/")

    again = Run.objects.exclude(pk=queued.pk).get()
    assert response.headers["Location"] == again.get_absolute_url()
    assert (again.attempt, again.agent, again.sandbox) == (2, queued.agent, queued.sandbox)
    assert again.limits["timeout_s"] == 7
    assert again.created_by is not None


def test_a_run_that_cannot_be_made_says_why(owners: Client, queued: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args, **options):
        raise InfraError("Docker does not answer.")

    monkeypatch.setattr(actions, "run_again", fails)
    page = owners.post(f"/runs/{queued.pk}/again/", follow=True).content.decode()

    assert "No run was started. Docker does not answer." in page
    assert Run.objects.count() == 1


@pytest.mark.parametrize("action", ["cancel", "again"])
def test_only_members_act_and_only_by_post_with_a_token(
    owners: Client, outsiders: Client, queued: Run, action: str
) -> None:
    url = f"/runs/{queued.pk}/{action}/"
    assert outsiders.post(url).status_code == 404
    assert Client().post(url).status_code == 404
    assert owners.get(url).status_code == 405

    strict = Client(enforce_csrf_checks=True)
    strict.cookies = owners.cookies
    assert strict.post(url).status_code == 403
    assert list(Run.objects.values_list("status", flat=True)) == ["queued"]


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [("/runs/?status=active", "/runs/?status=active"), ("https://example.org/", None), ("//example.org", None)],
)
def test_one_returns_to_a_page_of_this_site_only(
    owners: Client, queued: Run, wanted: str, leads_to: str | None
) -> None:
    response = owners.post(f"/runs/{queued.pk}/cancel/", {"next": wanted})
    assert response.headers["Location"] == (leads_to or queued.get_absolute_url())
