"""Gradients of several batches, taken where the server's model is going, not where it is.

Between two messages a worker takes H gradients and sends their mean; the server replays H steps with it
(`acesim.aggregators.replay`).  Each gradient is taken at the place where the worker expects the model to be by then, so
that nothing of the walk itself is sent: what travels is a gradient, as with H = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from acesim.learning.local import State, at_least_one
from acesim.seam import GradientFunction, Guide, Vector


@dataclass(frozen=True)
class LookAhead:
    """Walk along a copy of the server's optimizer, which a worker can keep where it is sent all that the server adds.

    x_0 = anchor;  g_h = gradient at x_h;  x_{h+1} = optimizer step from x_h with g_h and the server's moments, at the
    server's learning rate x H^-power;  update = mean of g_0 .. g_{H-1}

    power   as the server's `Replay`
    guide   what the server's optimizer holds: given by `along`; without it (a worker that missed the last model) all
            gradients are taken at the anchor
    state   (length of the last walk,)
    """

    power: float = 0.5
    guide: Guide | None = None

    def along(self, guide: Guide) -> LookAhead:
        """Return the training of workers that know this guide."""
        return replace(self, guide=guide)

    def init(self, size: int) -> State:
        """Return (0,): nobody has walked yet."""
        return (np.zeros(()),)

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction, state: State) -> tuple[Vector, State]:
        """Return (mean gradient [C, P], (lengths of the walks [C],))."""
        at_least_one(steps)
        slope = gradient(anchor)[0]
        if steps == 1:
            return slope, (np.zeros(len(slope)),)
        total, place = slope.copy(), np.broadcast_to(anchor, slope.shape)
        inner = None if self.guide is None else _copies(self.guide, len(slope))
        for step in range(steps):
            if inner is not None and self.guide is not None:
                rate = self.guide.learning_rate(self.guide.steps + step) * steps ** -self.power
                place, inner = self.guide.rule.step(place, slope, rate, inner, in_place=step > 0)
            if step + 1 < steps:
                slope = gradient(place)[0]
                total += slope
        return total / total.dtype.type(steps), (_lengths(place - anchor),)

    def walked(self, state: State) -> NDArray[np.float64]:
        """Return the lengths of the last walks."""
        return np.asarray(state[0])

    def memory_bytes(self, size: int) -> int:
        """Weights, gradient, the sum of gradients, and the copy of two moments, float32."""
        return 20 * size


@dataclass(frozen=True)
class LastStep:
    """Expect the model to go on as it last went: nothing of the server's optimizer need be known.

    x_h = anchor + h reach (anchor - last anchor) / H;  update = mean of the gradients at x_0 .. x_{H-1}

    reach   share of the last global step that is expected again, over a whole round
    state   (last anchor [P], anchors seen)
    """

    reach: float = 1.0

    def init(self, size: int) -> State:
        """Return the state of a worker that has seen no model yet."""
        return (np.zeros(size, np.float32), np.zeros((), np.int64))

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction, state: State) -> tuple[Vector, State]:
        """Return (mean gradient [C, P], state)."""
        at_least_one(steps)
        last, seen = state
        slope = gradient(anchor)[0]
        here = np.broadcast_to(anchor, slope.shape)
        kept = (here.copy(), seen + 1)
        if steps == 1:
            return slope, kept
        total = slope.copy()
        ahead: Vector = np.where(seen[:, None] > 0, here - last, np.float32(0))
        for step in range(1, steps):
            total += gradient(here + np.float32(self.reach * step / steps) * ahead)[0]
        return total / total.dtype.type(steps), kept

    def walked(self, state: State) -> NDArray[np.float64]:
        """Return 0: where a worker looks does not depend on its own gradients, so nobody drifts."""
        return np.zeros(np.shape(state[1]))

    def memory_bytes(self, size: int) -> int:
        """Weights, gradient, the sum of gradients and the last anchor, float32."""
        return 16 * size


def _copies(guide: Guide, rows: int) -> object:
    return guide.rule.restore(tuple(np.broadcast_to(part, (rows, *np.shape(part))) for part in guide.state))


def _lengths(walks: Vector) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.sum(np.square(walks, dtype=np.float64), axis=-1)))
