"""What is said about weak criteria."""

import pytest

from tasks.rubrics.lint import lint, shares
from tasks.rubrics.templates import TEMPLATES


def criterion(text: str, key: str = "a", **more):
    return {"key": key, "text": text, "weight": "1", "kind": "important", "checks": [], "sees": ["diff"], **more}


def codes(*criteria, paths=()) -> list[tuple[str, str]]:
    return [(remark.key, remark.code) for remark in lint(criteria, paths)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The code is clean and good.", "vague"),
        ("It handles holidays; it logs a skipped run and it keeps the order of entries and dates.", "double"),
        ("The fix is in dunning/run.py.", "names-file"),
        ("It is in run.py.", "names-file"),
    ],
)
def test_a_weak_criterion_gets_a_remark(text: str, code: str) -> None:
    assert ("a", code) in codes(criterion(text), paths=["dunning/run.py"])


@pytest.mark.parametrize(
    "text",
    [
        "Runs on a bank holiday move to the next banking day.",
        "A move of more than 7 days skips the run and logs it.",
        'The message reads "well done and good".',
    ],
)
def test_a_plain_criterion_gets_none(text: str) -> None:
    assert codes(criterion(text), paths=["dunning/run.py"]) == []


def test_a_vague_word_is_marked_in_place() -> None:
    [remark] = lint([criterion("The code is clean.")])
    assert "The code is clean."[slice(*remark.span)] == "clean"
    assert remark.message == "vague: what is clean?"


def test_two_criteria_that_say_the_same_are_told_once() -> None:
    first, second = (
        criterion("Every rounding rest goes to the first part."),
        criterion("The rounding rest goes to the first part, every time.", key="b"),
    )
    assert codes(first, second) == [("b", "duplicate")]


def test_a_weight_of_nothing_is_told() -> None:
    assert codes(criterion("It adds two numbers.", weight="0")) == [("a", "empty-weight")]


def test_weights_are_shares_of_the_whole_and_pitfalls_have_none() -> None:
    rubric = [criterion("a", "a", weight="3"), criterion("b", "b"), criterion("c", "c", kind="pitfall")]
    assert shares(rubric) == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_templates_pass_their_own_lint(name: str) -> None:
    assert lint(TEMPLATES[name][1]) == []
