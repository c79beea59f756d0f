"""What every compressor does alike, written once: totals, declared work, encoding with decoding, refusals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import Chunk, Generator, Payload, Shapes, Vector, Wire, Work


class CompressorBase(ABC):
    """The mechanics under `acesim.seam.Compressor`; a member writes encode, decode, wire, serialise and
    deserialise.

    The flags are plain attributes, so that a member states only what differs.  `contractive` promises
    |x - decode(encode(x))|^2 <= |x|^2 for every x, and < as soon as a level that sends anything is chosen and
    x is not below the smallest number of the format: what a payload leaves behind never grows by itself,
    which is all that error feedback needs.
    """

    linear: bool = False
    lossless: bool = False
    contractive: bool = False
    incremental: bool = False
    chunks: tuple[Chunk, ...] = ()

    def init(self, size: int) -> Any:
        """Return the state for vectors of `size` entries: none."""
        return ()

    @abstractmethod
    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Turn a float32 [P] vector into a payload; never changes `vector` or `state` in place."""

    @abstractmethod
    def decode(self, body: Any, size: int) -> Vector:
        """Turn a body back into a float32 [P] vector, which is the caller's to change."""

    @abstractmethod
    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the exact bytes of a payload of tensors of these shapes, at any scale."""

    @abstractmethod
    def serialise(self, body: Any) -> bytes:
        """Spell a body as the bytes that would travel."""

    @abstractmethod
    def deserialise(self, data: bytes, size: int) -> Any:
        """Read a body of `size` entries from the bytes of `serialise`, whose length is known."""

    @abstractmethod
    def declared(self) -> tuple[Work, Work]:
        """Return the declared work per entry of encoding and of decoding."""

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: Any) -> tuple[Payload, Vector, Any]:
        """Return (payload, what the receiver will decode, state); overridden where that saves a decode."""
        payload, state = self.encode(vector, level, rng, state)
        return payload, self.decode(payload.body, vector.size), state

    def nbytes(self, shapes: Shapes, measure: Any) -> int:
        """Return the bytes of a payload of tensors of these shapes: `wire(...).total`."""
        return self.wire(shapes, measure).total

    def work(self, direction: str) -> Work:
        """Return the declared work per entry of "encode" or "decode"."""
        if direction not in ("encode", "decode"):
            raise PolicyError(f"{self!r}.work: direction = {direction!r}: must be 'encode' or 'decode'")
        encoding, decoding = self.declared()
        return encoding if direction == "encode" else decoding

    def norm(self, body: Any, size: int) -> float:
        """Return |decode(body)|_2; overridden where the body tells the vector's own norm better."""
        return float(np.linalg.norm(self.decode(body, size)))

    def memory_bytes(self, size: int) -> int:
        """Return the memory the state takes for `size` entries: none."""
        return 0

    def refuse_level(self, level: Any) -> None:
        """Raise PolicyError when a level is given to a compressor that has only one."""
        if level is not None:
            raise PolicyError(f"{self!r}.encode: level = {level!r}: this compressor has no levels; pass "
                              f"None, or choose one that has, for example TopK or Grouped")

    def sent(self, body: Any, size: int, measure: Any) -> Payload:
        """Return the payload of a body, its bytes counted by `wire`."""
        return Payload(body, self.nbytes(((size,),), measure), self.chunks, measure)


def squares(vector: Vector, starts: NDArray[np.int64], place: str) -> NDArray[np.float32]:
    """Return the sum of squares of every block [G]; raises PolicyError when the vector is not finite.

    starts   first entry of every block [G], ascending from 0; no block is empty
    """
    with np.errstate(over="ignore", invalid="ignore"):
        sums: NDArray[np.float32] = np.add.reduceat(vector * vector, starts)
        finite = np.isfinite(sums.sum(dtype=np.float64))
    if not finite:
        raise PolicyError(f"{place}: the vector holds NaN, infinity or entries above 1e19: training has "
                          f"diverged; lower the learning rate")
    return sums


def means(magnitudes: Vector, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Vector:
    """Return the mean of every block [G] as float32."""
    return np.asarray(np.add.reduceat(magnitudes, starts) / sizes, np.float32)
