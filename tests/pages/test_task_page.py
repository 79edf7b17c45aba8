"""One task's page: what everyone may read of it, and what only its team may."""

import pytest
from django.test import Client

from oneshot import store
from oneshot.accounts.models import Team, User, Visibility
from runs.models import Run
from tasks.models import Task, TaskVersion
from tests.builders import make_public_task, make_rubric, make_run, make_task, make_team, make_user, make_version

pytestmark = pytest.mark.django_db

ANSWER = b"""diff --git a/adder.py b/adder.py
--- a/adder.py
+++ b/adder.py
@@ -1 +1 @@
-return a - b
+return a + b  # the answer
"""


@pytest.fixture
def owner() -> User:
    return make_user("owner")


@pytest.fixture
def team(owner: User) -> Team:
    return make_team(owner=owner, slug="payments", name="Payments")


@pytest.fixture
def task(team: Team) -> Task:
    """A public, validated task with an answer and a hidden test."""
    digest = store.put(b"def test_adds():\n    assert add(1, 2) == 3  # <b>hidden</b>\n")
    task = make_public_task(
        team=team,
        slug="adder",
        title="Make it add",
        version={
            "hidden_tests": [{"path": "tests/test_adder.py", "digest": digest, "rubric_id": None}],
            "diff": ANSWER,
        },
    )
    version(task).record_validation(
        valid=True,
        reason="",
        fail_to_pass=["test_adder::test_adds"],
        pass_to_pass=["test_adder::test_imports"],
        excluded=[],
        checks=[],
    )
    return task


def version(task: Task) -> TaskVersion:
    found = task.current_version
    assert found is not None
    return found


