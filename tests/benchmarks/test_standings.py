"""What stands in the rows of a board, from attempts to numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from benchmarks.cells import activity
from benchmarks.labels import labels_of, under_of
from benchmarks.standings import SORTS, sort_rows
from runs.models import AgentConfig, Run
from tasks.models import Task
from tests.benchmarks.builders import make_tasks, row_of, standings_of, try_tasks
from tests.builders import make_agent, make_run, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent() -> AgentConfig:
    return make_agent(name="codex", model="m1")


def test_the_score_is_the_mean_over_tasks_of_unequal_attempts(agent):
    try_tasks(agent, make_tasks(5), "yyyy n n n n")
    row = row_of(standings_of(), agent)
    assert row.score.value == pytest.approx(1 / 5)
    assert (row.graded, row.resolved, row.attempts_least, row.attempts_most) == (8, 4, 1, 4)


def test_ungraded_and_cancelled_attempts_are_left_out_and_only_the_first_counted(agent):
    try_tasks(agent, make_tasks(5), "yu yc nu y y")
    row = row_of(standings_of(), agent)
    assert row.score.value == pytest.approx(4 / 5)
    assert (row.graded, row.ungraded, row.attempts_most) == (5, 2, 2)


def test_a_task_without_a_graded_attempt_is_not_among_the_tasks_of_a_row(agent):
    try_tasks(agent, make_tasks(6), "y y y y n u")
    row = row_of(standings_of(), agent)
    assert (row.score.tasks, row.score.value) == (5, pytest.approx(4 / 5))


def test_four_tasks_give_numbers_without_interval_and_rank(agent):
    try_tasks(agent, make_tasks(4), "y y y n")
    found = standings_of()
    row = row_of(found, agent)
    assert found.too_few
    assert (row.score.value, row.score.low, row.rank.place) == (0.75, None, None)


def test_the_clearly_better_ranks_first_and_references_have_no_rank(agent):
    tasks = make_tasks(8)
    worse, oracle, nop = make_agent(name="worse"), make_agent("oracle"), make_agent("nop")
    for who, marks in ((agent, "y"), (worse, "n"), (oracle, "y"), (nop, "n")):
        try_tasks(who, tasks, " ".join([marks] * 8))
    found = standings_of()
    assert [(row.agent.name, row.rank.place, row.rank.tied) for row in found.rows] == [
        ("codex", 1, False),
        ("worse", 2, False),
    ]
    assert [row.agent.name for row in found.references] == ["oracle", "nop"]
    assert all(row.rank.place is None for row in found.references)


def test_only_the_current_version_counts(agent):
    tasks = make_tasks(5)
    try_tasks(agent, tasks, "y y y y y")
    make_version(tasks[0])
    row = row_of(standings_of(), agent)
    assert (row.graded, row.score.tasks) == (4, 4)


def test_all_k_solved_takes_what_most_tasks_were_tried_and_leaves_out_shorter_ones(agent):
    try_tasks(agent, make_tasks(5), "yyy yyn nnn yyu yyy")
    found = standings_of()
    row = row_of(found, agent)
    assert found.k == 3
    assert (row.every, row.every_tasks) == (pytest.approx(2 / 4), 4)
    assert row.once == pytest.approx(3 / 4)


def test_k_is_at_most_five(agent):
    try_tasks(agent, make_tasks(1), "yyyyyyy")
    assert standings_of().k == 5


def test_cost_is_known_only_when_every_graded_attempt_has_one(agent):
    runs = try_tasks(agent, make_tasks(2), "yn yu", cost_usd=Decimal("0.5"))
    row = row_of(standings_of(), agent)
    assert (row.cost_mean, row.cost_per_solved) == (pytest.approx(0.5), pytest.approx(0.75))
    Run.objects.filter(pk=runs[0].pk).update(cost_usd=None)
    try_tasks(agent, [], "")
    row = row_of(standings_of(), agent)
    assert (row.cost_mean, row.cost_per_solved) == (None, None)


def test_nothing_solved_has_no_cost_per_solved_but_a_mean(agent):
    try_tasks(agent, make_tasks(1), "nn", cost_usd=Decimal("0.2"))
    row = row_of(standings_of(), agent)
    assert (row.cost_mean, row.cost_per_solved) == (pytest.approx(0.2), None)


def test_time_is_a_median_of_medians_and_unknown_tokens_stay_unknown(agent):
    tasks = make_tasks(3)
    for task, seconds in zip(tasks, (10.0, 20.0, 90.0), strict=True):
        try_tasks(agent, [task], "y", seconds=seconds)
    row = row_of(standings_of(), agent)
    assert (row.seconds, row.tokens) == (20.0, None)
    Run.objects.update(tokens_input=100, tokens_output=20)
    try_tasks(agent, [], "")
    assert row_of(standings_of(), agent).tokens == 120


def test_an_agent_that_only_waits_is_a_row_with_its_counts(agent):
    try_tasks(agent, make_tasks(2), "r qq")
    found = standings_of()
    assert found.rows == []
    assert [(row.running, row.queued, row.is_waiting) for row in found.waiting] == [(1, 2, True)]


def test_an_agent_of_which_nothing_could_be_graded_waits_too(agent):
    try_tasks(agent, make_tasks(1), "uu")
    row = row_of(standings_of(), agent)
    assert (row.is_waiting, row.ungraded, row.score.value) == (True, 2, None)


def test_isolated_only_leaves_out_agents_that_nothing_held(agent):
    tasks, free = make_tasks(5), make_agent(name="free")
    try_tasks(agent, tasks, "y y y y y", isolation="container")
    try_tasks(free, tasks, "y y y y n", isolation="none")
    found = standings_of(isolated_only=True)
    assert [row.agent for row in found.rows] == [agent]
    assert (found.agents, found.isolated) == (2, 1)
    assert [row.agent for row in standings_of().rows] == [agent, free]


def test_tasks_that_nobody_tried_count_on_a_board_and_not_on_the_leaderboard(agent):
    tasks = make_tasks(4)
    try_tasks(agent, tasks, "y n q -")
    assert len(standings_of().tasks) == 4
    assert [task.slug for task in standings_of(tried_only=True).tasks] == [task.slug for task in tasks[:3]]


def test_an_empty_installation_has_empty_standings():
    found = standings_of()
    assert (found.rows, found.waiting, found.references, found.k) == ([], [], [], 1)
    assert found.attempts == (0, 0)


def test_sorting_puts_the_unknown_last_both_ways(agent):
    tasks, cheap = make_tasks(5), make_agent(name="cheap")  # but dear for what it solves
    try_tasks(agent, tasks, "y y y y n", cost_usd=Decimal("2"))
    try_tasks(cheap, tasks, "y n n n n", cost_usd=Decimal("1"))
    try_tasks(make_agent(name="unknown"), tasks, "y y n n n")
    rows = standings_of().rows
    assert [row.label for row in sort_rows(rows, "cost", falling=False)] == ["codex", "cheap", "unknown"]
    assert [row.label for row in sort_rows(rows, "cost", falling=True)] == ["cheap", "codex", "unknown"]


@pytest.mark.parametrize("key", SORTS)
def test_every_order_can_be_asked_for_of_rows_with_unknowns(key, agent):
    tasks = make_tasks(2)
    try_tasks(agent, tasks, "y n", cost_usd=Decimal("2"), tokens_input=1, tokens_output=1)
    try_tasks(make_agent(name="other"), tasks, "n -", seconds=None)
    assert len(sort_rows(standings_of().rows, key, falling=True)) == 2


def test_the_stamp_changes_with_every_start_and_end_and_with_nothing_else(agent):
    tasks = Task.objects.all()
    made = make_tasks(2)
    stamps = [activity(tasks).stamp]
    for marks in ("q -", "r -", "y -", "u y"):
        try_tasks(agent, made, marks)
        stamps.append(activity(tasks).stamp)
    assert len(set(stamps)) == 5
    assert activity(tasks).stamp == stamps[-1]


def test_validation_runs_are_told_apart_from_trials(agent):
    task = make_tasks(1)[0]
    make_run(task=task, agent=make_agent("nop"), purpose="validation", status="queued")
    make_run(task=task, agent=agent, status="running")
    going = activity(Task.objects.all())
    assert (going.running, going.queued, going.validating, going.trials, going.total) == (1, 0, 1, 1, 2)


@pytest.mark.parametrize(
    ("agents", "labels"),
    [
        ([{"name": "codex"}, {"name": "claude"}], ["codex", "claude"]),
        (
            [
                {"name": "codex", "model": "m", "settings": {"reasoning_effort": "high"}},
                {"name": "codex", "model": "m", "settings": {"reasoning_effort": "low"}},
                {"name": "loop", "model": "q"},
            ],
            ["codex high", "codex low", "loop"],
        ),
        ([{"name": "a", "model": "m1"}, {"name": "a", "model": "m2"}, {"name": "b"}], ["a m1", "a m2", "b"]),
        ([{"name": "a", "model": "m1"}, {"name": "a", "model": "m2"}], ["m1", "m2"]),
        ([{"name": "a", "version": "1"}, {"name": "a", "version": "2"}], ["a 1", "a 2"]),
    ],
)
def test_labels_are_as_short_as_they_can_be(agents, labels):
    assert labels_of([make_agent(**fields) for fields in agents]) == labels


def test_agents_that_differ_in_settings_alone_still_get_labels_of_their_own():
    agents = [make_agent(name="a", settings={"command": command}) for command in ("x", "y")]
    labels = labels_of(agents)
    assert len(set(labels)) == 2
    assert all(label.startswith("a ") for label in labels)


def test_below_the_name_stands_the_model_or_that_there_is_none():
    assert under_of(make_agent(name="a")) == "no model"
    assert under_of(make_agent(name="a", model="m", settings={"reasoning_effort": "high"})) == "m · effort high"
    assert under_of(make_agent("oracle")) == "applies the reference diff"
