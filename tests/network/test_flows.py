"""Flows: timelines by hand, an independent simulator, and laws."""

import math
import pickle
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acesim.network.flows import Flows
from acesim.network.traces import Least, Trace, constant, least
from acesim.scenario.errors import TraceError


def play(flows, starts, weights=None):
    """Start (time, key, nbytes, route) in order of time, run to the end, return {key: finish}."""
    finish, waiting = {}, sorted(starts)
    while waiting or len(flows):
        end_s = flows.next_finish()
        if waiting and waiting[0][0] <= end_s:
            time_s, key, nbytes, route = waiting.pop(0)
            flows.start(key, nbytes, route, time_s, weight=(weights or {}).get(key, 1.0))
        else:
            finish |= dict.fromkeys(flows.advance(end_s), end_s)
    return finish


# -------------------------------------------------------------------------------------------- by hand


def test_timeline_of_a_shared_link():
    flows = Flows([constant(10.0)])
    assert play(flows, [(0.0, 0, 10.0, (0,)), (0.5, 1, 10.0, (0,))]) == {0: 1.5, 1: 2.0}
    assert flows.moved_bytes_per_link.tolist() == [20.0]


def test_a_slow_flow_leaves_room_and_an_outage_stops_all():
    flows = Flows([Trace(1.0, np.array([10.0, 0.0])), constant(2.0)])
    assert play(flows, [(0.0, 0, 16.0, (0,)), (0.0, 1, 2.0, (1, 0))]) == {1: 1.0, 0: 2.8}


def test_weights_share_a_link_in_proportion():
    """3 : 1 until the heavy one is through at 2 s with 15 of its bytes; then the other has all."""
    flows = Flows([constant(10.0)])
    assert play(flows, [(0.0, 0, 15.0, (0,)), (0.0, 1, 10.0, (0,))], {0: 3.0}) == {0: 2.0, 1: 2.5}


def test_simultaneous_ends_come_in_order_of_key():
    flows = Flows([constant(4.0), constant(2.0)])
    for key in (7, 3, 5):
        flows.start(key, 2.0, (0,), 0.0)
    flows.start(4, 3.0, (1,), 0.0)
    assert flows.advance(1.5) == [3, 4, 5, 7]
    assert flows.next_finish() == math.inf
    assert flows.clock_s == 1.5


def test_cancel_gives_back_the_share():
    flows = Flows([constant(10.0)])
    flows.start(0, 100.0, (0,), 0.0)
    flows.start(1, 100.0, (0,), 0.0)
    assert (flows.rate(0), flows.remaining(1)) == (5.0, 100.0)
    assert flows.cancel(1, 4.0) == 20.0
    assert (flows.rate(0), flows.next_finish()) == (10.0, 12.0)
    assert flows.moved_bytes_per_link.tolist() == [40.0]
    assert flows.advance(12.0) == [0]
    assert flows.moved_bytes_per_link.tolist() == [120.0]


def test_a_transfer_of_nothing_ends_at_once():
    flows = Flows([constant(10.0)])
    flows.start(0, 0.0, (0,), 3.0)
    flows.start(1, 5.0, (0,), 3.0)
    assert flows.next_finish() == 3.0
    assert flows.advance(3.0) == [0]


def test_a_barrier_costs_one_solution_and_an_uncoupled_flow_one_event():
    flows = Flows([constant(1.0), constant(1.0), constant(100.0)])
    for key in range(40):
        flows.start(key, 10.0 + key, (key % 2, 2), 0.0)
    flows.next_finish()
    assert flows._coupling.groups == 2  # one for each full link; the wide one couples nobody
    days = Flows([Trace(1.0, np.array([1.0, 2.0]))])
    days.start(0, 1.5 * 86400 * 365, (0,), 0.0)
    assert days.next_finish() == 86400 * 365


def test_the_region_bounds_what_comes_over_it():
    """Ten fast lines behind one region cannot fill an ingress as wide as four regions."""
    lines = [constant(10.0) for _ in range(10)]
    flows = Flows([*lines, constant(20.0), constant(50.0)])
    for key in range(10):
        flows.start(key, 10.0, (key, 10, 11), 0.0)
    flows.next_finish()
    assert flows._coupling.loads.binds[10:] == [True, False]


