"""What rooms hand to each other: vectors, payloads and their bytes, updates, levels, declared work."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Shapes = tuple[tuple[int, ...], ...]
Generator = np.random.Generator


@lru_cache(maxsize=1024)
def size_of(shapes: Shapes) -> int:
    """Count the entries of all tensors together.

    >>> size_of(((2, 3), (4,)))
    10
    """
    total = 0
    for shape in shapes:
        entries = 1
        for length in shape:
            entries *= length
        total += entries
    return total


class Wire(NamedTuple):
    """The bytes of one payload by what they carry; the message header is the engine's and is added there."""

    values: int = 0
    indices: int = 0
    scales: int = 0

    @property
    def total(self) -> int:
        """All bytes of the payload."""
        return self.values + self.indices + self.scales

    def plus(self, other: Wire) -> Wire:
        """Return the bytes of both, kind by kind."""
        return Wire(self.values + other.values, self.indices + other.indices, self.scales + other.scales)


class Chunk(NamedTuple):
    """A part of a payload that may leave before the backward pass has ended.

    Every chunk is a call of the encoder (and of the decoder) and a transfer of its own: it pays the launches of
    `Work`, a message header, and the start-up of a message.

    share      of the payload's bytes, in (0, 1]; the shares of a payload sum to 1
    ready_at   fraction of the backward pass after which the part can be encoded, in [0, 1]
    entries    share of the vector that it encodes; None: as of the bytes
    """

    share: float
    ready_at: float
    entries: float | None = None


class Payload(NamedTuple):
    """All that crosses a link; nothing else may.

    body      what the receiver needs to decode
    nbytes    == len(compressor.serialise(body)), at the proxy's scale
    chunks    () is one chunk, ready at the end of the backward pass
    measure   what `Compressor.wire` needs to give the size at another scale: the level, or the measured density of
              data-dependent sizes (per group where there are groups)
    """

    body: Any
    nbytes: int
    chunks: tuple[Chunk, ...] = ()
    measure: Any = None


class Work(NamedTuple):
    """Declared work of a part, charged to the simulated device.

    bytes      moved to and from memory per entry of the vector it handles
    flops      floating point operations per entry
    launches   of kernels, however many entries there are; each chunk of a payload has its own
    """

    bytes: float = 0.0
    flops: float = 0.0
    launches: float = 0.0


class Variant(NamedTuple):
    """What an update says for one variant of the model.

    number   of the variant
    weight   of those who follow it, not yet normalised
    apart    [p] their mean of the entries that differ between variants, less the update's; None: it is the update's
    """

    number: int
    weight: float
    apart: Vector | None = None


class Update(NamedTuple):
    """One message in a server's inbox.

    sender    fleet row
    weight    of the sender in the mean, not yet normalised
    version   of the model the sender started from
    steps     local steps behind it; the weighted mean of them where a region has summed
    variants  whom it speaks for; () where all follow the one model
    batches   fingerprint of the data behind it
    """

    sender: int
    payload: Payload
    weight: float
    version: int
    steps: float = 1.0
    variants: tuple[Variant, ...] = ()
    batches: int = 0


class Guide(NamedTuple):
    """What a server's optimizer holds after a step: with it, whoever has the server's updates can foresee the next.

    rule           with init, step and restore (acesim.learning.optimizers)
    state          its state
    learning_rate  of a step, by the number of steps taken before it
    steps          taken so far
    curvature      [P] the running mean of squares its steps are divided by (the root of); None where there is none
    """

    rule: Any
    state: Any
    learning_rate: Callable[[int], float]
    steps: int
    curvature: Vector | None = None


class Budget(NamedTuple):
    """A level for compressors that choose a level for every group by themselves.

    nbytes      nominal bytes the payload may take
    importance  float32 [G], how much each group matters
    keep        the most important share of groups travels in full precision if the budget allows, in [0, 1]
    """

    nbytes: float
    importance: Vector
    keep: float = 0.0


class Rated(NamedTuple):
    """A level for senders that multiply by the learning rate before they accumulate: the server tells it.

    rate    of the steps to come
    level   of what is inside
    """

    rate: float
    level: Any = None
