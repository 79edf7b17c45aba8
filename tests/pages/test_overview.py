"""The overview: what goes on, what came of it, what needs a person."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from benchmarks.models import Board
from oneshot import demo, health
from oneshot.accounts.models import Team, User, Visibility
from oneshot.pages import attention, overview
from runs.errors import InfraError
from runs.models import Image, Run
from runs.queue import WorkerInfo
from tasks.models import Task, TaskVersion
from tests.builders import make_agent, make_run, make_superuser, make_task, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_user("owner")


@pytest.fixture
def team(owner: User) -> Team:
    return make_team(owner=owner)


@pytest.fixture
def owners(client: Client, owner: User, team: Team) -> Client:
    """A browser of the owner."""
    client.force_login(owner)
    return client


def body(client: Client, url: str = "/") -> str:
    return client.get(url).content.decode()


def test_a_visitor_is_sent_to_a_board_that_everyone_may_read(client: Client) -> None:
    team = make_team(is_demo=True)
    Board.objects.create(slug="open", title="Open", team=make_team(), visibility=Visibility.PUBLIC)
    Board.objects.create(slug="demo", title="Demo", team=team, visibility=Visibility.PUBLIC)
    assert client.get("/").headers["Location"] == "/boards/demo/"


def test_a_visitor_where_nothing_is_public_is_sent_to_the_log_in(client: Client) -> None:
    Board.objects.create(slug="closed", title="Closed", team=make_team())
    assert client.get("/").headers["Location"] == "/login/"


def test_an_empty_site_says_how_to_begin(owners: Client) -> None:
    page = body(owners)
    assert "oneshot import_tasks ./my-tasks" in page
    assert "No run yet" in page
    assert "Nothing is going on." in page


def test_runs_that_go_stand_above_runs_that_ended(owners: Client, team: Team) -> None:
    make_run(task=make_task(team=team, slug="ended-task"), outcome="timeout")
    make_run(task=make_task(team=team, slug="going-task"), status="grading")
    make_run(task=make_task(team=team, slug="waiting-task"))
    page = body(owners)
    assert page.index("going-task") < page.index("Recent runs") < page.index("ended-task")
    assert "1 run is going, 1 waits." in page
    assert "Timed out" in page


def test_validation_runs_show_while_they_go_and_not_among_the_results(owners: Client, team: Team) -> None:
    make_run(task=make_task(team=team, slug="being-validated"), status="running", purpose="validation")
    make_run(task=make_task(team=team, slug="was-validated"), outcome="resolved", purpose="validation")
    page = body(owners)
    assert "being-validated" in page
    assert "was-validated" not in page


def test_nobody_sees_the_private_runs_of_another_team(owners: Client) -> None:
    make_run(task=make_task(slug="strange-task"), status="running")
    page = body(owners)
    assert "strange-task" not in page
    assert "1 run is going." in page  # they share the workers, so the numbers count all


def test_the_queue_is_counted_from_the_rows(owners: Client, team: Team) -> None:
    task = make_task(team=team)
    make_run(task=task, queued_at=timezone.now() - timedelta(minutes=6, seconds=5))
    make_run(task=task)
    Image.objects.create(sandbox="docker", digest="0" * 64)
    queues = owners.get("/").context["queues"]
    assert (queues["runs"]["waiting"], queues["runs"]["going"], queues["build"]["going"]) == (2, 0, 1)
    assert ">6 m 0" in body(owners)


def test_the_live_part_is_renewed_only_when_it_has_changed(owners: Client, team: Team) -> None:
    run = make_run(task=make_task(team=team), status="running")
    seen = owners.get("/").context["seen"]
    assert owners.get(f"/overview/now/?seen={seen}").status_code == 204
    Run.objects.filter(pk=run.pk).update(status="collecting")
    renewed = owners.get(f"/overview/now/?seen={seen}")
    assert renewed.status_code == 200
    assert "Collecting" in renewed.content.decode()
    assert 'id="lede" hx-swap-oob="true"' in renewed.content.decode()
    assert owners.get(f"/overview/now/?seen={renewed.context['seen']}").status_code == 204


def test_the_number_of_queries_does_not_grow_with_the_rows(
    owners: Client, team: Team, django_assert_max_num_queries
) -> None:
    for _ in range(12):
        task = make_task(team=team)
        make_run(task=task, status="running", agent=make_agent(name=f"agent of {task.slug}"))
        make_run(task=task, outcome="resolved")
    owners.get("/")
    with django_assert_max_num_queries(24):
        owners.get("/")
    with django_assert_max_num_queries(20):
        owners.get("/overview/now/")


# ── next steps ──────────────────────────────────────────────────────────────────────────────────────


def titles(user: User) -> list[str]:
    return [step.title for step in attention.steps(user)]


def validated(team: Team, validation: str, **fields: object) -> Task:
    return make_task(team=team, version={"validation": validation}, **fields)


def test_someone_in_no_team_is_told_how_to_get_into_one(team: Team) -> None:
    assert titles(make_user()) == ["Join a team or make one"]


def test_tasks_that_wait_for_validation_come_with_the_command(owner: User, team: Team) -> None:
    validated(team, TaskVersion.Validation.NONE, slug="b-task")
    validated(team, TaskVersion.Validation.NONE, slug="a-task")
    step = attention.steps(owner)[0]
    assert step.title == "2 tasks wait for validation"
    assert step.command == "oneshot validate_task a-task"


def test_a_task_that_is_not_valid_says_so_until_it_is_retired(owner: User, team: Team) -> None:
    task = validated(team, TaskVersion.Validation.INVALID)
    assert titles(owner) == ["1 task is not valid"]
    Task.objects.filter(pk=task.pk).update(state=Task.State.RETIRED)
    assert titles(owner) == ["Bring in your tasks"]


def test_valid_tasks_without_a_run_ask_for_an_agent(owner: User, team: Team) -> None:
    task = validated(team, TaskVersion.Validation.VALID)
    assert titles(owner) == ["Let an agent try"]
    make_run(task=task, outcome="unresolved")
    assert titles(owner) == []


def test_a_strangers_tasks_are_nobodys_next_step(owner: User, team: Team) -> None:
    validated(make_team(), TaskVersion.Validation.INVALID)
    assert titles(owner) == ["Bring in your tasks"]


def ungraded_run(team: Team, **fields: object) -> Run:
    task = validated(team, TaskVersion.Validation.VALID)
    return make_run(task=task, status="infra_failed", error="Docker stopped answering.\nTraceback", **fields)


def test_an_ungraded_run_is_offered_again_until_a_later_attempt_stands_for_it(owner: User, team: Team) -> None:
    run = ungraded_run(team)
    assert list(attention.ungraded(owner)) == [run]
    make_run(version=run.task_version, agent=run.agent, outcome="resolved")
    assert not attention.ungraded(owner).exists()


def test_an_old_ungraded_run_needs_nobody(owner: User, team: Team) -> None:
    run = ungraded_run(team)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - attention.RECENT - timedelta(hours=1))
    assert not attention.ungraded(owner).exists()


def test_one_click_runs_the_ungraded_again(owners: Client, team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    again: list[Run] = []
    monkeypatch.setattr("runs.actions.run_again", lambda run, by=None: again.append(run))
    mine = ungraded_run(team)
    ungraded_run(make_team())
    page = owners.post("/overview/ungraded/again/", follow=True).content.decode()
    assert again == [mine]
    assert "1 run started again" in page


def test_running_again_where_no_sandbox_works_says_why(
    owners: Client, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: Run, by: object = None) -> None:
        raise InfraError("No sandbox works here. Start Docker.")

    monkeypatch.setattr("runs.actions.run_again", refuse)
    ungraded_run(team)
    page = owners.post("/overview/ungraded/again/", follow=True).content.decode()
    assert "0 runs were started again, then: No sandbox works here. Start Docker." in page


# ── this machine ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine where everything is as it should be; tests change one thing."""
    monkeypatch.setattr(health, "redis_server", lambda: "ok")
    monkeypatch.setattr("runs.queue.workers", lambda: [WorkerInfo("a", "h:1", True), WorkerInfo("b", "h:2", False)])
    found = {"title": "Docker", "isolation": "container", "problem": ""}
    monkeypatch.setattr(overview, "_sandbox", lambda: found)
    return monkeypatch