@pytest.mark.parametrize("capacities", [(1.0, 1.0), (1.0, 1.0, 1.0), (1.5, 1.0, 1.5)])
def test_links_are_not_dismissed_because_of_each_other(capacities):
    flows = Flows([constant(capacity) for capacity in capacities])
    route = tuple(range(len(capacities)))
    assert play(flows, [(0.0, 0, 1.0, route), (0.0, 1, 1.0, route)]) == {0: 2.0, 1: 2.0}


def test_misuse_is_refused():
    flows = Flows([constant(1.0), constant(1.0)])
    flows.start(0, 1.0, (0,), 5.0)
    with pytest.raises(ValueError, match="flow 0 is under way"):
        flows.start(0, 1.0, (1,), 5.0)
    with pytest.raises(ValueError, match="never runs back"):
        flows.start(1, 1.0, (0,), 4.0)
    with pytest.raises(ValueError, match="never runs back"):
        flows.advance(4.0)
    with pytest.raises(ValueError, match="advance first"):
        flows.start(1, 1.0, (0,), 6.5)
    with pytest.raises(ValueError, match=">= 0"):
        flows.start(1, -1.0, (0,), 5.0)
    with pytest.raises(ValueError, match="weight 0"):
        flows.start(1, 1.0, (0,), 5.0, weight=0.0)
    for route in ((), (2,), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="none twice"):
            flows.start(1, 1.0, route, 5.0)
    assert flows.advance(6.0) == [0]


def test_traces_that_end():
    finite = Trace(1.0, np.array([1.0, 1.0]), end="error", source="tram.csv")
    flows = Flows([finite])
    flows.start(0, 2.0, (0,), 0.0)
    assert flows.advance(9.0) == [0]  # in time, and an idle link may outlive its trace
    flows = Flows([finite])
    flows.start(0, 3.0, (0,), 0.0)
    with pytest.raises(TraceError, match=r"tram\.csv: ends after 2 s"):
        flows.advance(9.0)
    flows = Flows([Trace(1.0, np.array([1.0, 0.0]), end="hold")])
    flows.start(0, 0.75, (0,), 0.0)
    flows.start(1, 0.75, (0,), 0.0)
    with pytest.raises(TraceError, match="nothing moves any more"):
        flows.next_finish()
    with pytest.raises(TraceError, match="at every moment"):
        Flows([Trace(1.0, np.array([1.0, 0.0])), Trace(1.0, np.array([0.0, 1.0]))]).start(0, 1.0, (0, 1), 0.0)


@pytest.mark.parametrize("late_s", [0.0, 1e7, 1e9])
def test_late_in_a_long_run_the_clock_is_coarse_but_bytes_balance(late_s):
    """At 10^9 s the clock ticks in steps of 10^-7 s: 120 bytes at this rate, more than a small message."""
    flows = Flows([constant(1.25e9), constant(1e9), Trace(1.0, np.array([1e8, 0.0, 2e8]))])
    starts = [(late_s + number / 8, number, 64.0 + 1e8 * (number % 3), ((0,), (0, 1), (2, 0))[number % 3])
              for number in range(60)]
    finish = play(flows, starts)
    assert len(finish) == 60
    assert flows.moved_bytes_per_link.tolist() == [60 * 64 + 20 * 3e8, 20 * 64 + 20 * 1e8, 20 * 64 + 20 * 2e8]
    early = play(Flows(flows._table.links), [(time_s - late_s, *rest) for time_s, *rest in starts])
    if late_s % 3 == 0:  # the same phase of the trace
        assert {key: end_s - late_s for key, end_s in finish.items()} == pytest.approx(early, abs=1e-5)


# -------------------------------------------------------------------------------------------- random worlds

levels = st.sampled_from([0.0, 1.0, 2.0, 3.0, 10.0])
rows = st.lists(levels, min_size=1, max_size=5).filter(any)


