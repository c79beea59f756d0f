"""DAGC's assignment: who holds more data compresses less (Lu et al. 2023 and 2024, arXiv:2311.07324).

p_i is worker i's share of all examples, s_i = p_i^(2/3), n the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.schedules.fixed import weigh
from acesim.seam import Generator, Plan, View

Floats = NDArray[np.float64]
MODES = ("paper", "p23", "waterfill", "uniform")


class Assignment(NamedTuple):
    """Ratios [n] in (0, 1]; how many of them were clipped at 1; row of the worker that the paper puts last, or -1."""

    ratios: Floats
    clipped: int = 0
    least: int = -1


def phi(shares: Floats, ratios: Floats) -> float:
    """Return Phi = (sum_i p_i / sqrt(delta_i)) / sqrt(min delta), the factor of DAGC-R's bound (Theorem 1, simplified).

    >>> phi(np.full(4, 0.25), np.full(4, 0.1))
    10.0
    """
    return float(round(np.sum(shares / np.sqrt(ratios)) / np.sqrt(ratios.min()), 12))


def relative(shares: Floats, ratio: float, mode: str = "paper") -> Assignment:
    """Return the kept share of every worker [n], their mean `ratio`.

    paper      Algorithm 2: for every worker j (from the smallest; equal ones once) let it have the least ratio, and
                   Q_j = (P - s_j) / s_r,  delta_j = n ratio / (1 + Q_j),  delta_i = delta_j s_i / s_r for i != j,
               r the smallest other worker, P the sum of s; of these take the one whose Phi = (1 + Q_j)(p_j + p_r Q_j) /
               (n ratio) is least.  So ratios go with p^(2/3), but for worker j, who need not be the smallest
    p23        delta_i = n ratio s_i / P: the same without the exception
    waterfill  delta_i = max(m, c s_i), the true minimum of Phi over m; nearly uniform
    uniform    delta_i = ratio

    The paper calls its assignment the minimum of Phi.  It is not: the uniform one has a smaller Phi.  What DAGC-R
    gains it gains in practice, not by this bound.
    Not in the paper: ratios above 1 are clipped there, and the surplus goes to the others in proportion to s_i.

    shares   [n], positive, summing to 1
    raises   PolicyError when ratio is outside (0, 1], mode is unknown, or a worker has no data
    source   Lu et al. 2023, INFOCOM, Theorem 4 and Algorithm 2

    >>> relative(np.array([0.5, 0.3, 0.2]), 0.1).ratios.round(4).tolist()
    [0.1238, 0.0881, 0.0881]
    >>> relative(np.array([0.6, 0.3, 0.1]), 0.8)
    Assignment(ratios=array([1.        , 0.71086787, 0.68913213]), clipped=1, least=2)
    """
    if mode not in MODES:
        raise PolicyError(f"mode = {mode!r}: must be one of {', '.join(MODES)}")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise PolicyError(f"ratio = {ratio!r}: must be a number in (0, 1], for example 0.01")
    _check_shares(shares)
    if mode == "uniform" or np.ptp(shares) == 0:
        return Assignment(np.full(shares.size, float(ratio)))
    sizes, least = shares ** (2 / 3), -1
    if mode == "paper":
        least = least_conservative(shares)
        found = sizes / np.delete(sizes, least).min()
        found[least] = 1.0
    elif mode == "p23":
        found = sizes
    else:
        found = _waterfilled(shares, ratio)
    ratios, clipped = clip_at_one(found * (shares.size * ratio / found.sum()), sizes)
    return Assignment(np.minimum(np.round(ratios, 12), 1.0), clipped, least)  # .1 must not become a little less


def least_conservative(shares: Floats) -> int:
    """Return the row of worker j of Algorithm 2."""
    order = np.argsort(-shares, kind="stable")
    p, s = shares[order], shares[order] ** (2 / 3)
    best, row = np.inf, -1
    for j in range(p.size - 1, -1, -1):
        if j + 1 < p.size and p[j] == p[j + 1]:
            continue
        r = p.size - 1 if j < p.size - 1 else p.size - 2
        q = (s.sum() - s[j]) / s[r]
        figure = (1 + q) * (p[j] + p[r] * q)
        if figure < best:
            best, row = figure, int(order[j])
    return row


def clip_at_one(ratios: Floats, sizes: Floats) -> tuple[Floats, int]:
    """Return (ratios of the same sum, none above 1, how many were): the surplus goes to the others as `sizes` are.

    >>> clip_at_one(np.array([1.6, 0.2, 0.1]), np.array([4., 2., 1.]))
    (array([1. , 0.6, 0.3]), 1)
    """
    found, full = ratios.copy(), np.zeros(ratios.size, bool)
    while (over := found > 1 + 1e-12).any():  # a rounding is no surplus
        full |= over
        surplus = float(np.sum(found[over] - 1))
        found[full] = 1.0
        if full.all():
            break
        found[~full] += surplus * sizes[~full] / sizes[~full].sum()
    return found, int(full.sum())


def _waterfilled(shares: Floats, ratio: float) -> Floats:
    """Return the ratios max(m, c s) of sum n ratio that make Phi least."""
    from scipy.optimize import minimize_scalar  # 16 MB and a tenth of a second: only runs that fill water pay for it

    budget = shares.size * ratio

    def found(lowest: float) -> Floats:
        return raised(shares ** (2 / 3), lowest, budget)

    grid = np.linspace(0, ratio, 65)[1:]
    best = int(np.argmin([phi(shares, found(lowest)) for lowest in grid]))
    low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    fine = minimize_scalar(lambda lowest: phi(shares, found(lowest)), (low, high), (low, high), method="bounded")
    return np.asarray(found(min(float(grid[best]), float(fine.x), key=lambda lowest: phi(shares, found(lowest)))))


def raised(sizes: Floats, lowest: float, budget: float) -> Floats:
    """Return max(lowest, c sizes) with the c that makes the sum `budget`; n lowest must not exceed it.

    >>> raised(np.array([3., 2., 1.]), 0.2, 1.2)
    array([0.6, 0.4, 0.2])
    """
    ordered = np.sort(sizes)[::-1]
    for above in range(ordered.size, 0, -1):
        scale = (budget - (ordered.size - above) * lowest) / ordered[:above].sum()
        if scale * ordered[above - 1] >= lowest * (1 - 1e-12):
            return np.asarray(np.maximum(lowest, scale * sizes))
    return np.full(sizes.size, budget / sizes.size)


def absolute(shares: Floats, threshold: float, mode: str = "paper") -> Floats:
    """Return the threshold of every worker [n], their harmonic mean `threshold`.

    paper    lambda_i = (threshold / n) P / s_i: the least sum p_i^2 lambda_i^2 at a fixed sum of 1 / lambda_i (Theorem
             8)
    uniform  lambda_i = threshold

    shares   [n], positive, summing to 1
    raises   PolicyError when threshold is not above 0, mode is unknown, or a worker has no data
    source   Lu et al. 2024, arXiv:2311.07324, Theorem 8 and Algorithm 3

    >>> absolute(np.array([0.8, 0.1, 0.1]), 0.05).round(4).tolist()
    [0.025, 0.1, 0.1]
    """
    if mode not in ("paper", "uniform"):
        raise PolicyError(f"mode = {mode!r}: must be one of paper, uniform")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < np.inf:
        raise PolicyError(f"threshold = {threshold!r}: must be a finite number above 0, for example 0.005")
    _check_shares(shares)
    if mode == "uniform" or np.ptp(shares) == 0:
        return np.full(shares.size, float(threshold))
    sizes = shares ** (2 / 3)
    return np.asarray(threshold / shares.size * sizes.sum() / sizes)


def _check_shares(shares: Floats) -> None:
    if not (shares > 0).all():
        raise PolicyError(f"worker {int(np.argmin(shares))} holds no examples: a share must be above 0; deal at least "
                          "one to every worker (task.partition.min_partition_size)")


@dataclass(frozen=True)
class DataAware:
    """Every worker in every round, each at the level that its share of the data gives it, once and for all.

    what         "ratio" (DAGC-R) or "threshold" (DAGC-A)
    mean         of the ratios; harmonic mean of the thresholds
    mode         see `relative` and `absolute`
    local_steps  of every worker
    The level is told once, 4 bytes to each worker; figures of round 0 name the levels' range and what was clipped.
    """

    what: str
    mean: float
    mode: str = "paper"
    local_steps: int = 1
    copies: int | None = 1

    def __post_init__(self) -> None:
        if self.what not in ("ratio", "threshold"):
            raise PolicyError(f"what = {self.what!r}: must be ratio or threshold")
        if not isinstance(self.local_steps, int) or self.local_steps < 1:
            raise PolicyError(f"local_steps = {self.local_steps!r}: must be a whole number, at least 1")
        self.assigned((1, 1))

    def assigned(self, examples: tuple[int, ...]) -> Assignment:
        """Return the level of every worker."""
        return _assigned(self.what, self.mean, self.mode, examples)

    def init(self, view: View, rng: Generator) -> tuple[()]:
        """Return (): there is no state."""
        return ()

    def enrolled(self, tier: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Everybody takes part."""
        return np.ones(tier.size, dtype=bool)

    def plan(self, view: View, state: tuple[()]) -> tuple[Plan, tuple[()]]:
        """Return the plan of the next round."""
        found, first, workers = self.assigned(tuple(view.examples.tolist())), view.round == 0, view.tier.size
        levels = found.ratios
        report = {f"least_{self.what}": float(levels.min()), f"greatest_{self.what}": float(levels.max()),
                  "clipped_ratios": float(found.clipped)}
        return Plan(participants=np.arange(workers), local_steps=np.full(workers, self.local_steps),
                    weights=weigh(view, "examples"), levels=levels.tolist(), nbytes=4 if first else 0,
                    report=report if first else {}), state


@lru_cache(maxsize=64)
def _assigned(what: str, mean: float, mode: str, examples: tuple[int, ...]) -> Assignment:
    shares = np.array(examples) / sum(examples)
    return relative(shares, mean, mode) if what == "ratio" else Assignment(absolute(shares, mean, mode))
