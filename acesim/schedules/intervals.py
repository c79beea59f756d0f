"""How many local steps between two messages, by how far the workers have drifted; and groups that go at intervals.

    D_k(t) = |theta_k(t) - theta(t)|_2                                                     [9]

A worker's drift is how far it has walked from the model it was sent; relative, it is that over the length of the global
step of the same round, since a fixed threshold on D_k / |theta| runs to the longest interval as the learning rate
falls.
Above the threshold the interval is halved, below half of it it grows by one.  The threshold is a quantile of the
relative drifts of the first rounds.  Source: arXiv 2512.18127, section 3.4, which leaves scale and threshold open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import View

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


class IntervalState(NamedTuple):
    """steps: H_k [W]; seen: relative drifts of the rounds watched; threshold: NaN until these are enough."""

    steps: Steps
    seen: tuple[Floats, ...]
    threshold: float


@dataclass(frozen=True)
class Intervals:
    """Local steps of every worker, between two bounds.

    least, most   H_min and H_max; equal: a fixed interval
    quantile      of the relative drifts seen while watching that becomes the threshold
    watch         rounds of watching; meanwhile all take max(least, min(2, most)) steps: a single step does not drift
    """

    least: int = 1
    most: int = 1
    quantile: float = 0.75
    watch: int = 10

    def __post_init__(self) -> None:
        if not (isinstance(self.least, int) and isinstance(self.most, int) and 1 <= self.least <= self.most):
            raise PolicyError(f"h_min = {self.least!r}, h_max = {self.most!r}: must be whole numbers with "
                              "1 <= h_min <= h_max")
        if not 0 < self.quantile <= 1 or self.watch < 1:
            raise PolicyError(f"quantile = {self.quantile}, watch = {self.watch}: must lie in (0, 1], and be >= 1")

    def init(self, workers: int) -> IntervalState:
        """Return the state before the first round."""
        first = self.least if self.least == self.most else max(self.least, min(2, self.most))
        return IntervalState(np.full(workers, first, np.int64), (), float("nan"))

    def advance(self, view: View, labels: NDArray[np.int64] | None, state: IntervalState) -> IntervalState:
        """Return the state with the intervals of the next round; workers with the same label get the same."""
        if self.least == self.most or view.step is None:
            return state
        length = float(np.linalg.norm(view.step))
        relative = view.drift / length if length > 0 else np.full(view.drift.shape, np.nan)
        if np.isnan(state.threshold):
            return self._watched(relative, state)
        drift = relative if labels is None else _means(relative, labels)
        steps = np.where(drift > state.threshold, state.steps // 2,
                         np.where(drift < state.threshold / 2, state.steps + 1, state.steps))
        if labels is not None:  # members of a new cluster may come from different intervals: the shortest is safe
            steps = _least(steps, labels)
        return state._replace(steps=np.clip(steps, self.least, self.most))

    def _watched(self, relative: Floats, state: IntervalState) -> IntervalState:
        known = relative[np.isfinite(relative) & (relative > 0)]
        seen = (*state.seen, known) if known.size else state.seen
        if len(seen) < self.watch:
            return state._replace(seen=seen)
        return state._replace(seen=(), threshold=float(np.quantile(np.concatenate(seen), self.quantile)))


def _means(values: Floats, labels: NDArray[np.int64]) -> Floats:
    sums, counts = np.bincount(labels, np.nan_to_num(values)), np.bincount(labels, np.isfinite(values))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[labels]


def _least(steps: Steps, labels: NDArray[np.int64]) -> Steps:
    least = np.full(int(labels.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, labels, steps)
    return least[labels]


def resting(importance: Floats, share: float, every: int, round_number: int) -> NDArray[np.bool_]:
    """Return which groups [G] are not sent in this round: of the least important, all but every `every`-th.

    The turn goes by the group's place in the model, so that every round sends about as many; what rests is buffered in
    the workers' residuals.

    share   of the groups that are sent at intervals: the least important

    >>> [resting(np.array([1., 0., 2., 0.]), 0.5, 2, number).astype(int).tolist() for number in range(2)]
    [[0, 0, 0, 1], [0, 1, 0, 0]]
    """
    rest = np.zeros(importance.size, np.bool_)
    if every > 1:
        low = np.sort(np.argsort(importance, kind="stable")[:int(share * importance.size)])
        rest[low] = (np.arange(low.size) + round_number) % every != 0
    return rest
