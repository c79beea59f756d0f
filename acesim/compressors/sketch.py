"""The count sketch: a small table that adds up as vectors do, and tells their large entries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from acesim.compressors.base import CompressorBase
from acesim.compressors.hashing import Cells, cells
from acesim.compressors.topk import Sparse, largest
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of

HASHINGS = ("random", "fold")


@dataclass(frozen=True)
class CountSketch(CompressorBase):
    """Add every entry, with a random sign, to one random bucket in each row of a table, and send the table.

    S[j, h_j(i)] += s_j(i) x_i;   x^_i = median_j s_j(i) S[j, h_j(i)].

    S(a x + b y) = a S(x) + b S(y): bodies may be added and scaled before decoding, so its size does not grow with the
    number of workers.  In one row E x^_i = x_i and Var x^_i <= (|x|^2 - x_i^2) / c; the median over rows makes large
    errors rare, but is not exactly unbiased.  Not contractive: a decoded vector is its entries plus noise; keep the
    error where sketches are summed (acesim.aggregators.SketchedSGD), or take TopK of what is decoded.

    rows      r, odd, so that there is a median
    ratio     bytes of the table over bytes of the vector, in (0, 1]: c = max(1, ceil(ratio * P / r)) columns
    columns   c, the same at every scale, in place of ratio
    hashing   "random": 2-wise independent buckets and 4-wise independent signs modulo 2^61 - 1; "fold": buckets (i +
              offset) mod c with an offset of each fold of c entries, which collide less; a table of one row and at
              least P columns is then the vector itself
    blocks    hash an entry's place within one of so many blocks, and shift and flip each block at random: hashes of
              P / blocks entries are kept (numBlocks of the csh package); random hashing only
    seed      of the hashes, shared by everybody
    body      float32 [r c], row by row
    measure   None
    nbytes    4 r c
    memory    the hashes: 5 bytes a row and hashed entry; none for "fold"
    raises    PolicyError when rows are even or not positive, ratio is outside (0, 1], columns or blocks are not
              positive, both or neither of ratio and columns are given, or the vector is not finite
    source    Charikar, Chen & Farach-Colton 2002; as used by Ivkin et al. 2019 (arXiv:1903.04488) and Rothchild et al.
              2020 (arXiv:2007.07682)

    >>> sketch = CountSketch(3, columns=4)
    >>> payload, _ = sketch.encode(np.array([0., 0., 7., 0., 0., 0.], np.float32), None, None, ())
    >>> payload.nbytes, sketch.decode(payload.body, 6)[2]
    (48, np.float32(7.0))
    """

    rows: int = 5
    ratio: float | None = None
    columns: int | None = None
    hashing: str = "random"
    blocks: int = 1
    seed: int = 42

    linear = True

    def __post_init__(self) -> None:
        if not _whole(self.rows) or self.rows % 2 == 0:
            raise PolicyError(f"CountSketch.rows = {self.rows!r}: must be an odd whole number, for the estimate is the "
                              f"middle one of the rows; take 1, 3 or 5")
        if (self.ratio is None) == (self.columns is None):
            raise PolicyError("CountSketch: needs either ratio or columns, for example ratio = 0.1")
        if self.ratio is not None and not (isinstance(self.ratio, int | float) and 0 < self.ratio <= 1):
            raise PolicyError(f"CountSketch.ratio = {self.ratio!r}: must be a number in (0, 1]; 0.1 sends a tenth of "
                              f"the bytes")
        if self.columns is not None and not _whole(self.columns):
            raise PolicyError(f"CountSketch.columns = {self.columns!r}: must be a whole number, at least 1")
        if not _whole(self.blocks) or (self.blocks > 1 and self.hashing == "fold"):
            raise PolicyError(f"CountSketch.blocks = {self.blocks!r}: must be a whole number, at least 1; and 1 with "
                              f"hashing = 'fold'")
        if self.hashing not in HASHINGS:
            raise PolicyError(f"CountSketch.hashing = {self.hashing!r}: must be one of {', '.join(HASHINGS)}")

    def width(self, size: int) -> int:
        """Return c, the columns of the table of a vector of `size` entries.

        >>> CountSketch(5, ratio=0.1).width(1000), CountSketch(5, columns=30).width(1000)
        (20, 30)
        """
        if self.ratio is None:
            return int(self.columns or 1)
        return max(1, math.ceil(self.ratio * size / self.rows))

    def cells(self, size: int) -> Cells:
        """Return the bucket and the sign of every entry in every row."""
        return cells(*self._key(size))

    def _key(self, size: int) -> tuple[int, int, int, int, str, int]:
        return size, self.rows, self.width(size), self.seed, self.hashing, self.blocks

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the table; rng and state are not used."""
        self.refuse_level(level)
        table = np.asarray(_product(self._key(vector.size)) @ vector, np.float32)
        if not np.isfinite(table.sum(dtype=np.float64)):
            raise PolicyError("CountSketch.encode: the vector holds NaN, infinity or entries that overflow: training "
                              "has diverged; lower the learning rate")
        return self.sent(table, vector.size, None), state

    def decode(self, body: Vector, size: int) -> Vector:
        """Return the estimate of every entry, also of a sum of bodies."""
        return middle(readings(body, self.cells(size), self.width(size)))

    def heavy_hitters(self, body: Vector, size: int, count: int) -> Sparse:
        """Return the `count` entries with the largest estimates, ties to the lower index."""
        estimates = self.decode(body, size)
        indices = largest(np.abs(estimates), count)
        return Sparse(indices.astype(np.int32), estimates[indices], size)

    def norm(self, body: Vector, size: int) -> float:
        """Return an estimate of |x|_2: the root of the median over rows of the row's sum of squares."""
        rows = body.reshape(self.rows, self.width(size)).astype(np.float64)
        return math.sqrt(float(np.median((rows * rows).sum(1))))

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return 4 bytes a cell of the table."""
        return Wire(values=4 * self.rows * self.width(size_of(shapes)))

    def serialise(self, body: Vector) -> bytes:
        """Spell the table row by row."""
        return body.astype("<f4").tobytes()

    def deserialise(self, data: bytes, size: int) -> Vector:
        """Read the table back."""
        return np.frombuffer(data, "<f4", self.rows * self.width(size)).astype(np.float32)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads an entry once, and its place and sign for every row, and adds it to a cell (13 bytes, about
        2 operations a row); what is charged for each message that arrives is adding its table to the sum (12 bytes a
        cell): a sum of tables is decoded once, by whoever sums (`recovery`)."""
        share = self.ratio or 1.0  # with columns alone a table is not larger than the vector, or nobody would want it
        return Work(4.0 + 13.0 * self.rows, 2.0 * self.rows, 2.0), Work(12.0 * share, share, 1.0)

    def recovery(self) -> Work:
        """Return the declared work of estimating all entries of one table: reading r cells, places and signs an entry
        (9 bytes a row), the median (about r^2 / 2 comparisons), and writing it."""
        return Work(4.0 + 9.0 * self.rows, self.rows + self.rows**2 / 2, 3.0)

    def memory_bytes(self, size: int) -> int:
        """Return the memory of the hashes."""
        return 0 if self.hashing == "fold" else 5 * self.rows * -(-size // self.blocks)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@lru_cache(maxsize=512)
def _product(key: tuple[int, int, int, int, str, int]) -> csc_array:
    """Return the matrix [r c, P] that makes a table of a vector: r entries a column."""
    return product(cells(*key), key[2])


def product(hashed: Cells, columns: int) -> csc_array:
    """Return the matrix [r c, P] whose product with a vector is its table."""
    rows, size = hashed.buckets.shape
    places = hashed.buckets + np.arange(rows, dtype=np.int32)[:, None] * np.int32(columns)
    starts = np.arange(0, rows * size + 1, rows)
    return csc_array((hashed.signs.T.ravel(), places.T.ravel(), starts), (rows * columns, size))


def readings(table: Vector, hashed: Cells, columns: int) -> Vector:
    """Return what each row of a table says of each entry [r, P]."""
    rows = table.reshape(-1, columns)
    return np.stack([row[buckets] * signs for row, buckets, signs
                     in zip(rows, hashed.buckets, hashed.signs, strict=True)])


def middle(readings: Vector) -> Vector:
    """Return the median over an odd number of rows [r, P]; the rows are overwritten.

    Of r / 2 + 2 rows neither the smallest nor the largest can be the median: both are dropped, the next row joins.

    >>> middle(np.array([[5.], [1.], [9.], [2.], [3.]], np.float32))
    array([3.], dtype=float32)
    """
    first = len(readings) // 2 + 2
    live, rest = list(readings[:first]), list(readings[first:])
    while len(live) > 1:
        for low, high in [*pairwise(live), *reversed(list(pairwise(live[:-1])))]:
            least = np.minimum(low, high)
            np.maximum(low, high, out=high)
            low[...] = least
        live, rest = live[1:-1] + rest[:1], rest[1:]
    median: Vector = live[0]
    return median
