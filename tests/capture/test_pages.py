"""Open captures on the list of tasks, a captured draft on its page, and captures in the administration."""

from __future__ import annotations

import shutil

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from oneshot.accounts.models import Membership, Role
from tasks import capture
from tasks.models import Capture, Task
from tests.builders import make_superuser, make_team, make_user
from tests.sessions.builders import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return make_team(slug="payments")


@pytest.fixture
def curators(client, team):
    """A browser of a curator."""
    user = make_user("curator")
    Membership.objects.create(team=team, user=user, role=Role.CURATOR)
    client.force_login(user)
    return client


@pytest.fixture
def row(repository, team):
    return capture.start(worktree=repository.path, title="Fix <b>it</b>", team=team)


def test_an_open_capture_is_listed_with_the_ways_to_be_done_with_it(curators, row):
    page = curators.get("/tasks/").content.decode()
    assert "Being recorded" in page
    assert "Fix &lt;b&gt;it&lt;/b&gt;" in page
    assert reverse("capture-finish", args=[row.pk]) in page
    assert "oneshot capture drop" in page


def test_who_may_not_finish_it_does_not_see_it(row, team):
    viewer = make_user("viewer")
    Membership.objects.create(team=team, user=viewer, role=Role.VIEWER)
    for user in (viewer, make_user("outsider")):
        browser = Client()
        browser.force_login(user)
        assert "Being recorded" not in browser.get("/tasks/").content.decode()
        assert browser.post(reverse("capture-drop", args=[row.pk])).status_code == 404
    assert "Being recorded" not in Client().get("/tasks/").content.decode()
    assert Capture.objects.get().status == "open"


def test_finishing_makes_the_draft_and_shows_it(curators, row, repository):
    repository.write("adder.py", "changed\n")
    answer = curators.post(reverse("capture-finish", args=[row.pk]))
    task = Task.objects.get()
    assert answer.url == reverse("task-detail", args=[task.slug])
    page = curators.get(answer.url).content.decode()
    assert "Captured" in page
    assert "Being recorded" not in curators.get("/tasks/").content.decode()


def test_a_folder_that_is_gone_is_said_and_the_capture_can_be_dropped(curators, row, repository):
    shutil.rmtree(repository.path)
    answer = curators.post(reverse("capture-finish", args=[row.pk]))
    assert "is not there any more" in str(*get_messages(answer.wsgi_request))
    curators.post(reverse("capture-drop", args=[row.pk]))
    assert Capture.objects.get().status == "dropped"


def test_the_page_of_a_captured_draft_leads_to_its_session(curators, row, repository, team):
    ended = capture.end(row)
    session = make_session(team=team)
    Task.objects.filter(pk=ended.task.pk).update(session=session)
    page = curators.get(reverse("task-detail", args=[ended.task.slug])).content.decode()
    assert f"/sessions/{session.pk}/" in page


def test_the_administration_finds_and_drops_captures(client, row, repository):
    client.force_login(make_superuser())
    listed = client.get(reverse("admin:tasks_capture_changelist"), {"q": "fix", "status__exact": "open"})
    assert row.slug in listed.content.decode()
    assert "common_dir" in client.get(reverse("admin:tasks_capture_change", args=[row.pk])).content.decode()
    client.post(reverse("admin:tasks_capture_changelist"), {"action": "drop", "_selected_action": [str(row.pk)]})
    assert Capture.objects.get().status == "dropped"
    assert repository.git("for-each-ref", "refs/oneshot") == ""
