"""Equation [6] of ACE-Sync group by group: sign times norm times a share rounded at random.

    Q(g) = sign(g) |g|_2 q,  q in {0, 1/s, ..., 1}, rounded up with the probability that makes the mean right

which is QSGD with s levels and a group for a bucket.  Over 1 + omega it is contractive in the mean (see `Shrunk`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import squares
from acesim.compressors.grid import inverse, usable
from acesim.compressors.layout import Layout
from acesim.compressors.rounding import GroupedBody, Moments, Picks, joined, rounded
from acesim.seam import Generator, Vector


def dithered(vector: Vector, picks: Picks, layout: Layout, known: Moments, rng: Generator, shrink: bool) -> GroupedBody:
    """Return the vector [P] with each group at its level; groups on a grid are rounded at random, the others as ever.

    A grid of b bits has s = 2^(b-1) - 1 levels; draws P uniform numbers.
    """
    body = rounded(vector, picks, layout, known)
    grids = layout.are("grid")[picks]
    levels = np.maximum(layout.reaches[picks], 1)
    steps = usable((np.sqrt(known.squares) / levels).astype(np.float32))
    shares = known.magnitudes * np.repeat(inverse(steps), layout.sizes)
    floors = np.floor(shares)
    floors += rng.random(vector.size, np.float32) < shares - floors
    np.minimum(floors, np.repeat(levels, layout.sizes), out=floors)
    codes = np.copysign(floors, vector).astype(np.int8)
    if shrink:
        omega = np.minimum(layout.sizes / levels**2, np.sqrt(layout.sizes) / levels)
        steps = (steps / (1 + omega)).astype(np.float32)
    return body._replace(codes=np.where(np.repeat(grids, layout.sizes), codes, body.codes),
                         scales=np.where(grids, steps, body.scales))


def dithered_distortions(vector: Vector, layout: Layout, known: Moments, rng: Generator,
                         shrink: bool) -> NDArray[np.float64]:
    """Return |x_i - decoded|^2 / |x_i|^2 of every group at every level [G, L], at most 1, of one draw."""
    measured, present = np.zeros((layout.sizes.size, len(layout.menu))), known.squares > 0
    for level in range(len(layout.menu)):
        body = dithered(vector, np.full(layout.sizes.size, level), layout, known, rng, shrink)
        left = squares(vector - joined(body, layout), layout.starts, "Grouped.encode")
        np.divide(left, known.squares, out=measured[:, level], where=present)
    measured[~present] = measured[present].mean(0)
    return np.minimum(measured, 1.0)
