"""Tokens: shown once, kept as digests, ended by time, by hand, and with the account."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from oneshot.accounts import tokens
from oneshot.accounts.models import ApiToken, FailedLogIn
from tests.api.asking import ask, error_of, expired_token, make_token, revoked_token
from tests.builders import make_superuser, make_user
from traces.redaction import redact

pytestmark = pytest.mark.django_db

APPS = ("accounts", "traces", "tasks", "runs", "benchmarks", "sessions", "admin")


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_page_makes_a_token_that_works_and_shows_it_once() -> None:
    client = signed_in(make_user("ada"))
    page = client.post("/account/tokens/", {"name": "nightly <b>", "scope": "read", "days": "30"})
    [token] = re.findall(r"oneshot_[0-9a-f]{64}", page.content.decode())
    assert "nightly &lt;b&gt;" in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
    me = ask("get", "/me", token).json()
    assert (me["username"], me["token"]["scope"]) == ("ada", "read")
    assert token not in client.get("/account/tokens/").content.decode()
    row = ApiToken.objects.get()
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)


@pytest.mark.parametrize(
    "data", [{"name": "", "scope": "read"}, {"name": "x", "scope": "all"}, {"name": "x", "scope": "read", "days": "9"}]
)
def test_the_page_refuses_what_is_no_token(data: dict[str, str]) -> None:
    assert signed_in(make_user()).post("/account/tokens/", data).status_code == 400
    assert not ApiToken.objects.exists()


def test_nobody_has_tokens_without_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_LIVE", 2)
    user = make_user()
    make_token(user)
    make_token(user)
    revoked_token_row = ApiToken.objects.first()
    page = signed_in(user).post("/account/tokens/", {"name": "x", "scope": "read"})
    assert (page.status_code, "Revoke some" in page.content.decode()) == (400, True)
    tokens.revoke(revoked_token_row)
    assert signed_in(user).post("/account/tokens/", {"name": "x", "scope": "read"}).status_code == 200


def test_a_token_stands_in_no_table_and_no_log(caplog: pytest.LogCaptureFixture, tmp_path) -> None:
    caplog.set_level(logging.DEBUG)
    token = make_token(make_user())
    ask("get", "/me", token)
    ask("get", "/runs?q=" + token, make_token(make_user()))
    ask("post", "/runs", token, {"task": "x", "agent": "nop"})
    ask("get", "/nothing", token)
    ask("get", "/me", token + "0")
    call_command("dumpdata", *APPS, output=str(tmp_path / "all.json"), verbosity=0)
    secret = token.removeprefix(tokens.BEGINNING)
    assert secret not in (tmp_path / "all.json").read_text()
    assert secret not in caplog.text


def test_a_token_never_reaches_a_trace() -> None:
    token = make_token(make_user())
    said = redact(f'curl -H "Authorization: Bearer {token}" and {token}, or ONESHOT={token}')
    assert token not in said
    assert "oneshot_token_limit" in redact("the code oneshot_token_limit stays")


def test_an_owner_revokes_and_nobody_else_does() -> None:
    owner, other = make_user(), make_user()
    token = make_token(owner)
    row = ApiToken.objects.get()
    url = reverse("token-revoke", args=[row.pk])
    assert signed_in(other).post(url).status_code == 404
    assert ask("get", "/me", token).status_code == 200
    signed_in(owner).post(url)
    assert error_of(ask("get", "/me", token))[:2] == (401, "token_revoked")


def test_an_administrator_revokes_by_the_list() -> None:
    token = make_token(make_user())
    [row] = ApiToken.objects.all()
    data = {"action": "revoke", "_selected_action": [row.pk]}
    signed_in(make_superuser()).post(reverse("admin:accounts_apitoken_changelist"), data)
    assert error_of(ask("get", "/me", token))[1] == "token_revoked"


def test_refusals_say_why_to_whoever_has_the_token() -> None:
    user = make_user()
    assert error_of(ask("get", "/me", expired_token(user)))[:2] == (401, "token_expired")
    assert error_of(ask("get", "/me", revoked_token(user)))[:2] == (401, "token_revoked")
    assert error_of(ask("post", "/runs", make_token(user, "read"), {}))[:2] == (403, "read_only")
    answer = ask("get", "/me")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_closed_account_and_a_first_password_open_nothing() -> None:
    closed, new = make_user(is_active=False), make_user(must_change_password=True)
    assert error_of(ask("get", "/me", make_token(closed)))[:2] == (401, "unauthorized")
    assert error_of(ask("get", "/me", make_token(new)))[:2] == (403, "password_must_change")


def test_wrong_tokens_are_counted_and_then_wait_while_right_ones_do_not() -> None:
    token = make_token(make_user())
    wrong = f"oneshot_{'1' * 64}"
    answers = [error_of(ask("get", "/me", wrong))[0] for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert ask("get", "/me", wrong).headers["Retry-After"] == "300"
    assert ask("get", "/me", token).status_code == 200
    assert FailedLogIn.objects.count() == 5
    assert not FailedLogIn.objects.filter(username__contains="1" * 20).exists()


def test_its_last_use_is_written_once_a_minute(django_assert_max_num_queries) -> None:
    token = make_token(make_user())
    ask("get", "/me", token)
    first = ApiToken.objects.get().last_used_at
    assert timezone.now() - first < timedelta(seconds=30)
    with django_assert_max_num_queries(2):
        ask("get", "/me", token)
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    ask("get", "/me", token)
    assert ApiToken.objects.get().last_used_at >= first


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "bearer x y z", "Bearer \x00", "Bearer é" * 500])
def test_a_header_that_holds_no_token_is_refused(header: str) -> None:
    answer = Client().get("/api/v1/me", headers={"Authorization": header})
    assert error_of(answer)[:2] == (401, "unauthorized")