@pytest.fixture
def owners(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


def body(client: Client, url: str = "/tasks/adder/") -> str:
    return client.get(url).content.decode()


def test_its_team_sees_the_answer_and_the_tests(owners: Client, task: Task) -> None:
    page = body(owners)
    assert "the answer" in page
    assert "tests/test_adder.py" in page
    assert "test_adder::test_adds" in page
    assert "oneshot run_task adder" in page


def test_others_read_the_task_and_nothing_that_would_solve_it(client: Client, task: Task) -> None:
    for user in (None, make_user("outsider")):
        if user:
            client.force_login(user)
        page = body(client)
        assert "Make it add" in page
        assert "1 to fix and 1 to keep" in page
        for secret in ("the answer", "test_adder", "Reference diff", "Hidden tests"):
            assert secret not in page


def test_a_path_of_this_machine_is_shown_to_its_team_only(client: Client, owner: User, team: Team) -> None:
    make_public_task(team=team, slug="local", version={"repo": {"git_url": "file:///srv/home/adder"}})
    assert "/srv/home" not in body(client, "/tasks/local/")
    client.force_login(owner)
    assert "/srv/home/adder" in body(client, "/tasks/local/")


def test_a_private_task_is_not_found_by_others(client: Client, team: Team) -> None:
    make_task(team=team, slug="private")
    assert client.get("/tasks/private/").status_code == 404


def test_a_hidden_test_opens_in_the_page_and_alone(owners: Client, task: Task) -> None:
    url = "/tasks/adder/v1/tests/0/"
    fragment = owners.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "&lt;b&gt;hidden" in fragment
    alone = owners.get(url)
    assert alone.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert alone.headers["X-Content-Type-Options"] == "nosniff"
    assert owners.get("/tasks/adder/v1/tests/1/").status_code == 404
    assert owners.get("/tasks/adder/v2/tests/0/").status_code == 404


def test_the_reference_diff_can_be_taken_away(owners: Client, task: Task) -> None:
    response = owners.get("/tasks/adder/v1/reference.diff")
    assert response.content == ANSWER
    assert response.headers["Content-Disposition"] == 'attachment; filename="adder-v1.diff"'


def test_one_long_file_of_the_diff_can_be_asked_for(owners: Client, task: Task) -> None:
    url = "/tasks/adder/v1/reference.diff"
    assert "the answer" in owners.get(f"{url}?file=0", headers={"HX-Request": "true"}).content.decode()
    assert owners.get(f"{url}?file=7", headers={"HX-Request": "true"}).status_code == 404
    assert owners.get(f"{url}?file=x", headers={"HX-Request": "true"}).status_code == 404


def test_an_older_version_says_that_it_is_one(owners: Client, task: Task) -> None:
    make_version(task, instructions="Make it add, please.", title="Make it add well")
    assert "Make it add well" in body(owners)
    older = body(owners, "/tasks/adder/?version=1")
    assert "This is version 1." in older
    assert "oneshot run_task adder@1" in older


@pytest.mark.parametrize("number", ["9", "x", "-1", "٣", "99999999999999999999"])
def test_a_version_that_there_is_not_is_not_found(owners: Client, task: Task, number: str) -> None:
    assert owners.get(f"/tasks/adder/?version={number}").status_code == 404


def test_a_task_without_a_version_says_how_to_give_it_one(owners: Client, team: Team) -> None:
    make_task(team=team, slug="bare", version=False)
    assert "oneshot import_tasks ./bare" in body(owners, "/tasks/bare/")


def test_what_a_task_says_is_shown_and_never_acts(owners: Client, team: Team) -> None:
    evil = "<script>alert(1)</script>"
    fields = {
        "title": evil,
        "instructions": evil,
        "environment": {"setup": [evil], "env": {"A": evil}},
        "repo": {"git_url": f"https://bot:secret@x.example/{evil}", "branch": evil, "subdir": evil},
        "hidden_tests": [{"path": evil, "digest": store.put(b"x"), "rubric_id": None}],
    }
    task = make_task(team=team, slug="evil", title=evil, tags=[evil], external_id=evil, version=fields)
    make_rubric(task, evil)
    page = body(owners, "/tasks/evil/")
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert "secret" not in page


def test_a_lost_file_of_the_store_is_told_and_the_page_still_shows(owners: Client, team: Team) -> None:
    make_task(team=team, slug="lost", version={"reference_diff_digest": "f" * 64, "diff": b""})
    page = body(owners, "/tasks/lost/")
    assert "missing from the content store" in page
    assert "Instructions" in page


def test_the_environment_tells_what_the_task_says_from_what_is_guessed(owners: Client, team: Team) -> None:
    fields = {
        "environment": {"timeout_s": 1800, "memory_mb": 2048, "cpus": 1, "network": "none"},
        "detected_environment": {"test_framework": "pytest"},
    }
    make_task(team=team, slug="env", version=fields)
    response = owners.get("/tasks/env/")
    sources = {setting.name: setting.source for setting in response.context["environment"]}
    assert (sources["timeout_s"], sources["test_framework"], sources["base_image"]) == (
        "the task",
        "a guess",
        "this site",
    )
    assert response.context["limits"] == "30 min, 2 GB, 1 CPU"
    assert response.context["network"] == "None"


def test_the_rubric_shows_its_criteria_and_shares(owners: Client, task: Task) -> None:
    make_rubric(task, "It adds.", "It says so.")
    page = body(owners)
    assert "It says so." in page
    assert "2 criteria, 100 % of the weight" in page


def test_making_a_task_public_makes_its_runs_public_too(owners: Client, team: Team) -> None:
    task = make_task(team=team, slug="private")
    run = make_run(task=task, outcome="resolved")
    assert not run.public
    for visibility, public in ((Visibility.PUBLIC, True), (Visibility.PRIVATE, False)):
        owners.post("/tasks/private/visibility/", {"visibility": visibility})
        task.refresh_from_db()
        assert (task.visibility, Run.objects.get(pk=run.pk).public) == (visibility, public)


def test_a_visibility_that_does_not_exist_changes_nothing(owners: Client, team: Team) -> None:
    task = make_task(team=team, slug="private")
    owners.post("/tasks/private/visibility/", {"visibility": "world"})
    task.refresh_from_db()
    assert task.visibility == Visibility.PRIVATE


def test_many_versions_and_tests_take_no_more_queries(
    owners: Client, task: Task, django_assert_max_num_queries
) -> None:
    for _ in range(8):
        make_version(task)
    owners.get("/tasks/adder/")
    with django_assert_max_num_queries(9):
        owners.get("/tasks/adder/")
