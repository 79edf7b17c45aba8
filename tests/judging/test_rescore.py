"""Judging old runs again: the command, what it costs before, what changes, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from oneshot.management.base import BadInput
from runs import hosts
from runs.events import announce_end
from runs.judging import actions, calibration, line
from runs.judging.models import Calibration, JudgeConfig, Judgement, Label, RunScore, Verdict
from runs.models import AgentConfig, Run
from runs.summary import as_dict, as_text
from tests.builders import make_run, make_user
from tests.installation import wait_for
from tests.judging.builders import KEY, KEY_NAME, add_rubric, judge_now, make_judge, make_judged_run, saying
from tests.servers.chat import Reply, chat_server

pytestmark = pytest.mark.django_db(transaction=True)


def rescore(*options: str) -> dict:
    """Run the command in this process and return its document."""
    out = StringIO()
    call_command("rescore", *options, "--json", "--here", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def test_a_new_rubric_gives_new_verdicts_and_the_difference_is_told() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(saying(tested="not_met")) as server:
        judge_now(run, rubric, make_judge(server.url, is_default=True))
        add_rubric(run.task, {"key": "adds"}, {"key": "tested"})
        document = rescore("--task", run.task.slug)
    [row] = document["runs"]
    assert (row["before"], row["after"], row["rubric"], row["status"]) == (1.0, 0.5, 2, "done")
    # Both stay: nothing that was judged is written over.
    assert sorted(Judgement.objects.filter(run=run).values_list("score", flat=True)) == [0.5, 1.0]


def test_a_dry_run_says_what_it_would_cost_and_asks_nothing() -> None:
    run, _ = make_judged_run({"key": "adds"})
    with chat_server(saying()) as server:
        make_judge(server.url, is_default=True)
        document = rescore("--run", str(run.pk), "--dry-run")
        assert server.requests == []
    assert document["runs"][0]["questions"] == 4
    assert 0.001 < document["estimate_usd"] < 0.05
    assert not Judgement.objects.exists()


def test_an_unknown_price_is_an_unknown_estimate() -> None:
    run, _ = make_judged_run({"key": "adds"})
    make_judge("http://127.0.0.1:9/v1", prices={}, is_default=True)
    assert rescore("--run", str(run.pk), "--dry-run")["estimate_usd"] is None


def test_what_is_judged_already_is_not_asked_again() -> None:
    run, _ = make_judged_run({"key": "adds"})
    with chat_server(saying()) as server:
        make_judge(server.url, is_default=True)
        rescore("--run", str(run.pk))
        asked = len(server.requests)
        document = rescore("--run", str(run.pk))
        assert len(server.requests) == asked
    assert (document["runs"][0]["questions"], document["estimate_usd"]) == (0, 0.0)


def test_an_outage_exits_with_3_and_the_same_command_goes_on_where_it_stopped(settings) -> None:
    settings.MAX_TRIES = 1
    run, _ = make_judged_run({"key": "adds"}, {"key": "down"})
    up = False

    def script(asked):
        return Reply(status=500) if asked.key == "down" and not up else saying()(asked)

    with chat_server(script) as server:
        make_judge(server.url, is_default=True, parameters={"retries": 0})
        with pytest.raises(SystemExit) as ended:
            call_command("rescore", "--run", str(run.pk), "--here", stdout=StringIO(), stderr=StringIO())
        assert ended.value.code == 3
        assert RunScore.objects.get(run=run).score is None
        up = True
        asked = len(server.about("adds"))
        assert rescore("--run", str(run.pk))["runs"][0]["after"] == 1.0
        assert len(server.about("adds")) == asked


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Say which runs"),
        (["--run", "nonsense"], "no run's id"),
        (["--run", "00000000-0000-7000-8000-000000000000"], "no graded run"),
        (["--task", "no-such-task"], "no task"),
        (["--all", "--judge", "nobody"], "no judge 'nobody'"),
        (["--all"], "No judge is set as default"),
    ],
)
def test_bad_input_is_said_in_words(options: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        call_command("rescore", *options, stdout=StringIO(), stderr=StringIO())


def test_runs_that_were_not_graded_or_have_no_rubric_are_not_judged() -> None:
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    make_run(outcome="resolved")
    run, rubric = make_judged_run({"key": "adds"}, status="infra_failed", outcome="")
    with pytest.raises(BadInput, match="nothing to judge"):
        call_command("rescore", "--all", stdout=StringIO(), stderr=StringIO())
    with pytest.raises(actions.CannotJudge, match="not graded"):
        actions.judge_run(run, rubric, JudgeConfig.objects.get())


# ── by itself ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_graded_trial_queues_it_for_each_default_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    enqueued: list[Judgement] = []
    monkeypatch.setattr(line, "enqueue", lambda row: bool(enqueued.append(row)))
    run, _ = make_judged_run({"key": "adds"})
    make_judge("http://127.0.0.1:9/v1", "one", is_default=True)
    make_judge("http://127.0.0.1:9/v1", "two", is_default=True, model="other")
    make_judge("http://127.0.0.1:9/v1", "on demand", model="third")
    announce_end(run)
    announce_end(run)
    assert sorted(Judgement.objects.values_list("judge__name", "status")) == [("one", "queued"), ("two", "queued")]
    assert {row.judge.name for row in enqueued} == {"one", "two"}


@pytest.mark.parametrize("fields", [{"purpose": "validation"}, {"status": "cancelled", "outcome": ""}])
def test_other_ends_queue_nothing(fields: dict[str, str]) -> None:
    run, _ = make_judged_run({"key": "adds"}, **fields)
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    announce_end(run)
    assert not Judgement.objects.exists()


def test_references_are_not_judged_by_themselves() -> None:
    run, _ = make_judged_run({"key": "adds"}, agent=AgentConfig.obtain(kind="oracle"))
    make_judge("http://127.0.0.1:9/v1", is_default=True)
    announce_end(run)
    assert not Judgement.objects.exists()


# ── killed ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_judgement_whose_worker_is_dead_is_taken_back_and_ends_once(settings) -> None:
    run, rubric = make_judged_run({"key": "adds"}, {"key": "tested"})
    with chat_server(saying()) as server:
        judge = make_judge(server.url)
        judgement = actions.judge_run(run, rubric, judge)
        dead = subprocess.Popen(["true"])
        dead.wait()
        Judgement.objects.filter(pk=judgement.pk).update(
            status="running", tries=1, worker=f"{hosts.this_host()}:{dead.pid}", heartbeat_at=None
        )
        assert line.take_back() == 1
        judgement.refresh_from_db()
        assert (judgement.status, judgement.failures) == ("queued", 1)
        [ended] = actions.finish([judgement], here=True)
    assert (ended.status, ended.score) == ("done", 1.0)


def test_one_that_loses_its_worker_again_and_again_ends_with_what_it_has(settings) -> None:
    settings.MAX_TRIES = 2
    run, rubric = make_judged_run({"key": "adds"})
    judgement = actions.judge_run(run, rubric, make_judge("http://127.0.0.1:9/v1"))
    Judgement.objects.filter(pk=judgement.pk).update(status="running", tries=2, failures=1)
    assert line.take_back() == 1
    judgement.refresh_from_db()
    assert (judgement.status, judgement.score) == ("unknown", None)
    assert "lost 2 times" in judgement.error


@pytest.mark.faults
def test_a_killed_rescore_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A real process, killed with -9 in the middle of a judgement, in an installation of its own."""
    hold = {"on": True}

    def script(asked):
        if asked.key == "slow" and hold["on"]:
            return Reply(hangs=True)
        return saying()(asked)

    with chat_server(script) as server:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ONESHOT_", "DATABASE"))},
            "ONESHOT_DATA_DIR": str(tmp_path / "var"),
            "ONESHOT_RETRY_BASE_S": "0.1",
            "ONESHOT_LEASE_S": "2",
            "ONESHOT_HEARTBEAT_S": "0.5",
            KEY_NAME: KEY,
        }
        make = f"""
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.judging.builders import make_judge, make_judged_run
run, _ = make_judged_run({{"key": "adds"}}, {{"key": "slow"}})
make_judge({server.url!r}, is_default=True, parameters={{"parallel": 2, "timeout_s": 30}})
print(run.pk)
"""
        made = subprocess.run(
            [sys.executable, "-c", make], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        run_id = made.stdout.strip()
        argv = [sys.executable, "-m", "oneshot", "rescore", "--run", run_id, "--here", "--json"]
        first = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: len(server.about("adds")) == 2 and server.about("slow"), "the first answers")
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        first.stdout.close()
        first.stderr.close()
        hold["on"] = False
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        [row] = json.loads(done.stdout)["runs"]
        assert (row["status"], row["after"]) == ("done", 1.0)
        # At most the answer that was on its way is asked for again.
        assert len(server.about("adds")) <= 3


