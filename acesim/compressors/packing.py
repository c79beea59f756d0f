"""Whole numbers as tight bits: the honest length of what a compressor says it sends.

Bits are little-endian: entry i of width b takes bits i*b .. i*b + b - 1 of the stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 19  # entries spread into single bits at a time: a multiple of 8, and some MB of memory


def bytes_of(entries: int, bits: int) -> int:
    """Return the bytes that `entries` numbers of `bits` bits take.

    >>> bytes_of(3, 4)
    2
    """
    return -(-entries * bits // 8)


def pack(numbers: NDArray[Any], bits: int) -> bytes:
    """Spell whole numbers in [0, 2^bits) in `bits` bits each, the last byte filled with zeros.

    >>> pack(np.array([1, 2, 3]), 4).hex()
    '2103'
    """
    if bits == 0:
        return b""
    if bits == 8:
        return numbers.astype(np.uint8).tobytes()
    if bits == 1:
        return np.packbits(numbers.astype(np.bool_), bitorder="little").tobytes()
    if bits in (2, 4):
        return _pack_within_bytes(numbers.astype(np.uint8), bits)
    return b"".join(_pack_any(numbers[at:at + _CHUNK], bits) for at in range(0, numbers.size, _CHUNK))


def unpack(data: bytes, bits: int, entries: int) -> NDArray[np.int64]:
    """Read `entries` numbers of `bits` bits; the inverse of `pack`.

    >>> unpack(pack(np.array([1, 2, 3]), 4), 4, 3)
    array([1, 2, 3])
    """
    if bits == 0:
        return np.zeros(entries, np.int64)
    if bits == 8:
        return np.frombuffer(data, np.uint8, entries).astype(np.int64)
    view = memoryview(data)  # slices of it are free
    parts = [_unpack_any(view[at * bits // 8:], bits, min(_CHUNK, entries - at))
             for at in range(0, entries, _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _pack_within_bytes(numbers: NDArray[np.uint8], bits: int) -> bytes:
    per_byte = 8 // bits
    padded = np.zeros(-(-numbers.size // per_byte) * per_byte, np.uint8)
    padded[:numbers.size] = numbers
    columns = padded.reshape(-1, per_byte)
    packed = columns[:, 0].copy()
    for place in range(1, per_byte):
        packed |= columns[:, place] << (bits * place)
    return packed.tobytes()


def _pack_any(numbers: NDArray[Any], bits: int) -> bytes:
    spread = (numbers.astype(np.uint32)[:, None] >> np.arange(bits, dtype=np.uint32)) & 1
    return np.packbits(spread.astype(np.uint8), bitorder="little").tobytes()


def _unpack_any(data: memoryview, bits: int, entries: int) -> NDArray[np.int64]:
    raw = np.frombuffer(data, np.uint8, bytes_of(entries, bits))
    spread = np.unpackbits(raw, count=entries * bits, bitorder="little").reshape(entries, bits)
    numbers = np.zeros(entries, np.int64)
    for place in range(bits):
        numbers |= spread[:, place].astype(np.int64) << place
    return numbers