def test_the_machine_tells_its_workers_sandbox_and_disk(owners: Client, machine: pytest.MonkeyPatch) -> None:
    page = body(owners, "/overview/machine/")
    assert "2 alive, 1 busy" in page
    assert "Docker</span>" in page
    assert " free" in page


def test_a_redis_that_is_away_is_told_calmly(owners: Client, machine: pytest.MonkeyPatch) -> None:
    machine.setattr(health, "redis_server", lambda: "does not answer")
    page = body(owners, "/overview/machine/")
    assert "Redis does not answer" in page
    assert "nothing is lost" in page


def test_a_sandbox_that_isolates_nothing_is_named(owners: Client, machine: pytest.MonkeyPatch) -> None:
    found = {"title": "Local", "isolation": "none", "problem": ""}
    machine.setattr(overview, "_sandbox", lambda: found)
    assert "Not isolated" in body(owners, "/overview/machine/")


def test_no_sandbox_at_all_comes_with_the_mend(owners: Client, machine: pytest.MonkeyPatch) -> None:
    found = {"title": "", "isolation": "", "problem": "Start Docker or install bubblewrap."}
    machine.setattr(overview, "_sandbox", lambda: found)
    assert "Start Docker or install bubblewrap." in body(owners, "/overview/machine/")


# ── the demo ────────────────────────────────────────────────────────────────────────────────────────


def test_the_demo_can_be_removed_by_whoever_owns_it(client: Client, team: Team) -> None:
    samples = make_team(is_demo=True, slug="demo")
    make_run(task=make_task(team=samples), outcome="resolved")
    mine = make_run(task=make_task(team=team), outcome="resolved")
    client.force_login(make_superuser())
    assert "This is the demo." in body(client)
    assert "1 runs with it" in client.post(reverse("demo-remove"), follow=True).content.decode()
    assert not Team.objects.filter(is_demo=True).exists()
    assert list(Run.objects.all()) == [mine]
    assert "This is the demo." not in body(client)


def test_others_see_that_there_is_a_demo_and_cannot_remove_it(owners: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "remove", lambda: pytest.fail("removed by a stranger"))
    make_team(is_demo=True)
    page = body(owners)
    assert "This is the demo." in page
    assert "Remove demo" not in page
    assert owners.post(reverse("demo-remove")).status_code == 404
