"""Nothing at all, in as many bytes as asked for: for policies that send nothing, and for worlds without learning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from acesim.compressors.base import CompressorBase
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of


@dataclass(frozen=True)
class Silent(CompressorBase):
    """Say nothing; the receiver decodes zeros.

    bytes_per_entry   of padding, >= 0; a payload's are rounded to whole bytes

    Not contractive, since it takes nothing off the vector: under error feedback the residual would
    only grow.

    body     how many bytes of padding
    nbytes   the same
    raises   PolicyError when bytes_per_entry is negative or not finite

    >>> payload, _ = Silent(1.5).encode(np.ones(3, np.float32), None, None, ())
    >>> payload.nbytes, Silent().decode(payload.body, 3)
    (4, array([0., 0., 0.], dtype=float32))
    """

    bytes_per_entry: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.bytes_per_entry < math.inf:
            raise PolicyError(f"Silent.bytes_per_entry = {self.bytes_per_entry}: must be finite and >= 0")

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return padding alone."""
        self.refuse_level(level)
        return self.sent(self.wire(((vector.size,),), None).values, vector.size, None), state

    def decode(self, body: int, size: int) -> Vector:
        """Return zeros."""
        return np.zeros(size, np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the padding."""
        return Wire(values=round(self.bytes_per_entry * size_of(shapes)))

    def serialise(self, body: int) -> bytes:
        """Return zero bytes."""
        return bytes(body)

    def deserialise(self, data: bytes, size: int) -> int:
        """Return how many there are."""
        return len(data)

    def declared(self) -> tuple[Work, Work]:
        """Return no work."""
        return Work(), Work()
