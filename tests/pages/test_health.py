"""What a watcher of the server hears."""

import json
from pathlib import Path

import pytest
from django.test import Client

from oneshot import health


def test_a_live_process_answers_without_touching_anything(client: Client) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}


@pytest.mark.django_db
def test_what_is_down_is_named_and_nothing_is_given_away(client: Client, settings) -> None:
    settings.REDIS_URL = "redis://:a-secret@127.0.0.1:1/0"
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert json.loads(response.content)["down"] == ["redis"]
    assert "a-secret" not in response.content.decode()


@pytest.mark.django_db
def test_it_is_ready_when_all_three_work(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "redis_server", lambda: "ok")
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_a_full_disk_and_one_that_is_gone_are_told_apart(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FREE_DISK_BYTES", 10**18)
    assert health.disk() == "nearly full"
    settings.DATA_DIR = Path("/nowhere/at/all")
    assert health.disk() == "cannot be read"
