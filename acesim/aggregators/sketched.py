"""Momentum and error kept in a sketch: the server's side of SGD with linear payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from acesim.aggregators.mean import mean_body
from acesim.learning.optimizers import LearningRate
from acesim.scenario.errors import PolicyError
from acesim.seam import Compressor, Update, Vector, Work

MASKINGS = ("zero", "subtract")
NONE = Work()


class Sketch(Compressor, Protocol):
    """A compressor whose bodies tell the norm of what they stand for."""

    def norm(self, body: Any, size: int) -> float:
        """Return an estimate of the norm of the vector."""


class SketchedState(NamedTuple):
    """momentum, error: bodies; steps taken; update: the last step [P], None before the first."""

    momentum: Vector
    error: Vector
    steps: int
    update: Vector | None


@dataclass(frozen=True)
class SketchedSGD:
    """Sum the bodies of an inbox, keep momentum and error as bodies too, and take the largest estimates as the step.

    S = mean of bodies, shortened to clip_norm;  U <- momentum U + S;  E <- E + learning_rate U
    D = recover(decode(E));  theta <- theta - D;  E and U forget D (`masking`)

    sketch         the uplink's compressor, whose bodies may be added
    recover        what makes a step of the estimates, for example TopK(0.01)
    recovery       declared work of estimating all entries of one body (CountSketch.recovery)
    learning_rate  called with the number of steps taken before this one
    momentum       of U, in [0, 1)
    clip_norm      a mean whose norm, as its sketch estimates it, is longer is shortened to this; None: none is
    masking        "zero": cells of E and U that sketch(D) touches become 0, which is momentum factor masking;
                   "subtract": E <- E - sketch(D), U is left alone, and nothing is ever lost: sketch(sum of D) + E = sum
                   of learning_rate U
    raises         PolicyError when the compressor is not linear, or a parameter is out of range
    source         Rothchild et al. 2020 (FetchSGD), algorithm 1, arXiv:2007.07682.  Differs where its authors' code
                   does: "zero" is theirs, since subtraction was found to diverge there (and here: tiny sketches).

    With a lossless sketch such as Dense this is top-k with error feedback at the server.
    """

    sketch: Sketch
    recover: Compressor
    learning_rate: LearningRate
    momentum: float = 0.9
    masking: str = "zero"
    recovery: Work = NONE
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if not self.sketch.linear:
            raise PolicyError(f"SketchedSGD.sketch = {self.sketch!r}: its bodies cannot be added; take CountSketch, or "
                              f"Outer as the aggregator")
        if not 0 <= self.momentum < 1:
            raise PolicyError(f"SketchedSGD.momentum = {self.momentum!r}: must be in [0, 1)")
        if self.masking not in MASKINGS:
            raise PolicyError(f"SketchedSGD.masking = {self.masking!r}: must be one of {', '.join(MASKINGS)}")

    def init(self, model: Vector) -> SketchedState:
        """Return the sketches of nothing."""
        nothing = self._sketched(np.zeros_like(model))
        return SketchedState(nothing, nothing.copy(), 0, None)

    def step(self, model: Vector, inbox: Sequence[Update], compressor: Compressor,
             state: SketchedState) -> tuple[Vector, SketchedState]:
        """Return (the next model, state)."""
        if compressor != self.sketch:
            raise PolicyError(f"SketchedSGD.sketch = {self.sketch!r}: must be the uplink's compressor, {compressor!r}")
        momentum = np.float32(self.momentum) * state.momentum + self._mean(inbox, model.size)
        error = state.error + np.float32(self.learning_rate(state.steps)) * momentum
        payload, _ = self.recover.encode(compressor.decode(error, model.size), None, None,
                                         self.recover.init(model.size))
        taken = self.recover.decode(payload.body, model.size)
        gone = self._sketched(taken)
        if self.masking == "zero":
            error[gone != 0] = 0
            momentum[gone != 0] = 0
        else:
            error -= gone
        return model - taken, SketchedState(momentum, error, state.steps + 1, taken)

    def _mean(self, inbox: Sequence[Update], size: int) -> Vector:
        mean = mean_body(inbox)
        if self.clip_norm is None:
            return mean
        shortened: Vector = mean * np.float32(self.clip_norm / max(self.clip_norm, self.sketch.norm(mean, size)))
        return shortened

    def _sketched(self, vector: Vector) -> Vector:
        payload, _ = self.sketch.encode(vector, None, None, self.sketch.init(vector.size))
        body: Vector = payload.body
        return body

    def update(self, state: SketchedState) -> Vector | None:
        """Return the last step."""
        return state.update

    def work(self) -> Work:
        """Estimate all entries, take the largest, read and write the model (8 bytes an entry); momentum and error are
        two passes over each of two tables, at most as large as the vector (24 bytes, 3 operations)."""
        taking = self.recover.work("encode")
        return Work(self.recovery.bytes + taking.bytes + 32.0, self.recovery.flops + taking.flops + 4.0,
                    self.recovery.launches + taking.launches + 3.0)

    def memory_bytes(self, size: int) -> int:
        """Return the memory of two bodies, the estimates and the step."""
        return 2 * self.sketch.nbytes(((size,),), None) + 8 * size
