"""How numbers, times and marks are written."""

import doctest
from datetime import UTC, datetime, timedelta

import pytest
from django.template import engines
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from oneshot.templatetags import figures
from runs.models import Outcome, Run, Status
from tasks import facts
from tasks.models import Task, TaskVersion

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


def show(template: str, **context: object) -> str:
    return engines["django"].from_string(template).render(context)


@pytest.mark.parametrize("module", [figures, facts])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", ["seconds", "limit_time", "usd", "tokens", "size", "percent", "signed", "count"])
def test_an_unknown_number_is_the_word_and_never_zero(name: str) -> None:
    assert show("{{ value|" + name + " }}", value=None) == '<span class="unknown">unknown</span>'


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(hours=30), "yesterday"),
        (timedelta(days=6, hours=23), "6 days ago"),
        (timedelta(days=12), "8 Nov"),
        (timedelta(days=400), "16 Oct 2025"),
        (timedelta(hours=-3), "20 Nov, 17:05"),
    ],
)
def test_a_time_is_relative_for_a_week_and_then_a_date(passed: timedelta, words: str) -> None:
    assert figures.relative(NOW - passed, NOW) == words


def test_a_time_carries_its_moment_for_machines_and_utc_for_people() -> None:
    html = show("{% ago then %}", then=timezone.now() - timedelta(minutes=3))
    assert ">3 min ago</time>" in html
    assert ' UTC">' in html
    assert 'datetime="20' in html
    assert show("{% ago then %}", then=None) == '<span class="unknown">unknown</span>'


@pytest.mark.parametrize("status", [status for status in Status if status != Status.FINISHED])
def test_every_status_has_a_mark(status: str) -> None:
    assert f"</svg>{Status(status).label}</span>" in show("{% run_status run %}", run=Run(status=status))


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_mark(outcome: str) -> None:
    run = Run(status=Status.FINISHED, outcome=outcome)
    assert f"</svg>{Outcome(outcome).label}</span>" in show("{% run_status run %}", run=run)


@pytest.mark.parametrize("state", Task.State)
def test_every_state_of_a_task_has_a_mark(state: str) -> None:
    assert Task.State(state).label in show("{% task_state state %}", state=state)


@pytest.mark.parametrize("validation", TaskVersion.Validation)
def test_every_validation_has_words(validation: str) -> None:
    assert TaskVersion.Validation(validation).label.lower() in show("{% validation_mark v %}", v=validation).lower()


def test_every_mark_uses_an_icon_that_is_drawn_on_the_page() -> None:
    symbols = show('{% include "partials/_icons.html" %}')
    tables = (figures.STATUS_MARKS, figures.OUTCOME_MARKS, figures.TASK_MARKS, figures.VALIDATION_MARKS)
    for _, name, _ in (mark for table in tables for mark in table.values()):
        assert f'id="i-{name}"' in symbols


def test_words_in_a_mark_are_escaped() -> None:
    assert "<script>" not in show('{% mark "ok" "ok" words %}', words="<script>")


def test_the_phases_of_a_run_show_what_is_done_and_what_goes_on() -> None:
    html = show("{% mini_phases run %}", run=Run(status=Status.COLLECTING))
    assert html.count('class="done"') == 2
    assert html.count('class="now breathe"') == 1


def test_tests_passed_counts_both_groups_and_a_run_without_tests_has_a_dash() -> None:
    run = Run(fail_to_pass_passed=1, fail_to_pass_failed=3, pass_to_pass_passed=40, pass_to_pass_failed=0)
    assert show("{% tests_passed run %}", run=run) == "41 of 44"
    assert "of" not in show("{% tests_passed run %}", run=Run())


def test_an_interval_is_drawn_inside_its_cell_and_said_in_words() -> None:
    html = show("{% interval 0.6 0.3 1.2 %}")
    assert 'x1="30.0%" x2="100.0%"' in html
    assert "<title>60.0 %, 95 % interval 30.0 to 120.0</title>" in html
    assert "<line" not in show("{% interval 0.6 None None %}")


@given(st.floats(min_value=0, max_value=1e7))
def test_every_duration_is_short(value: float) -> None:
    assert len(figures.seconds(value)) <= 13


@given(st.integers(min_value=0, max_value=10**12))
def test_every_count_of_tokens_is_four_characters_or_five(value: int) -> None:
    assert len(figures.short_count(value)) <= 5


@given(st.one_of(st.floats(-1000, 1000), st.integers(-(10**6), 10**6)))
def test_a_difference_that_is_written_as_nothing_has_no_sign(value: float) -> None:
    text = figures.signed(value)
    assert (text[0] in "+\N{MINUS SIGN}") == bool(text.strip("+\N{MINUS SIGN}0.,"))
