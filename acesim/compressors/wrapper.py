"""What compressors that stand around another do alike: they change what is encoded, never what is sent."""

from __future__ import annotations

from typing import Any

from acesim.compressors.base import CompressorBase
from acesim.seam import Generator, Payload, Shapes, Vector, Wire


class Wrapper(CompressorBase):
    """Payload, bytes and decoding are the inner compressor's; a member writes init, encode_decoded and declared."""

    inner: CompressorBase

    def take_over(self, *flags: str) -> None:
        """Set flags as the inner compressor has them; the seam wants plain attributes."""
        for flag in flags:
            object.__setattr__(self, flag, getattr(self.inner, flag))

    def take_over_give_back(self) -> None:
        """Give back as the inner compressor does, where it does: for members whose state is the inner one's."""
        if hasattr(self.inner, "give_back"):
            object.__setattr__(self, "give_back", self.inner.give_back)

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Return the payload, and the state after it."""
        payload, _, state = self.encode_decoded(vector, level, rng, state)
        return payload, state

    def decode(self, body: Any, size: int) -> Vector:
        """Return what the inner compressor decodes."""
        return self.inner.decode(body, size)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the inner compressor's bytes."""
        return self.inner.wire(shapes, measure)

    def serialise(self, body: Any) -> bytes:
        """Spell the body as the inner compressor does."""
        return self.inner.serialise(body)

    def deserialise(self, data: bytes, size: int) -> Any:
        """Read the body as the inner compressor does."""
        return self.inner.deserialise(data, size)
