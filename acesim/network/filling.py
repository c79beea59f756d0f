"""Max-min fair shares of many steps at once: pure arithmetic on [flows, steps] and [links, steps]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]


def water_level(caps: Rates, capacity: Rates) -> Rates:
    """Return the level up to which flows that share one link are filled: sum_f min(caps_f, level) = capacity.

    caps       float64 [F, S], what each flow could take at most, in each step
    capacity   float64 [S], of the link
    returns    float64 [S]; inf where the flows cannot fill the link

    With caps in ascending order and k of them below the level, level = (capacity - sum of those k) / (F - k);
    the volume that fills all flows up to the k-th cap tells how many k are.

    >>> water_level(np.array([[1., 1.], [5., 5.], [9., 9.]]), np.array([7., 20.]))
    array([ 3., inf])
    """
    flows = len(caps)
    ascending = np.sort(caps, axis=0)
    below = np.cumsum(ascending, axis=0)
    volume = below + ascending * np.arange(flows - 1, -1, -1.0)[:, None]
    capped = (volume <= capacity).sum(axis=0)
    taken = np.where(capped > 0, np.take_along_axis(below, np.maximum(capped - 1, 0)[None], axis=0)[0], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(capped < flows, np.maximum(capacity - taken, 0.0) / (flows - capped), np.inf)


def max_min(caps: Rates, capacities: Rates, members: Sequence[NDArray[np.int64]]) -> Rates:
    """Return max-min fair rates: no flow can get more without a flow that has no more getting less.

    caps         float64 [F, S], what each flow could take if it were alone
    capacities   float64 [L, S], of the links that flows share
    members      for each such link the rows of the flows on it
    returns      float64 [F, S]

    In each step the link whose water level is lowest decides for its flows, min(cap, level); they leave with
    what they take, and so on: at most one turn a link (Bertsekas & Gallager, Data Networks, 6.5.2, with caps
    taken as links of one flow).

    >>> max_min(np.array([[9.], [9.], [1.]]), np.array([[4.], [9.]]), [np.array([0, 1]), np.array([1, 2])])
    array([[2.],
           [2.],
           [1.]])
    """
    if len(members) == 1 and len(members[0]) == len(caps):
        return np.minimum(caps, water_level(caps, capacities[0]))
    rates, open_caps, left = caps.copy(), caps.copy(), capacities.copy()
    on_link = np.zeros((len(members), len(caps)), dtype=bool)
    for link, rows in enumerate(members):
        on_link[link, rows] = True
    closed = np.zeros(caps.shape, dtype=bool)
    for _ in members:
        levels = np.array([water_level(open_caps[rows], left[link]) for link, rows in enumerate(members)])
        tightest = levels.argmin(axis=0)
        level = levels.min(axis=0)
        if np.isinf(level).all():
            break
        decided = on_link[tightest].T & ~closed & np.isfinite(level)
        taken = np.where(decided, np.minimum(caps, level), 0.0)
        rates[decided] = taken[decided]
        closed |= decided
        open_caps[decided] = 0.0
        for link, rows in enumerate(members):
            left[link] = np.maximum(left[link] - taken[rows].sum(axis=0), 0.0)
    return rates
