"""Means, intervals, crossings: against values computed by hand."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from acesim.report.statistics import at, convergence_epochs, crossing, interval, paired, settled, smoothed

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
