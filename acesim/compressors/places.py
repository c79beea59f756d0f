"""How the places of the kept entries are told: the formats, what they cost, and how they are spelt.

    int32, int64   4 or 8 bytes a place
    bitmap         a bit for every entry of the vector, kept or not
    packed         ceil(log2 P) bits a place
    run-length     16 bits a place: how many entries were skipped since the last one.  Where more than 65535 were, an
                   entry of value 0 is put in between (a filler); so its size depends on the data
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.packing import bytes_of, pack, unpack
from acesim.scenario.errors import PolicyError
from acesim.seam import Vector

INDEX_FORMATS = ("int32", "bitmap", "packed")
ALL_FORMATS = (*INDEX_FORMATS, "int64", "run-length")
REACH = 1 << 16
"""Places that one run-length entry moves on at most: 65535 that are skipped, and its own."""


def check_format(place: str, name: str, known: Sequence[str] = ALL_FORMATS) -> None:
    """Raise PolicyError when a compressor's `index` is none of the formats it knows, or "auto"."""
    if name not in (*known, "auto"):
        raise PolicyError(f"{place}.index = {name!r}: must be one of {', '.join(known)}, auto")


def shortest(count: int, size: int) -> str:
    """Return what "auto" stands for: the shortest of INDEX_FORMATS."""
    return min(INDEX_FORMATS, key=lambda name: index_bytes(name, count, size))


def index_bytes(name: str, count: int, size: int) -> int:
    """Return the bytes that tell the places of `count` among `size` entries; fillers are entries, and count.

    >>> [index_bytes(name, 10, 1000) for name in ALL_FORMATS]
    [40, 125, 13, 80, 20]
    """
    if name == "bitmap":
        return bytes_of(size, 1)
    if name == "packed":
        return bytes_of(count, (size - 1).bit_length())
    return {"int32": 4, "int64": 8, "run-length": 2}[name] * count


def fillers(indices: NDArray[np.int32]) -> int:
    """Return how many zero entries a run-length spelling puts in between.

    >>> fillers(np.array([65535, 131071, 131072 + 65536], np.int32))
    1
    """
    return int((_gaps(indices) // REACH).sum())


def expected_fillers(count: int, size: int) -> int:
    """Return the expected number of fillers for places that are spread at random: geometric gaps of count / size.

    E floor(gap / 65536) = q / (1 - q), q = (1 - count / size)^65536.

    >>> expected_fillers(1000, 10**6), expected_fillers(1000, 10**8)
    (0, 1080)
    """
    if not 0 < count < size:
        return 0
    missed = -math.expm1(REACH * math.log1p(-count / size))
    return round(count * (1 - missed) / missed)


def _gaps(indices: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many entries are skipped before each place."""
    return np.asarray(np.diff(indices.astype(np.int64), prepend=-1) - 1, np.int64)


def filled(indices: NDArray[np.int32], values: Vector) -> tuple[NDArray[np.int64], Vector]:
    """Return (runs, values) with the fillers in between."""
    gaps = _gaps(indices)
    extra = gaps // REACH
    runs = np.full(indices.size + int(extra.sum()), REACH - 1)
    own = np.cumsum(extra + 1) - 1
    runs[own] = gaps - extra * REACH
    whole = np.zeros(runs.size, np.float32)
    whole[own] = values
    return runs, whole


def spell(name: str, indices: NDArray[np.int32], values: Vector, size: int) -> bytes:
    """Return the values, then their places."""
    if name == "run-length":
        runs, values = filled(indices, values)
        return values.astype("<f4").tobytes() + runs.astype("<u2").tobytes()
    return values.astype("<f4").tobytes() + _spell_places(name, indices, size)


def _spell_places(name: str, indices: NDArray[np.int32], size: int) -> bytes:
    if name == "packed":
        return pack(indices, (size - 1).bit_length())
    if name != "bitmap":
        return indices.astype({"int32": "<i4", "int64": "<i8"}[name]).tobytes()
    marks = np.zeros(size, np.bool_)
    marks[indices] = True
    return pack(marks, 1)


def read(name: str, data: bytes, count: int, size: int) -> tuple[NDArray[np.int32], Vector]:
    """Return (indices, values) of `count` entries, fillers among them; the inverse of `spell`."""
    values, rest = np.frombuffer(data, "<f4", count).astype(np.float32), data[4 * count:]
    if name == "packed":
        places = unpack(rest, (size - 1).bit_length(), count)
    elif name == "bitmap":
        places = np.flatnonzero(unpack(rest, 1, size))
    else:
        spelling = {"int32": "<i4", "int64": "<i8", "run-length": "<u2"}[name]
        places = np.frombuffer(rest, spelling, count).astype(np.int64)
        places = np.cumsum(places + 1) - 1 if name == "run-length" else places
    return places.astype(np.int32), values
