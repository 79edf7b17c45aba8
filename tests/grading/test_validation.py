"""Validation fixes from nop and oracle runs which tests must pass, and says plainly when a task is not valid."""

import pytest
from django.core.management import call_command

from oneshot.management.base import BadInput
from runs import actions, images
from runs.errors import InfraError, TaskError
from runs.models import AgentConfig, Image, Run, Status, TestResult, Validation
from runs.validation import conclude, run_ended, start_validation
from tests.builders import make_run, make_version

ENDED = {"outcome": "unresolved", "detail": {"grading": "What the grader said."}}


def pretend(version, before, after, **fields) -> Validation:
    """Make a validation whose runs have ended, from one {test: verdict} for each nop and each oracle run."""
    validation = Validation.objects.create(task_version=version, sandbox="local", attempts=len(before))
    version.validation = "running"
    version.save(update_fields=["validation"])
    for kind, answers in (("nop", before), ("oracle", after)):
        for answer in answers:
            run = make_run(
                version=version,
                agent=AgentConfig.obtain(kind=kind),
                purpose=Run.Purpose.VALIDATION,
                validation=validation,
                **ENDED | {"diff_bytes": 0 if kind == "nop" else 120} | fields.get(kind, {}),
            )
            messages = {name: "ImportError: no add" for name in answer if "new" in name}
            TestResult.objects.bulk_create(
                TestResult(run=run, test_id=name, verdict=verdict, message=messages.get(name, ""))
                for name, verdict in answer.items()
            )
    return validation


def concluded(before, after, **fields):
    version = make_version()
    validation = pretend(version, before, after, **fields)
    assert conclude(validation)
    validation.refresh_from_db()
    version.refresh_from_db()
    return version, validation


def excluded(version) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in version.expectations()["excluded"]}


def check(version, name: str) -> dict:
    return next(row for row in version.expectations()["checks"] if row["name"].startswith(name))


@pytest.mark.django_db
def test_what_fails_before_and_passes_after_is_to_fix_and_what_always_passes_is_to_keep():
    version, validation = concluded(
        [{"t::bug": "failed", "t::old": "passed"}] * 3,
        [{"t::bug": "passed", "t::new": "passed", "t::old": "passed"}] * 3,
    )
    assert validation.status == "done"
    assert (version.validation, version.validation_reason) == ("valid", "")
    assert version.expectations()["fail_to_pass"] == ["t::bug", "t::new"]
    assert version.expectations()["pass_to_pass"] == ["t::old"]
    assert (version.fail_to_pass_count, version.pass_to_pass_count, version.excluded_count) == (2, 1, 0)
    assert check(version, "Reference")["evidence"] == "3 of 3 tests pass every time"
    assert check(version, "Reference")["status"] == "ok"


@pytest.mark.django_db
def test_everything_else_is_left_out_with_its_reason():
    def runs(**verdicts: str) -> list[dict]:
        """`bug="fff ppp"` are the verdicts of three nop and three oracle runs."""
        words = {"p": "passed", "f": "failed", "s": "skipped", "e": "error"}
        return [
            {name: words[text[column]] for name, text in verdicts.items() if text[column] != "-"}
            for column in (0, 1, 2, 4, 5, 6)
        ]

    answers = runs(
        bug="fef ppp",
        flaky_after="fff ppf",
        flaky_before="pfp ppp",
        sometimes_there="fff p-p",
        broken="fff fff",
        regressed="ppp fff",
        skipped="sss sss",
        at_times_skipped="ppp psp",
        enabled="sss ppp",
        gone="ppp ---",
    )
    version, _ = concluded(answers[:3], answers[3:])
    assert version.expectations()["fail_to_pass"] == ["bug"]
    assert version.expectations()["pass_to_pass"] == []
    assert excluded(version) == {
        "flaky_after": "flaky: passed 2 of 3 times with the reference",
        "flaky_before": "flaky: passed 2 of 3 times before the change",
        "sometimes_there": "flaky: passed 2 of 3 times with the reference",
        "broken": "always fails",
        "regressed": "passes before, fails with the reference",
        "skipped": "skipped with the reference",
        "at_times_skipped": "flaky: passed 2 of 3 times with the reference",
        "enabled": "skipped before, passes with the reference",
        "gone": "not collected with the reference",
    }
    assert check(version, "Quarantined")["status"] == "warning"
    assert (
        "8 left out" in check(version, "Quarantined")["evidence"]
        or "7 left out" in check(version, "Quarantined")["evidence"]
    )


