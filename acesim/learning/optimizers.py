"""Optimizers as pure rules: AdamW and SGD as PyTorch defines them, and the learning rate over time.

Each rule is a frozen dataclass with `init(size)`, which returns the state, and `step(parameters, gradient,
learning_rate, state)`, which returns the next parameters and state.  Nothing is changed, unless `in_place` is
asked for.  All of it works on one vector [P] and on stacks [C, P], a row a worker, each with its own step count
and, where wanted, its own learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from acesim.scenario.schema import OptimizerSpec

Array = NDArray[Any]

BLOCK = 1 << 19
"""Entries that are updated together, of all arrays: few enough for the caches, many for numpy's cost per call."""


class Optimizer(Protocol):
    """What every rule offers."""

    def init(self, size: int, dtype: Any = np.float32) -> Any:
        """Return the state for `size` parameters: a NamedTuple of arrays, `steps` first."""

    def step(self, parameters: Array, gradient: Array, learning_rate: float | Array,
             state: Any, in_place: bool = False) -> tuple[Array, Any]:
        """Return (the next parameters, state); parameters are [P] or [C, P], and so is the state.

        in_place   parameters and state are the caller's alone, who has no more use for them: they are overwritten
        """

    def restore(self, arrays: tuple[Array, ...]) -> Any:
        """Turn a plain tuple of arrays back into a state."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory of the state for `size` float32 parameters."""


class Block(NamedTuple):
    """A worker's learning rate, the steps it has done, and the same stretch of each of its vectors."""

    rate: float
    steps: int
    parts: list[Array]


def blocks(learning_rate: float | Array, steps: Array, arrays: Sequence[Array]) -> Iterator[Block]:
    """Walk over workers, and over each worker's vectors in blocks."""
    matrices = [np.atleast_2d(array) for array in arrays]
    (count, size), length = matrices[0].shape, entries(arrays)
    rates = np.broadcast_to(learning_rate, count).tolist()
    for rate, done, *rows in zip(rates, np.atleast_1d(steps).tolist(), *matrices, strict=True):
        for start in range(0, size, length):
            yield Block(rate, done, rows if length == size else [row[start:start + length] for row in rows])


