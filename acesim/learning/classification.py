"""The classification task: labelled examples, dealt unevenly, learnt by a small network.

Held-out examples are dealt too: those of a class go to workers in the proportions in which its training examples
did, in whole numbers as near to it as can be.  So every worker has a test shard with the mixture of what it
trains on, and every held-out example is in exactly one.  The scores of a tier are those of its workers' test
shards together.  Where there are few held-out examples, a small worker may have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acesim.learning import labelled
from acesim.learning.contract import Array, Draws, Ids, Scores, bounded_exp, mean_of, over_workers
from acesim.learning.images import Classifier
from acesim.learning.partition import deal, partition, split
from acesim.scenario.streams import stream
from acesim.seam import Generator, Vector

if TYPE_CHECKING:
    from acesim.scenario.tasks import ImageTask


SLICE = 1 << 16
"""Rows that are normalised together."""


class Batch(NamedTuple):
    """Examples [C, B, features], and their classes [C, B]."""

    inputs: Array
    labels: Ids


class ImageClassification:
    """Tell the class of an image, or of a row of numbers.

    spec     data, model, partition, batch_size
    tiers    of the workers
    dtype    of the arithmetic
    raises   ScenarioError when the data cannot be used, or not be dealt as asked
    """

    def __init__(self, spec: ImageTask, tiers: Sequence[str], seed: int, dtype: Any = np.float32) -> None:
        self._arguments = (spec, tuple(tiers), seed)
        self.spec, self.workers = spec, len(tiers)
        data = labelled.read(spec.data)
        self.fingerprint = data.fingerprint
        self.model = Classifier(spec.model, data.shape, data.classes, dtype)
        self.size, self.shapes, self.groups = self.model.size, self.model.shapes, self.model.groups()
        self.training, self.held_out = _normalised(data, np.dtype(dtype))
        rng = stream(seed, "data", self.workers)  # a row past the workers' own streams
        parts = partition(spec.partition, self.training.labels, self.workers, rng)
        self.shards = parts.shards
        self.examples = parts.counts.sum(axis=0)
        totals = np.bincount(self.held_out.labels, minlength=data.classes)
        mixtures = parts.counts / parts.counts.sum(axis=1, keepdims=True)
        self.tests = deal(self.held_out.labels, split(totals, mixtures), rng)
        self._cloud = np.zeros(len(self.held_out.labels), bool)
        self._cloud[np.concatenate([np.zeros(0, np.int64), *self._tests_of(tiers, "cloud")])] = True
        self._draws = Draws(seed)

    def _tests_of(self, tiers: Sequence[str], wanted: str) -> list[Ids]:
        return [test for tier, test in zip(tiers, self.tests, strict=True) if tier == wanted]

    def reference(self) -> ImageClassification:
        """Return the same task in float64."""
        return ImageClassification(*self._arguments, dtype=np.float64)

    def initial(self, seed: int) -> Vector:
        """Return the initial parameters, float32 [P]."""
        return self.model.initial(stream(seed, "init"))

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> Batch:
        """Return examples of each worker's own shard, [C, B].

        A block of STEPS_PER_BLOCK steps goes through the shard again and again, each time in another order.
        """
        chosen = np.stack([self._draws(worker, at, partial(self._orders, worker))
                           for worker, at in zip(workers, step, strict=True)])
        return Batch(self.training.inputs[chosen], self.training.labels[chosen])

    def _orders(self, worker: int, rng: Generator) -> Iterator[Ids]:
        """Yield the examples [B] of one step after another."""
        shard, wanted = self.shards[worker], self.spec.batch_size
        left = shard[:0]
        while True:
            turns = [left] + [rng.permutation(shard) for _ in range(-(-(wanted - len(left)) // len(shard)))]
            drawn = np.concatenate(turns)
            yield drawn[:wanted]
            left = drawn[wanted:]

    def gradient(self, parameters: Array, batch: Batch, out: Array | None = None) -> tuple[Array, Array]:
        """Return (gradients [C, P], losses float64 [C]) of the mean cross-entropy in nats."""
        losses, gradients = self.model.gradient(parameters, batch.inputs, batch.labels, out)
        return gradients, losses

    def evaluate(self, parameters: Array) -> Scores:
        """Score one model on all held-out examples."""
        return self._scores(*self.model.loss(parameters, *self.held_out))

    def evaluate_each(self, parameters: Sequence[Array]) -> Scores:
        """Score W models, each on its own worker's test shard: each example once, by whom it belongs to."""
        nats, right = np.empty(len(self._cloud)), np.empty(len(self._cloud), bool)
        for model, test in zip(parameters, self.tests, strict=True):
            nats[test], right[test] = self.model.loss(model, self.held_out.inputs[test], self.held_out.labels[test])
        return self._scores(nats, right)

    def evaluate_own(self, parameters: Sequence[Array]) -> Scores:
        """Score W models, each on its own worker's test shard."""
        return self.evaluate_each(parameters)

    def _scores(self, nats: Array, right: Array) -> Scores:
        loss, cloud = float(nats.mean()), self._cloud
        return Scores(loss, 100 * float(right.mean()), bounded_exp(loss),
                      mean_of(nats[cloud]), mean_of(nats[~cloud]),
                      100 * mean_of(right[cloud]), 100 * mean_of(right[~cloud]), nats.size,
                      *over_workers(self._by_worker(right)))

    def top1_by_worker(self, parameters: Array) -> Array:
        """Return the top-1 (%) of one model on each worker's own test shard [W]; NaN where that is empty."""
        _, right = self.model.loss(parameters, *self.held_out)
        return self._by_worker(right)

    def _by_worker(self, right: Array) -> Array:
        return np.array([100 * mean_of(right[test]) for test in self.tests])

    def yardsticks(self) -> dict[str, float]:
        """Return what answers without a network reach: always the most frequent class, and the nearest class mean.

        majority_nats is the cross-entropy of answering every example with the classes' shares of the training data.
        """
        inputs, labels = self.training
        shares = np.bincount(labels) / len(labels)
        means = np.stack([inputs[labels == label].mean(axis=0, dtype=np.float64) for label in range(len(shares))])
        away = np.sum(means * means, axis=1) - 2 * self.held_out.inputs @ means.T
        nearest = np.argmin(away, axis=1) == self.held_out.labels
        return {"majority_nats": float(-np.log(shares[self.held_out.labels]).mean()),
                "majority_top1_percent": 100 * float(np.mean(self.held_out.labels == np.argmax(shares))),
                "nearest_mean_top1_percent": 100 * float(nearest.mean())}


