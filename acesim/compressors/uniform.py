"""The same few bits for every entry, rounded to nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase, means, squares
from acesim.compressors.grid import GRID_BITS, inverse, negative_or_positive, reach, step, usable
from acesim.compressors.packing import bytes_of, pack, unpack
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of


class Codes(NamedTuple):
    """Multiples of a step per block: codes int8 [P], scales float32 [G], and the bits of a code."""

    codes: NDArray[np.int8]
    scales: Vector
    bits: int


@dataclass(frozen=True)
class Uniform(CompressorBase):
    """Round every entry to the nearest multiple of its block's step, and send the multiple.

    x^ = s_i * clip(rint(x / s_i), -m, m), with s_i and m of `acesim.compressors.grid`; for bits = "sign":
    x^ = mean|x| over the block * (-1 where x < 0, else 1).

    bits      2, 4, 8, or "sign" (also written 1)
    groups    sizes of consecutive blocks [G] that share a step; None: blocks of `nominal_block` entries
    nominal_block   entries of a block at every scale but that of `groups`
    level     bits that replace `bits` for this call, or None
    body      Codes(codes int8 [P], scales float32 [G], bits)
    measure   the bits used
    nbytes    ceil(P * bits / 8) + 4 G
    raises    PolicyError when bits are none of these, sizes do not add up to P, or the vector is not finite
    source    Seide et al. 2014 and Karimireddy et al. 2019 (arXiv:1901.09847) for "sign"; the steps are
              acesim's.

    >>> payload, _ = Uniform("sign").encode(np.array([1., -3., 2.], np.float32), None, None, ())
    >>> Uniform("sign").decode(payload.body, 3), payload.nbytes
    (array([ 2., -2.,  2.], dtype=float32), 5)
    """

    bits: int | str
    groups: tuple[int, ...] | None = None
    nominal_block: int = 16384

    contractive = True

    def __post_init__(self) -> None:
        self._width(self.bits)
        if self.nominal_block < 1 or (self.groups is not None and (not self.groups or min(self.groups) < 1)):
            raise PolicyError(f"{self!r}: every block must hold at least 1 entry")

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the rounded entries; rng and state are not used."""
        payload, _, state = self.encode_decoded(vector, level, rng, state)
        return payload, state

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: Any) -> tuple[Payload, Vector, Any]:
        """Return (payload, what the receiver will decode, state) from one rounding."""
        measure = self.bits if level is None else level
        bits, sizes = self._width(measure), self._blocks(vector.size)
        scales = _scales(vector, bits, sizes)
        multiples = _multiples(vector, bits, np.repeat(inverse(scales), sizes))
        body = Codes(multiples.astype(np.int8), scales, bits)
        return self.sent(body, vector.size, measure), multiples * np.repeat(scales, sizes), state

    def decode(self, body: Codes, size: int) -> Vector:
        """Return multiples times steps."""
        return np.multiply(body.codes, np.repeat(body.scales, self._blocks(size)), dtype=np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the codes' bytes and 4 for every block's scale; measure is bits."""
        size = size_of(shapes)
        bits = self._width(self.bits if measure is None else measure)
        ours = self.groups is not None and sum(self.groups) == size
        blocks = len(self.groups or ()) if ours else -(-size // self.nominal_block)
        return Wire(values=bytes_of(size, bits), scales=4 * blocks)

    def serialise(self, body: Codes) -> bytes:
        """Spell the scales, then the codes."""
        return body.scales.astype("<f4").tobytes() + pack(to_unsigned(body.codes, body.bits), body.bits)

    def deserialise(self, data: bytes, size: int) -> Codes:
        """Read scales and codes back, written with the compressor's own bits."""
        blocks, bits = self._blocks(size).size, self._width(self.bits)
        scales = np.frombuffer(data, "<f4", blocks).astype(np.float32)
        return Codes(from_unsigned(unpack(data[4 * blocks:], bits, size), bits), scales, bits)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads the vector for square, magnitude and their sums, reads it again, and writes codes;
        decoding reads codes and writes entries."""
        code = self._width(self.bits) / 8
        return Work(8.0 + code, 8.0, launches=2.0), Work(4.0 + code, 1.0, launches=1.0)

    def _width(self, bits: Any) -> int:
        if bits == "sign" or (not isinstance(bits, str) and bits == 1):
            return 1
        if isinstance(bits, str) or bits not in GRID_BITS:
            raise PolicyError(f"Uniform: bits = {bits!r}: must be 2, 4, 8 or 'sign' (1)")
        return int(bits)

    def _blocks(self, size: int) -> NDArray[np.int64]:
        if self.groups is None:
            return np.diff(np.append(np.arange(0, size, self.nominal_block), size))
        if sum(self.groups) != size:
            raise PolicyError(f"Uniform: groups of {sum(self.groups)} entries for a vector of {size}: the "
                              f"sizes must add up to the vector's; groups=None cuts any vector in blocks")
        return np.array(self.groups)


def to_unsigned(codes: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return codes shifted to [0, 2^bits), as they are packed; a single bit says "not below zero"."""
    return codes > 0 if bits == 1 else (codes.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)


def from_unsigned(numbers: NDArray[Any], bits: int) -> NDArray[np.int8]:
    """Return the codes again."""
    return (2 * numbers - 1 if bits == 1 else numbers - (1 << (bits - 1))).astype(np.int8)


def _scales(vector: Vector, bits: int, sizes: NDArray[np.int64]) -> Vector:
    starts = np.cumsum(sizes) - sizes
    magnitudes = np.abs(vector)
    sums = squares(vector, starts, "Uniform.encode")
    if bits == 1:
        return usable(means(magnitudes, starts, sizes))
    return usable(step(bits, np.sqrt(sums / sizes), np.maximum.reduceat(magnitudes, starts)))


def _multiples(vector: Vector, bits: int, inverses: Vector) -> NDArray[Any]:
    if bits == 1:
        return negative_or_positive(vector)
    nearest: NDArray[Any] = np.rint(vector * inverses)
    np.clip(nearest, -reach(bits), reach(bits), out=nearest)
    return nearest
