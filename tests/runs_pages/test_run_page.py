"""The page of one run: what it says, to whom, and how it renews itself."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import Team, Visibility
from runs.models import Artifact, Image, Run, TestResult
from tasks.models import Task
from tests.builders import DIFF, make_agent, make_run, make_task, make_team

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert(1)</script>"
MINE = DIFF.replace(b"a + b", b"b + a")


@pytest.fixture
def task(team: Team) -> Task:
    task = make_task(team=team, slug="adder", title="Make it add", version={"fail_to_pass_count": 2})
    task.current_version.record_validation(
        valid=True, reason="", fail_to_pass=["t::a", "t::b"], pass_to_pass=["t::c"], excluded=[], checks=[]
    )
    return task


def ended(task: Task, **fields) -> Run:
    """Return a finished run with a diff and test counts."""
    return make_run(
        task=task,
        **{
            "outcome": "resolved",
            "diff_digest": store.put(MINE),
            "diff_bytes": len(MINE),
            "lines_added": 1,
            "lines_removed": 1,
            "fail_to_pass_passed": 2,
            "fail_to_pass_failed": 0,
            "pass_to_pass_passed": 1,
            "pass_to_pass_failed": 0,
            "isolation": "container",
            "sandbox": "docker",
        }
        | fields,
    )


def body(client: Client, run: Run, query: str = "") -> str:
    response = client.get(f"/runs/{run.pk}/{query}")
    assert response.status_code == 200
    return response.content.decode()


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# ── what it says ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_outcome_is_the_headline_and_the_facts_follow(owners: Client, task: Task) -> None:
    agent = make_agent("codex", name="codex", version="0.61", model="gpt-5", settings={"reasoning_effort": "high"})
    run = ended(task, agent=agent, tokens_input=412_092, tokens_cached=360_104, tokens_output=9_812, cost_usd="0.74")
    page = body(owners, run)
    words = text(page)

    assert "<title>Resolved: adder, attempt 1" in page
    assert re.search(r"<h1><span class=\"st ok big\">.*?Resolved", page, re.DOTALL)
    assert "Make it add , version 1, tried by codex 0.61 with gpt-5, effort high" in words
    for fact in ("2 of 2 all failed before", "1 of 1", "422k 360k cached, 9.8k out", "$0.74", "limit 30 min"):
        assert fact in words
    assert "360,104" in words


def test_every_status_and_outcome_has_a_page(owners: Client, task: Task) -> None:
    for status in ("queued", "preparing", "running", "collecting", "grading", "cancelled", "infra_failed"):
        body(owners, make_run(task=task, status=status))
    for outcome in ("unresolved", "empty_patch", "patch_failed", "timeout", "budget_exhausted", "refused"):
        body(owners, make_run(task=task, outcome=outcome))


def test_phases_have_their_times_and_a_remark(owners: Client, task: Task) -> None:
    start = timezone.now() - timedelta(minutes=10)
    image = Image.objects.create(
        sandbox="docker", digest="1" * 64, status="ready", finished_at=start - timedelta(days=1)
    )
    at = {
        "queued_at": start,
        "preparing_at": start + timedelta(seconds=4),
        "running_at": start + timedelta(seconds=5),
        "collecting_at": start + timedelta(seconds=346),
        "grading_at": start + timedelta(seconds=347),
        "finished_at": start + timedelta(seconds=368),
    }
    words = text(body(owners, ended(task, image=image, detail={"model_requests": 41}, **at)))

    assert "Queued 4 s" in words
    assert "Preparing 1 s image cached" in words
    assert "Running 5 m 41 s 41 model requests" in words
    assert f"Collecting 1 s {len(MINE)} B diff" in words
    assert "Grading 21 s second sandbox, no network" in words


def test_an_error_says_whose_fault_it_is_and_what_to_do(owners: Client, task: Task) -> None:
    infra = make_run(task=task, status="infra_failed", fault="infra", error="Docker stopped answering.", tries=3)
    words = text(body(owners, infra))
    assert "Ungraded. This installation is at fault. Docker stopped answering. Tried 3 times." in words
    assert "oneshot doctor" in words

    broken = make_run(task=task, status="infra_failed", fault="task", error="No matching distribution")
    words = text(body(owners, broken))
    assert "The task is at fault. No matching distribution" in words
    assert "Mend the task and import it again" in words

    wrong = make_run(task=task, status="infra_failed", fault="agent", error="The key is refused.")
    assert "Mend the agent's configuration" in text(body(owners, wrong))


def test_a_run_that_waits_for_another_try_says_why_and_when(owners: Client, task: Task) -> None:
    at = timezone.now() + timedelta(minutes=2)
    run = make_run(task=task, tries=1, error="Docker stopped answering.", fault="infra", retry_at=at)
    words = text(body(owners, run))

    assert "Waits for another try, at" in words
    assert "This installation was at fault." in words


def test_a_plain_process_is_marked_as_not_isolated(owners: Client, task: Task) -> None:
    assert "not isolated" in body(owners, make_run(task=task, status="running", isolation="none"))


def test_attempts_of_the_same_agent_are_one_click_away(owners: Client, task: Task) -> None:
    first, second = ended(task), ended(task, outcome="unresolved")
    make_run(task=task, agent=make_agent(name="other"))
    page = body(owners, second)

    assert f'href="/runs/{first.pk}/" title="Attempt 1: Resolved"' in page
    assert "attempt 2 of 2" in text(page)
    assert page.count('title="Attempt ') == 2


def test_the_command_makes_such_a_run_again(owners: Client, task: Task) -> None:
    agent = make_agent("command", settings={"command": "sed -i 's/a/b/' x.py"})
    page = body(owners, ended(task, agent=agent, outcome="unresolved"))

    expected = "oneshot run_task adder@1 --agent command --command"
    assert expected in text(page)
    many = make_agent("command", name="mine", settings={"command": "x", "env": {"A": "1"}})
    assert "oneshot run_task" not in body(owners, ended(task, agent=many))


def test_an_ended_run_asks_for_nothing_more(owners: Client, task: Task) -> None:
    assert "status/?v=" not in body(owners, ended(task))
    assert "status/?v=" in body(owners, make_run(task=task, status="running"))


# ── diff ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_diff_stands_beside_the_reference_or_alone(owners: Client, task: Task) -> None:
    run = ended(task)
    page = body(owners, run)
    assert "Reference, hidden from the agent" in page
    assert "b + a" in text(page).replace("  ", " ")

    alone = body(owners, run, "?view=alone")
    assert "Reference, hidden from the agent" not in alone
    assert 'class="diff"' in alone


def test_a_long_file_is_loaded_by_itself(owners: Client, task: Task) -> None:
    long = b"diff --git a/big.txt b/big.txt\nnew file mode 100644\n--- /dev/null\n+++ b/big.txt\n@@ -0,0 +1,2100 @@\n"
    long += b"".join(b"+line %d\n" % number for number in range(2100))
    run = ended(task, diff_digest=store.put(long), diff_bytes=len(long))
    page = body(owners, run)
    assert "line 2099" not in page
    assert f'hx-get="/runs/{run.pk}/diff/run/?file=0"' in page

    fragment = owners.get(f"/runs/{run.pk}/diff/run/?file=0").content.decode()
    assert "line 2099" in fragment
    for wrong in ("?file=1", "?file=-1", "?file=x", "", "?file=99999999999"):
        assert owners.get(f"/runs/{run.pk}/diff/run/{wrong}").status_code == 404
    assert owners.get(f"/runs/{run.pk}/diff/other/?file=0").status_code == 404


def test_the_diff_can_be_downloaded_for_git(owners: Client, task: Task) -> None:
    response = owners.get(f"/runs/{ended(task).pk}/diff.patch")

    assert response.content == MINE
    assert response.headers["Content-Disposition"] == 'attachment; filename="adder-1.patch"'


def test_content_that_the_store_has_lost_is_said_and_not_an_error(owners: Client, task: Task) -> None:
    run = ended(task, diff_digest="f" * 64)

    assert "The diff is missing from the content store. This installation is at fault." in body(owners, run)
    assert owners.get(f"/runs/{run.pk}/diff.patch").status_code == 404


# ── to whom ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def public(task: Task) -> Run:
    """A run of a task that everyone may read, with tests, artifacts and an image."""
    Task.objects.filter(pk=task.pk).update(visibility=Visibility.PUBLIC)
    image = Image.objects.create(sandbox="docker", digest="2" * 64, status="ready", reference="sha256:very-internal")
    run = ended(task, public=True, image=image, worker="host-7:12", detail={"grading": "t::secret fails"})
    TestResult.objects.create(run=run, test_id="t::secret", group="fail_to_pass", verdict="failed", message="hidden")
    Artifact.objects.create(run=run, name="junit.xml", digest=store.put(b"<x/>"), bytes=4)
    return run


def test_strangers_see_a_public_run_without_what_tells_the_answer(
    client: Client, outsiders: Client, owners: Client, public: Run
) -> None:
    for stranger in (Client(), outsiders):
        page = body(stranger, public)
        assert "Resolved" in page
        assert 'class="diff"' in page
        assert "0 of 1 passed" in page
        for secret in ("t::secret", "Reference, hidden", "junit.xml", "very-internal", "host-7", "Run again", "a + b"):
            assert secret not in page
        result, artifact = public.test_results.get(), public.artifacts.get()
        for path in (
            "diff/reference/?file=0",
            "tests/fail_to_pass/",
            f"test/{result.pk}/",
            f"artifacts/{artifact.pk}/",
            f"artifacts/{artifact.pk}/preview/",
        ):
            assert stranger.get(f"/runs/{public.pk}/{path}").status_code == 404
        manifest = stranger.get(f"/runs/{public.pk}/manifest.json").content.decode()
        assert "very-internal" not in manifest
    assert "t::secret" in body(owners, public)


def test_the_oracles_work_is_the_reference_and_hidden_from_strangers(outsiders: Client, public: Run) -> None:
    Run.objects.filter(pk=public.pk).update(agent=make_agent("oracle"))
    page = body(outsiders, public)

    assert "b + a" not in text(page)
    assert 'class="diff"' not in page
    for path in ("diff.patch", "diff/run/?file=0", "log/", "log.txt"):
        assert outsiders.get(f"/runs/{public.pk}/{path}").status_code == 404


def test_the_demo_hides_nothing_but_still_lets_strangers_do_nothing(outsiders: Client, public: Run) -> None:
    Team.objects.filter(pk=public.team_id).update(is_demo=True)
    page = body(outsiders, public)

    assert "t::secret" in page
    assert "Reference, hidden" in page
    assert "very-internal" not in page
    assert "host-7" not in page
    assert "Run again" not in page
    assert outsiders.post(f"/runs/{public.pk}/again/").status_code == 404


def test_a_private_run_does_not_exist_for_strangers(outsiders: Client, task: Task) -> None:
    run = ended(task)
    for path in ("", "status/", "log/", "log.txt", "diff.patch", "manifest.json", "diff/run/?file=0"):
        for stranger in (Client(), outsiders):
            assert stranger.get(f"/runs/{run.pk}/{path}").status_code == 404


def test_a_run_of_a_public_task_in_another_team_can_be_read_and_not_changed(owners: Client) -> None:
    other = make_run(task=make_task(team=make_team(), visibility=Visibility.PUBLIC), status="running")

    assert 'data-key="x"' not in body(owners, other)
    assert owners.post(f"/runs/{other.pk}/cancel/").status_code == 404


# ── renewal ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_live_part_answers_nothing_while_nothing_changed(owners: Client, task: Task) -> None:
    run = make_run(task=task, status="running")
    url = re.search(r'hx-get="(/runs/[^"]+/status/\?v=\w+)"', body(owners, run))
    assert url is not None
    assert owners.get(url[1]).status_code == 204

    run.transition("collecting", tokens_input=1)
    renewed = owners.get(url[1]).content.decode()
    assert "Collecting" in renewed
    assert "hx-swap-oob" not in renewed
    assert url[1] not in renewed


def test_with_the_end_comes_the_rest_of_the_page(owners: Client, task: Task) -> None:
    run = ended(task)
    TestResult.objects.create(run=run, test_id="t::a", group="fail_to_pass", verdict="passed")
    renewed = owners.get(f"/runs/{run.pk}/status/?v=before&view=alone").content.decode()

    assert re.search(r"<title>Resolved: adder, attempt 1\s+· OneShot</title>", renewed)
    for part in ("tabs", "results", "left", "aside"):
        assert re.search(rf'id="{part}"[^>]*hx-swap-oob="true"', renewed)
    assert 'class="diff"' in renewed
    assert "t::a" in renewed
    assert "Reference, hidden" not in renewed
    assert "status/?v=" not in renewed


def test_stopping_shows_until_the_worker_has_stopped_it(owners: Client, task: Task) -> None:
    run = make_run(task=task, status="running", cancel_requested_at=timezone.now(), error="Cancelled by owner.")
    page = body(owners, run)

    assert "Stopping." in text(page)
    assert re.search(r'data-key="x" disabled', page)


# ── hostile content, cost ──────────────────────────────────────────────────────────────────────────────────────


def test_hostile_content_stays_text_everywhere(owners: Client, team: Team) -> None:
    task = make_task(team=team, slug="hostile", title=ATTACK, version={"title": ATTACK})
    head = f"diff --git a/{ATTACK}.html b/{ATTACK}.html\n--- a/x\n+++ b/{ATTACK}.html\n"
    diff = f"{head}@@ -1 +1 @@ {ATTACK}\n-a\n+{ATTACK}\n"
    agent = make_agent("command", name=ATTACK, model=ATTACK, version="<b>", settings={"command": ATTACK})
    run = ended(
        task,
        agent=agent,
        diff_digest=store.put(diff.encode()),
        outcome="unresolved",
        error=ATTACK,
        worker=ATTACK,
        detail={"final_message": ATTACK, "grading": ATTACK, ATTACK: ATTACK},
    )
    output = store.put_text(ATTACK)
    row = TestResult.objects.create(
        run=run, test_id=ATTACK, group="fail_to_pass", verdict="failed", message=ATTACK, output_digest=output
    )
    artifact = Artifact.objects.create(run=run, name=f'"{ATTACK}.html', media_type="text/html", digest=output, bytes=9)
    pages = [f"/runs/{run.pk}/", f"/runs/{run.pk}/status/", f"/runs/{run.pk}/test/{row.pk}/", "/runs/"]
    pages += [f"/runs/{run.pk}/artifacts/{artifact.pk}/preview/", f"/runs/{run.pk}/tests/fail_to_pass/"]

    for url in pages:
        page = owners.get(url).content.decode()
        assert "alert(1)" in page
        assert "<script>alert" not in page


def test_the_number_of_queries_does_not_grow_with_tests_attempts_and_artifacts(owners: Client, task: Task) -> None:
    run = ended(task)
    with CaptureQueriesContext(connection) as few:
        body(owners, run)
    for number in range(30):
        ended(task)
        TestResult.objects.create(run=run, test_id=f"t::{number}", group="fail_to_pass", verdict="passed")
        Artifact.objects.create(run=run, name=f"a{number}", digest=store.put(b""), bytes=0)
    with CaptureQueriesContext(connection) as more:
        body(owners, run)

    assert len(more) <= len(few) + 1  # one group of tests was not there before
    assert len(more) <= 16


def test_no_get_writes(owners: Client, task: Task) -> None:
    run = make_run(task=task, status="running")
    TestResult.objects.create(run=run, test_id="t", group="other", verdict="passed")
    with CaptureQueriesContext(connection) as queries:
        for path in ("", "status/", "log/", "log.txt", "manifest.json", "tests/other/"):
            assert owners.get(f"/runs/{run.pk}/{path}").status_code == 200
        for path in ("", "rows/", "filters/", "cancel-queued/", "pulse/", "of-task/adder/", "validation/adder/"):
            assert owners.get(f"/runs/{path}").status_code == 200
        assert owners.get("/runs/new/adder/").status_code == 200

    writes = [query["sql"] for query in queries if re.match(r"(INSERT|UPDATE|DELETE)", query["sql"])]
    assert writes == []
