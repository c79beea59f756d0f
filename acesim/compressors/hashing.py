"""Hash functions that every worker shares: polynomials modulo the Mersenne prime 2^61 - 1.

A polynomial of degree k - 1 with random coefficients is k-wise independent: degree 1 places entries in buckets, degree
3 draws their signs, as the analysis of the count sketch asks for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.seam import Vector

PRIME = (1 << 61) - 1
_LOW = np.uint64((1 << 32) - 1)
_PRIME = np.uint64(PRIME)


def times(factors: NDArray[np.uint64], factor: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """Return factors * factor modulo 2^61 - 1; both below it.

    >>> times(np.array([2**60 + 5], np.uint64), np.uint64(2**59 + 3))[0] == (2**60 + 5) * (2**59 + 3) % (2**61 - 1)
    np.True_
    """
    high, low = factors >> np.uint64(32), factors & _LOW  # below 2^29, 2^32
    above, below = factor >> np.uint64(32), factor & _LOW
    middle = high * below + low * above  # below 2^62
    bottom = low * below
    # 2^64 = 8, 2^61 = 1 and 2^32 * 2^29 = 1 modulo the prime
    total = (((high * above) << np.uint64(3)) + (middle >> np.uint64(29))
             + ((middle & np.uint64((1 << 29) - 1)) << np.uint64(32)))
    total = _folded(total) + _folded(bottom)
    return np.asarray(np.where(total >= _PRIME, total - _PRIME, total))


def _folded(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    folded = (numbers & _PRIME) + (numbers >> np.uint64(61))
    return np.where(folded >= _PRIME, folded - _PRIME, folded)


def polynomial(coefficients: NDArray[np.uint64], places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return sum_j coefficients[j] places^(k - 1 - j) modulo 2^61 - 1, by Horner's rule.

    >>> polynomial(np.array([3, 4], np.uint64), np.array([0, 10], np.uint64)).tolist()
    [4, 34]
    """
    found = np.full(places.shape, coefficients[0], np.uint64)
    for coefficient in coefficients[1:]:
        found = times(found, places) + coefficient
        found = np.where(found >= _PRIME, found - _PRIME, found)
    return found


class Cells(NamedTuple):
    """Where each entry goes.  buckets: int32 [r, P], from 0 in each row; signs: float32 [r, P], -1 or 1."""

    buckets: NDArray[np.int32]
    signs: Vector


@lru_cache(maxsize=512)
def cells(size: int, rows: int, columns: int, seed: int, hashing: str, blocks: int) -> Cells:
    """Return the cells of `size` entries; the same wherever it is called.

    hashing   "random": 2-wise independent buckets; "fold": entry i in bucket (i + offset of its fold) modulo columns,
              so that no two entries of a fold of `columns` share a bucket, and none at all where columns >= size
    blocks    random: hash only ceil(size / blocks) entries, and use that again for each block with an offset and a sign
    """
    period = columns if hashing == "fold" else -(-size // blocks)
    within = np.arange(min(period, size), dtype=np.uint64)
    block = np.arange(size) // period
    buckets, signs = np.empty((rows, size), np.int32), np.empty((rows, size), np.float32)
    for row in range(rows):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, row))))
        factors = rng.integers(1, PRIME, 2, np.uint64)
        signing = rng.integers(0, PRIME, 4, np.uint64)
        count = int(block[-1]) + 1
        offsets = np.concatenate([[0], rng.integers(0, columns, count - 1)])
        if hashing == "fold":
            base, flips = within, np.ones(count)
            signs[row] = _signs(signing, np.arange(size, dtype=np.uint64))
        else:
            base = polynomial(factors, within) % np.uint64(columns)
            flips = np.concatenate([[1], rng.choice((-1, 1), count - 1)])
            signs[row] = np.resize(_signs(signing, within), size) * flips[block]
        buckets[row] = (np.resize(base.astype(np.int64), size) + offsets[block]) % columns
    return Cells(buckets, signs)


def _signs(coefficients: NDArray[np.uint64], places: NDArray[np.uint64]) -> Vector:
    return 1 - 2 * (polynomial(coefficients, places) & np.uint64(1)).astype(np.float32)
