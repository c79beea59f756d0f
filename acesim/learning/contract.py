"""What the engine asks of a task, and the few things that all tasks share.

Everything a task gives is a pure function of the scenario, the seed, the worker and the step: no policy, no
order of calls and no neighbour in a chunk can change a batch or a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.streams import stream
from acesim.seam import Generator, Group, Shapes, Vector

Array = NDArray[Any]
Ids = NDArray[np.int64]

STEPS_PER_BLOCK = 256
"""Steps of one worker that are drawn from one random stream."""


class Scores(NamedTuple):
    """How good a model is on held-out data; figures of a tier without held-out data are NaN.

    perplexity   exp(loss_nats)
    scored       predictions that were scored
    worker_*     of top-1 over workers, each on its own test shard (`over_workers`); NaN for a task without such shards
    """

    loss_nats: float
    top1_percent: float
    perplexity: float
    cloud_loss_nats: float
    edge_loss_nats: float
    cloud_top1_percent: float
    edge_top1_percent: float
    scored: int
    worker_mean_percent: float = math.nan
    worker_worst_percent: float = math.nan
    worker_spread_percent: float = math.nan


class Task(Protocol):
    """What the engine asks of a task; C rows are the workers of one call, in the order they were named."""

    size: int
    shapes: Shapes
    groups: tuple[Group, ...]
    examples: Ids
    fingerprint: str

    def initial(self, seed: int) -> Vector:
        """Return the initial parameters, float32 [P]."""

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> Any:
        """Return the stacked batches of some workers, each at its own step."""

    def gradient(self, parameters: Array, batch: Any, out: Array | None = None) -> tuple[Array, Array]:
        """Return (gradients [C, P], losses float64 [C]); parameters are [P] or [C, P]."""

    def evaluate(self, parameters: Array) -> Scores:
        """Score one model."""

    def evaluate_each(self, parameters: Sequence[Array]) -> Scores:
        """Score W models, each on its own part of what `evaluate` scores; the parts are all of it, each once."""

    def yardsticks(self) -> dict[str, float]:
        """Return what simple models reach on what `evaluate` scores."""

    def reference(self) -> Task:
        """Return the same task in float64."""


@runtime_checkable
class Sharded(Protocol):
    """A task whose workers have held-out data of their own: beside what a `Task` has."""

    def evaluate_own(self, parameters: Sequence[Array]) -> Scores:
        """Score W models, each on its worker's own held-out data; all that `evaluate` scores is somebody's, once."""


class Draws:
    """Random numbers of each worker and step: a stream for each block of steps, drawn from as steps are asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._last: dict[int, tuple[int, Any, Iterator[Any]]] = {}  # step, its numbers, and those of the steps to come

    def __call__(self, worker: int, step: int, draw: Callable[[Generator], Iterator[Any]]) -> Array:
        """Return the numbers of a step: of those that `draw(generator)` yields for STEPS_PER_BLOCK steps.

        Steps before the last one asked for are drawn anew from the start of their block.
        """
        first = step - step % STEPS_PER_BLOCK
        at, numbers, source = self._last.get(worker, (-1, None, iter(())))
        if not first <= at <= step:
            at, source = first - 1, draw(stream(self.seed, "data", worker, step // STEPS_PER_BLOCK))
        for _ in range(at, step):
            numbers = next(source)
        self._last[worker] = step, numbers, source
        return np.asarray(numbers)

    def __reduce__(self) -> tuple[type[Draws], tuple[int]]:
        """What is pickled: what all numbers follow from."""
        return Draws, (self.seed,)


def mean_of(values: Array) -> float:
    """Return the mean, or NaN where there is nothing to average."""
    return float(values.mean()) if values.size else math.nan


def over_workers(percent: Array) -> tuple[float, float, float]:
    """Return how evenly workers are served: mean, mean of the worst tenth of them (at least one), standard deviation.

    percent   [W], NaN for those that have nothing to be scored on

    >>> over_workers(np.array([100.0, 50.0, math.nan, 60.0]))
    (70.0, 50.0, 21.602468994692867)
    """
    found = np.sort(percent[np.isfinite(percent)])
    worst = found[:max(1, len(found) // 10)]
    return mean_of(found), mean_of(worst), float(found.std()) if found.size else math.nan


def bounded_exp(loss: float) -> float:
    """Return exp(loss), at most the largest float."""
    return math.exp(min(loss, 709.0))
