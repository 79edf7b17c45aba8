"""The history of a task: who decided what and why, for everyone who may read the task."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from oneshot.accounts.models import User
from tasks.models import Finding, Review, Task
from tests.builders import make_public_task, make_task, make_team, make_user, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def task(mira: User) -> Task:
    task = make_public_task(team=make_team(owner=mira), slug="adder")
    version = make_version(task, published_at=timezone.now(), published_by=mira)
    Review.objects.create(
        task=task, version=version, from_state="review", to_state="published", by=mira, reason="It is <b>clear</b> now."
    )
    Finding.objects.create(
        task=task, kind="leak", fingerprint="f", title="compute_rate stands in it", message="Cut it.", status="waived",
        waived_by=mira, waiver_reason="The tests call it by name.", closed_at=timezone.now(),
    )  # fmt: skip
    return task


def page(client: Client) -> str:
    return client.get("/tasks/adder/history/").content.decode()


def test_a_stranger_reads_who_decided_what_and_why(task: Task) -> None:
    body = page(Client())
    for words in (
        "Published",
        "mira",
        "It is &lt;b&gt;clear&lt;/b&gt; now.",
        "The tests call it by name.",
        "Version 2",
    ):
        assert words in body


def test_what_a_finding_is_about_is_for_the_team(task: Task, mira: User) -> None:
    assert "compute_rate" not in page(Client())
    assert "changes/2/" not in page(Client())
    member = Client()
    member.force_login(mira)
    assert "compute_rate" in page(member)
    assert "changes/2/" in page(member)
    assert "part=history" in page(member)


def test_quarantined_tests_stand_with_name_and_reason_for_the_team(task: Task, mira: User) -> None:
    excluded = [
        {"id": "a::flaky", "reason": "quarantined by mira: it asks the clock"},
        {"id": "a::order", "reason": "depends on the order"},
    ]
    version = task.current_version
    assert version is not None
    version.record_validation(
        valid=True, reason="", fail_to_pass=["a::b"], pass_to_pass=[], excluded=excluded, checks=[]
    )
    member = Client()
    member.force_login(mira)
    assert "quarantined by mira: it asks the clock" in page(member)
    assert "a::order" not in page(member)
    assert "a::flaky" not in page(Client())


def test_a_private_task_has_no_history_for_strangers() -> None:
    make_task(slug="adder")
    assert Client().get("/tasks/adder/history/").status_code == 404


def test_a_task_without_anything_says_so(mira: User) -> None:
    make_public_task(slug="adder", version=False)
    body = page(Client())
    assert "nobody has moved this task" in body


def test_the_number_of_queries_does_not_grow(task: Task, mira: User, django_assert_max_num_queries) -> None:
    for number in range(20):
        Review.objects.create(task=task, from_state="draft", to_state="review", by=mira, reason=f"{number}")
        make_version(task)
    with django_assert_max_num_queries(9):
        page(Client())
