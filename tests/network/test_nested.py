"""Groups over nested links: whole periods, arrivals and departures one by one, and what they are worth."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.network.flows import Flows
from acesim.network.nested import Nested
from acesim.network.nesting import fill, heights
from acesim.network.traces import Trace, constant

RATES = st.sampled_from([0.0, 1.0, 2.0, 3.5, 8.0])


def progressive(caps, capacities, places):
    """Max-min by definition: raise all rates together, stop a flow at its cap or where a link of its is full."""
    rates, open_flows = [0.0] * len(caps), {flow for flow, cap in enumerate(caps) if cap > 0}
    links = {(height, link): [flow for flow, at in enumerate(place) if at == link]
             for height, place in enumerate(places) for link in range(len(capacities[height]))}
    while open_flows:
        rise = min(caps[flow] - rates[flow] for flow in open_flows)
        for (height, link), flows in links.items():
            growing = [flow for flow in flows if flow in open_flows]
            if growing:
                rise = min(rise, (capacities[height][link] - sum(rates[flow] for flow in flows)) / len(growing))
        for flow in open_flows:
            rates[flow] += max(rise, 0.0)
        full = {flow for (height, link), flows in links.items() for flow in flows
                if sum(rates[each] for each in flows) >= capacities[height][link] * (1 - 1e-12) - 1e-12}
        open_flows -= full | {flow for flow in open_flows if rates[flow] >= caps[flow] * (1 - 1e-12)}
    return rates


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_tree_is_filled_as_by_definition(data):
    flows, regions = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3))
    caps = data.draw(st.lists(RATES, min_size=flows, max_size=flows))
    places = [data.draw(st.lists(st.integers(0, regions), min_size=flows, max_size=flows)), [0] * flows]
    capacities = [data.draw(st.lists(RATES, min_size=regions, max_size=regions)), [data.draw(RATES)]]
    rates = fill(np.array([caps]), [np.array([each]) for each in capacities], [np.array(place) for place in places],
                 None)
    assert rates[0].tolist() == pytest.approx(progressive(caps, capacities, places), rel=1e-9, abs=1e-9)


def test_nesting():
    assert heights([(1, 2, 3), (3, 2, 1)]) == {1: (0, 2), 2: (1, 3), 3: (2, -1)}
    assert heights([(0, 9), (1, 9), (9,)]) == {0: (0, 9), 9: (1, -1), 1: (0, 9)}
    assert heights([(0, 9), (1, 9), (0, 8), (1, 8)]) is None


def group_of(flows, key):
    group = flows._flows[key].group
    assert isinstance(group, Nested)
    return group


def test_whole_periods_are_skipped_by_division():
    """Two flows over a link of 4 and 2 bytes/s in turn, for a year: 3 bytes/s in the mean, half of it each."""
    year_s = 365 * 86_400
    flows = Flows([Trace(1.0, np.array([4.0, 2.0])), constant(100.0)], "off")
    flows.start(0, 1.5 * year_s, (0, 1), 0.0)
    flows.start(1, 3.0 * year_s, (1, 0), 0.0)
    assert flows.next_finish() == year_s
    assert sum(len(block.rates) for block in group_of(flows, 0)._blocks) < 20
    flows.advance(1000.5)  # amid what was skipped
    assert (flows.remaining(0), flows.remaining(1)) == (1.5 * year_s - 1501, 3.0 * year_s - 1501)
    assert (flows.rate(0), flows.rate(1)) == (2.0, 2.0)
    assert flows.advance(float(year_s)) == [0]
    assert flows.next_finish() == 1.5 * year_s


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.5, 8.0]), min_size=7, max_size=7).filter(any), st.floats(0, 20),
       st.lists(st.floats(1.0, 600.0), min_size=2, max_size=5), st.sampled_from(["off", "on"]))
def test_skipping_equals_stepping(rates, start_s, sizes, accelerator):
    """The same rates spelt out for a period 60 times as long leave nothing to skip."""
    accelerator = accelerator if _numba() else "off"
    ends = []
    for times in (1, 60):
        links = [Trace(1.0, np.tile(rates, times)), *(Trace(1.0, np.tile(np.roll(rates, 3) + 0.5, times))
                                                      for _ in sizes)]
        flows = Flows(links, accelerator)
        flows.start_many(range(len(sizes)), sizes, [(1 + key, 0) for key in range(len(sizes))], start_s)
        found = {}
        while (end_s := flows.next_finish()) < math.inf:
            found |= dict.fromkeys(flows.advance(end_s), end_s)
        ends.append(found)
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)


def _numba():
    import importlib.util
    return importlib.util.find_spec("numba") is not None


def test_a_group_lives_on_through_arrivals_and_departures():
    """Twenty flows come and go; one group is formed, and all is solved once a change."""
    flows = Flows([constant(10.0), *(Trace(1.0, np.array([3.0, 5.0])) for _ in range(20))], "off")
    for key in range(10):
        flows.start(key, 100.0 + key, (1 + key, 0), 0.0)
    for key in range(10):
        end_s = flows.next_finish()
        assert flows.advance(end_s) == [key]
        flows.start(10 + key, 500.0, (11 + key, 0), end_s)
    assert flows.next_finish() < math.inf
    assert flows._coupling.groups == 1
    assert flows._coupling.solved == 11 * 10
    assert list(group_of(flows, 19).keys) == list(range(10, 20))


def test_keys_in_any_order_give_the_same():
    """Who joins a group with a smaller key than others is put into its place."""
    def played(keys):
        flows = Flows([constant(3.0), *(constant(2.0) for _ in keys)])
        for number, key in enumerate(keys):
            flows.advance(0.25 * number)
            flows.start(key, 7.0, (1 + number, 0), 0.25 * number)
        ends = []
        while (end_s := flows.next_finish()) < math.inf:
            ends += [(keys.index(key), end_s) for key in flows.advance(end_s)]
        return ends
    assert dict(played([5, 3, 4, 1])) == pytest.approx(dict(played([1, 2, 3, 4])))


def test_a_group_is_pickled_amid_its_life_whoever_solved_it():
    flows = Flows([constant(3.0), *(Trace(1.0, np.array([2.0, 1.0, 4.0])) for _ in range(3))],
                  "on" if _numba() else "off")
    flows.start_many([0, 1, 2], [7.0, 9.0, 11.0], [(1, 0), (2, 0), (3, 0)], 0.0)
    flows.next_finish()
    flows.advance(1.5)
    copy = pickle.loads(pickle.dumps(flows))
    assert [copy.remaining(key) for key in range(3)] == [flows.remaining(key) for key in range(3)]
    assert copy.rate(1) == flows.rate(1)
    while (end_s := flows.next_finish()) < math.inf:
        assert copy.next_finish() == end_s
        assert copy.advance(end_s) == flows.advance(end_s)


@pytest.mark.parametrize(("own", "goes_on"), [((4.0, 4.0, 4.0), True), ((9.0, 1.0, 1.0), False)])
def test_a_link_that_stops_binding_lets_its_flows_go_unless_they_still_want_much_of_it(own, goes_on):
    flows = Flows([constant(10.0), *map(constant, own)])
    flows.start_many([0, 1, 2], [10.0, 40.0, 40.0], [(1, 0), (2, 0), (3, 0)], 0.0)
    flows.next_finish()
    assert flows.binding == {0}
    flows.advance(3.0)
    assert flows.next_finish() == (10.5 if goes_on else 40.0)  # 10 bytes by 3 s and 30 more at 4 a second; all at 1
    assert flows.binding == ({0} if goes_on else set())
    assert (flows._flows[1].group is None) == (not goes_on)
    assert flows.rate(1) == own[1]


def test_links_of_all_kinds_are_recounted_when_routes_come():
    """A link is own, then shared, and a wide one free until enough can come over it."""
    flows = Flows([constant(2.0), constant(2.0), constant(2.0), constant(5.0)])
    flows.start(0, 10.0, (0, 3), 0.0)
    flows.start(1, 10.0, (1, 3), 0.0)
    assert flows._coupling.loads._kind(3) == "free"
    flows.start(2, 10.0, (2, 3), 0.0)
    assert flows._coupling.loads._kind(3) == "shared"
    assert sorted(flows._coupling.loads.members[3]) == [0, 1, 2]
    assert flows.next_finish() == 6.0
    flows.start(3, 1.0, (0,), 0.0)
    assert flows._coupling.loads._kind(0) == "shared"
    assert flows.next_finish() == 1.0
    assert flows.advance(6.5) == [3, 1, 2, 0]
    assert not any(flows._coupling.loads.members)
    assert flows.moved_bytes_per_link.tolist() == [11.0, 10.0, 10.0, 30.0]
