"""What compressors that send some of the entries do alike: places, bytes at any scale, and what is sent whole."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase
from acesim.compressors.places import expected_fillers, fillers, index_bytes, read, shortest, spell
from acesim.compressors.topk import Sparse
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, size_of


class Found(NamedTuple):
    """What a payload was measured to hold: `kept` of `size` entries, run-length `fillers`, the level it was given."""

    kept: int
    size: int
    fillers: int
    level: float | None


class SparseCompressor(CompressorBase):
    """Sends some entries of a vector with their places; a member says which (`choose`).

    Where all entries take no more bytes than the kept ones and their places, zeros are sent for the others and no
    places at all: a payload is never longer than 4 P.  Where nothing is kept it is empty.

    index     one of `acesim.compressors.places`
    body      Sparse(indices int32 [k] ascending, values float32 [k], P)
    measure   Found; at another scale the kept share, and fillers as many as random places would need
    """

    index: str
    contractive = True

    @abstractmethod
    def choose(self, magnitudes: Vector, level: Any, rng: Generator | None) -> NDArray[np.int64]:
        """Return the ascending places of the entries to send; magnitudes are finite [P]."""

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the chosen entries."""
        indices = self.choose(finite_magnitudes(vector, type(self).__name__), level, rng).astype(np.int32)
        body = Sparse(indices, vector[indices], vector.size)
        extra = fillers(indices) if self.index == "run-length" else 0
        return self.sent(body, vector.size, Found(indices.size, vector.size, extra, level)), state

    def decode(self, body: Sparse, size: int) -> Vector:
        """Return the entries in their places, zeros elsewhere."""
        vector = np.zeros(size, np.float32)
        vector[body.indices] = body.values
        return vector

    def wire(self, shapes: Shapes, measure: Found) -> Wire:
        """Return 4 bytes a value and the places as `index` says, or 4 P where that is no more."""
        size = size_of(shapes)
        if size == measure.size:
            return self._wire(measure.kept, size, measure.fillers)
        count = min(size, self.entries(shapes, measure))
        return self._wire(count, size, expected_fillers(count, size) if self.index == "run-length" else 0)

    def entries(self, shapes: Shapes, measure: Found) -> int:
        """Return how many entries of a model of other shapes are sent: the same share."""
        return round(measure.kept * size_of(shapes) / measure.size)

    def serialise(self, body: Sparse) -> bytes:
        """Spell the values, then their places; or all entries in order."""
        if not body.indices.size:
            return b""
        extra = fillers(body.indices) if self.index == "run-length" else 0
        if self._wire(body.indices.size, body.size, extra).total == 4 * body.size:
            return self.decode(body, body.size).astype("<f4").tobytes()
        return spell(self._format(body.indices.size, body.size), body.indices, body.values, body.size)

    def deserialise(self, data: bytes, size: int) -> Sparse:
        """Read values and places back; how many there are follows from the length, which grows with them."""
        if not data:
            return Sparse(np.zeros(0, np.int32), np.zeros(0, np.float32), size)
        if len(data) == 4 * size:
            return Sparse(np.arange(size, dtype=np.int32), np.frombuffer(data, "<f4", size).astype(np.float32), size)
        count = bisect_left(range(size), len(data), key=lambda k: self._wire(k, size, 0).total)
        return Sparse(*read(self._format(count, size), data, count, size), size)

    def _wire(self, count: int, size: int, extra: int) -> Wire:
        if not count:
            return Wire()
        sent = count + extra
        places = index_bytes(self._format(count, size), sent, size)
        return Wire(values=4 * size) if 4 * sent + places >= 4 * size else Wire(values=4 * sent, indices=places)

    def _format(self, count: int, size: int) -> str:
        return shortest(count, size) if self.index == "auto" else self.index


def finite_magnitudes(vector: Vector, place: str) -> Vector:
    """Return |x|; PolicyError where that is not finite."""
    magnitudes = np.abs(vector)
    if magnitudes.size and not np.isfinite(magnitudes.max()):
        raise PolicyError(f"{place}.encode: the vector holds NaN or infinity: training has diverged; lower the "
                          "learning rate")
    return magnitudes


def ratio_of(place: str, ratio: Any) -> float:
    """Return a kept share; PolicyError where it is not in (0, 1]."""
    if isinstance(ratio, bool) or not isinstance(ratio, int | float | np.number) or not 0 < ratio <= 1:
        raise PolicyError(f"{place}: ratio = {ratio!r}: must be a number in (0, 1], for example 0.01")
    return float(ratio)