@st.composite
def worlds(draw, steps=(1.0,)):
    """Draw (links, starts): a few links on the same or on different grids, and transfers over them."""
    links = [Trace(draw(st.sampled_from(steps)), np.array(draw(rows)))
             for _ in range(draw(st.integers(1, 4)))]
    starts = []
    for key in range(draw(st.integers(1, 7))):
        route = tuple(draw(st.permutations(range(len(links))))[: draw(st.integers(1, len(links)))])
        starts.append((draw(st.sampled_from([0.0, 0.0, 0.3, 1.0, 2.25, 7.0])), key,
                       draw(st.sampled_from([0.0, 1.0, 4.0, 9.7, 30.0])), route))
    for _, _, _, route in starts:
        assume(math.isfinite(Least([links[link] for link in route]).time_to_move(1.0, 0.0))
               if len({trace.step_s for trace in links}) > 1 else carries(links, route))
    return links, starts


def carries(links, route):
    try:
        least([links[link] for link in route])
    except TraceError:
        return False
    return True


def textbook(capacity, routes, weights=None):
    """Max-min by raising all levels together: {flow: rate} for {link: capacity} and {flow: route}."""
    weights = weights or dict.fromkeys(routes, 1.0)
    rates, room, growing = dict.fromkeys(routes, 0.0), dict(capacity), set(routes)
    while growing:
        users = {link: [flow for flow in growing if link in routes[flow]] for link in room}
        rises = {link: room[link] / sum(weights[flow] for flow in users[link]) for link in room if users[link]}
        link = min(rises, key=rises.get)
        for flow in growing:
            rates[flow] += rises[link] * weights[flow]
            for crossed in routes[flow]:
                room[crossed] -= rises[link] * weights[flow]
        growing -= {flow for flow in growing if any(room[crossed] <= 1e-12 * capacity[crossed] for crossed in
                                                    routes[flow])} | set(users[link])
    return rates


def step_by_step(links, starts, weights=None):
    """An independent simulator: goes from one change of anything to the next."""
    waiting, left, routes, finish, now = sorted(starts), {}, {}, {}, 0.0
    while waiting or left:
        while waiting and waiting[0][0] <= now:
            _, key, left_now, route = waiting.pop(0)
            left[key], routes[key] = left_now, route
        middle = now + 1e-7
        rates = textbook({link: float(trace.rate(middle)) for link, trace in enumerate(links)}, routes,
                         weights and {key: weights[key] for key in routes})
        ahead = [(math.floor(middle / trace.step_s + 1e-9) + 1) * trace.step_s for trace in links]
        ahead += [waiting[0][0]] if waiting else []
        ahead += [now + left[key] / rates[key] for key in left if rates[key]]
        ahead += [now] if not all(left.values()) else []
        after = max(now, min(ahead))
        left = {key: left[key] - rates[key] * (after - now) for key in left}
        now = after
        for key in [key for key in left if left[key] <= 1e-9]:
            finish[key] = now
            del left[key], routes[key]
    return finish


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_against_an_independent_simulator(world):
    links, starts = world
    flows = Flows(links)
    finish = play(flows, starts)
    assert finish == pytest.approx(step_by_step(links, starts), rel=1e-9)
    carried = np.zeros(len(links))
    for _, _, nbytes, route in starts:
        carried[list(route)] += nbytes
    assert flows.moved_bytes_per_link == pytest.approx(carried, rel=1e-9, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(worlds(), st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=7, max_size=7))
def test_weights_against_an_independent_simulator(world, drawn):
    links, starts = world
    weights = dict(enumerate(drawn))
    finish = play(Flows(links), starts, weights)
    assert finish == pytest.approx(step_by_step(links, starts, weights), rel=1e-9)
    assert play(Flows([OffGrid([link]) for link in links]), starts, weights) == pytest.approx(finish, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(worlds(steps=(0.5, 1.0, 0.7)))
def test_different_grids_against_an_independent_simulator(world):
    links, starts = world
    assert play(Flows(links), starts) == pytest.approx(step_by_step(links, starts), rel=1e-9)


class OffGrid(Least):
    """A trace in disguise, so that only the generic way is left."""


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_closed_form_and_generic_solver_agree(world):
    links, starts = world
    expected = play(Flows(links), starts)
    assert play(Flows([OffGrid([link]) for link in links]), starts) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 40))
