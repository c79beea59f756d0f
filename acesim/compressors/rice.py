"""Sparse whole numbers in few bits: gaps and magnitudes in Rice codes, a parameter of each for every block.

A Rice code of parameter k spells n as n >> k zeros, a one, and the k low bits of n: near the entropy of a geometric
distribution whose mean is about 2^k.  Rice & Plaunt 1971.  Zeros, ones and low bits lie in sections of their own, so
that
all of it is spelt and read in passes over whole vectors; `Coded.nbytes` is the length of what `spell` gives, without
spelling it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.packing import bytes_of, pack, unpack

LONGEST = 12  # largest parameter: gaps of some thousand entries
_SHARES = ((5**0.5 - 1) / 2) ** 0.5 ** np.arange(LONGEST)
_EVEN = _SHARES / (1 - _SHARES)  # the means at which parameters k and k + 1 are equally good
Whole = NDArray[np.int64]


class Blocks(NamedTuple):
    """Consecutive blocks: edges [G + 1], from 0 to P, and sizes [G]."""

    edges: Whole
    sizes: Whole


class Coded(NamedTuple):
    """What is spelt of a vector of codes: nonzero entries, their gaps and magnitudes - 1, and parameters by block."""

    counts: Whole
    gaps: Whole
    excess: Whole
    negative: NDArray[np.bool_]
    gap_bits: Whole
    excess_bits: Whole

    @property
    def nbytes(self) -> int:
        """The bytes of all sections, counts and parameters of the blocks apart."""
        return (_length(self.gaps, self.gap_bits, self.counts) + _length(self.excess, self.excess_bits, self.counts)
                + bytes_of(self.gaps.size, 1))


def blocks_of(sizes: tuple[int, ...]) -> Blocks:
    """Return the blocks of these sizes."""
    lengths = np.array(sizes, np.int64)
    return Blocks(np.concatenate([[0], np.cumsum(lengths)]), lengths)


def coded(codes: NDArray[np.int16], blocks: Blocks) -> Coded:
    """Return what is spelt of codes [P]."""
    places = np.flatnonzero(codes != 0)  # four times as fast as of the codes themselves
    values = codes[places].astype(np.int64)
    ends = np.searchsorted(places, blocks.edges)
    counts, full = np.diff(ends), ends[1:] > ends[:-1]
    first = ends[:-1][full]
    gaps = np.empty_like(places)
    np.subtract(places[1:], places[:-1], out=gaps[1:])
    gaps -= 1
    gaps[first] = places[first] - blocks.edges[:-1][full]
    excess = np.abs(values) - 1
    means = np.zeros(counts.size)
    means[full] = np.add.reduceat(excess, first) / counts[full] if first.size else 0.0
    spread = (blocks.sizes - counts) / np.maximum(counts, 1)
    return Coded(counts, gaps, excess, values < 0, parameters(spread), parameters(means))


def parameters(means: NDArray[np.float64]) -> Whole:
    """Return the parameter that spells geometric numbers of these means in the fewest bits.

    A number of mean mu takes k + 1 / (1 - r^(2^k)) bits, r = mu / (1 + mu): k + 1 is as good where r^(2^k) is the
    golden ratio's inverse, the root of t^2 + t = 1.

    >>> parameters(np.array([0., .5, 3., 100.]))
    array([0, 0, 1, 6])
    """
    return np.searchsorted(_EVEN, means)


def spell(found: Coded) -> bytes:
    """Return the sections: gaps, magnitudes, signs."""
    parts = [_spell(found.gaps, np.repeat(found.gap_bits, found.counts)),
             _spell(found.excess, np.repeat(found.excess_bits, found.counts)), pack(found.negative, 1)]
    return b"".join(parts)


def read(data: bytes, counts: Whole, gap_bits: Whole, excess_bits: Whole, blocks: Blocks) -> NDArray[np.int16]:
    """Return the codes [P] that `spell` has written."""
    gaps, at = _read(data, 0, np.repeat(gap_bits, counts))
    excess, at = _read(data, at, np.repeat(excess_bits, counts))
    negative = unpack(data[at:], 1, gaps.size)
    ends = np.concatenate([[0], np.cumsum(gaps + 1)])
    first = np.cumsum(counts) - counts  # a block's gaps count from its start, not from the last entry before it
    places = ends[1:] - 1 + np.repeat(blocks.edges[:-1] - ends[first], counts)
    codes = np.zeros(int(blocks.edges[-1]), np.int16)
    codes[places] = np.where(negative, -excess - 1, excess + 1)
    return codes


def _length(numbers: Whole, bits: Whole, counts: Whole) -> int:
    """Return the bytes of the unary section and of all sections of low bits; bits and counts by block."""
    unary = int((numbers >> np.repeat(bits, counts)).sum()) + numbers.size
    low = np.bincount(bits, counts).astype(np.int64).tolist()
    return bytes_of(unary, 1) + sum(bytes_of(count, width) for width, count in enumerate(low))


def _spell(numbers: Whole, bits: Whole) -> bytes:
    ends = np.cumsum((numbers >> bits) + 1) - 1
    marks = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.bool_)
    marks[ends] = True
    parts = [pack(marks, 1)]
    for width in range(1, int(bits.max(initial=0)) + 1):
        chosen = numbers[bits == width] & ((1 << width) - 1)
        parts.append(pack(chosen, width) if chosen.size else b"")
    return b"".join(parts)


def _read(data: bytes, at: int, bits: Whole) -> tuple[Whole, int]:
    """Return (numbers, where the next section begins)."""
    if not bits.size:
        return np.zeros(0, np.int64), at
    marks: NDArray[Any] = np.unpackbits(np.frombuffer(data, np.uint8)[at:], bitorder="little")
    ends = np.flatnonzero(marks)[:bits.size]
    numbers = (np.diff(ends, prepend=-1) - 1) << bits
    at += bytes_of(int(ends[-1]) + 1, 1)
    for width in range(1, int(bits.max()) + 1):
        chosen = bits == width
        count = int(np.count_nonzero(chosen))
        numbers[chosen] += unpack(data[at:], width, count)
        at += bytes_of(count, width)
    return numbers, at
