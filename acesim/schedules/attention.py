"""ACE-Sync's importance of a group of parameters: two attention branches, learned on line from the server's view.

    I_i = alpha t_i + (1 - alpha) s_i                                                     [3]
    t_i = sigmoid(w1 m_i + w2 v_i + b)                                                    [4], temporal
    s_i = a_i / (1 + a_i),   a = G softmax(u . f_i)                                       structural

m_i, v_i: mean |g| and variance of g over group i of the aggregated update, exponentially averaged over rounds and
standardised over groups.  f_i: depth from input and from output, log share of the layer, log fan-in, kind of tensor.
u stands for query times key matrix of one head: only their product matters, so only their product is learned.
The label of a group is its measured contribution |<g_i, delta theta_i>|, ranked to [0, 1]; each round takes one Adam
step on the mean squared error.  Source: arXiv 2512.18127 equations 3-4 and section 3.2, which leaves features, labels
and training open: this is a reading, not a transcription.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import Group, Vector

Floats = NDArray[np.float64]
KINDS = ("embedding", "attention", "mlp", "norm", "head")
_TINY = 1e-12


class AttentionState(NamedTuple):
    """weights [3 + F]: w1, w2, b, u; Adam's moments of them; averaged statistics [G]; rounds seen."""

    weights: Floats
    first: Floats
    second: Floats
    magnitude: Floats
    variance: Floats
    rounds: int


@dataclass(frozen=True)
class Attention:
    """The predictor over fixed groups.

    groups         [G] of the model
    alpha          share of the temporal branch
    learning_rate  of the predictor's Adam
    memory         weight of the past in the averaged statistics
    """

    groups: tuple[Group, ...]
    alpha: float = 0.5
    learning_rate: float = 0.02
    memory: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise PolicyError(f"alpha = {self.alpha}: must lie in [0, 1]; 1 is the temporal branch alone")

    def init(self) -> AttentionState:
        """Return the untrained predictor: larger magnitude is more important, no structure known yet."""
        weights = np.zeros(3 + features(self.groups).shape[1])
        weights[0] = 1.0
        nothing = np.zeros_like(weights)
        groups = np.zeros(len(self.groups))
        return AttentionState(weights, nothing, nothing, groups, groups, 0)

    def predict(self, state: AttentionState) -> Floats:
        """Return I [G], each in (0, 1)."""
        return self._forward(state)[0]

    def _forward(self, state: AttentionState) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return (I, t, s, softmax, temporal features)."""
        temporal = np.stack([standardise(state.magnitude), standardise(state.variance), np.ones(len(self.groups))], 1)
        t = 1 / (1 + np.exp(-np.clip(temporal @ state.weights[:3], -30, 30)))
        scores = features(self.groups) @ state.weights[3:]
        soft = np.exp(scores - scores.max())
        soft /= soft.sum()
        a = soft * soft.size
        s = a / (1 + a)
        return self.alpha * t + (1 - self.alpha) * s, t, s, soft, temporal

    def observe(self, update: Vector, state: AttentionState) -> AttentionState:
        """Fold one aggregated update [P] into the averaged statistics."""
        magnitude, variance = statistics(update, self.groups)
        if state.rounds:
            magnitude = self.memory * state.magnitude + (1 - self.memory) * magnitude
            variance = self.memory * state.variance + (1 - self.memory) * variance
        return state._replace(magnitude=magnitude, variance=variance, rounds=state.rounds + 1)

    def learn(self, label: Floats, state: AttentionState) -> AttentionState:
        """Take one Adam step towards the measured label [G] in [0, 1]."""
        importance, t, s, soft, temporal = self._forward(state)
        error = 2 * (importance - label) / label.size
        by_t = temporal.T @ (error * self.alpha * t * (1 - t))
        by_a = error * (1 - self.alpha) * (1 - s) ** 2  # ds/da = 1 / (1 + a)^2 = (1 - s)^2
        by_score = soft * label.size * (by_a - np.dot(by_a, soft))
        gradient = np.concatenate([by_t, features(self.groups).T @ by_score])
        first = 0.9 * state.first + 0.1 * gradient
        second = 0.99 * state.second + 0.01 * gradient**2
        seen = state.rounds + 1
        step = first / (1 - 0.9**seen) / (np.sqrt(second / (1 - 0.99**seen)) + 1e-8)
        return state._replace(weights=state.weights - self.learning_rate * step, first=first, second=second)


def statistics(vector: Vector, groups: Sequence[Group]) -> tuple[Floats, Floats]:
    """Return mean |x| and variance of x over each group [G]."""
    starts = np.array([group.start for group in groups])
    sizes = np.array([group.size for group in groups], dtype=float)
    wide = vector.astype(np.float64)
    mean = np.add.reduceat(wide, starts) / sizes
    square = np.add.reduceat(wide * wide, starts) / sizes
    return np.add.reduceat(np.abs(wide), starts) / sizes, np.maximum(square - mean**2, 0.0)


def means(values: Floats, groups: Sequence[Group]) -> Floats:
    """Return the mean of each group [G]."""
    starts = np.array([group.start for group in groups])
    return np.asarray(np.add.reduceat(values, starts) / np.array([group.size for group in groups], dtype=float))


def contribution(update: Vector, step: Vector, groups: Sequence[Group]) -> Floats:
    """Return the measured label [G]: |<g_i, delta theta_i>| ranked to [0, 1]."""
    starts = np.array([group.start for group in groups])
    share = np.abs(np.add.reduceat(update.astype(np.float64) * step, starts))
    return (ranks(share) - 1) / max(1, share.size - 1)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation; 0 when either is constant."""
    first, second = ranks(a), ranks(b)
    spread = first.std() * second.std()
    return float(np.mean((first - first.mean()) * (second - second.mean())) / spread) if spread else 0.0


def ranks(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing their mean rank (scipy.stats has it too, and takes 0.7 s to import).

    >>> ranks(np.array([3., 1., 3.]))
    array([2.5, 1. , 2.5])
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Floats = np.cumsum(counts) - (counts - 1) / 2
    return shared[place]


@lru_cache(maxsize=64)
def features(groups: tuple[Group, ...]) -> Floats:
    """Return the structural features [G, F], standardised over groups."""
    layer: dict[float, int] = {}
    for group in groups:
        layer[group.depth] = layer.get(group.depth, 0) + group.size
    rows = [[group.depth, 1 - group.depth, np.log(group.size / layer[group.depth]), np.log(group.fan_in)]
            + [float(group.kind == kind) for kind in KINDS] for group in groups]
    return np.stack([standardise(column) for column in np.array(rows).T], axis=1)


def standardise(values: Floats) -> Floats:
    """Return values with mean 0 and standard deviation 1; zeros where they are all alike."""
    scaled: Floats = (values - values.mean()) / (values.std() + _TINY)
    return scaled
