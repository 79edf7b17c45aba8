"""What holds for every page: the policy, nothing inline, pages for errors, the theme and the log-in."""

import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from oneshot.accounts.models import User
from oneshot.urls import urlpatterns as site
from tests.builders import make_run, make_superuser, make_task, make_team

pytestmark = pytest.mark.django_db

# A handler, a style or a script in the page itself; the policy would refuse it, and the page would lack it.
INLINE = re.compile(r"""<[^>]+\son[a-z]+=|<[^>]+\sstyle=|<style|<script(?![^>]*\ssrc=)|javascript:""", re.IGNORECASE)


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a-secret of the server")


urlpatterns = [path("breaks/", breaks), *site]


@pytest.fixture
def admin() -> User:
    return make_superuser()


@pytest.fixture
def admins(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def test_every_answer_carries_the_policy(client: Client) -> None:
    for url in ("/login/", "/health/live", "/no/such/page", "/admin/login/"):
        policy = client.get(url).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_no_page_has_anything_inline(admins: Client, admin: User) -> None:
    task = make_task(team=make_team(owner=admin, slug="t"), slug="task")
    run = make_run(task=task, outcome="unresolved")
    urls = [
        "/",
        "/tasks/",
        "/tasks/task/",
        "/teams/",
        "/teams/t/",
        "/account/",
        "/password/",
        "/search/?q=task",
        "/runs/",
    ]
    for url in [*urls, f"/runs/{run.pk}/", "/leaderboard/", "/overview/machine/", "/admin/", "/nope/"]:
        found = INLINE.search(admins.get(url).content.decode())
        assert found is None, f"{url}: {found and found[0]}"


def test_a_page_that_is_not_there_offers_the_log_in_to_a_visitor(client: Client) -> None:
    response = client.get("/tasks/secret/?version=1")
    assert response.status_code == 404
    assert "or you may not see it" in response.content.decode()
    assert "/login/?next=/tasks/secret/%3Fversion%3D1" in response.content.decode()


def test_an_address_that_is_not_there_is_shown_and_never_acts(client: Client) -> None:
    assert "<script>alert" not in client.get("/<script>alert(1)</script>/").content.decode()


@pytest.mark.urls(__name__)
def test_a_page_that_breaks_says_whose_fault_it_is_and_gives_nothing_away(client: Client) -> None:
    client.raise_request_exception = False
    response = client.get("/breaks/")
    assert response.status_code == 500
    assert "Something broke, and it is not your fault" in response.content.decode()
    assert "a-secret" not in response.content.decode()


def test_a_form_without_its_token_changes_nothing_and_says_what_to_do() -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post("/theme/", {"theme": "dark"})
    assert response.status_code == 403
    assert "This form was too old, or came from elsewhere" in response.content.decode()
    assert "theme" not in client.cookies


def test_a_host_name_that_is_not_ours_is_refused_in_words(client: Client) -> None:
    response = client.get("/login/", headers={"host": "elsewhere.example"})
    assert response.status_code == 400
    assert "ONESHOT_HOSTS" in response.content.decode()


def test_the_frame_marks_where_one_is(admins: Client) -> None:
    page = admins.get("/tasks/").content.decode()
    assert page.count('aria-current="page"') == 1
    assert re.search(r'href="/tasks/" aria-current="page"', page)


def test_a_visitor_is_offered_the_log_in_and_no_pulse(client: Client) -> None:
    page = client.get("/tasks/").content.decode()
    assert 'href="/login/?next=/tasks/"' in page
    assert 'id="pulse"' not in page
    assert "Administration" not in page


def test_errors_stand_in_the_page_and_what_was_done_in_a_toast(admins: Client, admin: User) -> None:
    team = make_team(owner=admin, slug="t")
    own = team.memberships.get(user=admin)
    page = admins.post(f"/teams/t/members/{own.pk}/role/", {"role": "king"}, follow=True).content.decode()
    assert 'role="alert"' in page
    page = admins.post("/teams/t/rename/", {"name": "Renamed"}, follow=True).content.decode()
    assert "The team is called Renamed now" in page.partition('id="toasts"')[2]
    assert 'role="alert"' not in page
