"""What may be said of a few seeds: means with intervals, paired differences, and when a curve got somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

SUSTAINED = 3
"""Evaluations in a row that must stay at or above a threshold before it counts as reached."""


class Interval(NamedTuple):
    """A mean over seeds and its 95 % interval; low and high are NaN where one seed cannot tell."""

    mean: float
    low: float = nan
    high: float = nan

    @property
    def half_width(self) -> float:
        """Half the interval; NaN for one seed."""
        return (self.high - self.low) / 2


def interval(values: ArrayLike) -> Interval:
    """Return the mean and the two-sided 95 % Student t interval, mean +- t(.975, n - 1) s / sqrt(n).

    values   one per seed; NaN and infinite ones (not reached, not measured) are left out
    returns  NaN throughout where nothing is left

    >>> [round(float(value), 3) for value in interval([1., 2., 3.])]
    [2.0, -0.484, 4.484]
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return Interval(nan)
    mean = float(kept.mean())
    if len(kept) == 1:
        return Interval(mean)
    half = float(stdtrit(len(kept) - 1, 0.975)) * float(kept.std(ddof=1)) / sqrt(len(kept))
    return Interval(mean, mean - half, mean + half)


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """Return value - baseline, seed by seed, for the seeds both have.

    All policies of a study meet the same world at the same seed, so the difference has less noise than either.

    >>> paired({0: 3., 1: 5.}, {1: 4., 2: 9.})
    {1: 1.0}
    """
    return {seed: values[seed] - baseline[seed] for seed in values if seed in baseline}


def crossing(places: ArrayLike, values: ArrayLike, threshold: float, sustained: int = SUSTAINED) -> float:
    """Return the place where a curve first reaches a threshold and stays there.

    The first i with values[i .. i + sustained - 1] >= threshold counts; the place is interpolated linearly between
    i - 1 and i.  NaN where that never happens, also when fewer than `sustained` evaluations are left.

    places      ascending: seconds, bytes or epochs at each evaluation
    values      at those places; NaN is below everything

    >>> crossing([0, 10, 20, 30, 40], [0., 9., 4., 8., 9.], 6., sustained=2)
    25.0
    """
    x, y = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    above = y >= threshold
    for first in range(len(y) - sustained + 1):
        if above[first:first + sustained].all():
            return _between(x, y, first, threshold)
    return nan


def _between(x: NDArray[np.float64], y: NDArray[np.float64], first: int, threshold: float) -> float:
    if first == 0 or not isfinite(y[first - 1]):
        return float(x[first])
    share = (threshold - y[first - 1]) / (y[first] - y[first - 1])
    return float(x[first - 1] + share * (x[first] - x[first - 1]))


def settled(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the level a curve ends at: the mean of its last three evaluations (of all, if fewer).

    Thresholds are set against this, not against the last evaluation alone, which carries its noise whole.
    """
    return float(np.mean(np.asarray(values, dtype=np.float64)[-3:])) if len(values) else nan


def smoothed(values: ArrayLike) -> NDArray[np.float64]:
    """Return the running mean of three evaluations; at the ends, of the two there are.

    >>> smoothed([0., 3., 6., 0.])
    array([1.5, 3. , 3. , 3. ])
    """
    y = np.asarray(values, dtype=np.float64)
    sums, counts = (np.convolve(row, np.ones(3), "same") for row in (y, np.ones(len(y))))
    return sums / counts if len(y) > 2 else y


def convergence_epochs(epochs: ArrayLike, top1_percent: ArrayLike) -> float:
    """Return the first epoch at which the accuracy is within 1 % of the run's own final accuracy.

    Within 1 %: smoothed accuracy >= 0.99 x final accuracy, where the final accuracy is the mean of the last three
    evaluations and the curve is the running mean of three; interpolated between evaluations.  It says when a run
    stopped improving, not how good it got: a bad run that stalls early converges early.

    returns  NaN where there is no accuracy to speak of, or fewer than six evaluations: the last three would then be
             held against themselves
    source   the definition of the paper's section 4.3; smoothing and interpolation are ours
    """
    y = np.asarray(top1_percent, dtype=np.float64)
    final = settled(y)
    return crossing(epochs, smoothed(y), 0.99 * final, sustained=1) if final > 0 and len(y) >= 6 else nan


def at(place: float, places: ArrayLike, values: ArrayLike) -> float:
    """Return a curve's value at a place, linear between evaluations; NaN outside of what was measured.

    >>> at(15., [0., 10., 20.], [1., 2., 4.]), at(21., [0., 10., 20.], [1., 2., 4.])
    (3.0, nan)
    """
    x, y = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return float(np.interp(place, x, y)) if len(x) and x[0] <= place <= x[-1] else nan
