"""Momentum that lives with the sparsifier, so that what is sent late counts as if it had been sent at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from acesim.compressors.base import CompressorBase
from acesim.compressors.wrapper import Wrapper
from acesim.learning.optimizers import clipped
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Rated, Vector, Work


class MomentumState(NamedTuple):
    """velocity u, accumulated v: float32 [P]; inner: state of the inner compressor."""

    velocity: Vector
    accumulated: Vector
    inner: Any


@dataclass(frozen=True)
class MomentumCorrection(Wrapper):
    """Accumulate velocities, not gradients, and send the largest of the accumulated: the heart of DGC.

        u <- m u + g;   v <- v + u                          (nesterov: u <- m (u + g), v <- v + u + g)
        payload = inner.encode(v);   v <- v - decoded;   u <- 0 where something was decoded (masking)

    Without masking nothing is lost: sum of what was decoded + v = sum of all u; and where everything is sent it is
    momentum SGD.  With masking ("factor masking": stale momentum is stopped) and everything sent it is plain SGD.
    The server must add no momentum of its own.

    inner      a contractive compressor
    momentum   m, in [0, 1)
    masking    clear the velocity of what was sent
    nesterov   as in the authors' code
    memory     8 P + the inner compressor's
    raises     PolicyError when momentum is out of range or inner is not contractive
    source     Lin et al. 2018, arXiv:1712.01887, section 3 and algorithm 4
    """

    inner: CompressorBase
    momentum: float = 0.9
    masking: bool = True
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_contractive("MomentumCorrection", self.inner)
        if not 0 <= self.momentum < 1:
            raise PolicyError(f"MomentumCorrection.momentum = {self.momentum!r}: must be in [0, 1)")
        self.take_over("linear", "chunks")

    def init(self, size: int) -> MomentumState:
        """Return no velocity and nothing accumulated."""
        return MomentumState(np.zeros(size, np.float32), np.zeros(size, np.float32), self.inner.init(size))

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: MomentumState) -> tuple[Payload, Vector, MomentumState]:
        """Return (payload, what the receiver will decode, state)."""
        momentum = np.float32(self.momentum)
        velocity = momentum * (state.velocity + vector) if self.nesterov else momentum * state.velocity + vector
        due = state.accumulated + velocity
        due = due + vector if self.nesterov else due
        payload, decoded, inner = self.inner.encode_decoded(due, level, rng, state.inner)
        if self.masking:
            velocity[decoded != 0] = 0
        return payload, decoded, MomentumState(velocity, np.subtract(due, decoded, out=due), inner)

    def give_back(self, body: Any, size: int, state: MomentumState) -> MomentumState:
        """Return the state after a payload was not used: its content is due again."""
        return state._replace(accumulated=state.accumulated + self.inner.decode(body, size))

    def declared(self) -> tuple[Work, Work]:
        """Beside the inner work and a decode: passes that read gradient, velocity and accumulated and write the latter
        two (20 bytes), and that take off what was sent (20 bytes)."""
        encoding, decoding = self.inner.declared()
        return Work(encoding.bytes + decoding.bytes + 40.0, encoding.flops + decoding.flops + 5.0), decoding

    def memory_bytes(self, size: int) -> int:
        """Return 8 bytes an entry and the inner compressor's memory."""
        return 8 * size + self.inner.memory_bytes(size)


class VelocityState(NamedTuple):
    """velocity u: float32 [P]; inner: state of the inner compressor."""

    velocity: Vector
    inner: Any


