"""The pages of judges: how far each agrees with people, what is missing, and that nothing passes to another one."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from benchmarks import rollup
from benchmarks.models import Cell
from oneshot.accounts.models import User
from runs.judging import comparing, sampling
from runs.judging.models import Calibration, JudgeConfig, RunScore
from tasks.models import Task
from tests.builders import make_task, make_team, make_user
from tests.labelling.builders import add_judge, judged, label

pytestmark = pytest.mark.django_db


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def task(mira: User) -> Task:
    return make_task(team=make_team(member=mira), slug="adder")


@pytest.fixture
def judge() -> JudgeConfig:
    return add_judge(is_default=True)


@pytest.fixture
def client(mira: User) -> Client:
    client = Client()
    client.force_login(mira)
    return client


def page(client: Client, judge: JudgeConfig) -> str:
    return client.get(f"/runs/judges/{judge.pk}/").content.decode()


def labelled(task: Task, judge: JudgeConfig, user: User, *pairs: str) -> None:
    """Make one run for each pair: what the judge answered, then what the person says ("mn mn")."""
    for pair in pairs:
        said, truth = pair.split()
        label(user, judged(task, judge, said), truth)


def test_without_any_judge_the_list_says_how_to_add_one(client: Client) -> None:
    assert "oneshot add_judge" in client.get("/runs/judges/").content.decode()


def test_the_list_marks_each_judge(client: Client, judge: JudgeConfig) -> None:
    other = add_judge("large", model="m-2")
    Calibration.objects.create(judge=other, n=60, kappa=0.8, kappa_low=0.7, kappa_high=0.9)
    body = client.get("/runs/judges/").content.decode()
    assert body.index("judges every run") < body.index("large")
    assert body.count(">not calibrated<") == 1
    assert "0.70 to 0.90" in body


def test_it_says_how_many_labels_are_missing(client: Client, task, judge, mira, settings) -> None:
    settings.JUDGE_LEAST_LABELS = 10
    labelled(task, judge, mira, "mn mn", "mc mc")
    body = page(client, judge)
    assert "7 more labels that say met or not met." in body
    assert "never compared with people" in body


def test_recomputing_shows_agreement_confusion_and_where_they_differ(client, task, judge, mira, settings) -> None:
    settings.JUDGE_LEAST_LABELS = 4
    labelled(task, judge, mira, "mmnn mmnn", "mnmc mnnm")
    answer = client.post(f"/runs/judges/{judge.pk}/recompute/", follow=True)
    body = answer.content.decode()
    found = Calibration.objects.get()
    assert (found.n, found.left_out, found.computed_by) == (7, 1, mira)
    assert f"{found.kappa:.2f}" in body
    assert "Compared 7 answers: mini is not calibrated" in body
    assert "The lower bound of κ is" in body
    differences = body[body.index('id="differences"') :]
    assert differences.count("Attempt 2") == 2
    assert "Attempt 1" not in differences


def test_labels_that_came_after_are_told_of(client, task, judge, mira) -> None:
    labelled(task, judge, mira, "mn mn")
    comparing.recalibrate(judge)
    labelled(task, judge, mira, "mn mn")
    assert "4 answers can be compared now" in page(client, judge)


def test_a_kappa_that_is_not_defined_is_not_zero(client, task, judge, mira) -> None:
    labelled(task, judge, mira, "mm mm")
    comparing.recalibrate(judge)
    body = page(client, judge)
    assert "not defined" in body
    assert "Label items of the other kind" in body


def test_a_change_of_anything_is_another_judge_and_uncalibrated(client, judge) -> None:
    Calibration.objects.create(judge=judge, n=60, kappa=0.8, kappa_low=0.7, kappa_high=0.9)
    assert ">calibrated<" in page(client, judge)
    JudgeConfig.objects.filter(pk=judge.pk).update(enabled=False)
    other = add_judge("mini", parameters={"samples": 1, "temperature": 0.7})
    body = page(client, other)
    head = body[: body.index("Other configurations")]
    assert ">not calibrated<" in head
    assert ">calibrated<" not in head
    assert "temperature 0.0" in body
    assert "replaced" in page(client, judge)


def test_a_judge_of_other_prompts_says_that_the_next_run_has_another(client) -> None:
    judge = add_judge(prompt_version="0-old")
    assert "other prompts" in page(client, judge)


def test_what_one_may_still_be_asked_is_not_given_away(client, task, judge, mira) -> None:
    jonas = make_user("jonas")
    task.team.memberships.create(user=jonas, role="curator")
    for _ in range(10):
        label(jonas, judged(task, judge, "mmm"), "nnn")
    found = comparing.pairs(judge)
    doubles = [pair for pair in found if sampling.is_double((pair.run_id, pair.criterion_id))]
    assert doubles
    body = page(client, judge)
    differences = body[body.index('id="differences"') :]
    assert differences.count("Attempt ") == 30 - len(doubles)


def test_runs_of_other_teams_are_not_listed(task, judge, mira) -> None:
    labelled(task, judge, mira, "mm nn")
    outsider = Client()
    outsider.force_login(make_user("outsider"))
    body = page(outsider, judge)
    assert "adder" not in body
    assert "Nowhere so far" in body


def test_becoming_calibrated_marks_every_score_and_the_boards_follow(task, judge, mira, settings) -> None:
    settings.JUDGE_LEAST_LABELS, settings.JUDGE_LEAST_KAPPA = 8, 0.5
    labelled(task, judge, mira, *["mn mn"] * 5)
    rollup.rebuild()
    assert not RunScore.objects.filter(calibrated=True).exists()
    assert comparing.recalibrate(judge).is_enough
    assert RunScore.objects.filter(calibrated=True).count() == 5
    rollup.catch_up()
    cell = Cell.objects.get()
    assert (cell.scored, cell.calibrated) == (5, 5)
    # … and back again, when people say something else.
    for run in RunScore.objects.values_list("run", flat=True)[:4]:
        mira.labels.filter(run=run).update(answer="met")
    assert not comparing.recalibrate(judge).is_enough
    rollup.catch_up()
    assert Cell.objects.get().calibrated == 0


def test_a_score_of_two_judges_takes_both_to_be_calibrated(task, judge, mira) -> None:
    other = add_judge("large", model="m-2", is_default=True)
    run = judged(task, judge, "mn")
    judged(task, other, "mn", run=run)
    enough = {"n": 60, "kappa": 0.8, "kappa_low": 0.7, "kappa_high": 0.9}
    Calibration.objects.create(judge=judge, computed_at=timezone.now(), **enough)
    assert comparing.renew_marks(judge) == 0
    Calibration.objects.create(judge=other, **enough)
    assert comparing.renew_marks(other) == 1
    assert RunScore.objects.get().calibrated


def test_the_majority_of_several_samples_and_people_is_compared(task, judge, mira) -> None:
    run = judged(task, judge, "mmn nnm")
    for person in (mira, make_user("a"), make_user("b")):
        label(person, run, "mn" if person is mira else "mm")
    found = comparing.pairs(judge)
    assert [(pair.people, pair.judge, pair.labels) for pair in found] == [("met", "met", 3), ("met", "not_met", 3)]
    assert comparing.labelled_twice() == 2


def test_the_pages_take_a_steady_number_of_queries(client, task, judge, mira, django_assert_max_num_queries) -> None:
    labelled(task, judge, mira, *["mn nm"] * 12)
    comparing.recalibrate(judge)
    with django_assert_max_num_queries(20):
        page(client, judge)
    with django_assert_max_num_queries(9):
        client.get("/runs/judges/")
