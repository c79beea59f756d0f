"""An unbiased compressor made fit for error feedback: what it says is taken for less."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from acesim.compressors.base import CompressorBase
from acesim.compressors.qsgd import QSGD, Rounded
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work


def variance(levels: int, entries: int) -> float:
    """Return omega, QSGD's bound on E|Q(x) - x|^2 / |x|^2: min(d / s^2, sqrt(d) / s).

    >>> variance(7, 49), round(variance(127, 512), 4)
    (1.0, 0.0317)
    """
    return min(entries / levels**2, math.sqrt(entries) / levels)


@dataclass(frozen=True)
class Shrunk(CompressorBase):
    """Q(x) / (1 + omega): the least error that a multiple of an unbiased Q can promise.

    E|x - Q(x) / (1 + omega)|^2 <= omega / (1 + omega) |x|^2: contractive in the mean over its random numbers, though
    not for every draw, which is all that error feedback needs.

    inner    QSGD; all else is its
    source   Horvath & Richtarik 2021, arXiv:2006.11077 (induced compressors); Stich et al. 2018, arXiv:1809.07599
    """

    inner: QSGD

    contractive = True

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the inner compressor's payload."""
        return self.inner.encode(vector, level, rng, state)

    def decode(self, body: Rounded, size: int) -> Vector:
        """Return what the inner compressor decodes, over 1 + omega."""
        omega = variance(body.levels, min(self.inner.bucket, size))
        return np.asarray(self.inner.decode(body, size) / np.float32(1 + omega), np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the inner compressor's bytes."""
        return self.inner.wire(shapes, measure)

    def serialise(self, body: Rounded) -> bytes:
        """Spell the body as the inner compressor does."""
        return self.inner.serialise(body)

    def deserialise(self, data: bytes, size: int) -> Rounded:
        """Read the body as the inner compressor does."""
        return self.inner.deserialise(data, size)

    def declared(self) -> tuple[Work, Work]:
        """The inner compressor's work; the factor goes into its norms."""
        return self.inner.declared()
