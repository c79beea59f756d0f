"""Max-min fair shares over links that are nested in each other or apart, as in a tree: arithmetic on [steps, flows].

Sums go over flows in their order, one after the other, and nothing else in a step depends on other steps: so the
compiled twin in `accelerated` gives the same bits, and so does any cut of time into blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]
Numbers = NDArray[np.int64]


def heights(chains: Sequence[tuple[int, ...]]) -> dict[int, tuple[int, int]] | None:
    """Return {link: (height, link around it or -1)} of links that flows share; None if they are not nested.

    chains   for each flow its links
    Links are nested where any two have no flow in common, or all flows of one are on the other.

    >>> heights([(5, 9), (5, 9), (9,), (7,)])
    {5: (0, 9), 9: (1, -1), 7: (0, -1)}
    >>> heights([(1, 2), (1,), (2,)]) is None
    True
    """
    different = Counter(chains)
    if len(different) == 1 and len(chains[0]) == 1:  # most groups share one link
        return {chains[0][0]: (0, -1)}
    users: dict[int, int] = {}
    for chain, flows in different.items():
        for link in chain:
            users[link] = users.get(link, 0) + flows
    around: dict[int, int] = {}
    for chain in different:
        inside_out = sorted(chain, key=lambda link: (users[link], link))
        for link, outer in zip(inside_out, [*inside_out[1:], -1], strict=True):
            if around.setdefault(link, outer) != outer:
                return None
    height = dict.fromkeys(around, 0)
    for link in sorted(around, key=lambda link: (users[link], link)):
        if around[link] >= 0:
            height[around[link]] = max(height[around[link]], height[link] + 1)
    return {link: (height[link], around[link]) for link in around}


def fill(caps: Rates, capacities: Sequence[Rates], places: Sequence[Numbers | None], weights: Rates | None) -> Rates:
    """Return max-min fair rates, [steps, flows].

    caps         float64 [S, F], what each flow could take if it were alone
    capacities   for each height, from the innermost links on, float64 [S, links]
    places       for each height int [F], the number of each flow's link, or the number of links where it has none;
                 None: all flows are on the only link
    weights      float64 [F] > 0; None: all 1

    Filling the innermost links first and letting what their flows get there be their caps further out is exact:
    a flow held by an inner level is highest on a link that stays full, one held by an outer level likewise.

    >>> fill(np.array([[9., 9., 9.]]), [np.array([[4.]]), np.array([[10.]])], [np.array([0, 0, 1]), None], None)
    array([[2., 2., 6.]])
    """
    for capacity, place in zip(capacities, places, strict=True):
        caps = _fill_links(caps, capacity, place, weights)
    return caps


def _fill_links(caps: Rates, capacity: Rates, place: Numbers | None, weights: Rates | None) -> Rates:
    """Return caps cut down to the levels of links that have no flow in common."""
    if place is None and weights is None:
        return _fill_one_link(caps, capacity[:, 0])
    links = capacity.shape[1]
    tight = _sums(caps, place, links) > capacity
    steps = (tight.ravel() if links == 1 else np.logical_or.reduce(tight, axis=1)).nonzero()[0]
    if not len(steps):
        return caps
    whole = len(steps) == len(caps)
    within = caps if whole else caps[steps]
    level = _levels(within, capacity if whole else capacity[steps], tight if whole else tight[steps], place, weights)
    bound = np.minimum(within, _spread(level, place, weights))
    if whole:
        return bound
    caps[steps] = bound
    return caps


def _levels(caps: Rates, capacity: Rates, tight: NDArray[np.bool_], place: Numbers | None,
            weights: Rates | None) -> Rates:
    """Return the level [S, links] up to which the flows of each link are filled; inf where a link is not tight.

    level = (capacity - sum of the caps below it) / (weight of the flows above it), raised from the level of equal
    shares until no further cap falls below: Newton's method on a function that bends once a flow.  Levels only rise, so
    that as many caps below them as before are the same ones.
    """
    links = capacity.shape[1]
    shares = np.ones(caps.shape[1]) if weights is None else weights
    total = _sums(shares[None], place, links)
    level = capacity / np.where(total > 0.0, total, 1.0)
    if links > 1:
        level = np.where(tight, level, np.inf)
    known = 0
    while (found := int(np.count_nonzero(below := caps < _spread(level, place, weights)))) > known:
        known = found
        rest = _sums(np.where(below, 0.0, shares), place, links)
        spare = capacity - _sums(caps * below, place, links)
        level = np.maximum(level, spare / np.where(rest > 0.0, rest, 1.0))
    return level


def _fill_one_link(caps: Rates, capacity: Rates) -> Rates:
    """Return caps [S, F] cut down to the levels of a single link [S] that all flows share alike.

    Flow by flow: numpy adds whole rows that lie side by side one after the other, so the sums are those of `_sums`.
    """
    by_flow = np.ascontiguousarray(caps.T)
    steps = (_total(by_flow) > capacity).nonzero()[0]
    if not len(steps):
        return caps
    whole = len(steps) == len(caps)
    if not whole:
        by_flow, capacity = by_flow.take(steps, axis=1), capacity[steps]
    bound = np.minimum(by_flow, _level(by_flow, capacity)).T
    if whole:
        return np.ascontiguousarray(bound)
    caps[steps] = bound
    return caps


def _level(by_flow: Rates, capacity: Rates) -> Rates:
    """Return `_levels` [S] of a single link that all flows [F, S] share alike and fill in every step."""
    flows = len(by_flow)
    level: Rates = capacity / flows
    known = 0
    while (found := int(np.count_nonzero(below := by_flow < level))) > known:
        known = found
        rest: Rates = flows - np.add.reduce(below, axis=0, dtype=np.int64)
        spare: Rates = capacity - _total(by_flow * below)
        level = np.maximum(level, spare / np.maximum(rest, 1))
    return level


def _total(by_flow: Rates) -> Rates:
    """Return the sum over flows [F, S], one after the other; of a single step numpy would add in pairs."""
    total: Rates = by_flow.cumsum(axis=0)[-1] if by_flow.shape[1] == 1 else np.add.reduce(by_flow, axis=0)
    return total


def _sums(values: Rates, place: Numbers | None, links: int) -> Rates:
    """Return the sum over the flows of each link, [S, links], taken in the order of flows."""
    if place is None:
        whole: Rates = values.cumsum(axis=1)[:, -1:]
        return whole
    index = np.arange(len(values))[:, None] * (links + 1) + place
    sums = np.bincount(index.ravel(), weights=values.ravel(), minlength=len(values) * (links + 1))
    by_link: Rates = sums.astype(np.float64, copy=False).reshape(len(values), links + 1)[:, :links]
    return by_link


def _spread(level: Rates, place: Numbers | None, weights: Rates | None) -> Rates:
    """Return what a level [S, links] lets each flow take, [S, F] or [S, 1]."""
    if place is not None:
        level = np.concatenate([level, np.full((len(level), 1), np.inf)], axis=1)[:, place]
    return level if weights is None else weights * level


def fill_one(caps: list[float], capacity: float, weights: list[float] | None = None) -> list[float]:
    """Return `fill` for one step and one link that all flows share, without numpy's overhead: the same bits.

    >>> fill_one([1.0, 9.0, 9.0], 7.0)
    [1.0, 3.0, 3.0]
    """
    total = 0.0
    for cap in caps:
        total += cap
    if total <= capacity:
        return caps
    return _weighted(caps, capacity, weights) if weights else _alike(caps, capacity)


def _alike(caps: list[float], capacity: float) -> list[float]:
    level, raised = -1.0, capacity / len(caps)
    while raised > level:
        level, taken, rest = raised, 0.0, 0
        for cap in caps:
            if cap < level:
                taken += cap
            else:
                rest += 1
        raised = (capacity - taken) / (rest or 1)
    return [cap if cap < level else level for cap in caps]


def _weighted(caps: list[float], capacity: float, weights: list[float]) -> list[float]:
    rest = 0.0
    for weight in weights:
        rest += weight
    level, raised = -1.0, capacity / rest
    while raised > level:
        level, taken, rest = raised, 0.0, 0.0
        for cap, weight in zip(caps, weights, strict=True):
            if cap < weight * level:
                taken += cap
            else:
                rest += weight
        raised = (capacity - taken) / (rest or 1.0)
    return [min(cap, weight * level) for cap, weight in zip(caps, weights, strict=True)]


def riders(place: list[int], links: int) -> list[list[int]]:
    """Return the flows of each link, ascending, of those at one height.

    >>> riders([0, 2, 1, 0], 2)
    [[0, 3], [2]]
    """
    flows: list[list[int]] = [[] for _ in range(links + 1)]
    for flow, link in enumerate(place):
        flows[link].append(flow)
    return flows[:links]


def fill_step(caps: list[float], capacities: list[float], chosen: list[list[int]],
              weights: list[float] | None) -> list[float]:
    """Return `fill` for one step, link by link, without numpy's overhead: the same bits.

    capacities   of all links, from the innermost on; chosen: the flows of each

    >>> fill_step([9.0, 9.0, 9.0], [4.0, 10.0], [[0, 1], [0, 1, 2]], None)
    [2.0, 2.0, 6.0]
    """
    for room, flows in zip(capacities, chosen, strict=True):
        if len(flows) == len(caps):
            caps = fill_one(caps, room, weights)
            continue
        share = fill_one([caps[flow] for flow in flows], room, weights and [weights[flow] for flow in flows])
        for flow, rate in zip(flows, share, strict=True):
            caps[flow] = rate
    return caps
