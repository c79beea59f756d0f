"""ACE-Sync's schedule: importance learned on line, budgets by measured bandwidth, clusters, weights and intervals.

Each of these is a part of its own (`attention`, `budgets`, `clusters`, `weights`, `intervals`); this one asks them in
turn
and writes the plan.  Source: arXiv 2512.18127; each round is scheduled by what was measured up to the round before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.schedules.attention import Attention, AttentionState, contribution, means, rank_correlation, statistics
from acesim.schedules.budgets import Budgets, edge_median, quantiles
from acesim.schedules.clusters import Clusters, ClusterState
from acesim.schedules.intervals import Intervals, IntervalState, resting
from acesim.schedules.pace import Pace
from acesim.schedules.turns import Cohorts, Turns
from acesim.schedules.weights import trusted
from acesim.seam import Budget, Generator, Plan, Vector, View

Floats = NDArray[np.float64]
HISTORY = 20  # rounds of measured bandwidth that a careful deadline looks back on


class AceState(NamedTuple):
    """States of the parts; last_magnitude: mean |g| by group of the round before; history: bandwidths [rounds, W];
    cohorts: whose turn comes when, None while all take part."""

    attention: AttentionState
    last_magnitude: Floats | None
    clusters: ClusterState | None
    intervals: IntervalState
    history: tuple[Floats, ...]
    cohorts: Cohorts | None


@dataclass(frozen=True)
class AceSchedule:
    """Every worker in every round, each with the bytes its link can carry and the importance of the groups.

    budgets         equation [5]
    attention       the predictor; `learned=False` gives every group the same importance (ablation)
    keep            p of [2]: the most important share of groups is sent in full precision if the budget allows
    warm_up         first rounds that are sent in full precision: the paper's gradient snapshots
    clusters        workers that share a plan, or None: each has its own
    intervals       local steps between messages, by drift [9]
    latency_power   lambda of the weights [8]; 0: latency does not count
    curvature       divide a group's importance by the root of the server's mean v: by what the update will be divided
                    by
    rest_every      r: the `rest_share` of groups least important are sent every r-th round only; 1: all in every round
    region_factor   compression factor of what regions send up; None: as `budgets` has it
    careful         quantile of the last bandwidths that a deadline is reckoned with; None: their mean
    down_factor     compression factor of the downlink, for a downlink that takes budgets; None: its own level
    turns           cohorts that take turns, see `turns`
    pace            how much messages may add to a round's computing, see `pace`; None: no matter
    personal        a cluster follows a variant of the model; all follow the first until there are clusters
    """

    budgets: Budgets
    attention: Attention
    learned: bool = True
    keep: float = 0.0
    warm_up: int = 2
    clusters: Clusters | None = None
    intervals: Intervals = field(default_factory=Intervals)
    latency_power: float = 0.0
    curvature: bool = False
    rest_every: int = 1
    rest_share: float = 0.5
    region_factor: float | None = None
    careful: float | None = None
    down_factor: float | None = None
    turns: Turns = field(default_factory=Turns)
    pace: Pace | None = None
    personal: bool = False
    randomness: str = "clustering"

    def __post_init__(self) -> None:
        rules = ((isinstance(self.warm_up, int) and self.warm_up >= 0, "warm_up", self.warm_up,
                  "must be a whole number of rounds, not negative"),
                 (0 <= self.keep <= 1, "top_p", self.keep, "must lie in [0, 1]"),
                 (self.latency_power >= 0, "latency_power", self.latency_power, "must not be negative; 0 is none"),
                 (isinstance(self.rest_every, int) and self.rest_every >= 1, "rest_every", self.rest_every,
                  "must be a whole number of rounds, at least 1"),
                 (0 <= self.rest_share <= 1, "rest_share", self.rest_share, "must lie in [0, 1]"),
                 (self.careful is None or 0 <= self.careful <= 1, "careful", self.careful, "must lie in [0, 1]"),
                 (self.down_factor is None or self.down_factor >= 1, "down", self.down_factor, "must be at least 1"),
                 (not self.personal or self.clusters is not None, "personal", self.personal, "needs clusters"))
        for holds, name, value, rule in rules:
            if not holds:
                raise PolicyError(f"{name} = {value!r}: {rule}")

    def init(self, view: View, rng: Generator) -> AceState:
        """Return the state before the first round."""
        clusters = self.clusters.init(rng) if self.clusters else None
        return AceState(self.attention.init(), None, clusters, self.intervals.init(view.tier.size), (), None)

    @property
    def copies(self) -> int | None:
        """Each cohort holds the model of its own last turn, each cluster a variant: who knows who was where."""
        return None if self.personal else self.turns.count

    def enrolled(self, tier: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Everybody takes part."""
        return np.ones(tier.size, dtype=bool)

    def plan(self, view: View, state: AceState) -> tuple[Plan, AceState]:
        """Return the plan of the next round."""
        state, report = self._learn(view, state)
        state, labels = self._cluster(view, state)
        groups = len(self.attention.groups)
        importance = self._importance(view, state)
        if self.careful is not None:
            state = state._replace(history=(*state.history, view.bandwidth_bytes_per_s)[-HISTORY:])
        budgets, region_budgets = self._budgets(view, labels, state)
        down = None if self.down_factor is None else self._down(view, groups)
        if self.pace is None:
            intervals = self.intervals.advance(view, labels, state.intervals)
        else:
            intervals, budgets, down = self._paced(self.pace, view, state.intervals, budgets, down)
        if self.intervals.most > 1:
            report = report | {"local_steps": float(intervals.steps.mean())}
        rows, batches, cohorts = self.turns.next(view, self._dealt(view, budgets, state.cohorts))
        state = state._replace(intervals=intervals, cohorts=cohorts)
        plan = Plan(participants=rows, local_steps=batches * intervals.steps,
                    weights=trusted(view, self.latency_power),
                    levels=[Budget(each, importance, self.keep) for each in budgets],
                    region_levels=[Budget(each, importance, self.keep) for each in region_budgets],
                    down_level=down, nbytes=4 * groups + 4, report=report,
                    sketch=self.clusters.asks(view, state.clusters) if self.clusters and state.clusters else 0,
                    variants=self._variants(view, labels))
        return plan, state

    def _variants(self, view: View, labels: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        if not self.personal:
            return None
        return np.zeros(view.tier.size, np.int64) if labels is None else labels

    def _learn(self, view: View, state: AceState) -> tuple[AceState, dict[str, float]]:
        """Learn from what the last round did, where that is asked for; report predicted against measured importance."""
        if not self.learned or view.update is None or view.step is None:
            return state, {}
        label = contribution(view.update, view.step, self.attention.groups)
        report = {}
        if state.last_magnitude is not None:
            report = {"rank_correlation": rank_correlation(self.attention.predict(state.attention), label),
                      "rank_correlation_magnitude": rank_correlation(state.last_magnitude, label)}
        attention = self.attention.observe(view.update, state.attention)
        attention = self.attention.learn(label, attention)
        return state._replace(attention=attention, last_magnitude=_magnitude(view.update, self.attention)), report

    def _cluster(self, view: View, state: AceState) -> tuple[AceState, NDArray[np.int64] | None]:
        if self.clusters is None or state.clusters is None:
            return state, None
        clusters = self.clusters.advance(view, state.clusters)
        return state._replace(clusters=clusters), clusters.labels

    def _importance(self, view: View, state: AceState) -> Vector:
        """Return what a unit of each group's energy is worth [G]; 0 for groups that rest in this round."""
        groups = self.attention.groups
        importance = self.attention.predict(state.attention) if self.learned else np.ones(len(groups))
        if self.curvature and view.curvature is not None:
            mean = means(view.curvature.astype(np.float64), groups)
            importance = importance / np.sqrt(mean + 1e-6 * mean.mean() + 1e-30)
            importance = importance / importance.max()
        if view.round >= self.warm_up:
            importance = np.where(resting(importance, self.rest_share, self.rest_every, view.round), 0.0, importance)
        return importance.astype(np.float32)

    def _budgets(self, view: View, labels: NDArray[np.int64] | None,
                 state: AceState) -> tuple[list[float], list[float]]:
        """Return the nominal bytes of every worker and of every region."""
        bandwidth, whole = view.bandwidth_bytes_per_s, view.round < self.warm_up
        reference = edge_median(bandwidth, view.tier)
        regions = self.budgets if self.region_factor is None else replace(self.budgets, factor=self.region_factor)
        expected = None
        if self.clusters is not None:
            bandwidth = self.clusters.shared(bandwidth, labels)
        if self.careful is not None and state.history:
            expected = np.fmin(bandwidth, quantiles(np.stack(state.history), self.careful))
        return (self.budgets.nbytes(bandwidth, reference, whole, expected),
                regions.nbytes(view.region_bandwidth_bytes_per_s, reference, whole))

    def _dealt(self, view: View, budgets: list[float], cohorts: Cohorts | None) -> Cohorts | None:
        """Deal the workers to cohorts once the warm-up has measured them; until then all take part."""
        if cohorts is not None or self.turns.count == 1 or view.round < max(1, self.warm_up):
            return cohorts
        return self.turns.dealt(view, np.array(budgets))

    def _paced(self, pace: Pace, view: View, intervals: IntervalState, budgets: list[float],
               down: Budget | None) -> tuple[IntervalState, list[float], Budget | None]:
        """Return intervals, budgets and downlink with which the round keeps the pace; the warm-up keeps none."""
        if view.round < self.warm_up:
            return intervals._replace(steps=np.full(view.tier.size, self.intervals.least)), budgets, down
        fewest, whole = self.budgets.dense_bytes / self.budgets.c_max, float(self.budgets.dense_bytes)
        bounds = (whole, whole) if down is None else (min(fewest, down.nbytes), down.nbytes)
        found = pace.paced(view, range(self.intervals.least, self.intervals.most + 1), (fewest, np.array(budgets)),
                           bounds)
        intervals = intervals._replace(steps=np.full(view.tier.size, found.steps))
        return intervals, found.up.tolist(), None if down is None else down._replace(nbytes=found.down)

    def _down(self, view: View, groups: int) -> Budget:
        factor = 1.0 if view.round < self.warm_up else self.down_factor or 1.0
        return Budget(self.budgets.dense_bytes / factor, np.ones(groups, np.float32))


def _magnitude(update: Vector, attention: Attention) -> Floats:
    return statistics(update, attention.groups)[0]
