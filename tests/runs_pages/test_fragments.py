"""What other pages embed: the pulse, the attempts at a task, its validation, and the form that starts runs."""

import re

import pytest
from django.test import Client

from oneshot.accounts.models import Team, Visibility
from runs.models import AgentConfig, Run, Validation
from runs.queue import WorkerInfo
from runs.views import fragments
from tasks.models import Task, TaskVersion
from tests.builders import make_agent, make_run, make_task, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> list[WorkerInfo]:
    alive = [WorkerInfo("a", "host:1", True), WorkerInfo("b", "host:2", False)]
    monkeypatch.setattr("runs.queue.workers", lambda: alive)
    monkeypatch.setattr("runs.sandboxes.choose", lambda name="auto": type("Provider", (), {"name": "local"}))
    fragments.cache.clear()
    return alive


@pytest.fixture
def task(team: Team) -> Task:
    task = make_task(team=team, slug="adder")
    task.current_version.record_validation(
        valid=True,
        reason="",
        fail_to_pass=["t::fix"],
        pass_to_pass=[f"t::keep{n}" for n in range(250)],
        excluded=[{"id": "t::flaky", "reason": "flaky: passed 2 of 3 times"}],
        checks=[{"name": "Snapshot", "status": "ok", "evidence": "One commit", "seconds": 1.2}],
    )
    return task


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# ── pulse ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_pulse_counts_what_one_may_see(owners: Client, task: Task) -> None:
    make_run(task=task)
    make_run(task=task, status="grading")
    make_run(task=task, outcome="resolved")
    make_run(status="running")
    pulse = owners.get("/runs/pulse/").content.decode()

    assert text(pulse) == "1 running 1 queued"
    assert 'title="1 running, 1 queued, 1 of 2 workers busy"' in pulse


def test_the_pulse_warns_when_runs_wait_and_no_worker_lives(
    owners: Client, task: Task, workers: list[WorkerInfo]
) -> None:
    workers.clear()
    make_run(task=task)
    assert "1 queued, no worker" in text(owners.get("/runs/pulse/").content.decode())


# ── runs of a task ─────────────────────────────────────────────────────────────────────────────────────────────


def of_task(client: Client, query: str = "") -> str:
    return client.get(f"/runs/of-task/adder/{query}").content.decode()


def test_attempts_are_counted_by_agent_with_their_doubt(owners: Client, task: Task) -> None:
    codex, weak, oracle = make_agent("codex", name="codex"), make_agent(name="weak"), make_agent("oracle")
    for outcome in ("resolved", "unresolved", "resolved"):
        make_run(task=task, agent=codex, outcome=outcome)
    make_run(task=task, agent=codex, status="infra_failed")
    make_run(task=task, agent=codex, status="cancelled")
    make_run(task=task, agent=weak, outcome="empty_patch")
    make_run(task=task, agent=oracle, outcome="resolved")
    make_run(task=task, agent=oracle, outcome="resolved", purpose="validation")
    page = of_task(owners)

    assert 'aria-label="2 of 3 solved, 1 ungraded"' in page
    assert 'aria-label="66.7 %, 95 % interval 20.8 to 93.9"' in page
    names = re.findall(r'<a class="name"[^>]*>([^<]+)</a>', page)
    assert names == ["codex", "weak", "oracle"]  # the reference agents come last
    assert '<tr class="ref">' in page
    assert 'hx-trigger="every' not in page


def test_attempts_under_way_are_shown_and_renew_the_part(owners: Client, task: Task) -> None:
    make_run(task=task, status="running")
    page = of_task(owners)

    assert "not graded" in page
    assert 'hx-trigger="every 4s"' in page


def test_many_attempts_show_the_last_ones_and_count_the_others(owners: Client, task: Task) -> None:
    for _ in range(15):
        make_run(task=task, outcome="resolved")
    page = of_task(owners)

    assert page.count('title="Attempt ') == 12
    assert "and 3 earlier" in page
    assert 'title="Attempt 15: Resolved"' in page


