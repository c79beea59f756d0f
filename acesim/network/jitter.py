"""Jitter: how much longer or shorter than usual a single message travels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from acesim.network.models import access_models
from acesim.scenario.streams import stream

if TYPE_CHECKING:
    from acesim.scenario.schema import Access

USUAL = 0.03
"""Standard deviation over mean of round trips between cities: the median over WonderNetwork's pairs of 2020."""


class Jitter:
    """Draws the latency of each message.

        latency of message n = latency_s G_n,   G_n ~ Gamma(shape 1 / spread^2, mean 1)

    so that the mean stays latency_s and the standard deviation is spread latency_s.  A latency is never negative, and
    begins when the last byte has left: no message arrives before its transfer has ended.

    spread   [W + R] of each worker, then of each region's server; 0 draws nothing
    seed     of the run.  G_n depends on it, the sender or receiver, the way and n alone: the n-th upload of a worker is
             as late under every policy of a study

    >>> Jitter([0.0], 7).latency_s(0, "up", 0.05)
    0.05
    """

    def __init__(self, spread: Sequence[float], seed: int) -> None:
        self._spread, self._seed = tuple(map(float, spread)), seed
        self._streams: dict[tuple[int, str], np.random.Generator] = {}

    def latency_s(self, who: int, way: Literal["up", "down"], usual_s: float) -> float:
        """Return the latency of the next message of a worker or region: "up" from it, "down" to it."""
        spread = self._spread[who]
        if spread == 0.0:
            return usual_s
        rng = self._streams.get((who, way))
        if rng is None:
            rng = self._streams[who, way] = stream(self._seed, "transport", who, ("up", "down").index(way))
        return usual_s * float(rng.standard_gamma(spread**-2)) * spread**2

    def latencies_s(self, who: NDArray[np.int64], way: Literal["up", "down"],
                    usual_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the latencies of the next message of each worker; the very array where nothing jitters."""
        if not any(self._spread):
            return usual_s
        pairs = zip(who.tolist(), usual_s.tolist(), strict=True)
        return np.array([self.latency_s(row, way, each_s) for row, each_s in pairs])


def spread_of(jitter: float | Literal["auto"], access: Access | None) -> float:
    """Return the jitter of a worker's messages; None: of a region's server.

    >>> spread_of(0.1, None), spread_of("auto", None)
    (0.1, 0.03)
    """
    if jitter != "auto":
        return float(jitter)
    model = None if access is None else access_models().get(access.kind)
    return USUAL if model is None else model.jitter
