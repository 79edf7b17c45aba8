"""Tests that do not say the same every time: in another order, and over later runs."""

import pytest

from runs.models import AgentConfig, Run, TestResult
from runs.steadiness import ORDER_SEED, quarantine, record_of, watch_reference
from runs.validation import conclude
from tasks.models import Finding, TaskVersion
from tests.builders import make_run, make_user, make_version
from tests.grading.test_validation import check, excluded, pretend

ORDERED = "".join(
    f"state{n} = []\n\ndef test_first_{n}():\n    state{n}.append(1)\n\ndef test_second_{n}():\n    assert state{n}\n\n"
    for n in range(8)
)
BEFORE = [{"t::bug": "failed", "t::old": "passed", "t::after_old": "passed"}] * 3
AFTER = [{"t::bug": "passed", "t::old": "passed", "t::after_old": "passed"}] * 3


def test_tests_that_lean_on_each_other_fail_when_they_are_shuffled(local_arena) -> None:
    place = local_arena({"test_calc.py": ORDERED})
    own = place.verdicts(place.grade(place.version(), b""))
    other = place.verdicts(place.grade(place.version(), b"", test_order_seed=ORDER_SEED))
    assert own.keys() == other.keys()
    assert set(own.values()) == {"passed"}
    assert "failed" in other.values()
    assert place.verdicts(place.grade(place.version(), b"", test_order_seed=ORDER_SEED)) == other


def shuffled_run(validation, verdicts: dict[str, str]) -> Run:
    run = make_run(
        version=validation.task_version,
        agent=AgentConfig.obtain(kind="oracle"),
        purpose=Run.Purpose.VALIDATION,
        validation=validation,
        outcome="unresolved",
        diff_bytes=120,
        limits={"test_order_seed": ORDER_SEED},
    )
    add_results(run, verdicts)
    return run


def add_results(run: Run, verdicts: dict[str, str], group: str = "pass_to_pass") -> None:
    TestResult.objects.bulk_create(
        TestResult(run=run, test_id=name, verdict=verdict, group=group) for name, verdict in verdicts.items()
    )


@pytest.mark.django_db
def test_a_test_that_needs_its_order_is_left_out_with_the_reason() -> None:
    version = make_version()
    validation = pretend(version, BEFORE, AFTER)
    shuffled_run(validation, {"t::bug": "passed", "t::old": "passed", "t::after_old": "failed"})
    assert conclude(validation)
    version.refresh_from_db()
    assert version.validation == "valid"
    assert "depends on the order" in excluded(version)["t::after_old"]
    assert check(version, "Another order")["status"] == "warning"
    assert "t::after_old" in check(version, "Another order")["evidence"]


@pytest.mark.django_db
def test_the_protocol_says_what_was_tried_and_that_the_instructions_keep_the_answer() -> None:
    version = make_version(instructions="Use `return a + b` there, I think, as return a + b does it well.")
    validation = pretend(version, BEFORE, AFTER)
    shuffled_run(validation, dict.fromkeys(AFTER[0], "passed"))
    conclude(validation)
    version.refresh_from_db()
    assert check(version, "Another order")["status"] == "ok"
    assert "7 gradings ran without a network" in check(version, "Network off")["evidence"]
    assert check(version, "Answer in the instructions")["status"] == "ok"


@pytest.mark.django_db
def test_a_framework_that_cannot_be_shuffled_says_so() -> None:
    version = make_version(environment={"test_framework": "go"})
    validation = pretend(version, BEFORE, AFTER)
    conclude(validation)
    version.refresh_from_db()
    assert "Tests of go cannot be put into another order" in check(version, "Another order")["evidence"]


def validated() -> TaskVersion:
    version = make_version()
    version.record_validation(
        valid=True,
        reason="",
        fail_to_pass=["t::bug", "t::other"],
        pass_to_pass=["t::old"],
        excluded=[],
        checks=[],
    )
    return version


def later_run(version: TaskVersion, **verdicts: str) -> Run:
    run = make_run(version=version, agent=AgentConfig.obtain(kind="oracle"), outcome="unresolved")
    add_results(run, {f"t::{name}": verdict for name, verdict in verdicts.items()})
    watch_reference(run)
    return run


@pytest.mark.django_db
def test_a_test_that_fails_with_the_reference_later_becomes_a_finding_and_blocks_the_second_time() -> None:
    version = validated()
    later_run(version, old="passed", bug="passed")
    assert not Finding.objects.exists()
    later_run(version, old="failed", bug="passed")
    finding = Finding.objects.get()
    assert (finding.kind, finding.severity) == ("flake", "warn")
    assert "passed 1 of 2 times" in finding.message
    later_run(version, old="error", bug="passed")
    finding.refresh_from_db()
    assert finding.severity == "block"
    assert record_of(version, "t::old") == (1, 3)


@pytest.mark.django_db
def test_an_agents_failure_says_nothing_about_the_test() -> None:
    version = validated()
    run = make_run(version=version, outcome="unresolved")
    add_results(run, {"t::old": "failed"})
    watch_reference(run)
    assert not Finding.objects.exists()


@pytest.mark.django_db
def test_a_waived_flake_stays_waived_while_its_record_goes_on() -> None:
    version = validated()
    later_run(version, old="failed")
    Finding.objects.update(status="waived", waiver_reason="The lab's clock.", waived_by=make_user())
    later_run(version, old="failed")
    finding = Finding.objects.get()
    assert finding.status == "waived"
    assert "0 of 2" in finding.message


@pytest.mark.django_db
def test_a_quarantined_test_counts_no_more_and_says_who_did_it() -> None:
    version = validated()
    later_run(version, old="failed")
    quarantine(version, "t::old", by="mira", reason="It asks the clock.")
    version.refresh_from_db()
    assert version.expectations()["pass_to_pass"] == []
    assert excluded(version) == {"t::old": "quarantined by mira: It asks the clock."}
    assert Finding.objects.get().status == "fixed"
    assert version.validation == "valid"


@pytest.mark.django_db
def test_the_last_test_that_tells_a_solution_from_nothing_cannot_be_quarantined() -> None:
    version = validated()
    quarantine(version, "t::bug", by="mira", reason="flaky")
    for test, reason, said in (
        ("t::other", "flaky", "the last test"),
        ("t::old", " ", "Say why"),
        ("t::none", "flaky", "does not count"),
    ):
        with pytest.raises(ValueError, match=said):
            quarantine(version, test, by="mira", reason=reason)