@pytest.mark.django_db
def test_a_file_that_could_not_be_imported_before_the_change_is_no_test_left_out():
    version, _ = concluded(
        [{"::tests.test_new": "error", "::tests.test_bad": "error", "t::old": "passed"}] * 3,
        [{"tests.test_new::a": "passed", "::tests.test_bad": "error", "t::old": "passed"}] * 3,
    )
    assert version.expectations()["fail_to_pass"] == ["tests.test_new::a"]
    assert excluded(version) == {"::tests.test_bad": "always fails"}


@pytest.mark.django_db
def test_tests_that_only_miss_a_name_are_kept_and_flagged():
    version, _ = concluded([{"t::new": "error"}] * 2, [{"t::new": "passed", "t::absent": "passed"}] * 2)
    assert version.validation == "valid"
    row = check(version, "Do nothing")
    assert row["status"] == "warning"
    assert "2 of them only because something is not there yet" in row["evidence"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("before", "after", "fields", "reason"),
    [
        ({"t": "passed"}, {"t": "passed"}, {}, "No test fails before the change and passes with the reference"),
        ({"t": "failed"}, {"t": "failed"}, {}, "The reference does not pass: no test passes with it."),
        ({"t": "failed"}, {}, {}, "No test was collected with the reference. What the grader said."),
        ({}, {}, {}, "No test was collected with the reference."),
        ({"t": "failed"}, {"t": "passed"}, {"oracle": {"outcome": "patch_failed"}}, "The reference does not apply."),
        (
            {"t": "failed"},
            {"t": "passed"},
            {"oracle": {"detail": {"tampered": True, "grading": "Not believed."}}},
            "The reference cannot be graded. Not believed.",
        ),
        ({"t": "failed"}, {"t": "passed"}, {"oracle": {"diff_bytes": 0}}, "The reference changed nothing."),
    ],
)
def test_a_task_that_is_not_valid_is_told_why(before, after, fields, reason):
    version, validation = concluded([before] * 2, [after] * 2, **fields)
    assert validation.status == "done"
    assert version.validation == "invalid"
    assert version.validation_reason.startswith(reason)


@pytest.mark.django_db
def test_a_flaky_test_alone_makes_no_task():
    version, _ = concluded([{"t": "failed"}] * 3, [{"t": "passed"}, {"t": "failed"}, {"t": "passed"}])
    assert version.validation == "invalid"
    assert "1 tests are flaky" in version.validation_reason


@pytest.mark.django_db
def test_infrastructure_that_fails_decides_nothing():
    version = make_version()
    pretend(version, [{"t": "failed"}], [{"t": "passed"}])
    assert conclude(version.validations.get())
    version.refresh_from_db()
    assert version.validation == "valid"
    ungraded = {"status": Status.INFRA_FAILED, "outcome": "", "fault": "infra", "error": "The engine is gone."}
    again = pretend(version, [{"t": "failed"}], [{}], oracle=ungraded)
    assert conclude(again)
    version.refresh_from_db()
    again.refresh_from_db()
    assert (again.status, again.error) == ("failed", "The engine is gone.")
    assert (version.validation, version.expectations()["fail_to_pass"]) == ("valid", ["t"])


@pytest.mark.django_db
def test_a_version_never_validated_is_so_again_after_a_failure():
    version = make_version()
    cancelled = {"status": Status.CANCELLED, "outcome": ""}
    assert conclude(pretend(version, [{}], [{}], nop=cancelled))
    version.refresh_from_db()
    assert version.validation == "none"
    assert version.validations.get().error == "A run of the validation was cancelled."


@pytest.mark.django_db
def test_what_is_the_tasks_fault_makes_it_not_valid():
    broken = {"status": Status.INFRA_FAILED, "outcome": "", "fault": "task", "error": "pytest is not installed."}
    version, validation = concluded([{}], [{}], nop=broken, oracle=broken)
    assert validation.status == "done"
    assert (version.validation, version.validation_reason) == ("invalid", "pytest is not installed.")


