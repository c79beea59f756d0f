"""Layers in groups: each group is encoded by itself, and leaves as soon as the backward pass has been through it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from acesim.compressors.base import CompressorBase
from acesim.scenario.errors import PolicyError
from acesim.seam import Chunk, Generator, Payload, Shapes, Vector, Wire, Work, size_of


class Each(NamedTuple):
    """The measure of every group [G], where they are not all alike."""

    measures: tuple[Any, ...]


@dataclass(frozen=True)
class Fused(CompressorBase):
    """Cut the vector into groups of whole layers, and send each in a chunk of its own, last group first.

    A compressor that chooses among entries then chooses within a group: top-k keeps max(1, k) of every group, QSGD's
    buckets and a sketch's columns begin anew.  At a scale other than that of the layers a group is its share of the
    entries, rounded down to whole ones; a group left without entries sends nothing there.

    inner     any compressor that takes vectors of every size
    stops     [G] entries of the nominal model up to the end of each group, in the order of the vector
    level     the inner compressor's, for every group
    body      the inner bodies in order; one array where the inner compressor is linear, so that they can be added
    measure   the inner one, or Each
    nbytes    the sum of the inner compressor's
    chunks    one a group: its share of the nominal bytes at the inner compressor's own level, ready after the share of
              the parameters from its first layer to the end (the backward pass spends equal time on every parameter)
    raises    PolicyError when stops do not rise from above 0
    source    groups of layers as in Shi et al. 2020 (MG-WFBP, OMGS-SGD) and LayerFusion (Dai et al. 2024)

    >>> from acesim.compressors import Dense
    >>> Fused(Dense(), (1, 4)).chunks
    (Chunk(share=0.75, ready_at=0.75, entries=0.75), Chunk(share=0.25, ready_at=1.0, entries=0.25))
    """

    inner: CompressorBase
    stops: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.stops or min(_sizes(self.stops)) < 1:
            raise PolicyError(f"Fused.stops = {self.stops!r}: must rise, from at least 1")
        for flag in ("linear", "lossless", "contractive"):
            object.__setattr__(self, flag, getattr(self.inner, flag))  # the seam wants plain attributes
        object.__setattr__(self, "chunks", self._chunks())

    def _chunks(self) -> tuple[Chunk, ...]:
        sizes, total = _sizes(self.stops), self.stops[-1]
        nbytes = [self.inner.nbytes(((size,),), None) for size in sizes]
        whole = max(1, sum(nbytes))
        return tuple(Chunk(each / whole, (total - stop + size) / total, size / total)
                     for each, stop, size in reversed(list(zip(nbytes, self.stops, sizes, strict=True))))

    def init(self, size: int) -> tuple[Any, ...]:
        """Return the inner states, one a group that has entries."""
        return tuple(self.inner.init(each) for each in self.sizes(size) if each)

    def sizes(self, size: int) -> list[int]:
        """Return the entries of each group [G] of a vector of `size`.

        >>> from acesim.compressors import Dense
        >>> Fused(Dense(), (1, 40, 100)).sizes(10)
        [0, 4, 6]
        """
        return _sizes(tuple(stop * size // self.stops[-1] for stop in self.stops))

    def encode(self, vector: Vector, level: Any, rng: Generator | None,
               state: tuple[Any, ...]) -> tuple[Payload, tuple[Any, ...]]:
        """Return every group encoded by the inner compressor."""
        sent, states, at = [], [], 0
        for size, inner in zip(filter(None, self.sizes(vector.size)), state, strict=True):
            payload, after = self.inner.encode(vector[at:at + size], level, rng, inner)
            sent.append(payload)
            states.append(after)
            at += size
        bodies = [payload.body for payload in sent]
        body = np.concatenate(bodies) if self.linear else bodies
        return self.sent(body, vector.size, self._measure([payload.measure for payload in sent], vector.size)), \
            tuple(states)

    def _measure(self, found: Sequence[Any], size: int) -> Any:
        """Return what all groups have in common, or each one's own; groups without entries take that of the next."""
        if isinstance(found[0], Hashable) and len(set(found)) == 1:
            return found[0]
        rest, measures = list(reversed(found)), []
        for each in self.sizes(size):
            measures.append(rest[-1])
            if each and len(rest) > 1:
                rest.pop()
        return Each(tuple(measures))

    def decode(self, body: Any, size: int) -> Vector:
        """Return the groups side by side."""
        sizes = [each for each in self.sizes(size) if each]
        return np.concatenate([self.inner.decode(part, each)
                               for part, each in zip(self._split(body, sizes), sizes, strict=True)])

    def _split(self, body: Any, sizes: Sequence[int]) -> Sequence[Any]:
        if not self.linear:
            return list(body)
        ends = np.cumsum([self.inner.nbytes(((each,),), None) // 4 for each in sizes])  # float32, as linear bodies are
        return np.split(body, ends[:-1])

    def norm(self, body: Any, size: int) -> float:
        """Return the root of the sum of the groups' squared norms."""
        sizes = [each for each in self.sizes(size) if each]
        return math.hypot(*(self.inner.norm(part, each)
                            for part, each in zip(self._split(body, sizes), sizes, strict=True)))

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the bytes of all groups that have entries; measure None is the inner compressor's own level."""
        sizes = self.sizes(size_of(shapes))
        if isinstance(measure, Each):
            return _total([self.inner.wire(((size,),), each)
                           for size, each in zip(sizes, measure.measures, strict=True) if size])
        return _alike(self.inner, tuple(filter(None, sizes)), measure)

    def serialise(self, body: Any) -> bytes:
        """Spell the groups one after the other."""
        return self.inner.serialise(body) if self.linear else b"".join(map(self.inner.serialise, body))

    def deserialise(self, data: bytes, size: int) -> Any:
        """Read the groups back, written at the inner compressor's own level."""
        found, at = [], 0
        for each in filter(None, self.sizes(size)):
            end = at + self.inner.nbytes(((each,),), None)
            found.append(self.inner.deserialise(data[at:end], each))
            at = end
        return np.concatenate(found) if self.linear else found

    def declared(self) -> tuple[Work, Work]:
        """Return the inner compressor's work; its launches are those of every chunk."""
        return self.inner.declared()

    def memory_bytes(self, size: int) -> int:
        """Return the inner compressor's memory."""
        return self.inner.memory_bytes(size)


def _sizes(stops: Sequence[int]) -> list[int]:
    return [stop - start for start, stop in zip((0, *stops), stops, strict=False)]


def _total(wires: Sequence[Wire]) -> Wire:
    return Wire(*(sum(part) for part in zip(*wires, strict=True)))


@lru_cache(maxsize=256)
def _alike(inner: CompressorBase, sizes: tuple[int, ...], measure: Any) -> Wire:
    return _total([inner.wire(((size,),), measure) for size in sizes])
