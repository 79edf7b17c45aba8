"""Scores, majorities and agreement against known values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.judging.agreement import agreement, kappa_of
from runs.judging.scoring import Weighed, is_settled, majority, score, test_retest


def of(*criteria: tuple[str, float, str | None]) -> list[Weighed]:
    return [Weighed(key=f"c{n}", kind=kind, weight=w, answer=a) for n, (kind, w, a) in enumerate(criteria)]


@pytest.mark.parametrize(
    ("criteria", "value", "coverage"),
    [
        ([("important", 3, "met"), ("important", 1, "not_met")], 0.75, 1.0),
        ([("important", 1, "met"), ("pitfall", 0.5, "met")], 0.5, 1.0),
        ([("important", 1, "met"), ("pitfall", 0.5, "not_met")], 1.0, 1.0),
        ([("important", 1, "not_met"), ("pitfall", 0.5, "met")], 0.0, 1.0),
        # An essential one that is not met makes it 0, whatever else holds.
        ([("essential", 1, "not_met"), ("important", 9, "met")], 0.0, 1.0),
        ([("essential", 1, "met"), ("optional", 1, "not_met")], 0.5, 1.0),
        # A fifth may be missing, and is left out of both sums.
        ([("important", 8, "met"), ("important", 2, "cannot_assess")], 1.0, 0.8),
        ([("important", 7, "met"), ("important", 3, "cannot_assess")], None, 0.7),
        ([("important", 7, "met"), ("important", 3, None)], None, 0.7),
        ([("important", 9, "met"), ("essential", 1, None)], None, 0.9),
        ([("pitfall", 1, "not_met")], None, 1.0),
        ([("important", 1, None)], None, 0.0),
    ],
)
def test_a_score_is_the_weight_that_was_reached(criteria, value, coverage) -> None:
    found = score(of(*criteria))
    assert (found.value, found.coverage) == (value, pytest.approx(coverage))
    assert bool(found.note) == (value is None or (value == 0.0 and found.ungated != 0.0))


def test_what_the_score_would_be_without_its_essentials_is_kept() -> None:
    found = score(of(("essential", 1, "not_met"), ("important", 9, "met")))
    assert (found.value, found.ungated) == (0.0, 0.9)
    assert "c0" in found.note


@pytest.mark.parametrize("criteria", [[], [("important", 0, "met")]])
def test_a_rubric_without_weight_has_no_score(criteria) -> None:
    assert score(of(*criteria)).value is None


KINDS = st.sampled_from(["essential", "important", "optional", "pitfall"])
ANSWERS = st.sampled_from(["met", "not_met", "cannot_assess", None])


@given(st.lists(st.tuples(KINDS, st.floats(0, 9999), ANSWERS), max_size=12))
def test_a_score_lies_between_0_and_1_or_is_unknown(criteria) -> None:
    found = score(of(*criteria))
    assert found.value is None or 0 <= found.value <= 1
    assert found.coverage is None or 0 <= found.coverage <= 1 + 1e-9


@pytest.mark.parametrize(
    ("answers", "answer", "share", "tied"),
    [
        (["met"], "met", 1.0, False),
        (["met", "met", "not_met"], "met", 2 / 3, False),
        (["met", "not_met"], "cannot_assess", 0.5, True),
        (["met", "not_met", "cannot_assess"], "cannot_assess", 1 / 3, True),
        (["cannot_assess", "cannot_assess", "met"], "cannot_assess", 2 / 3, False),
        ([], None, None, False),
    ],
)
def test_the_majority_of_samples_counts(answers, answer, share, tied) -> None:
    found = majority(answers)
    assert (found.answer, found.agreement, found.tied) == (answer, share and pytest.approx(share), tied)


@given(st.lists(st.sampled_from(["met", "not_met", "cannot_assess"]), min_size=1, max_size=7), st.data())
def test_an_early_stop_never_changes_the_majority(answers, data) -> None:
    total = len(answers)
    seen = answers[: data.draw(st.integers(1, total))]
    if is_settled(seen, total):
        assert majority(seen).answer == majority(answers).answer


# As statsmodels 0.15 computes them (cohens_kappa).
KNOWN = [
    ([[20, 5], [10, 15]], 0.4, 0.1269961),
    ([[88, 14], [10, 36]], 0.6303081, 0.0682659),
    ([[45, 15], [25, 15]], 0.1304348, 0.0986615),
    ([[25, 35], [5, 35]], 0.2592593, 0.0771597),
    # 90 % agreement, and less than by chance: the paradox of prevalence.
    ([[90, 5], [5, 0]], -0.0526316, 0.0166205),
]


@pytest.mark.parametrize(("table", "kappa", "error"), KNOWN)
def test_kappa_has_its_known_values(table, kappa, error) -> None:
    found, spread = kappa_of(table)
    assert found == pytest.approx(kappa, abs=1e-6)
    assert spread == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize("table", [[[10, 0], [0, 0]], [[0, 0], [0, 0]]])
def test_kappa_of_one_class_alone_is_not_defined(table) -> None:
    assert kappa_of(table) == (None, None)


def test_agreement_gives_precision_and_recall_of_each_class() -> None:
    pairs = [("met", "met")] * 20 + [("met", "not_met")] * 5 + [("not_met", "met")] * 10
    pairs += [("not_met", "not_met")] * 15 + [("met", "cannot_assess")] * 3
    found = agreement(pairs)
    assert (found.n, found.observed, found.kappa) == (50, 0.7, pytest.approx(0.4))
    assert found.low == pytest.approx(0.1510923, abs=1e-6)
    assert found.per_class["met"] == {
        "precision": pytest.approx(20 / 30),
        "recall": pytest.approx(20 / 25),
        "f1": pytest.approx(40 / 55),
        "support": 25,
    }
    assert found.confusion["not_met"] == {"met": 10, "not_met": 15}


def test_no_pair_is_no_agreement() -> None:
    found = agreement([])
    assert (found.n, found.observed, found.kappa, found.low) == (0, None, None, None)


def test_test_retest_is_the_share_of_equal_pairs() -> None:
    assert test_retest([["met", "met"], ["met", "met", "not_met"]]) == pytest.approx((1 + 1 / 3) / 2)
    assert test_retest([["met"]]) is None


test_retest.__test__ = False