def entries(arrays: Sequence[Array]) -> int:
    """Return how many entries of a vector make a block."""
    return int(min(BLOCK // (len({id(array) for array in arrays}) + 1), arrays[0].shape[-1]))


def clipped(gradient: Array, norm: float | None) -> Array:
    """Shorten each worker's gradient to the given Euclidean norm where it is longer; None leaves all as they are.

    source   Pascanu et al. 2013, arXiv:1211.5063.  Differs from PyTorch: exact, without its 1e-6.

    >>> clipped(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """
    if norm is None:
        return gradient
    lengths = np.sqrt(np.sum(np.square(gradient, dtype=np.float64), axis=-1, keepdims=True))
    return np.asarray(gradient * (norm / np.maximum(lengths, norm)).astype(gradient.dtype))


class AdamWState(NamedTuple):
    """Steps done, running means of the gradient and of its square, and (amsgrad) the largest of these."""

    steps: Array
    mean: Array
    square: Array
    peak: Array


@dataclass(frozen=True)
class AdamW:
    """Adam with bias correction and decoupled weight decay.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
    x = x (1 - learning_rate weight_decay) - learning_rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    betas         (b1, b2)
    weight_decay  decoupled; with decoupled=False it is added to the gradient instead (Adam with L2)
    amsgrad       v in the denominator is the largest seen so far
    clip_norm     a longer gradient is shortened to this first; None: none is
    source        Loshchilov & Hutter 2019, arXiv:1711.05101; order of operations as in PyTorch

    >>> rule = AdamW()
    >>> x, state = rule.step(np.array([1.]), np.array([5.]), 0.1, rule.init(1, np.float64))
    >>> x.round(6), int(state.steps)
    (array([0.899]), 1)
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    amsgrad: bool = False
    decoupled: bool = True
    clip_norm: float | None = None

    def init(self, size: int, dtype: Any = np.float32) -> AdamWState:
        """Return zeros."""
        peak = np.zeros(size if self.amsgrad else 0, dtype)
        return AdamWState(np.zeros((), np.int64), np.zeros(size, dtype), np.zeros(size, dtype), peak)

    def step(self, parameters: Array, gradient: Array, learning_rate: float | Array,
             state: AdamWState, in_place: bool = False) -> tuple[Array, AdamWState]:
        """Return (the next parameters, state)."""
        gradient = clipped(gradient, self.clip_norm)
        if in_place:
            after, mean, square, peak = parameters, state.mean, state.square, state.peak
        else:  # one allocation large enough for large pages: mapping small ones would cost twice the arithmetic
            after, mean, square = np.empty((3, *parameters.shape), parameters.dtype)
            peak = state.peak.copy()
        arrays = [parameters, gradient, state.mean, state.square, after, mean, square]
        arrays += [peak] * self.amsgrad
        scratch = np.empty(entries(arrays), parameters.dtype)
        for block in blocks(learning_rate, state.steps, arrays):
            self._update(block.rate, block.steps + 1, block.parts, scratch[:block.parts[0].size])
        return after, AdamWState(state.steps + 1, mean, square, peak)

    def _update(self, rate: float, count: int, parts: list[Array], scratch: Array) -> None:
        """Update one block in 14 passes over memory that stays in cache."""
        x, g, mean, square, after, next_mean, next_square, *peak = parts
        first, second = self.betas
        if self.weight_decay and not self.decoupled:
            g = g + self.weight_decay * x
        np.multiply(g, 1 - first, out=scratch)
        np.multiply(mean, first, out=next_mean)
        next_mean += scratch
        np.multiply(g, g, out=scratch)
        scratch *= 1 - second
        np.multiply(square, second, out=next_square)
        next_square += scratch
        largest = np.maximum(peak[0], next_square, out=peak[0]) if peak else next_square
        np.sqrt(largest, out=scratch)
        scratch *= 1 / math.sqrt(1 - second ** count)
        scratch += self.eps
        np.divide(next_mean, scratch, out=scratch)
        scratch *= rate / (1 - first ** count)
        np.multiply(x, 1 - rate * self.weight_decay if self.decoupled else 1, out=after)
        after -= scratch

    def restore(self, arrays: tuple[Array, ...]) -> AdamWState:
        """Turn a plain tuple of arrays back into a state."""
        return AdamWState(*arrays)

    def memory_bytes(self, size: int) -> int:
        """Two float32 entries a parameter, three with amsgrad."""
        return (12 if self.amsgrad else 8) * size


class SGDState(NamedTuple):
    """Steps done, and the velocity (empty without momentum)."""

    steps: Array
    velocity: Array


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum as PyTorch defines it.

    g = g + weight_decay x;  u = g at the first step, then momentum u + (1 - dampening) g
    x = x - learning_rate u, or with nesterov x - learning_rate (g + momentum u)

    clip_norm   a longer gradient is shortened to this first; None: none is
    source      Sutskever et al. 2013, in PyTorch's form: the learning rate multiplies the velocity, not what is
                added to it

    >>> rule = SGD(momentum=0.5)
    >>> x, state = rule.step(np.array([1.]), np.array([2.]), 0.1, rule.init(1, np.float64))
    >>> rule.step(x, np.array([2.]), 0.1, state)[0]
    array([0.5])
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    dampening: float = 0.0
    clip_norm: float | None = None

    def init(self, size: int, dtype: Any = np.float32) -> SGDState:
        """Return zeros."""
        return SGDState(np.zeros((), np.int64), np.zeros(size if self.momentum else 0, dtype))

    def step(self, parameters: Array, gradient: Array, learning_rate: float | Array,
             state: SGDState, in_place: bool = False) -> tuple[Array, SGDState]:
        """Return (the next parameters, state)."""
        gradient = clipped(gradient, self.clip_norm)
        after: Array = parameters if in_place else np.empty(parameters.shape, parameters.dtype)
        velocity = state.velocity if in_place else np.empty_like(state.velocity)
        arrays = [parameters, gradient, after, *[state.velocity, velocity] * bool(self.momentum)]
        scratch = np.empty((2, entries(arrays)), parameters.dtype)
        for block in blocks(learning_rate, state.steps, arrays):
            self._update(block, *scratch[:, :block.parts[0].size])
        return after, SGDState(state.steps + 1, velocity)

    def _update(self, block: Block, scratch: Array, slope: Array) -> None:
        """Update one block, in passes over memory that stays in cache."""
        x, g, after, *velocities = block.parts
        if self.weight_decay:
            g = np.add(g, np.multiply(x, self.weight_decay, out=slope), out=slope)
        if velocities:
            before, velocity = velocities
            np.multiply(g, 1 - self.dampening if block.steps else 1, out=scratch)
            np.multiply(before, self.momentum, out=velocity)
            velocity += scratch
            g = np.add(g, np.multiply(velocity, self.momentum, out=scratch), out=scratch) if self.nesterov else velocity
        np.subtract(x, np.multiply(g, block.rate, out=scratch), out=after)

    def restore(self, arrays: tuple[Array, ...]) -> SGDState:
        """Turn a plain tuple of arrays back into a state."""
        return SGDState(*arrays)

    def memory_bytes(self, size: int) -> int:
        """One float32 entry a parameter with momentum, none without."""
        return 4 * size if self.momentum else 0


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of a step: linear warm-up from peak / warm_up to peak, then the schedule.

    schedule   "constant", "linear", "cosine" or "step"
    warm_up    steps
    total      steps of the run; linear and cosine schedules reach 0 there and stay at it
    drops      where a step schedule multiplies the rate by `factor`, in shares of what follows the warm-up
    source     of the usual drops: He et al. 2016, arXiv:1512.03385, section 4.2 (32k and 48k of 64k steps)

    >>> rate = LearningRate("linear", peak=1.0, warm_up=2, total=6)
    >>> [rate(step) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    schedule: str
    peak: float
    warm_up: int = 0
    total: int = 1
    drops: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "linear", "cosine", "step"):
            raise ValueError(f"schedule = {self.schedule}: must be constant, linear, cosine or step")

    def __call__(self, step: float) -> float:
        """Return the rate of a step, counted from 0."""
        if step < self.warm_up:
            return self.peak * (step + 1) / self.warm_up
        done = min(1.0, (step - self.warm_up) / max(1, self.total - self.warm_up))
        if self.schedule == "linear":
            return self.peak * (1 - done)
        if self.schedule == "step":
            return self.peak * self.factor ** sum(done >= drop for drop in self.drops)
        return self.peak * (1 + math.cos(math.pi * done)) / 2 if self.schedule == "cosine" else self.peak


def build_optimizer(spec: OptimizerSpec) -> AdamW | SGD:
    """Return the rule a scenario asks for; raises ValueError when there is none of that name."""
    if spec.name == "adamw":
        return AdamW(spec.betas, spec.eps, spec.weight_decay, clip_norm=spec.clip_norm)
    if spec.name == "sgd":
        return SGD(spec.momentum, spec.nesterov, spec.weight_decay, clip_norm=spec.clip_norm)
    raise ValueError(f"optimizer.name = {spec.name}: must be adamw or sgd")


def build_learning_rate(spec: OptimizerSpec, total: int) -> LearningRate:
    """Return the learning rate a scenario asks for, over `total` steps."""
    return LearningRate(spec.schedule, spec.learning_rate, spec.warm_up_rounds, total, tuple(spec.drops), spec.factor)
