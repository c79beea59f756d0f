"""Nothing at all: for policies that only train locally, and for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from acesim.compressors.base import CompressorBase
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work


@dataclass(frozen=True)
class Silent(CompressorBase):
    """Send nothing; the receiver decodes zeros.

    Linear; not contractive, since it takes nothing off the vector: under error feedback the residual would
    only grow.

    body     None
    nbytes   0

    >>> payload, _ = Silent().encode(np.ones(3, np.float32), None, None, ())
    >>> payload.nbytes, Silent().decode(payload.body, 3)
    (0, array([0., 0., 0.], dtype=float32))
    """

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return an empty payload."""
        self.refuse_level(level)
        return Payload(None, 0), state

    def decode(self, body: None, size: int) -> Vector:
        """Return zeros."""
        return np.zeros(size, np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return no bytes."""
        return Wire()

    def serialise(self, body: None) -> bytes:
        """Return no bytes."""
        return b""

    def deserialise(self, data: bytes, size: int) -> None:
        """Return None, the only body there is."""

    def declared(self) -> tuple[Work, Work]:
        """Return no work."""
        return Work(), Work()
