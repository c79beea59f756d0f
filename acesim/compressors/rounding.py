"""Rounding every group at its own level in a handful of passes over the whole vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import means, squares
from acesim.compressors.dense import saturated
from acesim.compressors.grid import inverse, negative_or_positive, step, usable
from acesim.compressors.layout import Layout
from acesim.compressors.topk import kept
from acesim.seam import Vector

Picks = NDArray[np.integer[Any]]


class GroupedBody(NamedTuple):
    """A vector with every group at its own level.

    picks    uint8 [G] level of each group
    codes    int8 [P] multiples of the group's scale; 0 in groups that are skipped or sent as floats
    scales   float32 [G]; 0 where there is none
    floats   float32, the entries of groups that are sent as floats, one group after the other
    """

    picks: NDArray[np.uint8]
    codes: NDArray[np.int8]
    scales: Vector
    floats: Vector


class Moments(NamedTuple):
    """What the steps follow from: magnitudes [P], and their sums of squares, peaks and means [G]."""

    magnitudes: Vector
    squares: Vector
    peaks: Vector
    means: Vector


def moments(vector: Vector, layout: Layout) -> Moments:
    """Return the moments of every group; raises PolicyError when the vector is not finite."""
    magnitudes = np.abs(vector)
    return Moments(magnitudes, squares(vector, layout.starts, "Grouped.encode"),
                   np.maximum.reduceat(magnitudes, layout.starts),
                   means(magnitudes, layout.starts, layout.sizes))


def rounded(vector: Vector, picks: Picks, layout: Layout, known: Moments) -> GroupedBody:
    """Return the vector [P] with each group at its level in picks [G]."""
    scales, signs = _scales(picks, layout, known), layout.are("sign")[picks]
    spread_reach = np.repeat(layout.reaches[picks], layout.sizes)
    nearest = np.repeat(inverse(scales), layout.sizes)
    nearest *= vector
    np.rint(nearest, out=nearest)
    np.minimum(nearest, spread_reach, out=nearest)
    np.maximum(nearest, np.negative(spread_reach, out=spread_reach), out=nearest)
    if signs.any():
        np.copyto(nearest, negative_or_positive(vector), where=np.repeat(signs, layout.sizes))
    for level in layout.are("sparse").nonzero()[0].tolist():
        _thin(nearest, (picks == level).nonzero()[0], layout.menu[level].ratio, layout, known)
    floats = _floats(vector, picks, layout)
    return GroupedBody(picks.astype(np.uint8), nearest.astype(np.int8), scales, floats)


def joined(body: GroupedBody, layout: Layout) -> Vector:
    """Return the vector [P] that a body stands for."""
    vector: Vector = np.multiply(body.codes, np.repeat(body.scales, layout.sizes), dtype=np.float32)
    at = 0
    for start, size in _float_groups(body.picks, layout):
        vector[start:start + size] = body.floats[at:at + size]
        at += size
    return vector


def distortions(vector: Vector, layout: Layout, known: Moments) -> NDArray[np.float64]:
    """Return |x_i - decoded|^2 / |x_i|^2 of every group at every level [G, L]; not every group may be zero.

    A group of zeros tells nothing of what it will hold later: it gets the mean of the others.
    """
    shape, present = (layout.sizes.size, len(layout.menu)), known.squares > 0
    measured = np.zeros(shape)
    for level in range(shape[1]):
        body = rounded(vector, np.full(shape[0], level), layout, known)
        left = squares(vector - joined(body, layout), layout.starts, "Grouped.encode")
        np.divide(left, known.squares, out=measured[:, level], where=present)
    measured[~present] = measured[present].mean(0)
    return np.minimum(measured, 1.0)


def _scales(picks: Picks, layout: Layout, known: Moments) -> Vector:
    scales = np.where(layout.are("sign")[picks], known.means, np.float32(0))
    # the rms of all entries says nothing of the largest: a sparse group's step follows from its peak alone
    rms = np.where(layout.are("sparse")[picks], 0, np.sqrt(known.squares / layout.sizes))
    widths = layout.widths[picks]
    for width in sorted(set(widths.tolist()) - {0}):
        scales = np.where(widths == width, step(width, rms, known.peaks), scales)
    return usable(scales)


def _thin(nearest: Vector, groups: NDArray[np.int64], ratio: float, layout: Layout, known: Moments) -> None:
    """Set to zero in place what is not among the largest of its group; groups of equal size go together."""
    for size in sorted(set(layout.sizes[groups].tolist())):
        rows = groups[layout.sizes[groups] == size]
        places = layout.starts[rows][:, None] + np.arange(size)
        nearest[places] *= largest_of_rows(known.magnitudes[places], kept(ratio, size))


def largest_of_rows(magnitudes: Vector, count: int) -> NDArray[np.bool_]:
    """Return which entries are among the `count` largest of their row, ties to the lower index.

    >>> largest_of_rows(np.array([[1., 2., 2.], [3., 0., 5.]], np.float32), 1)
    array([[False,  True, False],
           [False, False,  True]])
    """
    place = magnitudes.shape[1] - count
    least = np.partition(magnitudes, place, axis=1)[:, place, None]
    chosen = magnitudes >= least
    if np.count_nonzero(chosen) > count * len(magnitudes):
        above, tied = magnitudes > least, magnitudes == least
        chosen = above | (tied & (np.cumsum(tied, axis=1) <= count - above.sum(1, keepdims=True)))
    return chosen


def _floats(vector: Vector, picks: Picks, layout: Layout) -> Vector:
    groups = _float_groups(picks, layout)
    if not groups:
        return vector[:0].copy()
    entries: Vector = np.concatenate([vector[start:start + size] for start, size in groups])
    bits = layout.bits[picks]
    half = np.repeat(bits == 16, layout.sizes * layout.are("float")[picks])
    if half.any():
        np.copyto(entries, saturated(entries), where=half)
    return entries


def _float_groups(picks: Picks, layout: Layout) -> list[tuple[int, int]]:
    groups = layout.are("float")[picks].nonzero()[0]
    return list(zip(layout.starts[groups].tolist(), layout.sizes[groups].tolist(), strict=True))