@dataclass(frozen=True)
class SparsificationAwareMomentum(Wrapper):
    """SAMomentum: the velocity is the residual, and an unsent entry is kept so that it decays once an interval, not
    once a step.

        u <- m u + x;   payload = inner.encode(u);   u <- u / m where nothing was sent, u as it is where it was

    x is the gradient times the learning rate (wrap in Scaled).  An entry that goes unsent for T - 1 steps has
    u = m u_then + sum of its T gradients; always (1 - m) sum of what was sent + m u = sum of x.  Where everything is
    sent it is momentum SGD.

    inner      a compressor that sends chosen entries as they are (LayerTopK, Threshold, ...)
    momentum   m, in (0, 1): what is not sent is divided by it
    memory     4 P + the inner compressor's
    raises     PolicyError when momentum is out of range or inner is not contractive
    source     Yan et al. 2020, arXiv:1910.10929, equations 14 to 16 and algorithm 3
    """

    inner: CompressorBase
    momentum: float = 0.7

    def __post_init__(self) -> None:
        check_contractive("SparsificationAwareMomentum", self.inner)
        if not 0 < self.momentum < 1:
            raise PolicyError(f"SparsificationAwareMomentum.momentum = {self.momentum!r}: must be in (0, 1), for what "
                              "is not sent is divided by it")
        self.take_over("linear", "chunks")

    def init(self, size: int) -> VelocityState:
        """Return no velocity."""
        return VelocityState(np.zeros(size, np.float32), self.inner.init(size))

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: VelocityState) -> tuple[Payload, Vector, VelocityState]:
        """Return (payload, what the receiver will decode, state)."""
        momentum = np.float32(self.momentum)
        velocity = momentum * state.velocity + vector
        payload, decoded, inner = self.inner.encode_decoded(velocity, level, rng, state.inner)
        np.divide(velocity, momentum, out=velocity, where=decoded == 0)
        return payload, decoded, VelocityState(velocity, inner)

    def give_back(self, body: Any, size: int, state: VelocityState) -> VelocityState:
        """Return the state after a payload was not used: as if its entries had not been sent."""
        sent = np.float32(1 / self.momentum - 1) * self.inner.decode(body, size)
        return state._replace(velocity=state.velocity + sent)

    def declared(self) -> tuple[Work, Work]:
        """Beside the inner work and a decode: a pass that reads gradient and velocity and writes it, and one that
        reads what was sent and writes it again (12 bytes each)."""
        encoding, decoding = self.inner.declared()
        return Work(encoding.bytes + decoding.bytes + 24.0, encoding.flops + decoding.flops + 3.0), decoding

    def memory_bytes(self, size: int) -> int:
        """Return 4 bytes an entry and the inner compressor's memory."""
        return 4 * size + self.inner.memory_bytes(size)


@dataclass(frozen=True)
class Scaled(Wrapper):
    """Multiply by the learning rate before anything is accumulated, so that a later, smaller rate leaves what waits
    alone.

    level    Rated(rate, the inner compressor's level), or None: a rate of 1 and no level
    source   gradient dropping and DGS keep the rate inside their accumulators, DGC multiplies when it sends
    """

    inner: CompressorBase

    def __post_init__(self) -> None:
        self.take_over("linear", "chunks")
        self.take_over_give_back()

    def init(self, size: int) -> Any:
        """Return the inner state."""
        return self.inner.init(size)

    def encode_decoded(self, vector: Vector, level: Rated | None, rng: Generator | None,
                       state: Any) -> tuple[Payload, Vector, Any]:
        """Return (payload, what the receiver will decode, state)."""
        rated = Rated(1.0) if level is None else level
        return self.inner.encode_decoded(np.float32(rated.rate) * vector, rated.level, rng, state)

    def declared(self) -> tuple[Work, Work]:
        """Beside the inner work, a pass that reads and writes the vector."""
        encoding, decoding = self.inner.declared()
        return Work(encoding.bytes + 8.0, encoding.flops + 1.0, encoding.launches), decoding

    def memory_bytes(self, size: int) -> int:
        """Return the inner compressor's memory."""
        return self.inner.memory_bytes(size)


@dataclass(frozen=True)
class Clipped(Wrapper):
    """Shorten a vector that is longer than `longest` before the inner compressor accumulates it.

    longest  Euclidean length, > 0; DGC takes threshold / sqrt(workers) for each of them
    source   Lin et al. 2018, arXiv:1712.01887, section 3.2 (local gradient clipping)
    """

    inner: CompressorBase
    longest: float

    def __post_init__(self) -> None:
        if not self.longest > 0:
            raise PolicyError(f"Clipped.longest = {self.longest!r}: must be above 0")
        self.take_over("linear", "chunks")
        self.take_over_give_back()

    def init(self, size: int) -> Any:
        """Return the inner state."""
        return self.inner.init(size)

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: Any) -> tuple[Payload, Vector, Any]:
        """Return (payload, what the receiver will decode, state)."""
        return self.inner.encode_decoded(clipped(vector, self.longest), level, rng, state)

    def declared(self) -> tuple[Work, Work]:
        """Beside the inner work, a pass for the norm and one that reads and writes the vector."""
        encoding, decoding = self.inner.declared()
        return Work(encoding.bytes + 12.0, encoding.flops + 3.0, encoding.launches), decoding

    def memory_bytes(self, size: int) -> int:
        """Return the inner compressor's memory."""
        return self.inner.memory_bytes(size)


def check_contractive(place: str, inner: CompressorBase) -> None:
    """Raise PolicyError for an inner compressor whose leavings would grow without bound."""
    if not inner.contractive:
        raise PolicyError(f"{place}.inner = {inner!r}: must be contractive, or what it leaves behind grows without "
                          "bound; take TopK, LayerTopK or Threshold instead")
