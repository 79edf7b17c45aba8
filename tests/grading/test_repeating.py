"""One check of a validation tried again: its runs join the earlier ones, and nothing flaky is made to look steady."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from runs import images, jobs, repeating, sweep
from runs.errors import TaskError
from runs.models import Image, Run, TestResult, Validation
from runs.steadiness import ORDER_SEED, quarantine
from runs.validation import conclude, run_ended
from tasks.models import TaskVersion
from tests.builders import make_version
from tests.grading.test_steadiness import AFTER, BEFORE
from tests.grading.test_validation import check, excluded, pretend
from tests.installation import Installation, import_demo_task, wait_for

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> TaskVersion:
    """A version that three runs of nothing and three of the reference have made valid."""
    version = make_version()
    assert conclude(pretend(version, BEFORE, AFTER))
    version.refresh_from_db()
    assert version.validation == "valid"
    return version


def end(validation: Validation, *verdicts: dict[str, str]) -> None:
    """Let the runs of a validation end with these verdicts, the last of them with those of the others too."""
    runs = list(validation.runs.order_by("attempt"))
    for run, answer in zip(runs, verdicts, strict=True):
        TestResult.objects.bulk_create(
            TestResult(run=run, test_id=name, verdict=verdict) for name, verdict in answer.items()
        )
        Run.objects.filter(pk=run.pk).update(
            status="finished", outcome="unresolved", diff_bytes=120, finished_at=timezone.now()
        )
    if runs:
        run_ended(runs[-1])
    else:
        conclude(validation)
    validation.refresh_from_db()
    validation.task_version.refresh_from_db()


def test_more_runs_count_together_with_the_earlier_ones(version: TaskVersion) -> None:
    again = repeating.repeat(version, "nop")
    version.refresh_from_db()
    assert version.validation == "running"
    assert {run.agent.kind for run in again.runs.all()} == {"nop"}
    end(again, *BEFORE)
    version.refresh_from_db()
    assert (again.status, version.validation) == ("done", "valid")
    assert check(version, "Do nothing")["name"].endswith(" 6")
    assert check(version, "Reference")["name"].endswith(" 3")


def test_a_test_that_fails_only_now_is_flaky(version: TaskVersion) -> None:
    again = repeating.repeat(version, "oracle")
    end(again, AFTER[0], AFTER[0] | {"t::old": "failed"}, AFTER[0])
    version.refresh_from_db()
    assert excluded(version)["t::old"] == "flaky: passed 5 of 6 times with the reference"


def test_trying_again_makes_no_flaky_test_steady() -> None:
    version = make_version()
    conclude(pretend(version, BEFORE, [AFTER[0], AFTER[0] | {"t::old": "failed"}, AFTER[0]]))
    version.refresh_from_db()
    for _ in range(2):
        end(repeating.repeat(version, "oracle"), *AFTER)
    version.refresh_from_db()
    assert excluded(version)["t::old"] == "flaky: passed 8 of 9 times with the reference"


def test_another_order_is_another_one_each_time(version: TaskVersion) -> None:
    seeds = []
    for _ in range(2):
        again = repeating.repeat(version, "order")
        seeds.append(again.runs.get().limits["test_order_seed"])
        end(again, dict.fromkeys(AFTER[0], "passed"))
    version.refresh_from_db()
    assert seeds == [ORDER_SEED, ORDER_SEED + 1]
    assert "shuffled 2 times" in check(version, "Another order")["evidence"]
    end(repeating.repeat(version, "order"), dict.fromkeys(AFTER[0], "passed") | {"t::old": "failed"})
    version.refresh_from_db()
    assert "depends on the order" in excluded(version)["t::old"]


def test_a_look_needs_no_run_and_is_made_up_for_when_its_job_is_lost(version: TaskVersion) -> None:
    before = version.validated_at
    first = repeating.repeat(version, "look")
    assert not first.runs.exists()
    assert repeating.repeat(version, "nop") == first
    jobs.conclude_job(str(first.pk))
    first.refresh_from_db()
    version.refresh_from_db()
    assert (first.status, version.validation) == ("done", "valid")
    assert version.validated_at > before
    second = repeating.repeat(version, "look")
    Validation.objects.filter(pk=second.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    sweep.complete_ends()
    second.refresh_from_db()
    # Its date was set before that of the first: what is newer stands.
    assert (second.status, second.error) == ("failed", "A newer validation has concluded meanwhile.")
    version.refresh_from_db()
    assert version.validation == "valid"


def test_runs_in_another_environment_are_not_counted_together(
    version: TaskVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "checks", lambda *_, **__: [])
    image = Image.objects.create(sandbox="local", digest="1" * 64, finished_at=timezone.now() - timedelta(days=1))
    Run.objects.update(image=image)
    again = repeating.repeat(version, "look")
    end(again)
    assert again.status == "done"
    Image.objects.update(finished_at=timezone.now())
    again = repeating.repeat(version, "look")
    end(again)
    assert again.status == "failed"
    assert "built anew" in again.error
    version.refresh_from_db()
    assert version.validation == "valid"
    assert version.expectations()["fail_to_pass"] == ["t::bug"]


def test_what_a_maintainer_took_out_stays_out(version: TaskVersion) -> None:
    quarantine(version, "t::old", by="mira", reason="It asks the clock.")
    version.refresh_from_db()
    end(repeating.repeat(version, "nop"), *BEFORE)
    version.refresh_from_db()
    assert excluded(version)["t::old"] == "quarantined by mira: It asks the clock."
    assert conclude(pretend(version, BEFORE, AFTER))
    version.refresh_from_db()
    assert "t::old" in excluded(version)


def test_there_must_be_something_to_continue(version: TaskVersion) -> None:
    with pytest.raises(TaskError, match="never validated"):
        repeating.repeat(make_version(), "nop")
    with pytest.raises(TaskError, match="no check"):
        repeating.repeat(version, "everything")
    Run.objects.filter(agent__kind="nop").update(status="infra_failed", outcome="")
    with pytest.raises(TaskError, match="whole version"):
        repeating.repeat(version, "nop")
    version.refresh_from_db()
    assert (version.validation, version.validations.count()) == ("valid", 1)


def test_a_task_goes_with_all_of_its_validations(version: TaskVersion) -> None:
    end(repeating.repeat(version, "nop"), *BEFORE)
    version.task.delete()
    assert not Validation.objects.exists()


AGAIN = """
import django
django.setup()
from runs import actions, repeating
from tasks.models import Task
started = repeating.repeat(Task.objects.get(slug="log-summary").current_version, "{what}")
actions.submit(started.runs.all())
if not started.runs.exists():
    repeating.submit_conclusion(started)
"""


@pytest.mark.faults
def test_workers_do_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    settings = {"DJANGO_SETTINGS_MODULE": "oneshot.settings", "PYTHONPATH": str(ROOT)}
    environment = {**installation.environment, **settings}
    try:
        installation.start(workers=1)
        import_demo_task(installation)
        for number, what in enumerate(("oracle", "look"), 2):
            subprocess.run([sys.executable, "-c", AGAIN.format(what=what)], env=environment, check=True, timeout=60)
            wait_for(
                lambda number=number: (
                    [
                        row["status"]
                        for row in installation.rows("SELECT status FROM runs_validation ORDER BY created_at, id")
                    ]
                    == ["done"] * number
                ),
                f"the conclusion of {what}",
            )
        [row] = installation.rows("SELECT validation FROM tasks_taskversion")
        assert row["validation"] == "valid"
    finally:
        installation.close()
