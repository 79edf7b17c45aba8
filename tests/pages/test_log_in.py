"""Logging in and out, pauses, first passwords, sign-up, the account and the theme."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from oneshot.accounts import pauses
from oneshot.accounts.models import FailedLogIn, Team, User, Visibility
from tests.builders import PASSWORD, make_team, make_user

pytestmark = pytest.mark.django_db


def log_in(client: Client, username: str, password: str, **extra: str) -> str:
    response = client.post("/login/", {"username": username, "password": password}, **extra)
    return response.content.decode() if response.status_code == 200 else response.headers["Location"]


@pytest.fixture
def quick_passwords(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def test_a_right_password_leads_to_where_one_wanted_to_go(client: Client, quick_passwords: None) -> None:
    make_user("mira")
    form = {"username": "mira", "password": PASSWORD, "next": "/tasks/"}
    assert client.post("/login/", form).headers["Location"] == "/tasks/"


def test_no_log_in_leads_to_another_host(client: Client, quick_passwords: None) -> None:
    make_user("mira")
    form = {"username": "mira", "password": PASSWORD, "next": "https://elsewhere.example/"}
    assert client.post("/login/", form).headers["Location"] == "/"


def test_a_wrong_password_says_how_many_tries_are_left(client: Client, quick_passwords: None) -> None:
    make_user("mira")
    assert "match. 4 tries are left before a pause of 5 minutes." in log_in(client, "mira", "wrong")


def test_after_five_refusals_even_the_right_password_waits(client: Client, quick_passwords: None) -> None:
    make_user("mira")
    for _ in range(pauses.TRIES_PER_PERSON):
        log_in(client, "mira", "wrong")
    assert "Too many tries. Wait 5 minutes" in log_in(client, "MIRA", PASSWORD)
    FailedLogIn.objects.update(at=timezone.now() - pauses.PAUSE - timedelta(seconds=1))
    assert log_in(client, "mira", PASSWORD) == "/"


def test_one_persons_pause_is_nobody_elses(client: Client, quick_passwords: None) -> None:
    make_user("mira")
    make_user("jonas")
    for _ in range(pauses.TRIES_PER_PERSON):
        log_in(client, "mira", "wrong")
    assert log_in(client, "jonas", PASSWORD) == "/"
    assert log_in(Client(REMOTE_ADDR="10.0.0.9"), "mira", PASSWORD) == "/"


def test_an_address_that_tries_many_names_waits_too(client: Client, quick_passwords: None) -> None:
    for number in range(pauses.TRIES_PER_ADDRESS):
        pauses.record_refusal(f"name{number}", "127.0.0.1")
    make_user("mira")
    assert "Too many tries" in log_in(client, "mira", PASSWORD)


def test_a_right_password_starts_the_count_anew(client: Client, quick_passwords: None) -> None:
    make_user("mira")
    for _ in range(3):
        log_in(client, "mira", "wrong")
    log_in(client, "mira", PASSWORD)
    assert FailedLogIn.objects.count() == 0


def test_behind_a_proxy_the_address_is_what_the_proxy_wrote(rf, settings) -> None:
    request = rf.get("/", headers={"X-Forwarded-For": "6.6.6.6, 10.1.1.1"})
    assert pauses.address_of(request) == "127.0.0.1"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert pauses.address_of(request) == "10.1.1.1"


def test_logging_out_takes_a_post(client: Client) -> None:
    client.force_login(make_user())
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert client.get("/account/").status_code == 302


def test_a_password_that_someone_else_chose_must_be_changed_first(client: Client) -> None:
    user = make_user("mira", must_change_password=True)
    client.force_login(user)
    assert client.get("/tasks/").headers["Location"] == "/password/"
    assert 'id="pulse"' not in client.get("/password/").content.decode()
    new = {"old_password": PASSWORD, "new_password1": "quite-another-one", "new_password2": "quite-another-one"}
    assert client.post("/password/", new).headers["Location"] == "/"
    assert not User.objects.get(username="mira").must_change_password
    assert client.get("/tasks/").status_code == 200


def test_a_weak_new_password_says_why_and_changes_nothing(client: Client) -> None:
    client.force_login(make_user("mira", must_change_password=True))
    new = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    body = client.post("/password/", new).content.decode()
    assert "must contain at least 10 characters" in body
    assert User.objects.get(username="mira").must_change_password


def test_a_fragment_that_meets_the_log_in_reloads_its_page(client: Client) -> None:
    response = client.get("/overview/now/", headers={"HX-Request": "true"})
    assert response.status_code == 200
    assert response.headers["HX-Refresh"] == "true"
    assert response.content == b""


def test_sign_up_is_off_unless_the_site_says_so(client: Client, settings) -> None:
    assert client.get("/sign-up/").status_code == 404
    assert "Sign-up is off here" in client.get("/login/").content.decode()
    settings.SIGN_UP = True
    assert 'href="/sign-up/"' in client.get("/login/").content.decode()


def test_signing_up_makes_an_account_with_a_team_of_its_own(client: Client, settings, quick_passwords: None) -> None:
    settings.SIGN_UP = True
    form = {"username": "newcomer", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/sign-up/", form).headers["Location"] == "/"
    assert Team.objects.of(User.objects.get(username="newcomer")).get().name == "Team of newcomer"
    assert client.get("/account/").status_code == 200


def test_the_account_keeps_name_and_shortcuts(client: Client) -> None:
    user = make_user("mira")
    client.force_login(user)
    assert 'data-shortcuts="off"' not in client.get("/account/").content.decode()
    client.post("/account/", {"first_name": "Mira", "last_name": "Okafor", "email": ""})
    user.refresh_from_db()
    assert (user.get_full_name(), user.initials(), user.keyboard_shortcuts) == ("Mira Okafor", "MO", False)
    assert 'data-shortcuts="off"' in client.get("/account/").content.decode()


def test_the_account_shows_what_is_wrong_and_keeps_nothing(client: Client) -> None:
    client.force_login(make_user("mira"))
    response = client.post("/account/", {"email": "no address"})
    assert response.status_code == 400
    assert "Enter a valid email address." in response.content.decode()


@pytest.mark.parametrize(("chosen", "attribute"), [("dark", ' data-theme="dark"'), ("auto", ""), ("<b>", "")])
def test_the_theme_is_kept_in_a_cookie_for_visitors_too(client: Client, chosen: str, attribute: str) -> None:
    response = client.post("/theme/", {"theme": chosen, "next": "//elsewhere.example/"})
    assert response.headers["Location"] == "/"
    assert f'<html lang="en"{attribute}>' in client.get("/login/").content.decode()


def test_the_log_in_points_to_a_demo_board_that_everyone_may_read(client: Client) -> None:
    team = make_team(is_demo=True)
    assert "without logging in" not in client.get("/login/").content.decode()
    team.boards.create(slug="demo", title="Demo", visibility=Visibility.PUBLIC)
    assert '<a class="link" href="/boards/demo/">without logging in</a>' in client.get("/login/").content.decode()
