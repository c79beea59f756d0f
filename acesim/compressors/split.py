"""Two compressors for the two kinds of tensors: vectors (biases, norms) and matrices (all others)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of


class Two(NamedTuple):
    """What belongs to the compressor of vectors, and what to that of matrices: bodies, measures or states."""

    vectors: Any
    matrices: Any


@dataclass(frozen=True)
class Split(CompressorBase):
    """Send tensors of one dimension by one compressor and all others by another, as one payload.

    shapes     of the model's tensors, in order; both kinds must occur
    vectors    for tensors of one dimension; it is given no level
    matrices   for all others, in one vector
    body, measure, state   Two
    nbytes     the sum of the two
    raises     PolicyError when a kind of tensor does not occur, or a vector is of another size
    source     the code of Lin et al. 2018 (arXiv:1712.01887) sends biases and norms whole
    """

    shapes: Shapes
    vectors: CompressorBase
    matrices: CompressorBase

    def __post_init__(self) -> None:
        if not 0 < int(_flat(self.shapes).sum()) < _flat(self.shapes).size:
            raise PolicyError(f"Split.shapes = {self.shapes!r}: there must be tensors of one dimension and others; "
                              "take one compressor for all")
        object.__setattr__(self, "linear", self.vectors.linear and self.matrices.linear)
        object.__setattr__(self, "contractive", self.vectors.contractive and self.matrices.contractive)

    def init(self, size: int) -> Two:
        """Return the states of both."""
        self._check(size)
        flat = int(_flat(self.shapes).sum())
        return Two(self.vectors.init(flat), self.matrices.init(size - flat))

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Two) -> tuple[Payload, Two]:
        """Return both payloads as one."""
        self._check(vector.size)
        first, vectors = self.vectors.encode(vector[_flat(self.shapes)], None, rng, state.vectors)
        second, matrices = self.matrices.encode(vector[~_flat(self.shapes)], level, rng, state.matrices)
        return (self.sent(Two(first.body, second.body), vector.size, Two(first.measure, second.measure)),
                Two(vectors, matrices))

    def give_back(self, body: Two, size: int, state: Two) -> Two:
        """Return the state after a payload was not used; a half that keeps no residual loses its part."""
        flat = int(_flat(self.shapes).sum())
        return Two(_given_back(self.vectors, body.vectors, flat, state.vectors),
                   _given_back(self.matrices, body.matrices, size - flat, state.matrices))

    def decode(self, body: Two, size: int) -> Vector:
        """Return the entries of both in their places."""
        self._check(size)
        vector, flat = np.empty(size, np.float32), int(_flat(self.shapes).sum())
        vector[_flat(self.shapes)] = self.vectors.decode(body.vectors, flat)
        vector[~_flat(self.shapes)] = self.matrices.decode(body.matrices, size - flat)
        return vector

    def wire(self, shapes: Shapes, measure: Two) -> Wire:
        """Return the bytes of both; tensors of another model are told apart by their own dimensions."""
        own = self.shapes if size_of(shapes) == _flat(self.shapes).size else shapes
        first = self.vectors.wire(tuple(shape for shape in own if len(shape) == 1), measure.vectors)
        second = self.matrices.wire(tuple(shape for shape in own if len(shape) != 1), measure.matrices)
        return Wire(*(one + other for one, other in zip(first, second, strict=True)))

    def serialise(self, body: Two) -> bytes:
        """Spell the vectors, then the matrices."""
        return self.vectors.serialise(body.vectors) + self.matrices.serialise(body.matrices)

    def deserialise(self, data: bytes, size: int) -> Two:
        """Read both back; the vectors' length does not depend on the data."""
        flat = int(_flat(self.shapes).sum())
        zeros, _ = self.vectors.encode(np.zeros(flat, np.float32), None, None, self.vectors.init(flat))
        head = zeros.nbytes
        return Two(self.vectors.deserialise(data[:head], flat), self.matrices.deserialise(data[head:], size - flat))

    def declared(self) -> tuple[Work, Work]:
        """As for the matrices, which are nearly everything."""
        return self.matrices.declared()

    def memory_bytes(self, size: int) -> int:
        """Return the memory of both, in the proportions of the shapes."""
        flat = round(size * int(_flat(self.shapes).sum()) / _flat(self.shapes).size)
        return self.vectors.memory_bytes(flat) + self.matrices.memory_bytes(size - flat)

    def _check(self, size: int) -> None:
        if size != _flat(self.shapes).size:
            raise PolicyError(f"Split: shapes of {_flat(self.shapes).size} entries for a vector of {size}: they must "
                              "be those of the model")


def _given_back(half: CompressorBase, body: Any, size: int, state: Any) -> Any:
    give_back = getattr(half, "give_back", None)
    return state if give_back is None else give_back(body, size, state)


@lru_cache(maxsize=64)
def _flat(shapes: Shapes) -> NDArray[np.bool_]:
    """Return which entries belong to tensors of one dimension [P]."""
    return np.repeat([len(shape) == 1 for shape in shapes], [size_of((shape,)) for shape in shapes])
