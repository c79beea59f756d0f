"""The largest entries of every layer: exactly, or above a threshold that a sample of the layer tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.places import check_format
from acesim.compressors.sparse import Found, SparseCompressor, ratio_of
from acesim.compressors.topk import largest
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Shapes, Vector, Work, size_of


def kept_of_layer(ratio: float, size: int, rounding: str) -> int:
    """Return k = max(1, ratio * size rounded down or up).

    >>> kept_of_layer(0.25, 10, "floor"), kept_of_layer(0.25, 10, "ceil"), kept_of_layer(0.001, 10, "floor")
    (2, 3, 1)
    """
    exact = round(ratio * size, 9)  # .07 x 100 is 7, not a little more
    return max(1, math.floor(exact) if rounding == "floor" else math.ceil(exact))


@dataclass(frozen=True)
class LayerTopK(SparseCompressor):
    """Keep the k_l entries of every layer l that are largest in magnitude.

    k_l = max(1, ratio * size of l, rounded).  Contracts as TopK does: |x - C(x)|^2 <= (1 - k / P) |x|^2 in every layer.

    ratio     kept share, in (0, 1]
    layers    sizes of consecutive layers, or None: the whole vector is one
    index     one of `acesim.compressors.places`, or "auto"; places count from the start of the vector
    rounding  "floor" (DGS) or "ceil" (the authors' code of DAGC)
    ties      "index": exactly k_l entries, ties to the lower index; "keep": all that are not smaller than the k_l-th
    level     ratio in (0, 1] that replaces `ratio` for this call, or None
    nbytes    8 sum k_l with int32 places, never more than 4 P; a nominal model's layers are its own tensors
    raises    PolicyError when a parameter is out of range, layers do not add up to P, or the vector is not finite
    source    Aji & Heafield 2017, arXiv:1704.05021; Yan et al. 2020, arXiv:1910.10929.  Differs from the code of the
              latter, which drops ties and so may send fewer.

    >>> x = np.array([3., -4., 1., 0., .1, .2, 0., 0., 0., 0.], np.float32)
    >>> LayerTopK(0.25, (4, 6)).encode(x, None, None, ())[0].body.indices
    array([1, 5], dtype=int32)
    """

    ratio: float
    layers: tuple[int, ...] | None = None
    index: str = "int32"
    rounding: str = "floor"
    ties: str = "index"

    def __post_init__(self) -> None:
        place = type(self).__name__
        check_format(place, self.index)
        ratio_of(place, self.ratio)
        for name, known in (("rounding", ("floor", "ceil")), ("ties", ("index", "keep"))):
            if getattr(self, name) not in known:
                raise PolicyError(f"{place}.{name} = {getattr(self, name)!r}: must be one of {', '.join(known)}")
        if self.layers is not None and (not self.layers or min(self.layers) < 1):
            raise PolicyError(f"{place}.layers = {self.layers!r}: every layer must hold at least 1 entry")

    def choose(self, magnitudes: Vector, level: Any, rng: Generator | None) -> NDArray[np.int64]:
        """Return the places of the largest of every layer."""
        ratio, start, found = self._ratio(level), 0, []
        for size in self._sizes(magnitudes.size):
            count = kept_of_layer(ratio, size, self.rounding)
            found.append(start + self.select(magnitudes[start:start + size], count, rng))
            start += size
        return np.concatenate(found)

    def select(self, magnitudes: Vector, count: int, rng: Generator | None) -> NDArray[np.int64]:
        """Return the ascending places of a layer's largest."""
        chosen = largest(magnitudes, count)
        return chosen if self.ties == "index" else np.flatnonzero(magnitudes >= magnitudes[chosen].min())

    def entries(self, shapes: Shapes, measure: Found) -> int:
        """Return sum k_l over layers of these shapes, times what the measured payload had of its own sum."""
        ratio = self._ratio(measure.level)
        tensors = [size_of(shapes)] if self.layers is None else [size_of((shape,)) for shape in shapes]
        expected, own = (sum(kept_of_layer(ratio, size, self.rounding) for size in sizes)
                         for sizes in (tensors, self._sizes(measure.size)))
        return round(expected * measure.kept / own)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads the vector three times (sample and magnitudes, threshold, gathering) and writes 8 bytes for
        each kept entry; decoding writes zeros, then reads 8 and writes 4 bytes for each."""
        return Work(bytes=12.0 + 8.0 * self.ratio, flops=3.0), Work(bytes=4.0 + 12.0 * self.ratio)

    def _ratio(self, level: Any) -> float:
        return ratio_of(type(self).__name__, self.ratio if level is None else level)

    def _sizes(self, size: int) -> Sequence[int]:
        layers = (size,) if self.layers is None else self.layers
        if sum(layers) != size:
            raise PolicyError(f"{type(self).__name__}: layers of {sum(layers)} entries for a vector of {size}: the "
                              "sizes must add up to the vector's; layers=None takes any vector as one layer")
        return layers


@dataclass(frozen=True)
class SampledTopK(LayerTopK):
    """The largest entries of every layer, found by the threshold of a sample: cheaper than exact, and nearly as good.

    Of a layer every s-th magnitude is looked at, from a random start, so that `sample` of it, and at least 2 / ratio,
    are seen; the threshold is their ceil(ratio * seen)-th largest.  While fewer than `fewest` k_l entries reach it, it
    is lowered by a fifth, at most `tries` times; where more than `most` k_l do, the k_l largest of them are found
    exactly; what is then still beyond k_l is cut off in order of place.  So k_l or somewhat fewer are sent, and bytes
    are measured.

    sample        share of a layer that is looked at, in (0, 1]
    fewest, most  0 < fewest <= 1 <= most
    tries         times the threshold is lowered
    source        Lin et al. 2018, arXiv:1712.01887, section 3 ("hierarchical threshold selection", 0.1 to 1 % of a
                  layer); the numbers are those of the authors' code
    """

    sample: float = 0.01
    fewest: float = 0.8
    most: float = 1.3
    tries: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.sample <= 1 and 0 < self.fewest <= 1 <= self.most and self.tries >= 0):
            raise PolicyError(f"SampledTopK: sample = {self.sample}, fewest = {self.fewest}, most = {self.most}, "
                              f"tries = {self.tries}: must be 0 < sample <= 1, 0 < fewest <= 1 <= most, tries >= 0")

    def select(self, magnitudes: Vector, count: int, rng: Generator | None) -> NDArray[np.int64]:
        """Return the ascending places of nearly the largest of a layer."""
        seen = self._sample(magnitudes, count, rng)
        rank = max(1, math.ceil(round(count * seen.size / magnitudes.size, 9)))
        threshold = np.partition(seen, seen.size - rank)[seen.size - rank]
        chosen = np.flatnonzero(magnitudes >= threshold)
        for _ in range(self.tries):
            if chosen.size >= self.fewest * count:
                break
            threshold = threshold * np.float32(0.8)
            chosen = np.flatnonzero(magnitudes >= threshold)
        if chosen.size > self.most * count:
            return chosen[largest(magnitudes[chosen], count)]
        return chosen[:count]

    def _sample(self, magnitudes: Vector, count: int, rng: Generator | None) -> Vector:
        """Return every s-th magnitude; all of them where the layer is short.  Without a stream from the first on."""
        wanted = max(self.sample * magnitudes.size, 2 * magnitudes.size / count)
        stride = max(1, int(magnitudes.size // wanted))
        return magnitudes[0 if rng is None else int(rng.integers(stride)):: stride]

    def declared(self) -> tuple[Work, Work]:
        """As LayerTopK, but the sample is hardly read: two passes."""
        encoding, decoding = super().declared()
        return encoding._replace(bytes=encoding.bytes - 4.0), decoding
