"""What a worker does alone, between two messages: the LocalTraining parts of a policy.

Updates follow the one convention of the project: anchor minus result.  Arrays are stacks, a row a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.learning.optimizers import LearningRate, Optimizer
from acesim.scenario.errors import PolicyError
from acesim.seam import GradientFunction, Vector

State = tuple[Any, ...]


def stack(states: Sequence[State]) -> State:
    """Put the states of single workers together, a row a worker; stateless parts give ().

    >>> stack([(np.int64(1), np.zeros(2)), (np.int64(5), np.ones(2))])
    (array([1, 5]), array([[0., 0.],
           [1., 1.]]))
    """
    return tuple(np.stack(parts) for parts in zip(*states, strict=True))


def unstack(state: State, rows: int) -> list[State]:
    """Take a stacked state apart again: the inverse of `stack` for `rows` workers; rows are copies.

    >>> unstack((np.array([1, 5]),), 2)
    [(np.int64(1),), (np.int64(5),)]
    """
    return [tuple(part[row].copy() for part in state) for row in range(rows)]


def at_least_one(steps: int) -> None:
    """Raise PolicyError where a worker is asked to do nothing and to report on it."""
    if steps < 1:
        raise PolicyError(f"local_steps = {steps}: must be at least 1; a worker that rests is no participant")


@dataclass(frozen=True)
class GradientStep:
    """Send a gradient: anchor - result is the mean gradient of `steps` batches, all taken at the anchor.

    The server's optimizer turns it into a step.  More than one step is gradient accumulation.
    """

    def init(self, size: int) -> State:
        """Return (): there is no state."""
        return ()

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction,
            state: State) -> tuple[Vector, State]:
        """Return (mean gradient [C, P], ())."""
        at_least_one(steps)
        if steps == 1:
            return gradient(anchor)[0], state
        total = gradient(anchor)[0].copy()  # the caller may hand out one buffer again and again
        for _ in range(steps - 1):
            total += gradient(anchor)[0]
        return total / total.dtype.type(steps), state

    def walked(self, state: State) -> NDArray[np.float64]:
        """Return 0: all batches are taken at the anchor."""
        return np.zeros(())

    def memory_bytes(self, size: int) -> int:
        """Weights and gradient, float32."""
        return 8 * size


@dataclass(frozen=True)
class MomentumStep:
    """Send the momentum of gradients instead of a gradient: momentum correction, on the worker.

    u <- momentum u + g;  anchor - result is u.  With `masking`, entries of u whose parameter the server has changed
    since the last time start from 0 first: momentum factor masking, told by the model alone.

    momentum   in [0, 1)
    state      (u, the last anchor)
    source     Lin et al. 2018 (DGC), arXiv:1712.01887.  Differs: DGC masks what this worker sent, which it knows at
               once; a sketch has no entries, so what counts is what came of it, a round later.
    """

    momentum: float
    masking: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise PolicyError(f"MomentumStep.momentum = {self.momentum!r}: must be in [0, 1)")

    def init(self, size: int) -> State:
        """Return a momentum of nothing."""
        return np.zeros(size, np.float32), np.zeros(size, np.float32)

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction,
            state: State) -> tuple[Vector, State]:
        """Return (momentum [C, P], state); the gradient is the mean over `steps` batches at the anchor."""
        slope, _ = GradientStep().run(anchor, steps, gradient, ())
        past, before = state
        place = np.broadcast_to(anchor, slope.shape)
        kept = np.where(place == before, past, 0) if self.masking else past
        momentum = (self.momentum * kept + slope).astype(slope.dtype)
        return momentum, (momentum, place)

    def memory_bytes(self, size: int) -> int:
        """Weights, gradient, momentum and the last anchor, float32."""
        return 16 * size


@dataclass(frozen=True)
class LocalSteps:
    """Walk: `steps` steps of an optimizer from the anchor, each on the next batch; send anchor - result.

    optimizer       AdamW or SGD
    learning_rate   of the worker's own step count, which goes on from round to round
    keep_state      False: momenta start from zero in every round (the step count still goes on)
    proximal        mu: the gradient of mu / 2 |x - anchor|^2 is added (FedProx; 0 is FedAvg)
    state           (steps done, *optimizer state), arrays only
    """

    optimizer: Optimizer
    learning_rate: LearningRate
    keep_state: bool = True
    proximal: float = 0.0

    def init(self, size: int) -> State:
        """Return the state of a worker that has done nothing yet."""
        return (np.zeros((), np.int64), *self.optimizer.init(size))

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction,
            state: State) -> tuple[Vector, State]:
        """Return (anchor - result [C, P], state); anchor is [P] or [C, P], state is stacked."""
        at_least_one(steps)
        done, *arrays = state
        kept = arrays if self.keep_state else [np.zeros_like(part) for part in arrays]
        inner, place = self.optimizer.restore(tuple(kept)), anchor
        for step in range(steps):
            slope = gradient(place)[0]
            place = np.broadcast_to(place, slope.shape) if step == 0 else place
            if self.proximal:
                slope = slope + self.proximal * (place - anchor)
            counts, which = np.unique(done, return_inverse=True)  # mostly one for all
            rates = np.array([self.learning_rate(count) for count in counts.tolist()])[which]
            place, inner = self.optimizer.step(place, slope, rates, inner, in_place=step > 0)
            done = done + 1
        return np.subtract(anchor, place, out=place), (done, *inner)

    def memory_bytes(self, size: int) -> int:
        """Weights, gradient and the optimizer's state, float32."""
        return 8 * size + self.optimizer.memory_bytes(size)
