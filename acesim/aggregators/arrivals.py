"""Every update whole, one after the other: what an asynchronous server does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acesim.aggregators.outer import OuterState
from acesim.learning.optimizers import LearningRate
from acesim.seam import Compressor, Update, Vector, Work


@dataclass(frozen=True)
class EachArrival:
    """theta <- optimizer(theta, update, learning rate of this step) for every update of the inbox, in its order.

    Nothing is averaged and nothing weighed: N workers take N steps where a synchronous server takes one.  Updates that
    arrive while the server is busy wait in the inbox, and are applied one by one all the same.

    optimizer      with init(size) and step(parameters, gradient, learning_rate, state), as in acesim.learning
    learning_rate  called with the number of updates applied before
    source         Dean et al. 2012 (Downpour SGD); Yan et al. 2020, arXiv:1910.10929, equation 1
    """

    optimizer: Any
    learning_rate: LearningRate

    def init(self, model: Vector) -> OuterState:
        """Return the state before the first update."""
        return OuterState(self.optimizer.init(model.size), 0, None)

    def step(self, model: Vector, inbox: Sequence[Update], compressor: Compressor,
             state: OuterState) -> tuple[Vector, OuterState]:
        """Return (the next model, state); the state's update is the sum of the inbox."""
        inner, total = state.optimizer, None
        for row, each in enumerate(inbox):
            update = compressor.decode(each.payload.body, model.size)
            model, inner = self.optimizer.step(model, update, self.learning_rate(state.steps + row), inner)
            total = update if total is None else total + update
        return model, OuterState(inner, state.steps + len(inbox), total)

    def update(self, state: OuterState) -> Vector | None:
        """Return the sum of the updates applied last."""
        return state.update

    def work(self) -> Work:
        """Read model and update, write model: 12 bytes and 2 flops an entry."""
        return Work(bytes=12.0, flops=2.0)

    def memory_bytes(self, size: int) -> int:
        """Return the memory of the optimizer's state and of an update."""
        return int(self.optimizer.memory_bytes(size)) + 4 * size
