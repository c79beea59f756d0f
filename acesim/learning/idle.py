"""A task in which nothing is learned, for questions about the network alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from acesim.learning.contract import Array, Ids, Scores
from acesim.seam import Group, Shapes, Vector

if TYPE_CHECKING:
    from acesim.scenario.tasks import NetworkOnlyTask


class NetworkOnly:
    """One parameter whose gradient is zero: rounds take the time of the nominal model, and train nothing.

    Scores: none; `scored` is 0.
    """

    size: int = 1
    shapes: Shapes = ((1,),)
    groups: tuple[Group, ...] = (Group("nothing", 0, 1),)
    fingerprint: str = "network-only"

    def __init__(self, spec: NetworkOnlyTask, tiers: Sequence[str], seed: int) -> None:
        self.examples: Ids = np.full(len(tiers), spec.batch_size * spec.steps_per_epoch, np.int64)

    def reference(self) -> NetworkOnly:
        """Return the same task: zero is zero in any precision."""
        return self

    def initial(self, seed: int) -> Vector:
        """Return the parameter, 0."""
        return np.zeros(1, np.float32)

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> tuple[Ids]:
        """Return which worker each row is."""
        return (np.array(workers, np.int64),)

    def gradient(self, parameters: Array, batch: tuple[Ids], out: Array | None = None) -> tuple[Array, Array]:
        """Return (zeros [C, 1], losses: NaN [C])."""
        found: Any = np.zeros((batch[0].size, 1), np.float32) if out is None else out
        found[...] = 0
        return found, np.full(batch[0].size, nan)

    def evaluate(self, parameters: Array) -> Scores:
        """Return that nothing was scored."""
        return Scores(nan, nan, nan, nan, nan, nan, nan, 0)

    def evaluate_each(self, parameters: Sequence[Array]) -> Scores:
        """Return that nothing was scored."""
        return self.evaluate(np.zeros(1))

    def evaluate_own(self, parameters: Sequence[Array]) -> Scores:
        """Return that nothing was scored."""
        return self.evaluate(np.zeros(1))

    def yardsticks(self) -> dict[str, float]:
        """Return {}."""
        return {}