# ── judges ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_any_change_makes_another_judge_and_the_old_one_keeps_its_verdicts() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(saying()) as server:
        first = make_judge(server.url)
        judge_now(run, rubric, first)
        assert make_judge(server.url) == first
        second = make_judge(server.url, parameters={"temperature": 0.5})
    assert second != first
    first.refresh_from_db()
    assert (first.enabled, second.enabled) == (False, True)
    assert Verdict.objects.filter(judgement__judge=first).exists()


def test_other_words_in_the_prompts_make_another_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = make_judge("http://127.0.0.1:9/v1", is_default=True)
    from runs.judging import prompts

    monkeypatch.setattr(prompts, "SYSTEM", prompts.SYSTEM + "\nBe strict.")
    [renewed] = actions.default_judges()
    assert renewed != judge
    assert (renewed.name, renewed.is_default, renewed.digest != judge.digest) == (judge.name, True, True)


def test_the_command_makes_a_judge_and_lists_it() -> None:
    call_command(
        "add_judge", "mini", "--model", "m", "--key-env", "OPENAI_API_KEY", "--set", "samples=5", "--prices", "1,0.1,8",
        "--run-budget", "0.5", "--default", stderr=StringIO(),
    )  # fmt: skip
    judge = JudgeConfig.objects.get()
    assert (judge.parameters, judge.run_budget_usd, judge.is_default) == ({"samples": 5}, Decimal("0.5"), True)
    out = StringIO()
    call_command("judges", "--json", stdout=out, stderr=StringIO())
    [row] = json.loads(out.getvalue())["judges"]
    assert (row["name"], row["calibrated"], row["price_known"], row["kappa"]) == ("mini", False, True, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "samples=4"], "odd number"),
        (["--set", "sampels=3"], "no parameter"),
        (["--set", "temperature=9"], "between 0 and 2"),
        (["--prices", "1,2"], "three figures"),
        (["--run-budget", "-1"], "not below 0"),
        (["--base-url", "ftp://x"], "no http or https URL"),
        (["--key-env", "PATH"], "cannot name a model key"),
    ],
)
def test_a_judge_that_cannot_work_is_refused(options: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        call_command("add_judge", "mini", "--model", "m", *options, stderr=StringIO())


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_judge_is_calibrated_by_blind_labels_and_no_more_after_a_change(settings) -> None:
    settings.JUDGE_LEAST_LABELS = 8
    one, two = make_user(), make_user()
    with chat_server(saying(**{f"k{n}": "not_met" for n in range(0, 8, 2)})) as server:
        judge = make_judge(server.url, is_default=True)
        run, rubric = make_judged_run(*({"key": f"k{n}", "text": f"Number {n}"} for n in range(8)))
        assert not calibration.is_calibrated(judge)
        judge_now(run, rubric, judge)
        for n, criterion in enumerate(rubric.criteria.order_by("position")):
            truth = "not_met" if n % 2 == 0 else "met"
            Label.objects.create(user=one, run=run, criterion=criterion, answer=truth)
            # What was labelled with the verdict in sight does not count.
            Label.objects.create(user=two, run=run, criterion=criterion, answer="cannot_assess", blind=False)
        found = calibration.calibrate(judge)
        assert (found.n, found.kappa, found.kappa_low, found.test_retest) == (8, 1.0, 1.0, 1.0)
        assert found.confusion == {"met": {"met": 4}, "not_met": {"not_met": 4}}
        assert calibration.is_calibrated(judge)
        assert not calibration.is_calibrated(make_judge(server.url, model="scripted-2"))


def test_too_few_labels_or_too_low_a_bound_do_not_calibrate(settings) -> None:
    judge = make_judge("http://127.0.0.1:9/v1")
    Calibration.objects.create(judge=judge, n=49, kappa=0.9, kappa_low=0.8)
    assert not calibration.is_calibrated(judge)
    Calibration.objects.create(judge=judge, n=60, kappa=0.7, kappa_low=0.59)
    assert not calibration.is_calibrated(judge)
    Calibration.objects.create(judge=judge, n=60, kappa=0.8, kappa_low=0.61)
    assert calibration.is_calibrated(judge)
    Calibration.objects.create(judge=judge, n=60)
    assert not calibration.is_calibrated(judge)


# ── the terminal ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_terminal_shows_the_score_with_each_criterion_and_its_weight() -> None:
    run, rubric = make_judged_run(
        {"key": "adds", "weight": "0.6"}, {"key": "safe", "weight": "0.4", "kind": "essential"}
    )
    run = Run.objects.select_related("task", "task_version", "agent").get(pk=run.pk)
    assert as_dict(run)["rubric_score"] is None
    assert "Rubric" not in as_text([run])
    with chat_server(saying(safe="not_met")) as server:
        judge_now(run, rubric, make_judge(server.url))
    text = as_text([run])
    assert as_dict(run)["rubric_score"] == 0.0
    assert "Rubric    0% by scripted (not calibrated)" in text
    assert "not met       safe (weight 0.4, essential)" in text
