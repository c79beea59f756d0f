"""What a payload leaves behind is kept, and sent later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from acesim.compressors.base import CompressorBase
from acesim.compressors.wrapper import Wrapper
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Vector, Work


class FeedbackState(NamedTuple):
    """residual: float32 [P], what has not been sent yet; inner: state of the inner compressor."""

    residual: Vector
    inner: Any


@dataclass(frozen=True)
class ErrorFeedback(Wrapper):
    """Add to each vector what earlier payloads left out of theirs.

    x~ = x + gamma e;  payload = inner.encode(x~);  e <- x~ - inner.decode(payload).
    With gamma = 1 nothing is ever lost: sum of what was decoded + e = sum of the vectors.

    inner     a contractive compressor.  Others are refused: with an unbiased one such as QSGD the residual is
              multiplied in every round, not reduced (1e4 to 1e10 times the gradient within 200 rounds,
              tried).
    gamma     share of the residual that is added again, in (0, 1]
    level     the inner compressor's
    body      the inner compressor's
    memory    4 P + the inner compressor's
    raises    PolicyError when inner is not contractive or gamma is outside (0, 1]
    source    Karimireddy et al. 2019, arXiv:1901.09847; ACE-Sync equation 7.
    """

    inner: CompressorBase
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not self.inner.contractive:
            raise PolicyError(f"ErrorFeedback.inner = {self.inner!r}: must be contractive, or the residual "
                              f"grows without bound; take TopK, Uniform or Grouped instead")
        if not 0 < self.gamma <= 1:
            raise PolicyError(f"ErrorFeedback.gamma = {self.gamma!r}: must be in (0, 1]")
        self.take_over("linear", "lossless", "chunks")

    def init(self, size: int) -> FeedbackState:
        """Return an empty residual and the inner state."""
        return FeedbackState(np.zeros(size, np.float32), self.inner.init(size))

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: FeedbackState) -> tuple[Payload, Vector, FeedbackState]:
        """Return (payload, what the receiver will decode, state)."""
        due = vector + np.float32(self.gamma) * state.residual
        payload, decoded, inner = self.inner.encode_decoded(due, level, rng, state.inner)
        return payload, decoded, FeedbackState(np.subtract(due, decoded, out=due), inner)

    def give_back(self, body: Any, size: int, state: FeedbackState) -> FeedbackState:
        """Return the state after a payload was not used: its content joins the residual again."""
        return state._replace(residual=state.residual + self.inner.decode(body, size))

    def declared(self) -> tuple[Work, Work]:
        """Encoding adds to the inner work a decode, a pass that reads vector and residual and writes their
        sum (12 bytes), and a pass that reads sum and decoded and writes the residual (12 bytes)."""
        encoding, decoding = self.inner.declared()
        both = encoding.launches + decoding.launches
        return Work(encoding.bytes + decoding.bytes + 24.0, encoding.flops + decoding.flops + 3.0, both + 2.0), decoding

    def memory_bytes(self, size: int) -> int:
        """Return 4 bytes an entry and the inner compressor's memory."""
        return 4 * size + self.inner.memory_bytes(size)
