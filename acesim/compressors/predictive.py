"""What can be foreseen need not be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from acesim.compressors.lattice import Lattice
from acesim.compressors.uniform import Uniform
from acesim.compressors.wrapper import Wrapper
from acesim.scenario.errors import PolicyError
from acesim.seam import Budget, Generator, Payload, Vector, Work

LEAST_BITS = 0.75
"""Of so few bits an entry nothing is expected; the share that is grows by .1 with each tenth of a bit."""


@dataclass(frozen=True)
class Predictive(Wrapper):
    """A downlink whose receivers go on as far as the model last went, and are told how far that is off.

    expected = held + rho (held - before);  payload = inner.encode(model - expected);  next held = expected + decoded.
    A server's optimizer with momentum beta takes steps that resemble each other: of AdamW's under noise a share
    beta^2 of the variance is foreseen, so that at beta = 0.9 the same bytes leave a fifth of the error or so.  Nothing
    is lost: what was not sent stays in the difference between model and held.  What a receiver lacks is in its last
    step too, and comes back with what is expected: the fewer bits there are, the less may be, and rho is taken as

        min(rho, bits an entry - 0.75), not below 0

    (without this the error grows for ever at a bit an entry, where rho is above a half).

    inner     Lattice or Uniform: a compressor of differences, of a number of bits an entry
    rho       share of the last step that is expected again, in [0, 1); 0 is the inner compressor alone
    level, body, measure   the inner compressor's
    memory    whoever holds a model keeps the one before as well: 4 P (`TreePolicy.memory_bytes`)
    raises    PolicyError when rho is outside [0, 1), or inner is neither
    source    differential pulse-code modulation: Cutler 1952; Jayant & Noll 1984, chapter 6.  Its use here is acesim's
    """

    inner: Lattice | Uniform
    rho: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.rho < 1:
            raise PolicyError(f"Predictive.rho = {self.rho!r}: must lie in [0, 1)")
        if not isinstance(self.inner, Lattice | Uniform):
            raise PolicyError(f"Predictive.inner = {self.inner!r}: must be a Lattice or Uniform")
        self.take_over("linear", "lossless", "incremental", "chunks", "contractive")

    def init(self, size: int) -> Any:
        """Return the inner state."""
        return self.inner.init(size)

    def predict(self, held: Vector, before: Vector | None, level: Any) -> Vector:
        """Return where the model is expected next [P]."""
        rho = min(self.rho, self._bits(level) - LEAST_BITS)
        return held if before is None or rho <= 0 else held + np.float32(rho) * (held - before)

    def _bits(self, level: Any) -> float:
        """Return the bits an entry that a message of this level has."""
        if isinstance(level, Budget) and isinstance(self.inner, Lattice):
            return 8 * level.nbytes / (self.inner.nominal_size or sum(self.inner.sizes))
        return float(self.inner.bits if level is None else level)

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: Any) -> tuple[Payload, Vector, Any]:
        """Return (payload, what the receiver will decode, state)."""
        return self.inner.encode_decoded(vector, level, rng, state)

    def declared(self) -> tuple[Work, Work]:
        """Each side also reads two models and writes the expected one, 12 bytes and 3 operations an entry."""
        encoding, decoding = self.inner.declared()
        return _predicted(encoding), _predicted(decoding)


def _predicted(work: Work) -> Work:
    return Work(work.bytes + 12.0, work.flops + 3.0, work.launches + 1.0)
