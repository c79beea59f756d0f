"""Models whose parameters are one flat vector, and whose gradients are taken for many workers at once.

All parameters live in one flat vector [P]; the tensors are named views of it.  Gradients of C workers are
written straight into the rows of a [C, P] matrix.  A model says how a chunk of workers goes forward and back;
all else is here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from acesim.learning import layers
from acesim.learning.layers import Array, Views, Workspace
from acesim.seam import Generator, Group, Shapes, Vector

CHUNK, SMALL, FEW = 8, 1 << 16, 64
"""Workers whose gradients are computed together, parameters of a small model, predictions of a small batch."""

SLICE = 1024
"""Predictions that are scored together."""


def together(size: int, predictions: int = 1) -> int:
    """Return how many workers are computed together: more leave the cache, fewer pay numpy's cost per call.

    size          P
    predictions   of a worker's batch
    """
    return 2 * CHUNK if size <= SMALL and predictions <= FEW else CHUNK


class Tensor(NamedTuple):
    """One named tensor of the flat vector; `spread`: the deviation of its initial values, 0 a constant."""

    name: str
    shape: tuple[int, ...]
    start: int
    kind: str
    depth: float
    fan_in: int
    spread: float

    @property
    def stop(self) -> int:
        """One past its last entry."""
        return self.start + math.prod(self.shape)


Row = tuple[str, tuple[int, ...], str, float, int, float]
"""A tensor that has no place yet: (name, shape, kind, depth, fan_in, spread)."""


def place(rows: Sequence[Row]) -> tuple[Tensor, ...]:
    """Lay tensors one after the other.

    >>> [tensor.stop for tensor in place([("a", (2, 3), "mlp", 0.0, 3, 1.0), ("b", (4,), "norm", 0.0, 1, 0.0)])]
    [6, 10]
    """
    tensors: list[Tensor] = []
    for name, shape, kind, depth, fan_in, spread in rows:
        start = tensors[-1].stop if tensors else 0
        tensors.append(Tensor(name, shape, start, kind, depth, fan_in, spread))
    return tuple(tensors)


def cut(name: str, first: Tensor, last: Tensor, block: int) -> list[Group]:
    """Cut the entries from one tensor to another into equal blocks of at most `block` entries."""
    pieces = -(-(last.stop - first.start) // block)
    edges = [first.start + (last.stop - first.start) * i // pieces for i in range(pieces + 1)]
    names = [name] if pieces == 1 else [f"{name}.{i}" for i in range(pieces)]
    return [Group(name, start, stop, first.kind, first.depth, first.fan_in)
            for name, start, stop in zip(names, edges, edges[1:], strict=False)]


class FlatModel(ABC):
    """A model of one shape; it holds work buffers but no parameters.

    tensors   in the order of the flat vector, without gaps
    dtype     of the arithmetic; float64 is the reference
    size      P, the number of parameters
    """

    def __init__(self, tensors: tuple[Tensor, ...], dtype: Any) -> None:
        self.tensors = tensors
        self.size = tensors[-1].stop
        self._spans = tuple((tensor.name, slice(tensor.start, tensor.stop), tensor.shape) for tensor in tensors)
        self._work = Workspace(dtype)

    @abstractmethod
    def _forward(self, p: Views, inputs: Array) -> Any:
        """Run a chunk of workers; what is returned has the `logits` [V, C, predictions of a worker]."""

    @abstractmethod
    def _backward(self, tape: Any, inputs: Array, p: Views, g: Views) -> None:
        """Go back from the gradient of the logits, which stands in tape.logits."""

    @property
    def shapes(self) -> Shapes:
        """Shapes of all tensors, in order."""
        return tuple(tensor.shape for tensor in self.tensors)

    def groups(self, block: int | None = None) -> tuple[Group, ...]:
        """Return the parameters as consecutive groups: large tensors cut, those of `runs` joined.

        block   largest group; max(64, P // 120) if None
        """
        block = block or max(64, self.size // 120)
        return tuple(group for name, run in self.runs() for group in cut(name, run[0], run[-1], block))

    def runs(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Yield the tensors that are grouped as one, by name: here each is by itself."""
        for tensor in self.tensors:
            yield tensor.name, [tensor]

    def views(self, matrix: Array) -> Views:
        """Return the tensors of [C, P] rows by name, each [C, *shape]; nothing is copied."""
        rows = matrix.shape[0]
        return {name: matrix[:, span].reshape((rows, *shape)) for name, span, shape in self._spans}

    def initial(self, rng: Generator) -> Vector:
        """Draw initial parameters, float32 [P]: normal, each tensor with its `spread`."""
        values = rng.standard_normal(self.size, dtype=np.float32)
        for tensor in self.tensors:
            values[tensor.start:tensor.stop] *= tensor.spread
        return values

    def gradient(self, parameters: Array, inputs: Array, targets: Array,
                 out: Array | None = None) -> tuple[Array, Array]:
        """Return (losses float64 [C], gradients [C, P]) of every worker's mean cross-entropy.

        parameters  [P] shared by all, or [C, P]
        inputs      [C, B, ...]
        targets     int [C, B] or [C, B, T]: a class for each prediction
        out         [C, P] to write the gradients into; new if None (one that is kept is faster)
        """
        rows = inputs.shape[0]
        dtype = self._work.dtype
        stacked = np.broadcast_to(np.asarray(parameters, dtype), (rows, self.size))
        out = np.empty((rows, self.size), dtype) if out is None else out
        if out.shape != stacked.shape or out.dtype != dtype or out.strides[1] != out.itemsize:
            wanted = f"{dtype} {stacked.shape} with contiguous rows"
            raise ValueError(f"out = {out.dtype} {out.shape}: must be {wanted}")
        losses, step = np.empty(rows), together(self.size, math.prod(targets.shape[1:]))
        for start in range(0, rows, step):
            part = slice(start, start + step)
            p = self.views(stacked[part])
            tape = self._forward(p, inputs[part])
            losses[part] = layers.cross_entropy(tape.logits, targets[part].reshape(tape.logits.shape[1:]))
            self._backward(tape, inputs[part], p, self.views(out[part]))
        return losses, out

    def loss(self, parameters: Array, inputs: Array, targets: Array) -> tuple[Array, Array]:
        """Score examples with one model: (nats, was the most likely class right?), both shaped as `targets`.

        parameters  [P]
        inputs      [N, ...]
        targets     int [N] or [N, T]
        """
        p = self.views(np.asarray(parameters, self._work.dtype)[None])
        nats, right = np.empty(targets.shape), np.empty(targets.shape, bool)
        step = max(1, SLICE // math.prod(targets.shape[1:]))
        for start in range(0, len(targets), step):
            part = slice(start, start + step)
            logits = self._forward(p, inputs[None, part]).logits[:, 0]
            aim = targets[part].reshape(-1)
            chosen, largest = logits[aim, np.arange(aim.size)], np.maximum.reduce(logits, axis=0)
            right[part] = layers.foremost(logits, largest, aim, chosen).reshape(targets[part].shape)
            _, total = layers.softmax(logits, largest)
            nats[part] = (np.log(total) + largest - chosen).reshape(targets[part].shape)
        return nats, right