def test_each_version_has_its_own_attempts(owners: Client, task: Task) -> None:
    make_run(task=task, outcome="resolved")
    make_version(task)

    assert "No agent has tried it" in of_task(owners)
    assert "1 of 1 solved" in of_task(owners, "?version=1")
    for wrong in ("?version=9", "?version=x", "?version=-1"):
        assert owners.get(f"/runs/of-task/adder/{wrong}").status_code == 404


def test_the_cost_of_the_attempts_does_not_grow(owners: Client, task: Task, django_assert_max_num_queries) -> None:
    for number in range(10):
        make_run(task=task, agent=make_agent(name=f"agent{number}"), outcome="resolved")
    with django_assert_max_num_queries(9):
        of_task(owners)


# ── validation ─────────────────────────────────────────────────────────────────────────────────────────────────


def validation(client: Client, query: str = "") -> str:
    return client.get(f"/runs/validation/adder/{query}").content.decode()


def test_a_valid_version_shows_its_checks_and_lists(owners: Client, task: Task) -> None:
    page = validation(owners)
    words = text(page)

    assert "Valid since just now" in words
    assert "Snapshot One commit 1.2 s" in words
    assert "t::fix" in words
    assert "flaky: passed 2 of 3 times" in words
    assert "and 50 more" in words  # of 250 tests to keep
    assert "Validate again" in words


