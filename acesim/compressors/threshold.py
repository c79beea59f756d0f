"""Every entry that is large enough, however many they are; and every entry that has changed at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.places import check_format
from acesim.compressors.sparse import SparseCompressor
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Vector, Work


@dataclass(frozen=True)
class Threshold(SparseCompressor):
    """Keep the entries with |x| >= threshold: the absolute compressor, also called hard threshold.

    |x - decode(encode(x))|^2 <= P threshold^2, for every entry that is dropped is smaller.  With threshold = 0 all
    entries are sent, zeros too.  How many that are depends on the data: bytes are measured.

    threshold  lambda, >= 0
    index      one of `acesim.compressors.places`, or "auto"
    level      threshold that replaces `threshold` for this call, or None
    nbytes     8 nnz with int32 places, never more than 4 P; at another scale the same share of entries
    raises     PolicyError when threshold is negative or not finite, index is unknown, or the vector is not finite
    source     Sahu et al. 2021, arXiv:2108.00951; Lu et al. 2023, arXiv:2311.07324 (definition 2)

    >>> payload, _ = Threshold(1.0).encode(np.array([1., -4., .5, 0., 0.], np.float32), None, None, ())
    >>> Threshold(1.0).decode(payload.body, 5), payload.nbytes
    (array([ 1., -4.,  0.,  0.,  0.], dtype=float32), 16)
    """

    threshold: float
    index: str = "int32"

    def __post_init__(self) -> None:
        check_format("Threshold", self.index)
        self._value_of(self.threshold)

    def choose(self, magnitudes: Vector, level: Any, rng: Generator | None) -> NDArray[np.int64]:
        """Return the places of what is not below the threshold."""
        return np.flatnonzero(magnitudes >= np.float32(self._value_of(self.threshold if level is None else level)))

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads the vector twice, against the threshold and to gather; decoding writes zeros, then entries."""
        return Work(bytes=8.0, flops=2.0), Work(bytes=4.0)

    def _value_of(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
            raise PolicyError(f"Threshold: threshold = {value!r}: must be a finite number, not negative, for example "
                              "0.005")
        return float(value)


@dataclass(frozen=True)
class Changes(SparseCompressor):
    """Send the entries that are not zero: nothing is lost, and a difference between two models that are nearly alike is
    short.  The receiver must be known to hold the one of them, so a server keeps a copy for each (`incremental`).

    index     one of `acesim.compressors.places`, or "auto"
    nbytes    8 nnz with int32 places, never more than 4 P; at another scale the same share of entries
    source    the model difference of Yan et al. 2020, arXiv:1910.10929 (equations 3 and 5)

    >>> Changes().encode(np.array([0., -4., 0., 0.], np.float32), None, None, ())[0].nbytes
    8
    """

    index: str = "int32"

    lossless = True
    incremental = True

    def __post_init__(self) -> None:
        check_format("Changes", self.index)

    def choose(self, magnitudes: Vector, level: Any, rng: Generator | None) -> NDArray[np.int64]:
        """Return the places of what is not zero."""
        self.refuse_level(level)
        return np.flatnonzero(magnitudes)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads two models, subtracts and gathers; decoding reads and writes what has changed."""
        return Work(bytes=12.0, flops=2.0), Work(bytes=4.0)