@pytest.mark.django_db
def test_nothing_is_concluded_before_the_last_run_has_ended():
    version = make_version()
    validation = pretend(version, [{"t": "failed"}], [{"t": "passed"}], oracle={"status": "grading", "outcome": ""})
    assert not conclude(validation)
    run_ended(validation.runs.first())
    validation.refresh_from_db()
    assert validation.status == "running"
    validation.runs.filter(status="grading").update(status="finished", outcome="resolved")
    run_ended(validation.runs.first())
    validation.refresh_from_db()
    assert validation.status == "done"
    assert not conclude(validation)


@pytest.mark.django_db
def test_a_worker_that_saw_the_last_run_end_as_well_records_nothing():
    version = make_version()
    validation = pretend(version, [{"t": "failed"}] * 3, [{"t": "passed"}] * 3)
    # Two that have both read the row while it was open, as two workers that end the last two runs at once do.
    first, second = (Validation.objects.select_related("task_version__task").get() for _ in range(2))
    assert conclude(first)
    recorded = first.task_version.validated_at
    assert not conclude(second)
    version.refresh_from_db()
    validation.refresh_from_db()
    assert version.validated_at == recorded
    assert (validation.status, validation.finished_at) == ("done", first.finished_at)


@pytest.mark.django_db
def test_starting_makes_the_runs_once(settings):
    version = make_version()
    validation = start_validation(version, sandbox="local", attempts=2)
    kinds = sorted(validation.runs.values_list("agent__kind", "attempt", "purpose"))
    assert kinds == [
        ("nop", 1, "validation"),
        ("nop", 2, "validation"),
        ("oracle", 1, "validation"),
        ("oracle", 2, "validation"),
        ("oracle", 3, "validation"),
    ]
    assert [run.limits.get("test_order_seed") for run in validation.runs.filter(agent__kind="oracle")].count(None) == 2
    version.refresh_from_db()
    assert version.validation == "running"
    assert start_validation(version, sandbox="local") == validation
    for run in validation.runs.all():
        actions.cancel(run)
    version.refresh_from_db()
    validation.refresh_from_db()
    assert (validation.status, version.validation) == ("failed", "none")


@pytest.mark.django_db
def test_a_version_without_a_reference_cannot_be_validated():
    with pytest.raises(TaskError, match="no reference diff"):
        start_validation(make_version(diff=b""))


@pytest.mark.django_db
def test_an_image_that_holds_the_answer_makes_the_task_not_valid(monkeypatch):
    leak = {"name": "Answer not in the image", "status": "failed", "evidence": "Lines stand in /work/x", "seconds": 1.0}
    monkeypatch.setattr(images, "checks", lambda *args: [leak])
    image = Image.objects.create(sandbox="local", digest="1" * 64, status="ready", reference="/nowhere")
    version, _ = concluded([{"t": "failed"}], [{"t": "passed"}], oracle={"image": image})
    assert version.validation == "invalid"
    assert version.validation_reason == "Answer not in the image: Lines stand in /work/x"
    assert version.expectations()["checks"][0] == leak


@pytest.mark.django_db
def test_an_image_that_cannot_be_looked_into_decides_nothing(monkeypatch):
    def gone(*args):
        raise InfraError("no engine")

    monkeypatch.setattr(images, "checks", gone)
    image = Image.objects.create(sandbox="local", digest="1" * 64, status="ready", reference="/nowhere")
    version, validation = concluded([{"t": "failed"}], [{"t": "passed"}], oracle={"image": image})
    assert (validation.status, version.validation) == ("failed", "none")


@pytest.mark.django_db
def test_the_command_refuses_what_it_cannot_do():
    with pytest.raises(BadInput, match="no task 'nowhere'"):
        call_command("validate_task", "nowhere")
    version = make_version(diff=b"")
    with pytest.raises(BadInput, match="no reference diff"):
        call_command("validate_task", version.task.slug, "--sandbox", "local")
    with pytest.raises(BadInput, match="the least is 1"):
        call_command("validate_task", version.task.slug, "--attempts", "0")
