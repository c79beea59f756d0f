import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import view

from acesim.scenario.errors import PolicyError
from acesim.schedules import Intervals
from acesim.schedules.intervals import resting
from acesim.schedules.weights import trusted

STEP = np.array([3.0, 4.0], np.float32)  # of length 5


def seen(*relative, round=1):
    return view(len(relative), round=round, drift=5.0 * np.array(relative), step=STEP)


def after(rule, state, *relative, labels=None):
    return rule.advance(seen(*relative), labels, state)


def test_a_fixed_interval_stays():
    rule = Intervals(3, 3)
    state = rule.init(2)
    assert state.steps.tolist() == [3, 3]
    assert after(rule, state, 9.0, 9.0) is state


def test_the_threshold_is_a_quantile_of_what_was_watched():
    rule = Intervals(1, 8, quantile=0.5, watch=2)
    state = rule.init(3)
    assert state.steps.tolist() == [2, 2, 2]  # one step would not drift
    state = after(rule, state, 0.0, 0.0, np.nan)  # nothing to learn from
    state = after(rule, state, 1.0, 2.0, 3.0)
    assert np.isnan(state.threshold)
    state = after(rule, state, 4.0, 5.0, 0.0)
    assert state.threshold == pytest.approx(3.0)


def test_above_it_is_halved_below_half_it_grows():
    rule = Intervals(1, 8)
    state = rule.init(4)._replace(threshold=2.0, steps=np.array([7, 4, 4, 8]))
    assert after(rule, state, 2.1, 1.5, 0.9, 0.5).steps.tolist() == [3, 4, 5, 8]
    state = state._replace(steps=np.array([1, 2, 2, 2]))
    assert after(rule, state, 9.0, 9.0, np.nan, 1.0).steps.tolist() == [1, 1, 2, 2]


def test_a_cluster_keeps_together():
    rule = Intervals(1, 8)
    state = rule.init(4)._replace(threshold=2.0, steps=np.array([4, 4, 6, 2]))
    labels = np.array([0, 0, 1, 1])
    assert after(rule, state, 1.0, 4.0, 0.1, 0.3, labels=labels).steps.tolist() == [2, 2, 3, 3]


def test_a_step_of_no_length_says_nothing():
    rule = Intervals(1, 4)
    state = rule.init(1)
    assert rule.advance(view(1, drift=np.ones(1), step=np.zeros(2, np.float32)), None, state).seen == ()
    assert rule.advance(view(1), None, state) is state


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 100), min_size=3, max_size=3), min_size=1, max_size=30),
       st.integers(1, 3), st.integers(0, 6))
def test_intervals_stay_within_their_bounds(drifts, least, more):
    rule = Intervals(least, least + more, watch=3)
    state = rule.init(3)
    for each in drifts:
        state = after(rule, state, *each)
        assert (state.steps >= least).all()
        assert (state.steps <= least + more).all()


@given(st.integers(2, 5), st.integers(4, 60), st.floats(0, 1))
def test_every_group_has_its_turn_and_the_load_is_even(every, groups, share):
    importance = np.random.default_rng(0).random(groups)
    rests = np.array([resting(importance, share, every, number) for number in range(every)])
    low = int(share * groups)
    sent = (~rests).sum(0)
    assert sorted(sent.tolist()) == sorted([1] * low + [every] * (groups - low))
    loads = (~rests).sum(1)
    assert loads.max() - loads.min() <= 1


@pytest.mark.parametrize(("changes", "rule"), [
    ({"least": 0}, "1 <= h_min <= h_max"), ({"least": 3, "most": 2}, "1 <= h_min <= h_max"),
    ({"most": 1.5}, "1 <= h_min <= h_max"), ({"quantile": 0}, "quantile = 0"), ({"watch": 0}, "watch = 0")])
def test_bad_values_are_named(changes, rule):
    with pytest.raises(PolicyError, match=rule):
        Intervals(**changes)


# ---- weights

def test_weights_are_examples_where_all_answer():
    np.testing.assert_array_equal(trusted(view(3, participation=np.zeros(3))), [10, 11, 12])
    np.testing.assert_array_equal(trusted(view(3)), [10, 11, 12])


def test_reliability_and_latency_take_off():
    known = view(4, participation=np.array([1.0, 0.5, 0.0, 1.0]), round_time_s=np.array([2.0, 4.0, np.nan, 1.0]))
    np.testing.assert_allclose(trusted(known), [10, 5.5, 1.2, 13])
    np.testing.assert_allclose(trusted(known, 2.0), [10, 5.5 / 4, 1.2, 13])


def test_nobody_ever_counts_for_nothing():
    known = view(3, participation=np.array([0.0, 0.0, 1.0]), round_time_s=np.array([1e6, 1.0, 1.0]))
    assert (trusted(known, 3.0) > 0).all()
