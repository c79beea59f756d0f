"""Max-min shares: by hand, and against the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.network.filling import max_min, water_level


def test_by_hand():
    # a line of two links: a long flow crosses both, each link has one flow of its own
    caps = np.full((3, 2), 100.0)
    shares = max_min(caps, np.array([[10.0, 4.0], [6.0, 100.0]]), [np.array([0, 1]), np.array([0, 2])])
    assert shares.tolist() == [[3, 2], [7, 2], [3, 98]]


def test_water_level_of_ties_zeros_and_plenty():
    caps = np.array([[2.0, 0.0, 5.0, 1.0], [2.0, 4.0, 5.0, 1.0]])
    assert water_level(caps, np.array([4.0, 3.0, 0.0, 1.0])).tolist() == [np.inf, 3.0, 0.0, 0.5]


numbers = st.sampled_from([0.0, 1.0, 2.0, 3.5, 8.0, 1e7])


def test_weights_by_hand():
    # twice the weight, twice the rate; who is capped leaves the rest to the others in proportion
    caps, link = np.array([[100.0, 3.0], [100.0, 100.0], [100.0, 100.0]]), np.array([[12.0, 12.0]])
    shares = max_min(caps, link, [np.arange(3)], np.array([3.0, 1.0, 2.0]))
    assert shares.tolist() == [[6, 3], [2, 3], [4, 6]]


weights = st.sampled_from([0.1, 1.0, 1.0, 2.0, 3.7, 1e4])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_weighted_level_fills_the_link(data):
    """The closed form, held against raising the level until the link is full."""
    row = st.lists(numbers, min_size=2, max_size=2)
    caps = np.array(data.draw(st.lists(row, min_size=1, max_size=6)))
    capacity = np.array(data.draw(row))
    share = np.array(data.draw(st.lists(weights, min_size=len(caps), max_size=len(caps))))
    level = water_level(caps, capacity, share)
    taken = np.minimum(caps, share[:, None] * level).sum(axis=0)
    full = taken >= capacity * (1 - 1e-9)
    assert (taken <= capacity * (1 + 1e-9) + 1e-12).all()
    assert (full | (np.isinf(level) & (taken == caps.sum(axis=0)))).all()
    generic = max_min(caps, np.array([capacity, capacity * 9 + 1]), [np.arange(len(caps)), np.array([0])], share)
    assert np.minimum(caps, share[:, None] * level) == pytest.approx(generic, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equal_weights_change_nothing(data):
    row = st.lists(numbers, min_size=1, max_size=1)
    caps = np.array(data.draw(st.lists(row, min_size=2, max_size=5)))
    link, rows = np.array([data.draw(row)]), [np.arange(len(caps))]
    assert max_min(caps, link, rows, np.full(len(caps), 2.5)) == pytest.approx(max_min(caps, link, rows), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.booleans())
def test_definition(data, weighted):
    """No link over capacity; every flow has a bottleneck: its cap, or a full link where nobody gets more a weight."""
    flows, links, steps = (data.draw(st.integers(1, most)) for most in (6, 4, 3))
    row = st.lists(numbers, min_size=steps, max_size=steps)
    caps = np.array(data.draw(st.lists(row, min_size=flows, max_size=flows)))
    capacities = np.array(data.draw(st.lists(row, min_size=links, max_size=links)))
    members = [np.array(sorted(data.draw(st.sets(st.integers(0, flows - 1), min_size=1))))
               for _ in range(links)]
    weight = np.array(data.draw(st.lists(weights, min_size=flows, max_size=flows))) if weighted else np.ones(flows)
    shares = max_min(caps, capacities, members, weight if weighted else None)
    levels = shares / weight[:, None]
    near = 1e-9 * (1 + capacities)
    loads = np.array([shares[rows].sum(axis=0) for rows in members])
    assert (loads <= capacities + near).all()
    assert (shares <= caps).all()
    for flow in range(flows):
        on = [link for link, rows in enumerate(members) if flow in rows]
        held = shares[flow] >= caps[flow] - 1e-9 * caps[flow]
        for link in on:
            full = loads[link] >= capacities[link] - near[link]
            held |= full & (levels[flow] >= levels[members[link]].max(axis=0) * (1 - 1e-9) - 1e-9)
        assert held.all()
