"""Means, intervals, crossings: against values computed by hand."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from acesim.report.statistics import (
    MOST_SEEDS,
    at,
    convergence_epochs,
    crossing,
    holm,
    interval,
    no_difference_p,
    no_worse_p,
    paired,
    ratio_interval,
    seeds_needed,
    settled,
    smoothed,
)

finite = st.floats(-1e6, 1e6)


def test_an_interval_by_hand():
    found = interval([10.0, 12.0, 17.0])           # mean 13, s = sqrt(13), t(.975, 2) = 4.30265
    assert found.mean == 13.0
    assert found.half_width == pytest.approx(4.30265272975 * np.sqrt(13) / np.sqrt(3), rel=1e-10)
    assert found.low == pytest.approx(13 - found.half_width)


@given(st.lists(finite, min_size=2, max_size=8))
def test_an_interval_is_students(values):
    found = interval(values)
    if np.std(values) > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert found.low == pytest.approx(low, rel=1e-6, abs=1e-3)
        assert found.high == pytest.approx(high, rel=1e-6, abs=1e-3)


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert interval([3.0]).mean == 3.0
    assert isnan(interval([3.0]).low)
    assert isnan(interval([nan, nan]).mean)
    assert interval([nan, 4.0]).mean == 4.0


def test_differences_are_paired_by_seed():
    assert paired({0: 5.0, 2: 1.0, 3: 9.0}, {0: 4.0, 2: 3.0, 7: 0.0}) == {0: 1.0, 2: -2.0}


def test_a_crossing_must_be_sustained_and_is_interpolated():
    places, values = [0, 1, 2, 3, 4, 5, 6], [0, 8, 4, 4, 8, 9, 9]
    assert crossing(places, values, 6) == 3.5        # not at 1: the dip to 4 follows
    assert crossing(places, values, 6, sustained=1) == 0.75
    assert isnan(crossing(places, values, 9))        # only two evaluations are left
    assert crossing([5, 6, 7], [9, 9, 9], 6) == 5    # there from the start
    assert crossing([0, 1, 2, 3], [nan, 9, 9, 9], 6) == 1
    assert isnan(crossing([], [], 1))
    assert isnan(crossing(places, values, nan))


@given(st.lists(st.floats(0, 100), min_size=3, max_size=12), st.floats(1, 100))
def test_a_crossing_lies_where_the_curve_does(values, threshold):
    place = crossing(np.arange(len(values)), values, threshold)
    if not isnan(place):
        assert 0 <= place <= len(values) - 3
        assert np.interp(place, np.arange(len(values)), values) >= threshold - 1e-9 * threshold
        assert all(value >= threshold for value in values[int(np.ceil(place)):int(np.ceil(place)) + 3])


def test_settled_and_smoothed():
    assert settled([1.0, 2.0, 6.0, 7.0]) == 5.0
    assert isnan(settled([]))
    assert smoothed([1.0, 5.0]).tolist() == [1.0, 5.0]
    assert smoothed([0.0, 3.0, 6.0]).tolist() == [1.5, 3.0, 4.5]


def test_convergence_by_hand():
    # final = (98 + 100 + 102) / 3 = 100; smoothed: 25, 47.3, 79, 96, 99, 99, 100, 101; 99 is first met at 4
    top1 = [0, 50, 92, 95, 101, 101, 95, 101]
    final = (101 + 95 + 101) / 3
    curve = smoothed(top1)
    place = convergence_epochs(range(8), top1)
    assert np.interp(place, range(8), curve) == pytest.approx(0.99 * final)
    assert 3 < place < 4
    assert isnan(convergence_epochs(range(8), np.zeros(8)))
    assert isnan(convergence_epochs(range(5), [1, 2, 3, 4, 5]))


def test_at_reads_a_curve_and_not_beyond_it():
    assert at(1.5, [0, 1, 2], [0, 10, 30]) == 20
    assert isnan(at(-0.1, [0, 1, 2], [0, 10, 30]))
    assert isnan(at(0.0, [], []))


few = st.lists(st.floats(-100, 100), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-3)


@given(few)
def test_a_paired_test_is_scipys(values):
    assert no_difference_p(values) == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, abs=1e-9)


@given(few, st.floats(0.01, 50))
def test_non_inferiority_is_a_one_sided_t_test_against_the_margin(values, margin):
    expected = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    assert no_worse_p(values, margin) == pytest.approx(expected, abs=1e-9)


@given(few, st.floats(0.01, 50))
def test_the_interval_lies_above_the_margin_just_where_p_is_below_a_fortieth(values, margin):
    if abs(interval(values).low + margin) > 1e-6:
        assert (interval(values).low > -margin) == (no_worse_p(values, margin) < 0.025)


def test_equal_differences_are_certain_and_one_seed_knows_nothing():
    assert no_difference_p([2.0, 2.0, 2.0]) == 0
    assert no_difference_p([0.0, 0.0]) == 1
    assert no_worse_p([-0.3, -0.3], 0.3) == 1
    assert no_worse_p([-0.25, -0.25], 0.3) == 0
    assert isnan(no_difference_p([2.0]))
    assert isnan(no_worse_p([nan, 1.0], 0.3))


def test_holm_by_hand():
    # sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04, and none below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


def test_holm_leaves_out_what_is_no_test():
    found = holm([nan, 0.03, 0.02])
    assert isnan(found[0])
    assert found[1:] == pytest.approx([0.04, 0.04])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_p_nor_changes_the_order(values):
    found = holm(values)
    assert (found >= np.array(values)).all()
    assert (found <= 1).all()
    assert (np.diff(found[np.argsort(values, kind="stable")]) >= 0).all()


def test_a_ratio_by_hand():
    # logarithms of 1/2 and 1/8: mean ln(1/4), s = ln(4) / sqrt(2), t(.975, 1) = 12.7062
    found = ratio_interval([1.0, 1.0], [2.0, 8.0])
    assert found.mean == pytest.approx(0.25)
    assert np.log(found.high / found.low) == pytest.approx(12.706204736 * np.log(4), rel=1e-9)
    with pytest.raises(ValueError, match="above 0"):
        ratio_interval([1.0, 0.0], [1.0, 1.0])


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=2, max_size=6))
def test_a_ratio_turned_round_is_its_inverse(pairs):
    one, other = np.transpose(pairs)
    found, turned = ratio_interval(one, other), ratio_interval(other, one)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((1 / found.mean, 1 / found.high, 1 / found.low))


def test_seeds_needed_are_those_of_the_books():
    # power.t.test(delta = d, sd = 1, power = .8, type = "paired") of R: 33.37, 9.94, 198.15, 5.28
    assert [seeds_needed(d, 1.0) for d in (0.5, 1.0, 0.2)] == [34, 10, 199]
    assert seeds_needed(1.0, 1.0, power=0.9) == 13


@given(st.floats(0.2, 5), st.floats(0.1, 3))
def test_the_seeds_needed_have_the_power_and_one_fewer_has_not(distance, deviation):
    def power(n):
        return stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, distance / deviation * np.sqrt(n))

    n = seeds_needed(distance, deviation)
    if n is not None and distance / deviation < 30:
        assert power(n) >= 0.8 - 1e-9
        assert n == 2 or power(n - 1) < 0.8 + 1e-9


def test_what_no_number_of_seeds_would_tell():
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.001, 1.0) is None
    assert seeds_needed(nan, 1.0) is None
    assert seeds_needed(0.1, 0.0) == 2
    assert seeds_needed(0.0888, 1.0) <= MOST_SEEDS
