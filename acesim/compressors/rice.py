"""Sparse whole numbers in few bits: which are not zero, which of these are larger than one, and by how much.

Each "which" is told by the gaps between those that are; gaps and excesses go in Rice codes, with a parameter for every
block.  A Rice code of parameter k spells n as n >> k zeros, a one, and the k low bits of n: near the entropy of a
geometric distribution whose mean is about 2^k.  Rice & Plaunt 1971.  Zeros and ones, low bits and signs lie in sections
of their own, so that all of it is spelt and read in passes over whole vectors; `Coded.nbytes` is the length of what
`spell` gives, without spelling it.
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


class Run(NamedTuple):
    """Numbers of consecutive blocks: all of them, how many each block has [G], and the blocks' parameters [G]."""

    numbers: Whole
    counts: Whole
    bits: Whole

    @property
    def nbytes(self) -> int:
        """The bytes of the unary section and of all sections of low bits."""
        unary = int((self.numbers >> np.repeat(self.bits, self.counts)).sum()) + self.numbers.size
        low = np.bincount(self.bits, self.counts).astype(np.int64).tolist()
        return bytes_of(unary, 1) + sum(bytes_of(count, width) for width, count in enumerate(low))


class Coded(NamedTuple):
    """What is spelt of a vector of codes.

    gaps     before each entry that is not zero
    large    gaps, among these, before each that is larger than one in magnitude
    excess   of these over two
    negative signs of all that are not zero
    """

    gaps: Run
    large: Run
    excess: Run
    negative: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """The bytes of all sections, counts and parameters of the blocks apart."""
        return self.gaps.nbytes + self.large.nbytes + self.excess.nbytes + bytes_of(self.negative.size, 1)


def edges_of(sizes: tuple[int, ...]) -> Whole:
    """Return where blocks of these sizes begin and end [G + 1]."""
    return np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))])


def coded(codes: NDArray[np.int16], edges: Whole) -> Coded:
    """Return what is spelt of codes [P]."""
    gaps, places, edges = _gaps(codes != 0, edges)
    values = codes[places].astype(np.int64)
    large, places, edges = _gaps(np.abs(values) > 1, edges)
    excess = np.abs(values[places]) - 2
    full = large.counts > 0
    means = np.zeros(full.size)
    means[full] = np.add.reduceat(excess, edges[:-1][full]) / large.counts[full] if excess.size else 0.0
    return Coded(gaps, large, Run(excess, large.counts, parameters(means)), values < 0)


def _gaps(marks: NDArray[np.bool_], edges: Whole) -> tuple[Run, Whole, Whole]:
    """Return the gaps before marks, block by block, the places of the marks, and the blocks' edges among them."""
    places = np.flatnonzero(marks)
    ends = np.searchsorted(places, edges)
    counts = np.diff(ends)
    full = counts > 0
    first = ends[:-1][full]
    gaps = np.empty_like(places)
    np.subtract(places[1:], places[:-1], out=gaps[1:])
    gaps -= 1
    gaps[first] = places[first] - edges[:-1][full]
    return Run(gaps, counts, parameters((np.diff(edges) - counts) / np.maximum(counts, 1))), places, ends


def _places(run: Run, edges: Whole) -> Whole:
    """Return where the marks are that `_gaps` has found between these edges."""
    ends = np.concatenate([[0], np.cumsum(run.numbers + 1)])
    first = np.cumsum(run.counts) - run.counts  # a block's gaps count from its edge, not from the last mark before it
    return np.asarray(ends[1:] - 1 + np.repeat(edges[:-1] - ends[first], run.counts))


def parameters(means: NDArray[np.float64]) -> Whole:
    """Return the parameter that spells geometric numbers of these means in the fewest bits.

    A number of mean mu takes k + 1 / (1 - r^(2^k)) bits, r = mu / (1 + mu): k + 1 is as good where r^(2^k) is the
    golden ratio's inverse, the root of t^2 + t = 1.

    >>> parameters(np.array([0., .5, 3., 100.]))
    array([0, 0, 1, 6])
    """
    return np.searchsorted(_EVEN, means)


def spell(found: Coded) -> bytes:
    """Return the sections: gaps, large ones, excesses, signs."""
    return _spell(found.gaps) + _spell(found.large) + _spell(found.excess) + pack(found.negative, 1)


def read(data: bytes, counts: tuple[Whole, Whole], bits: tuple[Whole, Whole, Whole], edges: Whole) -> NDArray[np.int16]:
    """Return the codes [P] that `spell` has written.

    counts   of entries that are not zero, and of large ones, of each block [G]
    bits     the parameters of gaps, large ones and excesses
    """
    gaps, at = _read(data, 0, counts[0], bits[0])
    large, at = _read(data, at, counts[1], bits[1])
    excess, at = _read(data, at, counts[1], bits[2])
    magnitudes = np.ones(gaps.numbers.size, np.int64)
    magnitudes[_places(large, np.concatenate([[0], np.cumsum(counts[0])]))] = excess.numbers + 2
    negative = unpack(data[at:], 1, magnitudes.size)
    codes = np.zeros(int(edges[-1]), np.int16)
    codes[_places(gaps, edges)] = np.where(negative, -magnitudes, magnitudes)
    return codes


def _spell(run: Run) -> bytes:
    bits = np.repeat(run.bits, run.counts)
    ends = np.cumsum((run.numbers >> bits) + 1) - 1
    marks = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.bool_)
    marks[ends] = True
    parts = [pack(marks, 1)]
    for width in range(1, int(bits.max(initial=0)) + 1):
        chosen = run.numbers[bits == width] & ((1 << width) - 1)
        parts.append(pack(chosen, width) if chosen.size else b"")
    return b"".join(parts)


def _read(data: bytes, at: int, counts: Whole, widths: Whole) -> tuple[Run, int]:
    """Return (the run that begins here, where the next one begins)."""
    bits = np.repeat(widths, counts)
    if not bits.size:
        return Run(np.zeros(0, np.int64), counts, widths), at
    marks: NDArray[Any] = np.unpackbits(np.frombuffer(data, np.uint8)[at:], bitorder="little")
    ends = np.flatnonzero(marks)[:bits.size]
    numbers = (np.diff(ends, prepend=-1) - 1) << bits
    at += bytes_of(int(ends[-1]) + 1, 1)
    for width in range(1, int(bits.max()) + 1):
        chosen = bits == width
        count = int(np.count_nonzero(chosen))
        numbers[chosen] += unpack(data[at:], width, count)
        at += bytes_of(count, width)
    return Run(numbers, counts, widths), at