def test_each_check_has_a_button_that_tries_it_again(owners: Client, outsiders: Client, task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(visibility=Visibility.PUBLIC)
    version = task.current_version
    assert 'name="again"' not in validation(owners)  # nothing to continue
    whole = Validation.objects.create(task_version=version, sandbox="local", status="done")
    make_run(
        version=version, agent=make_agent(kind="nop"), purpose="validation", validation=whole, outcome="unresolved"
    )
    assert 'name="again" value="look" aria-label="Try again: Snapshot"' in validation(owners)
    assert 'name="again"' not in validation(outsiders)

    page = owners.post("/runs/validation/adder/start/", {"again": "nop"}, headers={"HX-Request": "true"})
    assert "0 of 3 runs have ended" in page.content.decode()
    assert version.validations.first().continues == whole
    Validation.objects.exclude(pk=whole.pk).delete()
    page = owners.post("/runs/validation/adder/start/", {"again": "look"}, headers={"HX-Request": "true"})
    assert "looking at the image again" in page.content.decode()
    Validation.objects.exclude(pk=whole.pk).delete()
    page = owners.post("/runs/validation/adder/start/", {"again": "x"}, headers={"HX-Request": "true"})
    assert "There is no check" in page.content.decode()


def test_strangers_see_what_validation_came_to_and_no_test(outsiders: Client, task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(visibility=Visibility.PUBLIC)
    words = text(validation(outsiders))

    assert "1 test to fix, 250 to keep, 1 quarantined" in words
    assert "t::" not in words
    assert "Validate again" not in words


def test_an_invalid_version_says_why_and_whose_fault(owners: Client, task: Task) -> None:
    task.current_version.record_validation(
        valid=False, reason="No test <fails> before.", fail_to_pass=[], pass_to_pass=[], excluded=[], checks=[]
    )
    words = validation(owners)

    assert "This version is not valid. The task is at fault." in words
    assert "No test &lt;fails&gt; before." in words


def test_validating_starts_the_runs_and_shows_how_far_they_are(owners: Client, team: Team) -> None:
    make_task(team=team, slug="adder")
    assert "Not validated yet" in validation(owners)
    page = owners.post("/runs/validation/adder/start/", headers={"HX-Request": "true"}).content.decode()

    assert Run.objects.filter(purpose="validation").count() == 7
    assert "0 of 7 runs have ended" in page
    assert 'hx-trigger="every 3s"' in page
    assert "Validate again" not in page
    assert TaskVersion.objects.get().validation == "running"

    owners.post("/runs/validation/adder/start/")  # under way already: no second one
    assert Validation.objects.count() == 1


def test_a_version_without_a_reference_says_what_is_missing(owners: Client, team: Team) -> None:
    make_task(team=team, slug="adder", version={"diff": b""})
    page = owners.post("/runs/validation/adder/start/", headers={"HX-Request": "true"}).content.decode()

    assert "The validation was not started." in page
    assert "has no reference diff" in page


def test_a_validation_that_failed_says_why(owners: Client, task: Task) -> None:
    Validation.objects.create(
        task_version=task.current_version, sandbox="docker", status="failed", error="Docker went away."
    )
    page = validation(owners)

    assert "The last validation could not conclude." in page
    assert "Docker went away." in page


def test_strangers_cannot_validate(outsiders: Client, task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(visibility=Visibility.PUBLIC)
    assert outsiders.post("/runs/validation/adder/start/").status_code == 404


# ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────


def start(client: Client, htmx: bool = True, **fields: str):
    headers = {"HX-Request": "true"} if htmx else {}
    data = {"agent": "new:oracle", "attempts": "1", "sandbox": "auto"} | fields
    return client.post("/runs/new/adder/", data, headers=headers)


def test_one_attempt_leads_to_its_run(owners: Client, task: Task) -> None:
    response = start(owners)
    run = Run.objects.get()

    assert response.headers["HX-Redirect"] == run.get_absolute_url()
    assert (run.agent.kind, run.attempt, run.status, run.created_by.username) == ("oracle", 1, "queued", "owner")
    assert start(owners, htmx=False).headers["Location"] == Run.objects.get(attempt=2).get_absolute_url()


def test_several_attempts_lead_to_the_list_that_shows_them(owners: Client, task: Task) -> None:
    response = start(owners, attempts="3")

    assert Run.objects.count() == 3
    page = owners.get(response.headers["HX-Redirect"]).content.decode()
    assert page.count("<tr data-run=") == 3


def test_a_new_command_becomes_a_configuration_and_is_offered_again(owners: Client, task: Task) -> None:
    start(owners, agent="new:command", command="sed -i s/a/b/ x.py")
    agent = AgentConfig.objects.get(kind="command")
    assert agent.settings == {"command": "sed -i s/a/b/ x.py"}

    page = owners.get("/runs/new/adder/").content.decode()
    assert f'<option value="{agent.pk}"' in page
    start(owners, agent=str(agent.pk))
    assert Run.objects.filter(agent=agent).count() == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attempts": "0"}, "greater than or equal to 1"),
        ({"attempts": "51"}, "less than or equal to 50"),
        ({"agent": "new:command"}, "Write the command"),
        ({"agent": "new:nobody"}, "Select a valid choice"),
        ({"sandbox": "moon"}, "Select a valid choice"),
    ],
)
def test_a_mistake_is_named_at_its_field(owners: Client, task: Task, fields: dict, words: str) -> None:
    response = start(owners, **fields)

    assert response.status_code == 200
    assert words in response.content.decode()
    assert Run.objects.count() == 0


def test_agents_of_other_teams_are_not_offered(owners: Client, task: Task) -> None:
    theirs = make_run(agent=make_agent(name="their-agent")).agent
    assert "their-agent" not in owners.get("/runs/new/adder/").content.decode()
    start(owners, agent=str(theirs.pk))
    assert not Run.objects.filter(task=task).exists()


def test_a_version_that_is_not_validated_is_tried_only_on_purpose(owners: Client, team: Team) -> None:
    make_task(team=team, slug="adder")
    assert "Nobody knows which tests must pass" in start(owners).content.decode()
    assert Run.objects.count() == 0
    start(owners, unvalidated="on")
    assert Run.objects.count() == 1


def test_strangers_start_nothing(outsiders: Client, task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(visibility=Visibility.PUBLIC)
    assert start(outsiders).status_code == 404
    assert start(Client(), htmx=False).headers["Location"].startswith("/login/")
    assert Run.objects.count() == 0


def test_budgets_go_with_the_runs_and_one_that_cannot_be_kept_is_refused(owners: Client, team: Team) -> None:
    task = make_task(team=team, slug="adder", version={"validation": "valid"})
    start(owners, agent="new:codex", model="gpt-5", max_tokens="200000", max_cost_usd="2.50")
    assert {name: task.runs.get().limits.get(name) for name in ("max_tokens", "max_cost_usd")} == {
        "max_tokens": 200_000,
        "max_cost_usd": "2.5",
    }
    page = start(owners, agent="new:codex", model="my-own", max_cost_usd="2.50").content.decode()
    assert "No price is known for model my-own" in page
    assert task.runs.count() == 1
