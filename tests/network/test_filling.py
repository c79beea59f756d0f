"""Max-min shares: by hand, and against the definition."""

import numpy as np
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


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_definition(data):
    """No link over capacity; every flow has a bottleneck: its cap, or a full link where nobody gets more."""
    flows, links, steps = (data.draw(st.integers(1, most)) for most in (6, 4, 3))
    row = st.lists(numbers, min_size=steps, max_size=steps)
    caps = np.array(data.draw(st.lists(row, min_size=flows, max_size=flows)))
    capacities = np.array(data.draw(st.lists(row, min_size=links, max_size=links)))
    members = [np.array(sorted(data.draw(st.sets(st.integers(0, flows - 1), min_size=1))))
               for _ in range(links)]
    shares = max_min(caps, capacities, members)
    near = 1e-9 * (1 + capacities)
    loads = np.array([shares[rows].sum(axis=0) for rows in members])
    assert (loads <= capacities + near).all()
    assert (shares <= caps).all()
    for flow in range(flows):
        on = [link for link, rows in enumerate(members) if flow in rows]
        held = shares[flow] >= caps[flow] - 1e-9 * caps[flow]
        for link in on:
            full = loads[link] >= capacities[link] - near[link]
            held |= full & (shares[flow] >= shares[members[link]].max(axis=0) * (1 - 1e-9) - 1e-9)
        assert held.all()
