"""The statistics behind every board, against known values, other libraries and their own laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.statistics import (
    FEWEST_TASKS,
    compare_all,
    estimate,
    holm,
    paired_difference,
    pass_at_k,
    pass_hat_k,
    rank,
    smallest_difference,
)
from oneshot.intervals import wilson

counts = st.integers(0, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
rates = st.lists(st.sampled_from([0, 1 / 3, 0.5, 2 / 3, 1]), max_size=40)
tables = st.integers(1, 6).flatmap(
    lambda rows: st.integers(1, 25).flatmap(
        lambda tasks: st.lists(
            st.lists(st.sampled_from([0.0, 1 / 3, 0.5, 1.0, math.nan]), min_size=tasks, max_size=tasks),
            min_size=rows,
            max_size=rows,
        )
    )
)


def test_wilson_gives_the_published_values_where_wald_degenerates():
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case):
    solved, n = case
    other = stats.binomtest(solved, n).proportion_ci(method="wilson")
    assert wilson(solved, n) == pytest.approx((other.low, other.high), abs=1e-9)


@pytest.mark.parametrize(("solved", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_proportion(solved, n):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(solved, n)


@given(counts, st.integers(1, 6))
def test_pass_at_k_and_pass_hat_k_are_the_hypergeometric_ones(case, k):
    n, c = case
    every, any_ = float(pass_hat_k(n, c, k)), float(pass_at_k(n, c, k))
    if n < k:
        assert math.isnan(every)
        assert math.isnan(any_)
    else:
        assert every == pytest.approx(stats.hypergeom.pmf(k, n, c, k), abs=1e-12)
        assert any_ == pytest.approx(1 - stats.hypergeom.pmf(0, n, c, k), abs=1e-12)
        assert every <= c / n + 1e-12 <= any_ + 2e-12


def test_pass_at_k_is_unbiased_where_the_plug_in_is_not():
    # five attempts at a task that is solved with p = .3: the true pass@3 is .657, the plug-in gives .572
    chance = stats.binom.pmf(np.arange(6), 5, 0.3)
    assert float(chance @ pass_at_k(5, np.arange(6), 3)) == pytest.approx(1 - 0.7**3)
    assert float(chance @ pass_hat_k(5, np.arange(6), 3)) == pytest.approx(0.3**3)


def test_estimate_is_the_mean_over_tasks_and_never_pools_attempts():
    # one task solved 9 of 9 times, nine tasks tried once and not solved: a tenth, not a half
    result = estimate([9 / 9] + [0 / 1] * 9)
    assert result.value == pytest.approx(0.1)


def test_interval_over_forty_tasks_is_students():
    rng = np.random.default_rng(4)
    sample = rng.integers(0, 4, 40) / 3
    result = estimate(sample)
    low, high = stats.t.interval(0.95, 39, loc=sample.mean(), scale=stats.sem(sample))
    assert (result.low, result.high) == pytest.approx((low, high))
    assert not result.degenerate


@pytest.mark.parametrize("rate", [0.0, 1 / 3, 1.0])
def test_equal_rates_on_all_tasks_fall_back_to_wilson_and_say_so(rate):
    result = estimate([rate] * 12)
    assert result.degenerate
    assert (result.low, result.high) == pytest.approx(wilson(rate * 12, 12))
    assert result.high - result.low > 0.1


def test_four_tasks_get_a_value_and_no_interval():
    result = estimate([1, 0, 1, 1])
    assert (result.value, result.low, result.high, result.too_few) == (0.75, None, None, True)
    assert estimate([1, 0, 1, 1, 0]).low is not None


def test_no_task_at_all_is_unknown():
    assert estimate([]).value is None
    assert estimate([math.nan, math.nan]).value is None


@given(rates)
def test_interval_holds_its_value_and_stays_within_0_and_1(sample):
    result = estimate(sample)
    if len(sample) >= FEWEST_TASKS:
        assert 0 <= result.low <= result.value + 1e-9
        assert result.value <= result.high + 1e-9 <= 1 + 2e-9
        assert result.high > result.low


@given(st.lists(st.tuples(st.sampled_from([0, 0.5, 1.0]), st.sampled_from([0, 0.5, 1.0])), min_size=12, max_size=40))
def test_paired_difference_agrees_with_scipys_paired_t_test(pairs):
    a, b = np.array(pairs).T
    mine = paired_difference(a, b)
    if np.ptp(a - b) == 0:
        assert mine.low is None
        return
    theirs = stats.ttest_rel(a, b)
    floor = min(1, 2.0 ** (1 - np.count_nonzero(a != b)))
    assert mine.p == pytest.approx(max(theirs.pvalue, floor), abs=1e-9)
    low, high = theirs.confidence_interval()
    assert (mine.low, mine.high) == pytest.approx((max(-1, low), min(1, high)), abs=1e-9)


def test_a_difference_on_five_tasks_is_never_clear_and_on_six_it_can_be():
    assert paired_difference([1] * 5, [0] * 5).p == pytest.approx(0.0625)
    assert paired_difference([1] * 6, [0] * 6).p == pytest.approx(0.03125)
    # nearly equal differences make the t-test claim p = .00002; only five tasks differ, so it is not believed
    assert paired_difference([1, 1, 1, 1, 0.9], [0] * 5).p == pytest.approx(0.0625)


def test_p_is_never_below_what_the_exact_sign_flip_test_gives_on_extreme_data():
    a, b = np.array([1, 1, 1, 1, 1, 1, 0.5]), np.zeros(7)
    exact = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples").pvalue
    assert paired_difference(a, b).p >= exact - 1e-12


def test_only_common_tasks_are_compared():
    a = [1, 1, 1, 1, 1, 1, math.nan, math.nan]
    b = [0, 0, 0, 0, 0, 0, 1, 1]
    result = paired_difference(a, b)
    assert (result.tasks, result.mean) == (6, 1.0)
    assert paired_difference([1, math.nan], [math.nan, 1]).mean is None


def test_holm_gives_the_textbook_values_and_leaves_out_nan():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, math.nan, 0.04])[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(holm([math.nan])[0])
    assert len(holm([])) == 0


@given(tables)
@settings(deadline=None)
def test_all_pairs_at_once_are_the_pairs_one_by_one(table):
    pairs = compare_all(table)
    raw = {
        (i, j): paired_difference(table[i], table[j]) for i in range(len(table)) for j in range(len(table)) if i != j
    }
    for (i, j), one in raw.items():
        assert pairs.tasks[i, j] == one.tasks
        if one.tasks:
            assert pairs.mean[i, j] == pytest.approx(one.mean)
        assert math.isnan(pairs.p[i, j]) == (one.p is None)
        if one.p is not None:
            assert pairs.p[i, j] >= one.p - 1e-9  # Holm only ever raises
            assert pairs.p[i, j] == pairs.p[j, i]


@given(tables)
@settings(deadline=None)
def test_ranks_do_not_depend_on_the_order_of_rows_and_count_the_clearly_better(table):
    ranks = rank(table)
    assert [place.place for place in rank(table[::-1])] == [place.place for place in ranks][::-1]
    placed = [place.place for place in ranks if place.place is not None]
    for row, place in zip(table, ranks, strict=True):
        assert (place.place is None) == (sum(not math.isnan(rate) for rate in row) < FEWEST_TASKS)
        if place.place is not None:
            assert 1 <= place.place <= len(table)
            assert place.tied == (placed.count(place.place) > 1)


def test_clear_steps_rank_one_two_three_and_equals_share_a_place():
    best, middle, low = [1.0] * 30, [1.0] * 15 + [0.0] * 15, [0.0] * 30
    ranks = rank([middle, best, low, best])
    assert [(place.place, place.tied) for place in ranks] == [(3, False), (1, True), (4, False), (1, True)]


def test_a_row_with_four_tasks_has_no_rank_and_harms_nobody():
    ranks = rank([[1.0] * 4 + [math.nan] * 6, [0.0] * 10])
    assert [place.place for place in ranks] == [None, 1]


def test_ten_equal_agents_are_seldom_told_apart():
    # every agent solves each of 40 tasks with p = .5; without Holm two boards of three would show a difference
    rng = np.random.default_rng(11)
    boards = [rank(rng.integers(0, 2, (10, 40)).astype(float)) for _ in range(100)]
    assert sum(any(place.place != 1 for place in board) for board in boards) <= 10


def test_smallest_difference_follows_the_sample_size_formula():
    # sigma .35 and a difference of .05 need 387 tasks (grading notes); so 387 tasks show about .05
    rng = np.random.default_rng(2)
    difference = rng.normal(0, 0.35, 387)
    pairs = compare_all([difference, np.zeros(387)])
    assert smallest_difference(pairs) == pytest.approx(0.05, abs=0.004)


def test_smallest_difference_is_unknown_without_a_pair_that_differs():
    assert smallest_difference(compare_all([[1.0] * 10])) is None
    assert smallest_difference(compare_all([[1.0] * 10, [1.0] * 10])) is None
    assert smallest_difference(compare_all([[1.0] * 3, [0.0] * 3])) is None
