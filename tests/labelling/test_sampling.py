"""Which items people are asked about: spread over tasks and answers, some of them for two people."""

from __future__ import annotations

from collections import Counter

import pytest

from oneshot.accounts.models import Team, User
from runs.judging import comparing, labels, sampling
from runs.judging.models import JudgeConfig, Verdict
from runs.models import Run
from tasks.models import Criterion
from tests.builders import make_task, make_team, make_user
from tests.labelling.builders import add_judge, judged

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> tuple[User, User]:
    return make_user("mira"), make_user("jonas")


@pytest.fixture
def team(people: tuple[User, User]) -> Team:
    team = make_team(owner=people[0])
    team.memberships.create(user=people[1], role="curator")
    return team


@pytest.fixture
def judge() -> JudgeConfig:
    return add_judge()


def next_item(user: User, judge: JudgeConfig) -> sampling.Key | None:
    return sampling.next_item(user, judge, comparing.pairs(judge))


def label_all(user: User, judge: JudgeConfig, most: int = 1000) -> list[sampling.Key]:
    """Answer "met" to what comes until nothing does; return the items."""
    found: list[sampling.Key] = []
    while len(found) < most and (key := next_item(user, judge)):
        run, criterion = Run.objects.get(pk=key[0]), Criterion.objects.get(pk=key[1])
        labels.give(user=user, run=run, criterion=criterion, answer="met", seconds=None)
        found.append(key)
    return found


def test_items_are_spread_over_tasks_and_over_the_answers_of_the_judge(team, judge, people) -> None:
    tasks = [make_task(team=team) for _ in range(6)]
    for task in tasks:
        for _ in range(3):
            judged(task, judge, "mmmmmnc")
    found = label_all(people[0], judge, 24)
    of_task = Counter(Run.objects.get(pk=run).task_id for run, _ in found)
    said = Counter(Verdict.objects.get(judgement__run=run, criterion=criterion).answer for run, criterion in found)
    assert len(of_task) == 6
    assert max(of_task.values()) <= 7
    # Of the answers only a seventh are "not met", and nobody would meet enough of them by chance.
    assert said["not_met"] >= 8
    assert said["met"] >= 8
    assert 1 <= said["cannot_assess"] <= 4


def test_a_second_person_is_asked_about_a_share_alone(team, judge, people) -> None:
    for _ in range(20):
        judged(make_task(team=team), judge, "mn")
    first = label_all(people[0], judge)
    assert len(set(first)) == 40
    second = label_all(people[1], judge)
    assert set(second) == {key for key in first if sampling.is_double(key)}
    assert 2 <= len(second) <= 18


def test_a_third_person_is_asked_nothing_more(team, judge, people) -> None:
    for _ in range(8):
        judged(make_task(team=team), judge, "mn")
    label_all(people[0], judge)
    label_all(people[1], judge)
    third = make_user("lena")
    team.memberships.create(user=third, role="curator")
    assert next_item(third, judge) is None


def test_a_label_given_with_open_eyes_leaves_the_item_to_others(team, judge, people) -> None:
    run = judged(make_task(team=team), judge, "m")
    criterion = Criterion.objects.get()
    labels.give(user=people[0], run=run, criterion=criterion, answer="met", blind=False, seconds=None)
    assert next_item(people[0], judge) is None
    assert next_item(people[1], judge) == (run.pk, criterion.pk)


def test_everybody_meets_the_items_in_the_same_order(team, judge, people) -> None:
    for _ in range(5):
        judged(make_task(team=team), judge, "mn")
    assert next_item(people[0], judge) == next_item(people[1], judge)


def test_runs_of_other_teams_never_come(team, judge, people) -> None:
    judged(make_task(team=make_team()), judge, "m")
    assert next_item(people[0], judge) is None
    assert sampling.judge_to_check(people[0]) is None


def test_a_default_judge_is_checked_before_others(team, people) -> None:
    other, default = add_judge("a-judge"), add_judge("z-judge", model="m-2", is_default=True)
    task = make_task(team=team)
    run = judged(task, other, "m")
    judged(task, default, "m", run=run)
    assert sampling.judge_to_check(people[0]) == default
