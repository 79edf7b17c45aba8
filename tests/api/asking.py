"""Asks the API as a program would: with a token, in JSON."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from oneshot.accounts import tokens
from oneshot.accounts.models import ApiToken, User


def make_token(user: User, scope: str = "write", **fields: Any) -> str:
    """Return a token of the user; `fields` are set on its row."""
    row, token = tokens.issue(user=user, name="a program", scope=scope)
    ApiToken.objects.filter(pk=row.pk).update(**fields)
    return token


def expired_token(user: User) -> str:
    return make_token(user, expires_at=timezone.now() - timedelta(seconds=1))


def revoked_token(user: User) -> str:
    return make_token(user, revoked_at=timezone.now())


def ask(method: str, path: str, token: str = "", data: Any = None, **more: Any) -> HttpResponse:
    """Return the answer to one request to /api/v1; `data` None sends no body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {} if data is None else {"data": json.dumps(data)}
    return Client().generic(
        method.upper(), f"/api/v1{path}", content_type="application/json", headers=headers, **body, **more
    )


def error_of(answer: HttpResponse) -> tuple[int, str, str]:
    """Return (status, code, message) of a refusal, which must have the one shape."""
    error = json.loads(answer.content)["error"]
    assert set(error) <= {"code", "message", "field", "mine", "theirs"}
    return answer.status_code, error["code"], error["message"]
