"""Max-min fair shares of many steps at once: pure arithmetic on [flows, steps] and [links, steps]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]


def water_level(caps: Rates, capacity: Rates, weights: Rates | None = None) -> Rates:
    """Return the level up to which flows that share one link are filled: sum_f min(caps_f, level) = capacity.

    caps       float64 [F, S], what each flow could take at most, in each step
    capacity   float64 [S], of the link
    weights    float64 [F] > 0: sum_f min(caps_f, weights_f level) = capacity; None: all 1
    returns    float64 [S]; inf where the flows cannot fill the link

    With caps in ascending order and k of them below the level, level = (capacity - sum of those k) / (F - k);
    the volume that fills all flows up to the k-th cap tells how many k are.

    >>> water_level(np.array([[1., 1.], [5., 5.], [9., 9.]]), np.array([7., 20.]))
    array([ 3., inf])
    >>> water_level(np.array([[9.], [9.]]), np.array([6.]), np.array([1., 2.]))
    array([2.])
    """
    if weights is not None:
        return _weighted_level(caps, capacity, weights)
    flows = len(caps)
    ascending = np.sort(caps, axis=0)
    below = np.cumsum(ascending, axis=0)
    volume = below + ascending * np.arange(flows - 1, -1, -1.0)[:, None]
    capped = (volume <= capacity).sum(axis=0)
    taken = np.where(capped > 0, np.take_along_axis(below, np.maximum(capped - 1, 0)[None], axis=0)[0], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(capped < flows, np.maximum(capacity - taken, 0.0) / (flows - capped), np.inf)


def _weighted_level(caps: Rates, capacity: Rates, weights: Rates) -> Rates:
    """Return `water_level` with weights: caps are reached in the order of cap / weight."""
    full_at = caps / weights[:, None]
    order = np.argsort(full_at, axis=0, kind="stable")
    below = np.cumsum(np.take_along_axis(caps, order, axis=0), axis=0)
    sorted_weights = weights[order]
    # Summed from the end, not subtracted from the total: what is left of a subtraction would be rounding.
    from_here = np.cumsum(sorted_weights[::-1], axis=0)[::-1]
    still_open = np.concatenate([from_here[1:], np.zeros((1, caps.shape[1]))])
    volume = below + np.take_along_axis(full_at, order, axis=0) * still_open
    capped = (volume <= capacity).sum(axis=0)
    taken = np.where(capped > 0, np.take_along_axis(below, np.maximum(capped - 1, 0)[None], axis=0)[0], 0.0)
    weight = np.take_along_axis(from_here, np.minimum(capped, len(caps) - 1)[None], axis=0)[0]
    return np.where(capped < len(caps), np.maximum(capacity - taken, 0.0) / weight, np.inf)


def max_min(caps: Rates, capacities: Rates, members: Sequence[NDArray[np.int64]],
            weights: Rates | None = None) -> Rates:
    """Return max-min fair rates: no flow can get more without a flow that has no more getting less.

    caps         float64 [F, S], what each flow could take if it were alone
    capacities   float64 [L, S], of the links that flows share
    members      for each such link the rows of the flows on it
    weights      float64 [F] > 0: what is shared fairly is rate / weight; None: all 1
    returns      float64 [F, S]

    In each step the link whose water level is lowest decides for its flows, min(cap, weight level); they leave
    with what they take, and so on: at most one turn a link (Bertsekas & Gallager, Data Networks, 6.5.2, with
    caps taken as links of one flow).

    >>> max_min(np.array([[9.], [9.], [1.]]), np.array([[4.], [9.]]), [np.array([0, 1]), np.array([1, 2])])
    array([[2.],
           [2.],
           [1.]])
    """
    if len(members) == 1 and len(members[0]) == len(caps):
        return np.minimum(caps, _share(water_level(caps, capacities[0], weights), weights))
    rates, open_caps, left = caps.copy(), caps.copy(), capacities.copy()
    on_link = np.zeros((len(members), len(caps)), dtype=bool)
    for link, rows in enumerate(members):
        on_link[link, rows] = True
    closed = np.zeros(caps.shape, dtype=bool)
    for _ in members:
        levels = np.array([water_level(open_caps[rows], left[link], None if weights is None else weights[rows])
                           for link, rows in enumerate(members)])
        tightest = levels.argmin(axis=0)
        level = levels.min(axis=0)
        if np.isinf(level).all():
            break
        decided = on_link[tightest].T & ~closed & np.isfinite(level)
        taken = np.where(decided, np.minimum(caps, _share(level, weights)), 0.0)
        rates[decided] = taken[decided]
        closed |= decided
        open_caps[decided] = 0.0
        for link, rows in enumerate(members):
            left[link] = np.maximum(left[link] - taken[rows].sum(axis=0), 0.0)
    return rates


def _share(level: Rates, weights: Rates | None) -> Rates:
    """Return what a level [S] gives to each flow, [S] or [F, S]."""
    return level if weights is None else weights[:, None] * level
