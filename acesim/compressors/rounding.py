"""Rounding every group at its own level in a handful of passes over the whole vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import means, squares
from acesim.compressors.dense import through_float16
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
    for start, stop in _float_runs(body.picks, layout):
        vector[start:stop] = body.floats[at:at + stop - start]
        at += stop - start
    return vector


def distortions(vector: Vector, layout: Layout, known: Moments) -> NDArray[np.float64]:
    """Return |x_i - decoded|^2 / |x_i|^2 of every group at every level [G, L]; not every group may be zero.

    A group of zeros tells nothing of what it will hold later: it gets the mean of the others.
    """
    shape, present = (layout.sizes.size, len(layout.menu)), known.squares > 0
    measured = np.zeros(shape)
    for level, operator in enumerate(layout.menu):
        if operator.kind == "skip" or operator.bits == 32:
            measured[:, level] = operator.kind == "skip"  # all is missing, or nothing
            continue
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
        first = layout.starts[groups[layout.sizes[groups] == size]]
        _windows(nearest, size)[first] *= largest_of_rows(_windows(known.magnitudes, size)[first], kept(ratio, size))


def _windows(vector: Vector, size: int) -> Vector:
    """Return a view [P - size + 1, size], row i of it vector[i:i + size]: rows are copied faster than entries."""
    return np.ndarray((vector.size - size + 1, size), vector.dtype, vector, 0, vector.strides * 2)


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
    runs = _float_runs(picks, layout)
    if not runs:
        return vector[:0].copy()
    entries: Vector = np.concatenate([vector[start:stop] for start, stop in runs])
    bits = layout.bits[picks]
    half = np.repeat(bits == 16, layout.sizes * layout.are("float")[picks])
    if half.any():
        np.copyto(entries, through_float16(entries), where=half)
    return entries


def _float_runs(picks: Picks, layout: Layout) -> list[tuple[int, int]]:
    """Return (first entry, past the last) of every run of groups that are sent as floats."""
    floats = layout.are("float")[picks]
    if not floats.any():
        return []
    bounds = layout.starts[1:][floats[1:] != floats[:-1]].tolist()
    bounds = [0, *bounds] if floats[0] else bounds
    bounds = [*bounds, int(layout.starts[-1] + layout.sizes[-1])] if floats[-1] else bounds
    return list(zip(bounds[::2], bounds[1::2], strict=True))
