"""Unbiased stochastic rounding, as published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase, squares
from acesim.compressors.packing import bytes_of, pack, unpack
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of


class Rounded(NamedTuple):
    """Multiples of norm / s per bucket: codes int16 [P], norms float32 [buckets], and the levels s."""

    codes: NDArray[np.int16]
    norms: Vector
    levels: int


@dataclass(frozen=True)
class QSGD(CompressorBase):
    """Send each entry as one of s + 1 shares of its bucket's norm, rounded at random so that the mean is
    right.

    Q(x_i) = |x|_2 sign(x_i) xi_i / s, with a = s |x_i| / |x|_2 and xi_i = floor(a) + 1 with probability
    a - floor(a), else floor(a).  E Q(x) = x and E|Q(x) - x|^2 <= min(d / s^2, sqrt(d) / s) |x|^2 for a bucket
    of d.

    Unbiased, not contractive: with few levels the error may be larger than the vector, and ErrorFeedback
    refuses it.

    levels    s >= 1
    bucket    d, entries that share a norm
    level     s for this call, or None
    rng       required
    body      Rounded(codes int16 [P], norms float32 [ceil(P / d)], s)
    measure   s
    nbytes    ceil(P * ceil(log2(2 s + 1)) / 8) + 4 ceil(P / d): a code of fixed length
    raises    PolicyError when s is outside [1, 32767], d < 1, rng is None, or the vector is not finite
    source    Alistarh et al. 2017, arXiv:1610.02132. Differs: fixed code length instead of Elias codes.
    """

    levels: int = 7
    bucket: int = 512

    def __post_init__(self) -> None:
        self._levels_of(None)
        if self.bucket < 1:
            raise PolicyError(f"QSGD.bucket = {self.bucket!r}: must be at least 1 entry")

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the randomly rounded entries; draws P uniform numbers from rng, state is not used."""
        if rng is None:
            raise PolicyError("QSGD.encode: rng = None: stochastic rounding needs a generator")
        levels = self._levels_of(level)
        norms = np.sqrt(squares(vector, np.arange(0, vector.size, self.bucket), "QSGD.encode"))
        shares = np.abs(vector) * self._spread(_levels_per_norm(levels, norms), vector.size)
        floors = np.floor(shares)
        floors += rng.random(vector.size, np.float32) < shares - floors
        np.minimum(floors, levels, out=floors)  # an entry may exceed its bucket's rounded norm by a last bit
        body = Rounded(np.copysign(floors, vector).astype(np.int16), norms, levels)
        return self.sent(body, vector.size, levels), state

    def decode(self, body: Rounded, size: int) -> Vector:
        """Return codes times norm / s."""
        steps = body.norms / np.float32(body.levels)
        return np.multiply(body.codes, self._spread(steps, size), dtype=np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the codes' bytes and 4 for every bucket's norm; measure is s, None the compressor's own."""
        size = size_of(shapes)
        bits = code_bits(self._levels_of(measure))
        return Wire(values=bytes_of(size, bits), scales=4 * -(-size // self.bucket))

    def serialise(self, body: Rounded) -> bytes:
        """Spell the levels' norms, then the codes."""
        codes = body.codes.astype(np.int32) + body.levels
        return body.norms.astype("<f4").tobytes() + pack(codes, code_bits(body.levels))

    def deserialise(self, data: bytes, size: int) -> Rounded:
        """Read norms and codes back, written with the compressor's own levels."""
        buckets = -(-size // self.bucket)
        codes = unpack(data[4 * buckets:], code_bits(self.levels), size) - self.levels
        norms = np.frombuffer(data, "<f4", buckets).astype(np.float32)
        return Rounded(codes.astype(np.int16), norms, self.levels)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads the vector twice (norms, rounding), draws a number an entry (about 10 operations),
        and writes codes; decoding reads codes and writes entries.  Norms, draws, rounding: three launches."""
        code = code_bits(self.levels) / 8
        return Work(8.0 + code, 18.0, launches=3.0), Work(4.0 + code, 1.0, launches=1.0)

    def _levels_of(self, level: Any) -> int:
        levels = self.levels if level is None else level
        if not (isinstance(levels, int | np.integer) and 1 <= levels <= 32767):
            raise PolicyError(f"QSGD: levels = {levels!r}: must be a whole number from 1 to 32767")
        return int(levels)

    def _spread(self, per_bucket: Vector, size: int) -> Vector:
        return np.repeat(per_bucket, self.bucket)[:size]


def code_bits(levels: int) -> int:
    """Return ceil(log2(2 s + 1)).

    >>> code_bits(1), code_bits(7), code_bits(8)
    (2, 4, 5)
    """
    return (2 * levels).bit_length()


def _levels_per_norm(levels: int, norms: Vector) -> Vector:
    smallest = np.finfo(np.float32).tiny * levels  # below it, s / norm may overflow: such a bucket is zeros
    return np.divide(np.float32(levels), norms, out=np.zeros_like(norms), where=norms > smallest)