def test_rates_are_max_min_at_every_moment(world, tenths):
    links, starts = world
    flows, time_s = Flows(links), tenths / 10 + 0.05
    routes = {}
    for start_s, key, nbytes, route in sorted(starts):
        if start_s < time_s:
            flows.advance(start_s)
            flows.start(key, nbytes, route, start_s)
            routes[key] = route
    for key in flows.advance(time_s) or ():
        del routes[key]
    routes = {key: route for key, route in routes.items() if key in flows._flows}
    capacity = {link: float(trace.rate(time_s)) for link, trace in enumerate(links)}
    rates = {key: flows.rate(key) for key in routes}
    assert rates == pytest.approx(textbook(capacity, routes), rel=1e-9, abs=1e-9)
    for link, room in capacity.items():
        assert sum(rates[key] for key in routes if link in routes[key]) <= room * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_order_of_simultaneous_arrivals_is_irrelevant(world, shuffler: random.Random):
    links, starts = world
    starts = [(0.0, *rest) for _, *rest in starts]
    first, second = Flows(links), Flows(links)
    for flows, order in ((first, starts), (second, shuffler.sample(starts, len(starts)))):
        for _, key, nbytes, route in order:
            flows.start(key, nbytes, route, 0.0)
    assert play(first, []) == play(second, [])


@settings(max_examples=40, deadline=None)
@given(worlds(), st.floats(0, 6))
def test_looking_pausing_and_pickling_change_nothing(world, pause_s):
    """next_finish depends on the present flows alone; what is taken up again ends bit for bit as before."""
    links, starts = world
    starts = [(0.0, *rest) for _, *rest in starts]
    whole, halted = Flows(links), Flows(links)
    for _, key, nbytes, route in starts:
        whole.start(key, nbytes, route, 0.0)
        halted.start(key, nbytes, route, 0.0)
        halted.next_finish()
    early, end_s = {}, halted.next_finish()
    while end_s <= pause_s:
        early |= dict.fromkeys(halted.advance(end_s), end_s)
        end_s = halted.next_finish()
    halted.advance(pause_s)
    left = sum(halted.remaining(key) for key in halted._flows)
    resumed = pickle.loads(pickle.dumps(halted))
    assert sum(resumed.remaining(key) for key in resumed._flows) == left
    assert early | play(resumed, []) == early | play(halted, []) == play(whole, [])
    assert (resumed.moved_bytes_per_link == halted.moved_bytes_per_link).all()


@settings(max_examples=40, deadline=None)
@given(worlds(), st.floats(0, 10))
def test_bytes_are_conserved_on_the_way(world, time_s):
    links, starts = world
    flows, carried = Flows(links), np.zeros(len(links))
    for start_s, key, nbytes, route in sorted(starts):
        if start_s <= time_s:
            flows.advance(start_s)
            flows.start(key, nbytes, route, start_s)
            carried[list(route)] += nbytes
    flows.advance(time_s)
    under_way = np.zeros(len(links))
    for _, key, _, route in starts:
        if key in flows._flows:
            under_way[list(route)] += flows.remaining(key)
    assert flows.moved_bytes_per_link + under_way == pytest.approx(carried, rel=1e-9, abs=1e-9)
    for link, trace in enumerate(links):
        assert flows.moved_bytes_per_link[link] <= trace.moved_bytes(0.0, time_s) * (1 + 1e-9) + 1e-9


@settings(max_examples=40, deadline=None)
@given(worlds(), st.floats(1.0, 3.0))
def test_more_bytes_never_end_sooner_alone(world, factor):
    links, starts = world
    _, key, nbytes, route = starts[0]
    ends = [play(Flows(links), [(0.0, key, size, route)])[key] for size in (nbytes, nbytes * factor)]
    assert ends[0] <= ends[1]
