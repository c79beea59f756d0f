"""Traces: closed forms against sums by hand and against laws."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acesim.network.traces import Least, Trace, constant, least, played_on, resample, steps_of
from acesim.scenario.errors import TraceError

rates = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5, 7.0, 1e6]), min_size=1, max_size=6).filter(any)
traces = st.builds(Trace, st.sampled_from([0.1, 1.0, 2.5]), rates.map(np.array),
                   st.sampled_from(["loop", "loop", "hold"]))
times = st.floats(0, 50)
sizes = st.floats(1e-3, 1e8)
quick = settings(max_examples=60, deadline=None)


def test_by_hand():
    trace = Trace(2.0, np.array([3.0, 0.0, 5.0]))
    assert trace.period_s == 6.0
    assert trace.mean == pytest.approx(16 / 6)
    assert (trace.minimum, trace.maximum) == (0.0, 5.0)
    assert trace.rate(np.array([0.0, 1.9, 2.0, 5.0, 6.0, 13.0])).tolist() == [3, 3, 0, 5, 3, 3]
    assert trace.moved_bytes(1.0, 11.0) == 3 + 10 + 6 + 5
    assert trace.time_to_move(6.0, 0.0) == 2.0  # not 4: it does not wait the outage out
    assert trace.time_to_move(7.0, 0.0) == 4.2
    assert trace.time_to_move(16.0, 0.0) == 6.0
    assert trace.time_to_move(16.0 * 1000 + 1.5, 0.0) == 6000.5
    assert trace.time_to_move(1.0, 3.0) == 4.2
    assert trace.time_to_move(0.0, 3.0) == 3.0


def test_grids_that_floats_cannot_hold():
    trace = Trace(0.1, np.array([1.0, 2.0, 3.0, 4.0]))
    assert trace.rate(np.arange(4) * 0.1).tolist() == [1, 2, 3, 4]
    assert trace.rate(0.1 * 3) == 4


def test_a_trace_that_holds():
    trace = Trace(1.0, np.array([4.0, 2.0]), end="hold")
    assert trace.rate(np.array([0.5, 1.5, 99.0])).tolist() == [4, 2, 2]
    assert trace.time_to_move(16.0, 0.0) == 7.0
    assert trace.moved_bytes(1.0, 10.0) == 18.0
    assert trace.edges(0.0, 99.0).tolist() == [1.0]
    assert math.isinf(Trace(1.0, np.array([4.0, 0.0]), end="hold").time_to_move(5.0, 0.0))


@pytest.mark.parametrize(("step_s", "values", "rule"), [
    (1.0, [0.0, 0.0], "zero everywhere"), (1.0, [1.0, -1.0], "negative"), (1.0, [np.nan], "not finite"),
    (1.0, [], "one row"), (0.0, [1.0], "step_s = 0.0")])
def test_what_is_no_trace_is_refused(step_s, values, rule):
    with pytest.raises(TraceError, match=rule):
        Trace(step_s, np.array(values), source="x.csv")


def test_pickle_and_protection():
    trace = Trace(1.0, np.array([1.0, 2.0]), source="here")
    assert trace.mean == pickle.loads(pickle.dumps(trace)).mean
    with pytest.raises(ValueError, match="read-only"):
        trace.bytes_per_s[0] = 9.0


def clock_noise_bytes(trace, end_s):
    """What a time that is off by its last bits is worth in bytes."""
    return 1e-14 * trace.maximum * (1 + end_s)


@quick
@given(traces, sizes, sizes, times)
def test_additive_over_a_split(trace, first, second, start_s):
    whole = trace.time_to_move(first + second, start_s)
    assume(math.isfinite(whole))
    split = trace.time_to_move(second, trace.time_to_move(first, start_s))
    near = pytest.approx(first + second, rel=1e-9, abs=clock_noise_bytes(trace, split))
    assert trace.moved_bytes(start_s, split) == near
    assert trace.moved_bytes(start_s, whole) == near
    # Where the end falls on the edge of an outage, rounding may put the two on either side of it.
    gap = trace.moved_bytes(min(whole, split), max(whole, split))
    noise = 1e-9 * (first + second) + clock_noise_bytes(trace, split)
    assert split == pytest.approx(whole, rel=1e-9) or gap <= noise


@quick
@given(traces, sizes, sizes, times)
def test_monotone_in_bytes(trace, first, more, start_s):
    assert trace.time_to_move(first, start_s) <= trace.time_to_move(first + more, start_s)
    assert trace.time_to_move(first, start_s) >= start_s


@quick
@given(traces, sizes, times)
def test_inverse_of_moved_bytes(trace, nbytes, start_s):
    end_s = trace.time_to_move(nbytes, start_s)
    assume(math.isfinite(end_s))
    near = pytest.approx(nbytes, rel=1e-9, abs=clock_noise_bytes(trace, end_s))
    assert trace.moved_bytes(start_s, end_s) == near


@quick
@given(traces, st.floats(0, 40), st.floats(0, 40))
def test_moved_bytes_is_the_sum_over_its_steps(trace, start_s, span_s):
    end_s = start_s + span_s
    edges, by_step = Least([trace]).steps(start_s, end_s)
    assert trace.moved_bytes(start_s, end_s) == pytest.approx(np.diff(edges) @ by_step, rel=1e-9, abs=1e-6)


@quick
@given(st.lists(rates, min_size=2, max_size=3), st.floats(1e-3, 1e3), times)
def test_least_in_closed_form_and_step_by_step_agree(rows, periods, start_s):
    parts = [Trace(1.0, np.array([2.0, *row])) for row in rows]
    closed = least(parts)
    nbytes = periods * closed.mean
    end_s = closed.time_to_move(nbytes, start_s)
    stepped = Least(parts)
    assert stepped.time_to_move(nbytes, start_s) == pytest.approx(end_s, rel=1e-9)
    near = pytest.approx(nbytes, rel=1e-9, abs=clock_noise_bytes(closed, end_s))
    assert stepped.moved_bytes(start_s, end_s) == near


def test_least_of_different_grids():
    both = least([Trace(1.0, np.array([1.0, 3.0])), Trace(0.75, np.array([2.0, 1.0]))])
    assert isinstance(both, Least)
    assert both.edges(0.0, 2.1).tolist() == [0.75, 1.0, 1.5, 2.0]
    assert both.moved_bytes(0.0, 2.0) == 0.75 + 0.25 + 0.5 + 1.0
    assert both.time_to_move(2.0, 0.0) == 1.75


def test_least_that_never_carries_anything():
    with pytest.raises(TraceError, match="at every moment"):
        least([Trace(1.0, np.array([1.0, 0.0])), Trace(1.0, np.array([0.0, 1.0]))])
    stuck = least([Trace(1.0, np.array([1.0, 0.0]), end="hold"), constant(5.0)])
    assert math.isinf(stuck.time_to_move(1.5, 0.0))


pieces = st.lists(st.tuples(st.floats(0.1, 3), st.floats(0, 9)), min_size=1, max_size=8)


def pieced(drawn):
    lengths, values = np.array(drawn).T
    return np.concatenate([[0.0], np.cumsum(lengths)]), values


@quick
@given(pieces, st.floats(0.1, 4))
def test_resampling_conserves_bytes(drawn, step_s):
    edges_s, values = pieced(drawn)
    resampled = resample(values, edges_s, step_s)
    assert len(resampled) == steps_of(edges_s[-1], step_s)
    spans_s = np.diff(np.append(np.arange(len(resampled)) * step_s, edges_s[-1]))
    assert resampled @ spans_s == pytest.approx(values @ np.diff(edges_s), abs=1e-9)
    assert values.min() - 1e-9 <= resampled.min() <= resampled.max() <= values.max() + 1e-9


@quick
@given(pieces, st.floats(0.1, 4))
def test_what_repeats_plays_on_until_its_last_step_is_full(drawn, step_s):
    """Its bytes up to any moment are those of the rate that repeats; of what is shorter than a step, of its mean."""
    edges_s, values = pieced(drawn)
    on_s, rates = played_on(edges_s, values, step_s)
    assert on_s[-1] == pytest.approx(steps_of(edges_s[-1], step_s) * step_s)
    assert (len(rates), (np.diff(on_s) > 0).all()) == (len(on_s) - 1, True)
    passed = np.concatenate([[0.0], np.cumsum(values * np.diff(edges_s))])
    if edges_s[-1] < step_s:
        assert rates.tolist() == [pytest.approx(passed[-1] / edges_s[-1])]
        return
    whole, rest_s = np.divmod(on_s * (1 - 1e-12), edges_s[-1])
    wanted = whole * passed[-1] + np.interp(rest_s, edges_s, passed)
    found = np.concatenate([[0.0], np.cumsum(rates * np.diff(on_s))])
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)
