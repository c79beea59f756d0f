"""A round that keeps its pace: who is slow sends coarsely, then all receive so, then messages are worth more steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support import play, small_setup, view

from acesim.policies import build
from acesim.scenario.errors import PolicyError
from acesim.schedules import Pace

WIDE = (1.0, np.full(2, 100.0)), (1.0, 100.0)


def seen(compute, up, down, latency=0.0):
    workers = len(compute)
    return view(workers, compute_s=np.array(compute), latency_s=np.full(workers, latency),
                bandwidth_bytes_per_s=np.array(up), down_bandwidth_bytes_per_s=np.array(down))


def test_fast_links_change_nothing():
    steps, up, down = Pace(0.5).paced(seen([10.0, 10.0], [1e3] * 2, [1e3] * 2), range(1, 5), *WIDE)
    assert (steps, up.tolist(), down) == (1, [100.0, 100.0], 100.0)


def test_a_slow_uplink_concerns_its_worker_alone():
    # room 5 s for both; the model takes .1 s to come, so that 4.9 s are left for 10 bytes/s
    steps, up, down = Pace(0.5).paced(seen([10.0, 10.0], [1e3, 10.0], [1e3] * 2), (1,), *WIDE)
    assert (steps, up.tolist(), down) == (1, [100.0, pytest.approx(49.0)], 100.0)


def test_a_fast_processor_makes_room_for_messages():
    # room 5 s and 14 s: the second can take its 100 bytes up at 10 bytes/s after 1 s of coming down
    _, up, _ = Pace(0.5).paced(seen([10.0, 1.0], [1e3, 10.0], [100.0] * 2), (1,), *WIDE)
    assert up.tolist() == [100.0, 100.0]


def test_a_slow_downlink_concerns_all_for_there_is_one_model():
    # half of 5 s at 10 bytes/s are 25 bytes for everybody; 2.5 s are left for the way up
    _, up, down = Pace(0.5).paced(seen([10.0, 10.0], [20.0, 1e3], [10.0, 1e3]), (1,), *WIDE)
    assert (up.tolist(), down) == ([50.0, 100.0], 25.0)


def test_where_the_coarsest_does_not_fit_messages_are_worth_more_steps():
    look = seen([10.0, 10.0], [1.0, 1e3], [1e3] * 2)
    fewest = (40.0, np.full(2, 100.0)), (1.0, 100.0)  # 40 bytes at 1 byte/s need 40 s of room: 5 s a step, .1 s down
    assert Pace(0.5).paced(look, range(1, 20), *fewest).steps == 9
    steps, up, _ = Pace(0.5).paced(look, range(1, 4), *fewest)
    assert (steps, up.tolist()) == (3, [40.0, 100.0])


def test_latency_counts_both_ways():
    _, up, _ = Pace(0.5).paced(seen([10.0, 10.0], [10.0, 1e3], [1e3] * 2, latency=1.0), (1,), *WIDE)
    assert up.tolist() == [pytest.approx(29.0), 100.0]


def test_what_nobody_has_measured_is_no_constraint():
    steps, up, down = Pace(0.1).paced(view(2), (1, 2), *WIDE)
    assert (steps, up.tolist(), down) == (1, [100.0, 100.0], 100.0)
    half = seen([10.0, np.nan], [np.nan, 1.0], [1.0, np.nan])
    assert Pace(0.5).paced(half, (1,), *WIDE).up.tolist() == [100.0, 100.0]


rates = st.floats(1e-3, 1e6)


fleets = st.lists(st.tuples(st.floats(0.1, 100), rates, rates), min_size=1, max_size=6)


@given(fleets, st.floats(0.01, 2), st.integers(1, 5))
def test_the_round_keeps_its_pace_unless_the_coarsest_is_too_much(workers, share, most):
    compute, up_rate, down_rate = (np.array(column) for column in zip(*workers, strict=True))
    wide = np.full(compute.size, 1e4)
    look = seen(compute, up_rate, down_rate)
    steps, up, down = Pace(share).paced(look, range(1, most + 1), (10.0, wide), (10.0, 1e4))
    assert ((up >= 10.0) & (up <= 1e4)).all()
    assert 10.0 <= down <= 1e4
    lasts = steps * compute + down / down_rate + np.where(up > 10.0, up / up_rate, 0.0)
    if down > 10.0:
        assert (lasts <= steps * (1 + share) * compute.max() * (1 + 1e-9)).all()
    if steps > 1:  # one step less would not have done
        fewer = (steps - 1) * ((1 + share) * compute.max() - compute)
        assert (0.5 * fewer < np.maximum(10.0 / up_rate, 10.0 / down_rate) * (1 + 1e-9)).any()


def test_a_slow_network_is_met_by_coarser_messages():
    """Closed loop: the same fleet behind links a thousandth as fast sends less and receives less."""
    def played(rate):
        access = {"kind": "constant", "downlink": rate, "uplink": rate, "rtt": "10 ms"}
        scenario = {"nominal": {"model": [{"name": "x", "shape": [10_000_000]}], "tokens_per_step": {"edge": 512}}}
        setup = small_setup("ace-sync-plus", {"tree": "star"}, cloud=0, access=access, **scenario)
        rows = [row for row in play(setup).events if row.round >= 6]
        return {kind: {row.values_bytes for row in rows if row.kind == kind} for kind in ("upload", "download")}
    fast, slow = played("10 Gbps"), played("5 Mbps")
    for kind in fast:
        assert max(slow[kind]) < min(fast[kind])


@pytest.mark.parametrize(("parameters", "rule"), [
    ({"pace": 0}, r"pace = 0: must be positive, or null for none"),
    ({"pace": -0.1}, r"pace = -0\.1: must be positive"),
    ({"pace": 0.2, "turns": 2}, r"pace = 0\.2, turns = 2: exclude each other"),
])
def test_nonsense_is_refused(parameters, rule):
    with pytest.raises(PolicyError, match=rule):
        build("ace-sync", small_setup().info, parameters)
