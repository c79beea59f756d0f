"""How many bytes each sender may use in a round.

    c_k(t) = c_min + (c_max - c_min) exp(-beta B_k(t) / B_ref)                             [5]
    budget_k = min(dense bytes / c_k(t), B_k(t) x deadline)

Source: arXiv 2512.18127.  Read into the paper: c is dense over sent bytes, B_k the exponentially weighted mean rate of
the worker's own finished flows, B_ref the median over edge workers (the paper's exponent has a unit; this one has not).
Workers of the data centre have their own B_k, get c near c_min, and stay out of the median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Budgets:
    """Equation [5], or one factor for all.

    dense_bytes     of one full-precision nominal update
    c_min, c_max    compression factor of an infinitely fast and of an infinitely slow worker, 1 <= c_min <= c_max
    beta            of [5]
    factor          c for all, whatever their links: what [5] is to be held against at equal bytes; None: [5]
    deadline_s      a round's transfer may take no longer than this, or None
    """

    dense_bytes: int
    c_min: float = 2.0
    c_max: float = 16.0
    beta: float = 1.0
    factor: float | None = None
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.c_min <= self.c_max:
            raise PolicyError(f"c_min = {self.c_min}, c_max = {self.c_max}: must satisfy 1 <= c_min <= c_max")
        if self.beta < 0:
            raise PolicyError(f"beta = {self.beta}: must not be negative")
        if self.factor is not None and not self.factor >= 1:
            raise PolicyError(f"c = {self.factor}: must be at least 1, or null for equation [5]")
        if self.deadline_s is not None and self.deadline_s <= 0:
            raise PolicyError(f"deadline_s = {self.deadline_s}: must be positive, or null for none")

    def factors(self, bandwidth: Floats, reference: float) -> Floats:
        """Return c of senders with these bandwidths; NaN where [5] needs one that nobody has measured yet."""
        if self.factor is not None:
            return np.full(bandwidth.shape, self.factor)
        return np.asarray(self.c_min + (self.c_max - self.c_min) * np.exp(-self.beta * bandwidth / reference))

    def nbytes(self, bandwidth: Floats, reference: float, whole: bool = False,
               expected: Floats | None = None) -> list[float]:
        """Return the nominal bytes of each sender; dense where its bandwidth is unknown, or all are to be `whole`.

        expected   the bandwidths the deadline is reckoned with; None: the same
        """
        factor = self.factors(bandwidth, reference)
        budget = self.dense_bytes / np.where(np.isfinite(factor), factor, 1.0)
        if whole:
            budget = np.full(bandwidth.shape, float(self.dense_bytes))
        if self.deadline_s is not None:
            budget = np.fmin(budget, (bandwidth if expected is None else expected) * self.deadline_s)
        # A dense payload at group level costs a little more than its values: leave room for scales and levels.
        return [float(each) * (1.01 if each >= self.dense_bytes else 1.0) for each in budget]


def quantiles(history: Floats, share: float) -> Floats:
    """Return a quantile [W] of what is known of each worker in a history [rounds, W]; NaN where nothing is.

    >>> quantiles(np.array([[np.nan, np.nan], [2.0, np.nan], [4.0, np.nan]]), 0.5)
    array([ 3., nan])
    """
    columns = [column[np.isfinite(column)] for column in history.T]
    return np.array([np.quantile(column, share) if column.size else np.nan for column in columns])


def edge_median(bandwidth: Floats, tier: NDArray[np.str_]) -> float:
    """Return B_ref: the median of the edge workers' bandwidths (of all where there is no edge); NaN at first."""
    chosen = bandwidth[tier == "edge"] if (tier == "edge").any() else bandwidth
    known = chosen[np.isfinite(chosen)]
    return float(np.median(known)) if known.size else float("nan")
