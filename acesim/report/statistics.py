"""What may be said of a few seeds: means with intervals, paired tests, and when a curve got somewhere.

All of it is Student's t on differences paired by seed.  There is no bootstrap: three seeds lie all on one side of the
truth in one case of four, and whatever is resampled from them then misses it, so no such interval covers 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import nctdtr, stdtr, stdtrit

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


def ratio_interval(values: ArrayLike, baseline: ArrayLike) -> Interval:
    """Return the geometric mean of the paired ratios value / baseline, and its 95 % interval.

    exp of the t interval of ln(value) - ln(baseline).  On the logarithm, rather than by Fieller's method, because what
    is compared by ratios (bytes, seconds, joules) is positive and varies in proportion: the interval of a / b is then
    the inverse of that of b / a, never contains 0 and is always bounded, which Fieller's need not be.

    raises   ValueError for a value that is not above 0

    >>> [round(float(value), 3) for value in ratio_interval([2., 4.], [1., 1.])]
    [2.828, 0.035, 231.217]
    """
    pairs = np.array([values, baseline], dtype=np.float64)
    if (pairs <= 0).any():
        raise ValueError("a ratio needs values above 0")
    return raised(interval(np.log(pairs[0]) - np.log(pairs[1])))


def raised(logarithms: Interval) -> Interval:
    """Return exp of an interval; what would be larger than a float is left at e^700."""
    return Interval(*(exp(min(end, 700.0)) for end in logarithms))


def no_difference_p(differences: ArrayLike) -> float:
    """Return the two-sided p of the paired t test: how often as large a mean by chance, if there were no difference.

    NaN for less than two seeds; where all differences are the same one, 0, or 1 if that one is 0.

    >>> round(no_difference_p([1., 2., 3.]), 4)
    0.0742
    """
    return 2 * min(_upper_p(differences, 0.0), _upper_p(-np.asarray(differences, dtype=np.float64), 0.0), 0.5)


def no_worse_p(differences: ArrayLike, margin: float) -> float:
    """Return the one-sided p of non-inferiority: how often as good a mean by chance, if it were worse by the margin.

    t = (mean + margin) / (s / sqrt(n)) against Student's t of n - 1 degrees, for figures of which more is better; turn
    the sign of the differences for the others.  The 95 % interval lies above -margin just where p < 0.025.

    margin   how much worse still counts as no worse, above 0

    >>> round(no_worse_p([-0.1, 0.0, 0.1], 0.3), 4)
    0.0175
    """
    return _upper_p(differences, -margin)


def _upper_p(values: ArrayLike, null: float) -> float:
    """Return the one-sided p of a mean above `null`."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) < 2:
        return nan
    distance, error = float(kept.mean()) - null, float(kept.std(ddof=1)) / sqrt(len(kept))
    if error == 0.0:
        return float(distance <= 0)
    return float(stdtr(len(kept) - 1, -distance / error))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p values adjusted for their number by Holm's step-down rule; NaN is no test and stays.

    The i-th smallest of m is multiplied by m - i + 1, is no less than those before it, and at most 1.  Rejecting where
    the adjusted p is below 0.05 errs at all in at most 5 % of tables, whatever the tests have to do with each other.

    source   Holm 1979, Scandinavian Journal of Statistics 6

    >>> [round(float(value), 3) for value in holm([.01, .04, .03])]
    [0.03, 0.06, 0.06]
    """
    found = np.array(p, dtype=np.float64)
    tests = np.flatnonzero(~np.isnan(found))
    order = tests[np.argsort(found[tests], kind="stable")]
    found[order] = np.minimum(np.maximum.accumulate(found[order] * np.arange(len(order), 0, -1)), 1.0)
    return found


MOST_SEEDS = 1000
"""Beyond so many nobody counts: `seeds_needed` says None."""


def seeds_needed(distance: float, deviation: float, power: float = 0.8) -> int | None:
    """Return how many paired seeds tell a mean from a value `distance` away, with this probability.

    The smallest n >= 2 with P(T > t(.975, n - 1)) >= power, T of Student's noncentral t with n - 1 degrees and
    noncentrality sqrt(n) distance / deviation: the 95 % interval then excludes the value.  It holds if the true mean
    and deviation are those given, which few seeds tell only roughly.

    returns  None where more than MOST_SEEDS are needed, or where nothing is known

    >>> seeds_needed(0.5, 1.0)
    34
    """
    if not (isfinite(distance) and isfinite(deviation)) or distance <= 0:
        return None
    effect = distance / deviation if deviation > 0 else float("inf")
    if effect >= 100:
        return 2
    counts = np.arange(2, MOST_SEEDS + 1)
    missed = nctdtr(counts - 1, effect * np.sqrt(counts), stdtrit(counts - 1, 0.975))
    enough = np.flatnonzero(1 - missed >= power)
    return int(counts[enough[0]]) if len(enough) else None


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
