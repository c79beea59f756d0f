"""ACE-Sync's schedule: budgets from measured bandwidth, importance learned on line.

    c_k(t) = c_min + (c_max - c_min) exp(-beta B_k(t) / B_ref)                             [5]
    budget_k = min(dense bytes / c_k(t), B_k(t) x deadline)

Source: arXiv 2512.18127.  Read into the paper: c is dense over sent bytes, B_k the exponentially weighted mean rate of
the worker's own finished flows, B_ref the median over edge workers (the paper's exponent has a unit; this one has not).
Workers of the data centre have their own B_k, get c near c_min, and stay out of the median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.schedules.attention import Attention, AttentionState, contribution, rank_correlation, statistics
from acesim.schedules.fixed import weigh
from acesim.seam import Budget, Generator, Plan, Vector, View

Floats = NDArray[np.float64]


class AceState(NamedTuple):
    """attention: of the predictor; last_magnitude: mean |g| by group of the round before, for comparison."""

    attention: AttentionState
    last_magnitude: Floats | None


@dataclass(frozen=True)
class AceSchedule:
    """Every enrolled worker in every round, each with the bytes its link can carry and the importance of the groups.

    dense_bytes     of one full-precision nominal update
    attention       the predictor; `learned=False` gives every group the same importance (ablation)
    c_min, c_max    compression factor of an infinitely fast and of an infinitely slow worker, 1 <= c_min <= c_max
    beta            of [5]
    deadline_s      a round's transfer may take no longer than this, or None
    keep            p of [2]: the most important share of groups is sent in full precision if the budget allows
    warm_up         first rounds that are sent in full precision: the paper's gradient snapshots
    """

    dense_bytes: int
    attention: Attention
    learned: bool = True
    c_min: float = 2.0
    c_max: float = 16.0
    beta: float = 1.0
    deadline_s: float | None = None
    keep: float = 0.0
    warm_up: int = 2
    together: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.c_min <= self.c_max:
            raise PolicyError(f"c_min = {self.c_min}, c_max = {self.c_max}: must satisfy 1 <= c_min <= c_max")
        if self.beta < 0:
            raise PolicyError(f"beta = {self.beta}: must not be negative")
        if self.deadline_s is not None and self.deadline_s <= 0:
            raise PolicyError(f"deadline_s = {self.deadline_s}: must be positive, or null for none")
        if not isinstance(self.warm_up, int) or self.warm_up < 0:
            raise PolicyError(f"warm_up = {self.warm_up!r}: must be a whole number of rounds, not negative")
        if not 0 <= self.keep <= 1:
            raise PolicyError(f"top_p = {self.keep}: must lie in [0, 1]")

    def init(self, view: View, rng: Generator) -> AceState:
        """Return the state before the first round."""
        return AceState(self.attention.init(), None)

    def enrolled(self, tier: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Everybody takes part."""
        return np.ones(tier.size, dtype=bool)

    def plan(self, view: View, state: AceState) -> tuple[Plan, AceState]:
        """Return the plan of the next round."""
        state, report = self._learn(view, state)
        groups = len(self.attention.groups)
        importance = self.attention.predict(state.attention) if self.learned else np.ones(groups)
        reference = edge_median(view.bandwidth_bytes_per_s, view.tier)
        budgets = self.budgets(view.bandwidth_bytes_per_s, reference, view.round)
        region_budgets = self.budgets(view.region_bandwidth_bytes_per_s, reference, view.round)
        narrow = importance.astype(np.float32)
        plan = Plan(participants=np.arange(view.tier.size), local_steps=np.ones(view.tier.size, dtype=np.int64),
                    weights=weigh(view, "examples"),
                    levels=[Budget(each, narrow, self.keep) for each in budgets],
                    region_levels=[Budget(each, narrow, self.keep) for each in region_budgets],
                    nbytes=4 * groups + 4, report=report)
        return plan, state

    def budgets(self, bandwidth: Floats, reference: float, round_number: int) -> list[float]:
        """Return the nominal bytes each sender may use; dense in the warm-up or while its bandwidth is unknown."""
        factor = self.c_min + (self.c_max - self.c_min) * np.exp(-self.beta * bandwidth / reference)
        budget = self.dense_bytes / np.where(np.isfinite(factor), factor, 1.0)
        if round_number < self.warm_up:
            budget = np.full(bandwidth.shape, float(self.dense_bytes))
        if self.deadline_s is not None:
            budget = np.fmin(budget, bandwidth * self.deadline_s)
        # A dense payload at group level costs a little more than its values: leave room for scales and levels.
        return [float(each) * (1.01 if each >= self.dense_bytes else 1.0) for each in budget]

    def _learn(self, view: View, state: AceState) -> tuple[AceState, dict[str, float]]:
        """Learn from what the last round did; report predicted against measured importance."""
        if view.update is None or view.step is None:
            return state, {}
        label = contribution(view.update, view.step, self.attention.groups)
        report = {}
        if state.last_magnitude is not None:
            report = {"rank_correlation": rank_correlation(self.attention.predict(state.attention), label),
                      "rank_correlation_magnitude": rank_correlation(state.last_magnitude, label)}
        attention = self.attention.observe(view.update, state.attention)
        attention = self.attention.learn(label, attention) if self.learned else attention
        return AceState(attention, _magnitude(view.update, self.attention)), report


def _magnitude(update: Vector, attention: Attention) -> Floats:
    return statistics(update, attention.groups)[0]


def edge_median(bandwidth: Floats, tier: NDArray[np.str_]) -> float:
    """Return B_ref: the median of the edge workers' bandwidths (of all where there is no edge); NaN at first."""
    chosen = bandwidth[tier == "edge"] if (tier == "edge").any() else bandwidth
    known = chosen[np.isfinite(chosen)]
    return float(np.median(known)) if known.size else float("nan")
