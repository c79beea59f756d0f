"""One outer step: the mean update is a pseudo-gradient for a server optimizer.

FullSync, Top-k, FedAvg and DiLoCo differ only in how many local steps lie in an update and in this optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from acesim.aggregators.mean import weighted_mean
from acesim.learning.optimizers import LearningRate
from acesim.seam import Compressor, Guide, Update, Vector, Work


class OuterState(NamedTuple):
    """optimizer: its own state; steps: taken so far; update: the last mean update [P], None before the first."""

    optimizer: Any
    steps: int
    update: Vector | None


@dataclass(frozen=True)
class Outer:
    """theta <- optimizer(theta, mean of the inbox, learning rate of this step).

    optimizer      with init(size) and step(parameters, gradient, learning_rate, state), as in acesim.learning
    learning_rate  called with the number of outer steps taken before this one
    """

    optimizer: Any
    learning_rate: LearningRate

    def init(self, model: Vector) -> OuterState:
        """Return the state before the first step."""
        return OuterState(self.optimizer.init(model.size), 0, None)

    def step(self, model: Vector, inbox: Sequence[Update], compressor: Compressor,
             state: OuterState) -> tuple[Vector, OuterState]:
        """Return (the next model, state)."""
        return self.follow(model, weighted_mean(inbox, compressor, model.size), inbox, state)

    def follow(self, model: Vector, mean: Vector, inbox: Sequence[Update],
               state: OuterState) -> tuple[Vector, OuterState]:
        """Return (the next model, state) for a mean update [P] of this inbox."""
        rate = self.learning_rate(state.steps)
        model, inner = self.optimizer.step(model, mean, rate, state.optimizer)
        return model, OuterState(inner, state.steps + 1, mean)

    def update(self, state: OuterState) -> Vector | None:
        """Return the last mean update."""
        return state.update

    def guide(self, state: OuterState) -> Guide:
        """Return what the optimizer holds."""
        curvature = getattr(state.optimizer, "square", None)  # AdamW's; SGD has none
        return Guide(self.optimizer, state.optimizer, self.learning_rate, state.steps, curvature)

    def work(self) -> Work:
        """Read model, mean and two moments, write model and two moments: 28 bytes an entry, about 12 flops."""
        return Work(bytes=28.0, flops=12.0, launches=1.0)

    def memory_bytes(self, size: int) -> int:
        """Return the memory of the optimizer's state and of the mean."""
        return int(self.optimizer.memory_bytes(size)) + 4 * size
