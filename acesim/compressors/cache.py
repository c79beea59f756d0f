"""Cached values: what a group's last payload said is used again while nothing new comes; and feedback that knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase
from acesim.compressors.grid import inverse, usable
from acesim.compressors.grouped import Grouped
from acesim.compressors.rounding import GroupedBody, joined
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work


class Cache(NamedTuple):
    """h: the last decoded value of every group, in 8 bits an entry: codes int8 [P] times scales float32 [G]."""

    codes: NDArray[np.int8]
    scales: Vector


class CachedState(NamedTuple):
    """residual [P]; cache, as the receiver has it; before: the cache before the last payload; inner: of `Grouped`."""

    residual: Vector
    cache: Cache
    before: Cache
    inner: Any


@dataclass(frozen=True)
class CachedFeedback(CompressorBase):
    """Error feedback towards a receiver that goes on using what it was last told of a group.

    x~ = x + gamma e;  used_i = decoded_i, h_i <- decoded_i  where group i was sent
                       used_i = rho h_i,   h_i <- rho h_i    where it was not
    e <- x~ - used.  Sender and receiver know the same h, so with gamma = 1 nothing is lost and nothing counted twice:
    sum of what was used + e = sum of the vectors.

    inner     Grouped; others have no groups that may be missing
    rho       decay of a cached value a round, in [0, 1); 0 is `ErrorFeedback`
    gamma     share of the residual that is added again, in (0, 1]
    body, level, measure   the inner compressor's; `decode` alone gives what was sent, `receive` what is used
    memory    sender 6 P, receiver P a sender (h is kept in 8 bits: full-precision groups are rounded for it)
    source    ACE-Sync (arXiv 2512.18127) section 3.1, "reconstructs missing low-importance parameters using cached
              historical values", and equation 7
    """

    inner: Grouped
    rho: float = 0.5
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Grouped) or not self.inner.contractive:
            raise PolicyError(f"CachedFeedback.inner = {self.inner!r}: must be Grouped, with contractive rounding")
        if not 0 <= self.rho < 1:
            raise PolicyError(f"cache = {self.rho!r}: must lie in [0, 1)")
        if not 0 < self.gamma <= 1:
            raise PolicyError(f"CachedFeedback.gamma = {self.gamma!r}: must be in (0, 1]")

    def init(self, size: int) -> CachedState:
        """Return an empty residual and an empty cache."""
        empty = self._empty(size)
        return CachedState(np.zeros(size, np.float32), empty, empty, self.inner.init(size))

    def encode(self, vector: Vector, level: Any, rng: Generator | None,
               state: CachedState) -> tuple[Payload, CachedState]:
        """Return the payload of vector + gamma * residual, and the state after it."""
        payload, _, state = self.encode_decoded(vector, level, rng, state)
        return payload, state

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: CachedState) -> tuple[Payload, Vector, CachedState]:
        """Return (payload, what the receiver will use, state)."""
        due = vector + np.float32(self.gamma) * state.residual
        payload, inner = self.inner.encode(due, level, rng, state.inner)
        used, cache = self._used(payload.body, state.cache)
        return payload, used, CachedState(np.subtract(due, used, out=due), cache, state.cache, inner)

    def receive(self, body: GroupedBody, size: int, memory: Cache | None) -> tuple[Vector, Cache]:
        """Return (what the receiver uses, its cache of this sender)."""
        return self._used(body, self._empty(size) if memory is None else memory)

    def receiver_bytes(self, size: int) -> int:
        """Return a byte an entry."""
        return size

    def give_back(self, body: GroupedBody, size: int, state: CachedState) -> CachedState:
        """Return the state after the last payload was not used: as if it had never been sent."""
        used, _ = self._used(body, state.before)
        return state._replace(residual=state.residual + used, cache=state.before)

    def decode(self, body: GroupedBody, size: int) -> Vector:
        """Return what was sent."""
        return self.inner.decode(body, size)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the inner compressor's bytes."""
        return self.inner.wire(shapes, measure)

    def serialise(self, body: GroupedBody) -> bytes:
        """Spell the body as the inner compressor does."""
        return self.inner.serialise(body)

    def deserialise(self, data: bytes, size: int) -> GroupedBody:
        """Read the body as the inner compressor does."""
        return self.inner.deserialise(data, size)

    def declared(self) -> tuple[Work, Work]:
        """As `ErrorFeedback`; both sides also read and write the cache, a byte an entry each way."""
        encoding, decoding = self.inner.declared()
        return (Work(encoding.bytes + decoding.bytes + 26.0, encoding.flops + decoding.flops + 4.0),
                Work(decoding.bytes + 2.0, decoding.flops + 1.0))

    def memory_bytes(self, size: int) -> int:
        """Return 4 bytes an entry for the residual, 1 for each cache, and the inner compressor's memory."""
        return 6 * size + self.inner.memory_bytes(size)

    def _empty(self, size: int) -> Cache:
        return Cache(np.zeros(size, np.int8), np.zeros(len(self.inner.sizes), np.float32))

    def _used(self, body: GroupedBody, cache: Cache) -> tuple[Vector, Cache]:
        layout = self.inner.layout(body.codes.size)
        decoded, floats = joined(body, layout), layout.are("float")[body.picks]
        chosen = ~layout.are("skip")[body.picks]
        sent = np.repeat(chosen, layout.sizes)
        codes, scales = body.codes, body.scales
        if floats.any():
            codes, scales = _in_eight_bits(decoded, np.repeat(floats, layout.sizes), body, layout.starts, layout.sizes)
        scales = np.where(chosen, scales, np.float32(self.rho) * cache.scales)
        codes = np.where(sent, codes, cache.codes)
        again = np.multiply(codes, np.repeat(scales, layout.sizes), dtype=np.float32)
        return np.where(sent, decoded, again), Cache(codes, scales)


def _in_eight_bits(decoded: Vector, floats: NDArray[np.bool_], body: GroupedBody, starts: NDArray[np.int64],
                   sizes: NDArray[np.int64]) -> tuple[NDArray[np.int8], Vector]:
    """Return codes and scales of a body whose groups of floats are rounded to multiples of peak / 127."""
    peaks: Vector = np.maximum.reduceat(np.where(floats, np.abs(decoded), np.float32(0)), starts)
    steps = usable(peaks / np.float32(127))
    nearest = np.rint(decoded * np.repeat(inverse(steps), sizes)).astype(np.int8)
    return np.where(floats, nearest, body.codes), np.where(floats[starts], steps, body.scales)
