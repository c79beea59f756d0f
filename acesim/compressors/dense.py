"""The whole vector, in full or half precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase
from acesim.scenario.errors import PolicyError
from acesim.seam import Chunk, Generator, Payload, Shapes, Vector, Wire, Work, size_of

FP16_LARGEST = np.float32(65504)
FP16_LEAST_NORMAL = np.float32(2.0**-14)


@dataclass(frozen=True)
class Dense(CompressorBase):
    """Send every entry.

    dtype    "fp32" (lossless, linear), "bf16" (8 bits of exponent, 7 of fraction, rounded to nearest even) or
             "fp16" (saturates at 65504; entries below 2^-25 are lost, never amplified)
    chunks   parts that may leave before the backward pass has ended, see `buckets`; () is one chunk at its
             end
    body     float32 [P]; uint16 [P] (the upper half of each float32); float16 [P]
    nbytes   4 P, 2 P, 2 P
    raises   PolicyError when dtype is unknown or a level is given

    >>> payload, _ = Dense("bf16").encode(np.array([1., 1.00390625, 3.1415927], np.float32), None, None, ())
    >>> Dense("bf16").decode(payload.body, 3), payload.nbytes
    (array([1.      , 1.      , 3.140625], dtype=float32), 6)
    """

    dtype: str = "fp32"
    chunks: tuple[Chunk, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in ("fp32", "bf16", "fp16"):
            raise PolicyError(f"Dense.dtype = {self.dtype!r}: must be 'fp32', 'bf16' or 'fp16'")
        exact = self.dtype == "fp32"
        for flag, value in (("linear", exact), ("lossless", exact), ("contractive", True)):
            object.__setattr__(self, flag, value)  # follow from dtype; the seam wants plain attributes

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return every entry in `dtype`; rng and state are not used."""
        self.refuse_level(level)
        return self.sent(self._narrowed(vector), vector.size, None), state

    def decode(self, body: NDArray[Any], size: int) -> Vector:
        """Return the entries as float32 [P], never a view of the body."""
        if self.dtype == "bf16":
            return (body.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return body.astype(np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return 4 or 2 bytes an entry."""
        return Wire(values=size_of(shapes) * self._entry_bytes)

    def serialise(self, body: NDArray[Any]) -> bytes:
        """Spell the entries in order, little-endian."""
        return body.astype(body.dtype.newbyteorder("<")).tobytes()

    def deserialise(self, data: bytes, size: int) -> NDArray[Any]:
        """Read the entries back."""
        spelling = {"fp32": "<f4", "bf16": "<u2", "fp16": "<f2"}[self.dtype]
        return np.frombuffer(data, spelling, size).astype(np.dtype(spelling).newbyteorder("="))

    def declared(self) -> tuple[Work, Work]:
        """fp32: none, the vector leaves as it lies; else a pass that reads 4 bytes and writes 2, or back."""
        if self.lossless:
            return Work(), Work()
        return Work(bytes=6.0, flops=3.0, launches=1.0), Work(bytes=6.0, flops=1.0, launches=1.0)

    @property
    def _entry_bytes(self) -> int:
        return 4 if self.dtype == "fp32" else 2

    def _narrowed(self, vector: Vector) -> NDArray[Any]:
        if self.dtype == "fp32":
            return vector.copy()
        if self.dtype == "fp16":
            return saturated(vector)
        return _upper_half(vector)


def saturated(vector: Vector) -> NDArray[np.float16]:
    """Return a float16 copy in which what is too large is the largest number, so that no infinity is made."""
    return np.clip(vector, -FP16_LARGEST, FP16_LARGEST).astype(np.float16)


def through_float16(vector: Vector) -> Vector:
    """Return what float16 leaves of finite numbers, as float32: the same bits as by way of `saturated`.

    Written out, for numpy converts numbers one by one: of 30,000 entries in half the time, in a sixth where many are
    below float16's normal numbers.  A float16 has 10 of float32's 23 bits, halves rounded to even; below 2^-14 it
    counts in steps of 2^-24, and so does float32 next to 1/2.
    """
    bits = vector.view(np.uint32)
    kept = bits >> np.uint32(13)
    kept &= np.uint32(1)
    kept += bits + np.uint32(0x0FFF)
    kept &= np.uint32(0xFFFFE000)
    normal = np.clip(kept.view(np.float32), -FP16_LARGEST, FP16_LARGEST)
    tiny = np.abs(vector)
    is_tiny = tiny < FP16_LEAST_NORMAL
    tiny += np.float32(0.5)
    tiny -= np.float32(0.5)
    np.copyto(normal, np.copysign(tiny, vector, out=tiny), where=is_tiny)
    return normal


def _upper_half(vector: Vector) -> NDArray[np.uint16]:
    bits = vector.view(np.uint32)
    to_even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = ((bits + (to_even + np.uint32(0x7FFF))) >> np.uint32(16)).astype(np.uint16)
    # the carry above would turn some NaN into zero or infinity, and hide that training has diverged
    return np.where(np.isnan(vector), np.uint16(0x7FC0), rounded)


def buckets(nominal_shapes: Shapes, bytes_per_entry: int, bucket_bytes: float) -> tuple[Chunk, ...]:
    """Return the chunks of a dense payload whose buckets fill as the backward pass goes, last tensor first.

    A bucket takes whole tensors until it holds `bucket_bytes` or more: a gradient exists only when its
    tensor's is done.  The backward pass is taken to spend equal time on every parameter, so a bucket is ready
    after the share of the parameters that lie behind its first tensor, that tensor included; the last bucket
    at 1.0.

    nominal_shapes    of the model's tensors, first layer first
    bytes_per_entry   4 for fp32, 2 for bf16 and fp16
    bucket_bytes      for example 25e6; a larger tensor makes a larger bucket
    raises            PolicyError when a size is not above 0
    source            Li et al. 2020, PyTorch Distributed, arXiv:2006.15704. Differs: no smaller first bucket.

    >>> buckets(((2,), (1,), (1,)), 4, 8)
    (Chunk(share=0.5, ready_at=0.5, entries=None), Chunk(share=0.5, ready_at=1.0, entries=None))
    """
    total = size_of(nominal_shapes)
    if total <= 0 or bytes_per_entry <= 0 or not bucket_bytes > 0:
        raise PolicyError(f"buckets: {total} entries of {bytes_per_entry} bytes in buckets of {bucket_bytes} "
                          f"bytes: all must be > 0")
    chunks: list[Chunk] = []
    filled = done = 0
    for shape in reversed(nominal_shapes):
        filled, done = filled + size_of((shape,)), done + size_of((shape,))
        if filled and (filled * bytes_per_entry >= bucket_bytes or done == total):
            chunks.append(Chunk(filled / total, done / total))
            filled = 0
    return tuple(chunks)
