"""Many transfers in one go end when transfers started one by one would: to the bit, whoever disturbs whom."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.network.crowds import Crowds
from acesim.network.flows import Flows
from acesim.network.lanes import Lane
from acesim.network.routes import RouteTable
from acesim.network.traces import Trace, constant


def one_by_one(links, routes, rows, nbytes, start_s):
    """Start each transfer at its time; return when each ends."""
    flows, ends = Flows(links), {}
    starts = sorted(zip(start_s.tolist(), rows.tolist(), nbytes.tolist(), strict=True), reverse=True)
    while starts or len(flows):
        next_s = flows.next_finish()
        if starts and starts[-1][0] <= next_s:
            time_s, row, size = starts.pop()
            flows.start(row, size, routes[row], time_s)
        else:
            ends.update(dict.fromkeys(flows.advance(next_s), next_s))
    return np.array([ends[row] for row in rows.tolist()])


def town(rng, workers, regions, share):
    """Return links and routes of a tree whose regions carry a share of what their workers' links do."""
    links = [Trace(1.0, rng.integers(0, 20, 16) * 1.0 + (rng.random() < 0.5)) for _ in range(workers)]
    links += [constant(share * 10.0 * workers / regions * float(rng.uniform(0.5, 2))) for _ in range(regions)]
    links.append(constant(share * 10.0 * workers * float(rng.uniform(0.3, 3))))
    return links, [(worker, workers + worker % regions, workers + regions) for worker in range(workers)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 14), st.integers(1, 3), st.sampled_from([0.1, 0.3, 0.6, 1.0, 3.0]),
       st.sampled_from([0.0, 5.0, 100.0]))
def test_a_lane_is_transfers_one_by_one(seed, workers, regions, share, spread_s):
    rng = np.random.default_rng(seed)
    links, routes = town(rng, workers, regions, share)
    lane, now_s = Lane(links, routes), 0.0
    for _ in range(3):
        rows = np.sort(rng.choice(workers, rng.integers(1, workers + 1), replace=False))
        nbytes, start_s = rng.integers(0, 400, rows.size) * 1.0, now_s + spread_s * rng.random(rows.size).round(2)
        ends_s = lane.carry(rows, nbytes, start_s)
        np.testing.assert_array_equal(ends_s, one_by_one(links, routes, rows, nbytes, start_s))
        now_s = float(ends_s.max())
    np.testing.assert_allclose(lane.moved_bytes_per_link[-1], lane.moved_bytes_per_link[:workers].sum(), rtol=1e-9)


def test_links_off_the_grid_are_played_too():
    """One with a trace that ends, one on a grid of its own: nobody's end is known beforehand."""
    links = [Trace(1.0, np.array([3.0, 1.0]), "hold"), Trace(0.7, np.array([2.0, 5.0, 1.0])), constant(2.0)]
    rows, nbytes, start_s = np.arange(2), np.array([9.0, 7.0]), np.array([0.5, 0.0])
    routes = [(0, 2), (1, 2)]
    ends_s = Lane(links, routes).carry(rows, nbytes, start_s)
    np.testing.assert_array_equal(ends_s, one_by_one(links, routes, rows, nbytes, start_s))


def test_a_crowd_gathers_when_those_under_way_could_fill_a_link():
    """Three at 4 over a link of 10: two fit, the third is one too many unless the first has gone; nobody else cares."""
    table, routes = RouteTable([*[constant(4.0)] * 5, constant(10.0), constant(10.0)]), [(0, 5), (1, 5), (2, 5), (3, 6)]
    crowds = Crowds(table, [*routes, (4, 6)], [5, 6], np.ones(5, dtype=bool))
    rows, start_s = np.arange(4), np.array([0.0, 1.0, 2.0, 0.0])
    np.testing.assert_array_equal(crowds.gather_s(rows, start_s, np.array([9.0, 9, 9, 9])), [2, 2, 2, math.inf])
    np.testing.assert_array_equal(crowds.gather_s(rows, start_s, np.array([1.5, 9, 9, 9])), [math.inf] * 4)


@pytest.mark.parametrize("setting", ["off", "auto"])
def test_drained_flows_are_forgotten(setting):
    flows = Flows([constant(10.0), constant(8.0), constant(12.0)], setting)
    for key, size in enumerate((30.0, 8.0)):
        flows.start(key, size, (key, 2), 0.0)
    ended, alone = flows.drain()
    assert ended == [(1, pytest.approx(8 / 6))]
    assert [(flow.key, flow.left, flow.since_s) for flow in alone] == [(0, pytest.approx(22.0), pytest.approx(8 / 6))]
    assert len(flows) == 0
    np.testing.assert_array_equal(flows.moved_bytes_per_link, [30.0, 8.0, 38.0])
