"""The administration: every model has a page, what the program wrote is not written over, and one door leads in."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from benchmarks.models import Board, Cell, Tally
from oneshot import store
from oneshot.accounts.models import ApiToken, FailedLogIn, Membership, Team, User, Visibility
from runs.models import (
    Artifact,
    Calibration,
    Image,
    JudgeConfig,
    Judgement,
    Label,
    LogChunk,
    Run,
    RunScore,
    Suggestion,
    TestResult,
    Validation,
    Verdict,
)
from tasks.models import Capture, CurationDraft, DraftEdit, Finding, Review, Task
from tests.builders import (
    make_agent,
    make_rubric,
    make_run,
    make_superuser,
    make_task,
    make_team,
    make_user,
    make_version,
)
from traces.models import Exchange, ImportCursor, Session, Step, StoredMessage

pytestmark = pytest.mark.django_db

OURS = ("accounts", "traces", "tasks", "runs", "benchmarks")
# These are shown inside of another row's page.
INLINE = {"accounts.Membership", "tasks.Criterion"}


@pytest.fixture
def admins(client: Client) -> Client:
    client.force_login(make_superuser())
    return client


@pytest.fixture
def everything() -> None:
    """One row of each model."""
    run = make_run(outcome="resolved", detail={"note": "<script>"})
    make_rubric(run.task)
    Image.objects.create(sandbox="docker", digest="0" * 64)
    Validation.objects.create(task_version=run.task_version, sandbox="local")
    TestResult.objects.create(run=run, test_id="a::b", verdict="passed")
    Artifact.objects.create(run=run, name="log", digest=store.put(b""), bytes=0)
    LogChunk.objects.create(run=run, text="{}")
    FailedLogIn.objects.create(username="x", address="y")
    ApiToken.objects.create(user=make_user(), name="<script>", prefix="oneshot_0", digest="0" * 64)
    Board.objects.create(slug="b", title="B", team=run.team)
    Cell.objects.get_or_create(task_version=run.task_version, task=run.task, agent=run.agent)
    Tally.objects.get_or_create(task_version=run.task_version)
    Membership.objects.create(team=run.team, user=make_user())
    judge = JudgeConfig.objects.create(name="judge", model="m")
    rubric = run.task.rubrics.get()
    judgement = Judgement.objects.create(run=run, rubric=rubric, judge=judge)
    Verdict.objects.create(judgement=judgement, key="c0", sample=0, answer="met", evidence=[{"quote": "<script>"}])
    RunScore.objects.create(run=run, rubric=rubric)
    Label.objects.create(user=make_user(), run=run, criterion=rubric.criteria.get(), answer="met")
    Calibration.objects.create(judge=judge, n=0)
    Suggestion.objects.create(task=run.task, judge=judge, items=[{"text": "<script>"}])
    draft = CurationDraft.objects.create(task=run.task)
    DraftEdit.objects.create(draft=draft, revision=1, field="title", before_digest="0" * 64, after_digest="1" * 64)
    Review.objects.create(task=run.task, from_state="draft", to_state="review")
    Finding.objects.create(task=run.task, kind="quality", fingerprint="f", title="Short", message="It is short.")
    session = Session.objects.create(team=run.team, agent="codex", thread_id="t")
    Exchange.objects.create(session=session, key="a", source="proxy")
    Step.objects.create(session=session, key="a", source="proxy", position=1, kind="user")
    StoredMessage.objects.create(session=session, hash="0" * 64, ref="x")
    ImportCursor.objects.create(source="x")
    Capture.objects.create(team=run.team, slug="c_20261120_120000", title="C", worktree="/w", git_dir="/w/.git")


def models() -> list[type]:
    return [model for label in OURS for model in apps.get_app_config(label).get_models()]


def test_every_model_can_be_found() -> None:
    missing = [model._meta.label for model in models() if not admin.site.is_registered(model)]
    assert set(missing) == INLINE


@pytest.mark.parametrize("model", [m for m in models() if m._meta.label not in INLINE], ids=lambda m: m._meta.label)
def test_its_list_its_search_and_its_row_open(admins: Client, everything: None, model: type) -> None:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    for query in ("", "?q=a"):
        assert admins.get(reverse(f"{name}_changelist") + query).status_code == 200
    row = model._default_manager.first()
    page = admins.get(reverse(f"{name}_change", args=[row.pk]))
    assert page.status_code == 200
    assert "&lt;script&gt;" in page.content.decode() or "<pre>" not in page.content.decode() or model is not Run
    add = admins.get(reverse(f"{name}_add"))
    assert add.status_code in (200, 403)


@pytest.mark.parametrize(
    "model", ["tasks_taskversion", "tasks_rubric", "runs_run", "runs_testresult", "benchmarks_cell"]
)
def test_what_the_program_wrote_cannot_be_changed_or_added(admins: Client, everything: None, model: str) -> None:
    assert admins.get(reverse(f"admin:{model}_add")).status_code == 403
    row = apps.get_model(*model.split("_")).objects.first()
    assert admins.post(reverse(f"admin:{model}_change", args=[row.pk]), {}).status_code == 403


def test_the_door_is_the_one_log_in_that_pauses(client: Client) -> None:
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[-1][0] == "/login/?next=%2Fadmin%2F"
    assert client.post("/admin/login/", {"username": "root", "password": "x"}).headers["Location"].startswith("/login/")


def test_the_door_leads_to_no_other_host(client: Client) -> None:
    client.force_login(make_superuser())
    assert client.get("/admin/login/?next=https://elsewhere.example/").headers["Location"] == "/admin/"


def test_an_owner_of_a_team_finds_nothing_here(client: Client) -> None:
    client.force_login(make_team(owner=(owner := make_user())).memberships.get(user=owner).user)
    assert client.get("/admin/", follow=True).status_code == 404
    assert client.get("/admin/runs/run/", follow=True).status_code == 404


def act(client: Client, model: str, action: str, *rows: object) -> str:
    url = reverse(f"admin:{model}_changelist")
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url, data, follow=True).content.decode()


def test_runs_are_cancelled_by_the_way_that_pages_use(admins: Client) -> None:
    waiting, ended = make_run(), make_run(outcome="resolved")
    assert "1 cancelled; those that had ended stay" in act(admins, "runs_run", "cancel_runs", waiting, ended)
    waiting.refresh_from_db()
    assert waiting.status == "cancelled"


def test_runs_are_started_again_by_the_way_that_pages_use(admins: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    again: list[Run] = []
    monkeypatch.setattr("runs.actions.run_again", lambda run, by=None: again.append(run))
    run = make_run(status="infra_failed")
    assert "1 started" in act(admins, "runs_run", "run_again", run)
    assert again == [run]


def test_a_run_that_works_cannot_be_deleted(admins: Client) -> None:
    run = make_run(status="running")
    assert admins.post(reverse("admin:runs_run_delete", args=[run.pk]), {"post": "yes"}).status_code == 403
    act(admins, "runs_run", "delete_selected", run)
    assert Run.objects.filter(pk=run.pk).exists()


def test_an_agent_with_runs_keeps_its_identity(admins: Client) -> None:
    used, free = make_agent(name="used"), make_agent(name="free")
    make_run(agent=used)
    data = {"kind": "command", "name": "new", "version": "", "model": "", "settings": "{}"}
    assert admins.post(reverse("admin:runs_agentconfig_change", args=[used.pk]), data).status_code == 403
    before = free.digest
    assert admins.post(reverse("admin:runs_agentconfig_change", args=[free.pk]), data).status_code == 302
    free.refresh_from_db()
    assert free.name == "new"
    assert free.digest != before


def task_form(task: Task, **changes: object) -> dict[str, object]:
    inline = {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}
    form = {"slug": task.slug, "title": task.title, "team": task.team_id, "visibility": task.visibility}
    return (
        {**form, "state": task.state, "tags": "[]", "external_id": "", "current_version": task.current_version_id}
        | inline
        | changes
    )


def test_team_and_visibility_of_a_task_are_those_of_its_runs(admins: Client) -> None:
    task, other = make_task(), make_team()
    run = make_run(task=task)
    url = reverse("admin:tasks_task_change", args=[task.pk])
    assert admins.post(url, task_form(task, team=other.pk, visibility="public")).status_code == 302
    run.refresh_from_db()
    assert (run.team, run.public) == (other, True)


def test_tasks_are_published_retired_and_made_private_in_one_go(admins: Client) -> None:
    task = make_task(visibility=Visibility.PUBLIC)
    run = make_run(task=task)
    assert run.public
    act(admins, "tasks_task", "publish", task)
    act(admins, "tasks_task", "make_private", task)
    task.refresh_from_db()
    run.refresh_from_db()
    assert (task.state, task.visibility, run.public) == ("published", "private", False)
    act(admins, "tasks_task", "retire", task)
    task.refresh_from_db()
    assert task.state == "retired"


@pytest.mark.parametrize("model", ["tasks_task", "runs_run", "runs_validation", "tasks_taskversion"])
def test_lists_take_a_constant_number_of_queries(admins: Client, model: str, django_assert_max_num_queries) -> None:
    for _ in range(10):
        version = make_version(make_task(team=Team.objects.create(slug=f"t{Team.objects.count()}")))
        make_run(version=version, agent=make_agent(name=f"agent{version.task.slug}"))
        Validation.objects.create(task_version=version, sandbox="local", created_by=make_user())
    with django_assert_max_num_queries(14):
        admins.get(reverse(f"admin:{model}_changelist"))


def test_a_password_that_an_administrator_chose_must_be_changed(admins: Client) -> None:
    password = {"password1": "a-first-password", "password2": "a-first-password"}
    admins.post(reverse("admin:accounts_user_add"), {"username": "newcomer", "usable_password": "true"} | password)
    newcomer = User.objects.get(username="newcomer")
    assert newcomer.must_change_password
    User.objects.update(must_change_password=False)
    admins.post(reverse("admin:auth_user_password_change", args=[newcomer.pk]), password)
    newcomer.refresh_from_db()
    assert newcomer.must_change_password
    assert newcomer.check_password("a-first-password")


def test_a_configuration_that_could_not_start_is_refused(admins: Client) -> None:
    add = reverse("admin:runs_agentconfig_add")
    data = {"kind": "codex", "name": "c", "version": "", "model": "m", "settings": '{"reasonng_effort": "high"}'}
    page = admins.post(add, data).content.decode()
    assert "Did you mean reasoning_effort?" in page
    assert admins.post(add, {**data, "settings": '{"reasoning_effort": "high"}'}).status_code == 302
