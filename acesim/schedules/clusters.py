"""Workers that are alike share a plan, so that a barrier waits for equals.

k-means on what a server measures of its workers: log bandwidth, latency, time of a step, drift, and the direction of
their updates where they report a sketch of it; every figure standardised over workers.  Source: arXiv 2512.18127,
"device clustering"; features, number and what a cluster shares are this project's reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, View

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
LONGEST_SKETCH = 10_000


class ClusterState(NamedTuple):
    """key: of this run's draws; labels: [W] cluster of each worker, None before the first clustering; since: round."""

    key: int
    labels: Labels | None
    since: int


@dataclass(frozen=True)
class Clusters:
    """k clusters of edge workers, found anew every so often; the data centre's workers are one of their own.  A cluster
    keeps its number as long as it keeps most of its workers.

    count      k, at most; fewer where there are fewer workers, or where they are all alike
    every      rounds between one clustering and the next
    quantile   of its members' bandwidths that a cluster's budget is reckoned with: .25, "the slowest quartile"
    sketch     numbers of the sketch of its update's direction that a worker reports before a clustering; 0: none
    """

    count: int = 4
    every: int = 50
    quantile: float = 0.25
    sketch: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.every < 1 or self.sketch < 0:
            raise PolicyError(f"clusters = {self.count}, recluster_every = {self.every}, sketch = {self.sketch}: must "
                              "be whole numbers, the first two at least 1, the last not negative")
        if self.sketch > LONGEST_SKETCH:
            raise PolicyError(f"sketch = {self.sketch}: must be at most {LONGEST_SKETCH}: more tells no more")
        if not 0 <= self.quantile <= 1:
            raise PolicyError(f"quantile = {self.quantile}: must lie in [0, 1]")

    def init(self, rng: Generator) -> ClusterState:
        """Return the state before the first clustering."""
        return ClusterState(int(rng.integers(2**63)), None, 0)

    def due(self, view: View, state: ClusterState) -> bool:
        """Say whether this round clusters: every `every` rounds once a bandwidth is known of half of the workers."""
        known = np.isfinite(view.bandwidth_bytes_per_s).mean() >= 0.5
        return bool(known) and (state.labels is None or view.round - state.since >= self.every)

    def advance(self, view: View, state: ClusterState) -> ClusterState:
        """Return the state with new labels, where they are due."""
        if not self.due(view, state):
            return state
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((state.key, view.round))))
        edge = view.tier == "edge"
        labels = np.zeros(view.tier.size, np.int64)
        if edge.any():
            found = grouped(features(view)[edge], self.count, rng)
            labels[edge] = found + (0 if edge.all() else 1)
        return ClusterState(state.key, labels if state.labels is None else renumbered(labels, state.labels), view.round)

    def asks(self, view: View, state: ClusterState) -> int:
        """Return the numbers of a sketch that this round's updates should bring, which the next clustering needs."""
        soon = state.labels is None or view.round + 1 - state.since >= self.every
        return self.sketch if soon else 0

    def shared(self, values: Floats, labels: Labels | None) -> Floats:
        """Return for each worker [W] the `quantile` of its cluster's values; its own before there are clusters."""
        if labels is None:
            return values
        found = values.copy()
        for label in range(int(labels.max()) + 1):
            members = labels == label
            known = values[members][np.isfinite(values[members])]
            found[members] = np.quantile(known, self.quantile) if known.size else np.nan
        return found


def renumbered(labels: Labels, before: Labels) -> Labels:
    """Return the same clusters [W] under the numbers of those they have most workers in common with.

    Pairs of an old and a new cluster are matched by how many workers they share, the largest first, among equals the
    lower numbers; what is left takes the lowest free ones.

    >>> renumbered(np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 0, 0])).tolist()
    [1, 1, 1, 0, 2]
    """
    news, olds = np.unique(labels).tolist(), np.unique(before).tolist()
    shared = {(old, new): int(((before == old) & (labels == new)).sum()) for old in olds for new in news}
    taken: dict[int, int] = {}  # by new cluster
    for old, new in sorted(shared, key=lambda pair: (-shared[pair], pair)):
        if shared[old, new] and new not in taken and old not in taken.values():
            taken[new] = old
    free = sorted(set(range(len(news))) - set(taken.values()))
    taken |= dict(zip((new for new in news if new not in taken), free, strict=False))
    return np.array([taken[new] for new in labels.tolist()], np.int64)


def features(view: View) -> Floats:
    """Return [W, F] what workers are told apart by, standardised; what is unknown of a worker lies in the middle."""
    columns = [np.log(view.bandwidth_bytes_per_s), view.latency_s, view.compute_s, view.drift]
    if view.sketch is not None:
        columns += list(np.asarray(view.sketch, np.float64).T)
    return np.stack([_standardised(np.asarray(column, np.float64)) for column in columns], axis=1)


def _standardised(column: Floats) -> Floats:
    known = np.isfinite(column)
    if not known.any():
        return np.zeros(column.size)
    spread = column[known].std()
    return np.where(known, (column - column[known].mean()) / (spread if spread > 0 else 1.0), 0.0)


def grouped(points: Floats, count: int, rng: Generator) -> Labels:
    """Return a cluster for each point [N] by k-means from k-means++ seeds; clusters are numbered by their first member.

    points   [N, F];  at most `count` clusters, fewer where points coincide
    source   Lloyd 1982; seeds: Arthur & Vassilvitskii 2007

    >>> grouped(np.array([[0.], [9.], [.1], [9.2]]), 2, np.random.default_rng(0))
    array([0, 1, 0, 1])
    """
    from scipy.cluster.vq import kmeans, vq  # half a second to import: only runs that cluster pay for it

    centres, _ = kmeans(points, _seeds(points, count, rng))
    labels, _ = vq(points, centres)
    _, first, places = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[places], np.int64)


def _seeds(points: Floats, count: int, rng: Generator) -> Floats:
    """Draw seeds among the points, each with probability proportional to its squared distance from those before."""
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < min(count, len(points)):
        away = ((points[:, None] - points[chosen]) ** 2).sum(2).min(1)
        if not away.any():
            break
        chosen.append(int(rng.choice(len(points), p=away / away.sum())))
    return points[chosen]