def _normalised(data: labelled.Labelled, dtype: np.dtype[Any]) -> tuple[labelled.Examples, labelled.Examples]:
    """Subtract the mean and divide by the deviation of the training inputs: of every feature, or every channel."""
    last = data.shape[-1]
    mean, deviation = _moments(data.training.inputs.reshape(-1, last))

    def normal(examples: labelled.Examples) -> labelled.Examples:
        rows = np.empty((examples.inputs.size // last, last), dtype)
        for part, own in _slices(examples.inputs.reshape(-1, last)):
            rows[part] = (own - mean) / deviation
        return examples._replace(inputs=rows.reshape(examples.inputs.shape))

    return normal(data.training), normal(data.held_out)


def _slices(rows: Array) -> Iterator[tuple[slice, Array]]:
    """Yield rows part by part: a copy in float64 of all at once can be eight times what was read."""
    for start in range(0, len(rows), SLICE):
        yield slice(start, start + SLICE), rows[start:start + SLICE]


def _moments(rows: Array) -> tuple[Array, Array]:
    """Return mean and deviation of every column, float64; 1 for the deviation of what never varies."""
    mean = rows.mean(axis=0, dtype=np.float64)
    squares = sum(np.sum((own - mean) ** 2, axis=0) for _, own in _slices(rows))
    deviation = np.sqrt(squares / len(rows))
    return mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
