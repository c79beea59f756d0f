"""The few largest entries, each with its place."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase
from acesim.compressors.places import INDEX_FORMATS, check_format, index_bytes, read, shortest, spell
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of


class Sparse(NamedTuple):
    """Some entries of a vector of `size`: indices int32 [k], ascending, and values float32 [k]."""

    indices: NDArray[np.int32]
    values: Vector
    size: int


@dataclass(frozen=True)
class TopK(CompressorBase):
    """Keep the k entries largest in magnitude and send each as (index, value).

    Biased: wrap in ErrorFeedback unless the residual is meant to be lost.
    |x - decode(encode(x))|^2 <= (1 - k / P) |x|^2.

    ratio    kept fraction, in (0, 1]; k = max(1, floor(ratio * P))
    index    how places are told: "int32" 4 k bytes (the default, and the paper's bytes), "bitmap" ceil(P /
             8), "packed" ceil(k * ceil(log2 P) / 8), "auto" the smallest of the three
    level    ratio in (0, 1] that replaces `ratio` for this call, or None
    body     Sparse(indices int32 [k] ascending, values float32 [k], P)
    measure  the ratio used
    nbytes   4 k + bytes of the places
    ties     broken by lower index, so that runs repeat
    raises   PolicyError when ratio is outside (0, 1], index is unknown, or the vector is not finite
    source   Aji & Heafield 2017, arXiv:1704.05021. Differs: over the whole vector, not per layer.

    >>> payload, _ = TopK(0.5).encode(np.array([3., -4., 1., 0.], np.float32), None, None, ())
    >>> TopK(0.5).decode(payload.body, 4)
    array([ 3., -4.,  0.,  0.], dtype=float32)
    """

    ratio: float
    index: str = "int32"

    contractive = True

    def __post_init__(self) -> None:
        check_format("TopK", self.index, INDEX_FORMATS)
        self._ratio_of(self.ratio)

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the k largest entries; rng and state are not used."""
        ratio = self._ratio_of(level)
        magnitudes = np.abs(vector)
        if not np.isfinite(magnitudes.max()):
            raise PolicyError("TopK.encode: the vector holds NaN or infinity: training has diverged; "
                              "lower the learning rate")
        indices = largest(magnitudes, kept(ratio, vector.size))
        body = Sparse(indices.astype(np.int32), vector[indices], vector.size)
        return self.sent(body, vector.size, ratio), state

    def decode(self, body: Sparse, size: int) -> Vector:
        """Return the entries in their places, zeros elsewhere."""
        vector = np.zeros(size, np.float32)
        vector[body.indices] = body.values
        return vector

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return 4 bytes a value and the places as `index` says; measure is a ratio."""
        size = size_of(shapes)
        count = kept(self._ratio_of(measure), size)
        return Wire(values=4 * count, indices=index_bytes(self._format(count, size), count, size))

    def serialise(self, body: Sparse) -> bytes:
        """Spell the values, then their places."""
        return spell(self._format(body.indices.size, body.size), body.indices, body.values, body.size)

    def deserialise(self, data: bytes, size: int) -> Sparse:
        """Read values and places back; k follows from the length, which grows with k in every format."""
        count = bisect_left(range(size), len(data), key=lambda k: self._length(k, size))
        return Sparse(*read(self._format(count, size), data, count, size), size)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads the vector three times (sample and magnitudes, threshold, gathering) and writes 8
        bytes for each kept entry; decoding writes zeros, then reads 8 and writes 4 bytes for each.
        A launch for every pass."""
        return Work(12.0 + 8.0 * self.ratio, 3.0, launches=3.0), Work(4.0 + 12.0 * self.ratio, launches=2.0)

    def _ratio_of(self, level: Any) -> float:
        ratio = self.ratio if level is None else level
        if not (isinstance(ratio, int | float | np.number) and 0 < ratio <= 1):
            raise PolicyError(f"TopK: ratio = {ratio!r}: must be a number in (0, 1], for example 0.01")
        return float(ratio)

    def _length(self, count: int, size: int) -> int:
        return 4 * count + index_bytes(self._format(count, size), count, size)

    def _format(self, count: int, size: int) -> str:
        return shortest(count, size) if self.index == "auto" else self.index


def kept(ratio: float, size: int) -> int:
    """Return k = max(1, floor(ratio * size)), of the ratio as it is written: .29 of 100 are 29.

    >>> kept(0.3, 10), kept(0.001, 10), kept(0.29, 100)
    (3, 1, 29)
    """
    return max(1, math.floor(round(ratio * size, 9)))


def largest(magnitudes: Vector, count: int) -> NDArray[np.int64]:
    """Return the ascending indices of the `count` largest entries, ties to the lower index.

    A threshold from a strided sample, low enough to keep `count` entries in nearly every case, leaves few
    candidates; among them the selection is exact, and when the sample misled there are too few and the whole
    vector is searched.

    magnitudes   [P], >= 0 and finite

    >>> largest(np.array([1., 2., 2., 3., 2.], np.float32), 3)
    array([1, 2, 3])
    """
    if count >= magnitudes.size:
        return np.arange(magnitudes.size)
    candidates = _above_sampled_threshold(magnitudes, count)
    if candidates is None:
        return _largest_exactly(magnitudes, count)
    return candidates[_largest_exactly(magnitudes[candidates], count)]


def _above_sampled_threshold(magnitudes: Vector, count: int) -> NDArray[np.int64] | None:
    if count * 8 > magnitudes.size:  # too many candidates to gain anything
        return None
    sample = magnitudes[::max(1, magnitudes.size // 2048)]
    expected = count * sample.size / magnitudes.size
    rank = math.ceil(expected + 3 * math.sqrt(expected) + 3)  # three deviations of a Poisson count, and more
    threshold = np.partition(sample, sample.size - rank)[sample.size - rank]
    candidates = np.flatnonzero(magnitudes >= threshold)
    return candidates if candidates.size >= count else None


def _largest_exactly(magnitudes: Vector, count: int) -> NDArray[np.int64]:
    least = np.partition(magnitudes, magnitudes.size - count)[magnitudes.size - count]
    chosen = np.flatnonzero(magnitudes >= least)
    if chosen.size > count:
        tied = np.flatnonzero(magnitudes[chosen] == least)
        chosen = np.delete(chosen, tied[count - chosen.size:])
    return chosen
