"""What the chart and the squares of a board show."""

from __future__ import annotations

from decimal import Decimal

import pytest

from benchmarks.chart import AXES, chart, default_axis, frontier
from benchmarks.matrix import COLUMNS, PAGE, SQUARES, matrix
from benchmarks.templatetags.boards import attempt_squares
from tests.benchmarks.builders import make_tasks, standings_of, try_tasks
from tests.builders import make_agent, make_run, make_superuser, make_user

pytestmark = pytest.mark.django_db


def test_the_frontier_has_only_what_nothing_beats():
    points = [(1.0, 50.0), (2.0, 40.0), (2.0, 60.0), (3.0, 60.0), (0.5, 10.0)]
    assert frontier(points) == [(0.5, 10.0), (1.0, 50.0), (2.0, 60.0)]
    assert frontier([]) == []


def test_points_carry_percent_interval_and_words():
    try_tasks(make_agent(name="a"), make_tasks(5), "y y y y n", cost_usd=Decimal("0.5"))
    (point,) = chart(standings_of().rows, "cost")["points"]
    assert (point["x"], point["y"], point["words"]) == (0.5, pytest.approx(80), "$0.50")
    assert 0 <= point["low"] < 80 < point["high"] <= 100


def test_what_is_left_out_is_named_with_the_reason():
    tasks = make_tasks(1)
    for name in ("a", "b", "c", "d", "e"):
        cost = {"a": Decimal("2"), "b": Decimal("1")}.get(name)
        try_tasks(make_agent(name=name), tasks, "y" if name == "a" else "n", cost_usd=cost)
    rows = standings_of().rows
    caption = chart(rows, "cost")["caption"]
    assert caption == (
        "Dashed: nothing here is both cheaper and better. c, d and e are left out because their cost is unknown."
    )
    assert chart(rows[1:3], "cost")["caption"] == "c is left out because its cost is unknown."
    assert chart(rows, "tokens")["caption"] == ("a, b, c and 2 more are left out because their tokens are unknown.")


def test_the_first_axis_with_values_is_shown_unless_another_is_asked_for():
    try_tasks(make_agent(name="a"), make_tasks(1), "y", seconds=12.0)
    assert default_axis(standings_of().rows) == "time"
    assert default_axis([]) == "cost"


def test_an_axis_on_which_all_are_equal_is_not_the_first_choice():
    tasks = make_tasks(1)
    for name, seconds in (("a", 10.0), ("b", 20.0)):
        try_tasks(make_agent(name=name), tasks, "y", cost_usd=Decimal(0), seconds=seconds)
    assert default_axis(standings_of().rows) == "time"


def test_the_axes_are_cost_time_and_tokens():
    assert list(AXES) == ["cost", "time", "tokens"]


def test_every_attempt_is_a_square_that_opens_its_run():
    agent = make_agent(name="a")
    runs = try_tasks(agent, make_tasks(1), "ynucrq")
    found = standings_of()
    grid = matrix(found, found.rows, make_superuser())
    ((_, (cell,)),) = grid.rows
    assert [square.kind for square in cell.squares] == ["y", "n", "u", "w", "w"]
    assert f'<a href="{runs[0].get_absolute_url()}" title="Attempt 1: resolved"' in attempt_squares(cell.squares)
    assert cell.words == "1 of 2 solved, 1 ungraded, 2 not over yet"
    assert cell.squares[2].title == "Attempt 3: ungraded"


def test_many_attempts_are_a_number():
    agent, tasks = make_agent(name="a"), make_tasks(2)
    try_tasks(agent, tasks, f"{'y' * SQUARES}n y")
    found = standings_of()
    cells = {task.slug: cells[0] for task, cells in matrix(found, found.rows, make_superuser()).rows}
    many, one = (cells[task.slug] for task in tasks)
    assert (many.is_number, many.squares, many.resolved, many.graded) == (True, [], SQUARES, SQUARES + 1)
    assert len(one.squares) == 1


def test_the_easiest_tasks_come_first_and_untried_ones_last():
    tasks = make_tasks(4)
    try_tasks(make_agent(name="a"), tasks, "nn yn - yy")
    found = standings_of()
    order = [task.slug[-3:] for task, _ in matrix(found, found.rows, make_superuser()).rows]
    assert order == ["t03", "t01", "t00", "t02"]


def test_tasks_come_in_pages_and_a_page_too_far_is_the_last():
    try_tasks(make_agent(name="a"), make_tasks(PAGE + 2), " ".join("y" * (PAGE + 2)))
    found, user = standings_of(), make_superuser()
    first, second, far = (matrix(found, found.rows, user, page=page) for page in (1, 2, 99))
    assert (first.first, first.last, first.pages, first.total) == (1, PAGE, 2, PAGE + 2)
    assert (second.first, second.last, far.page) == (PAGE + 1, PAGE + 2, 2)
    assert len(matrix(found, found.rows, user, all_tasks=True).rows) == PAGE + 2


def test_more_agents_than_columns_are_counted():
    tasks = make_tasks(1)
    for number in range(COLUMNS + 2):
        make_run(task=tasks[0], agent=make_agent(name=f"a{number}"), outcome="resolved")
    try_tasks(make_agent(name="b"), tasks, "n")
    found = standings_of()
    grid = matrix(found, found.rows, make_superuser())
    assert (len(grid.agents), grid.agents_left_out) == (COLUMNS, 3)


def test_squares_of_runs_that_one_may_not_open_are_not_drawn():
    try_tasks(make_agent(name="a"), make_tasks(1), "y")
    found = standings_of()
    ((_, (cell,)),) = matrix(found, found.rows, make_user()).rows
    assert cell.squares == []


@pytest.mark.parametrize("number", [2, 12])
def test_the_squares_take_one_query(number, django_assert_num_queries):
    try_tasks(make_agent(name="a"), make_tasks(number), " ".join(["yn"] * number))
    found, user = standings_of(), make_superuser()
    with django_assert_num_queries(1):
        matrix(found, found.rows, user)
