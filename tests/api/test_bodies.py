"""What comes in is JSON of bounded size and depth, and text that every database can keep."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from oneshot.api import bodies
from tests.api.asking import error_of, make_token
from tests.builders import make_task, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid"),
        (b"{", 400, "bad_json"),
        (b"\xff\xfe{}", 400, "bad_json"),
        (b"[" * 100_000, 400, "bad_json"),
        (b'{"seen":' * 900 + b"1" + b"}" * 900, 400, "bad_json"),
        (
            json.dumps(
                {"seen": 0, "environment": {"env": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}
            ).encode(),
            400,
            "bad_json",
        ),
        (b'{"seen": NaN}', 400, "bad_json"),
        (b'{"seen": 0, "title": "a", "title": "b"}', 400, "bad_json"),
        (b'{"seen": 0, "title": "a\\u0000"}', 400, "bad_text"),
        (b'{"seen": 0, "title": "\\ud800"}', 400, "bad_text"),
        (b'{"seen": 0, "environment": {"\\u0000": 1}}', 400, "bad_text"),
        (b"[]", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"seen": "many"}', 422, "invalid"),
        (b'{"seen": 0, "title": null}', 422, "invalid"),
        (b'{"seen": 0, "title": "' + b"x" * (bodies.MOST_BYTES + 200_000) + b'"}', 413, "too_large"),
        (b'{"seen": 99999999999999999999999999, "title": "x"}', 422, "invalid"),
        (b'{"seen": 1, "title": "seen before it was there"}', 422, "invalid"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, bytes) else None,
)
def test_a_body_that_is_none_is_refused_in_words(body: bytes, status: int, code: str) -> None:
    user = make_user()
    task = make_task(team=make_team(owner=user))
    headers = {"Authorization": f"Bearer {make_token(user)}"}
    answer = Client().patch(f"/api/v1/tasks/{task.slug}/draft", body, content_type="application/json", headers=headers)
    assert error_of(answer)[:2] == (status, code)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_of_another_site_could_send_is_refused(content_type: str) -> None:
    headers = {"Authorization": f"Bearer {make_token(make_user())}"}
    answer = Client().generic("POST", "/api/v1/runs", b"{}", content_type=content_type, headers=headers)
    assert error_of(answer)[:2] == (415, "not_json")


def test_a_body_is_not_read_for_whoever_has_no_token() -> None:
    answer = Client().post("/api/v1/runs", "{" * 10, content_type="application/json")
    assert error_of(answer)[:2] == (401, "unauthorized")
