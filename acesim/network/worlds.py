"""What links have in common: the weather of a region, the hour of the day, other people's traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr

from acesim.network.traces import Rates, Trace
from acesim.scenario.streams import stream

COMMON = 20
"""Added to the block of a noise to give that of its region's common factor: rows of regions are no workers."""
OTHERS = 30
"""Block of cross-traffic."""
OTHERS_S, OTHERS_COUNT = 30.0, 4.0
"""Cross-traffic forgets within half a minute; its share spreads like that of four independent users.  A choice."""


class World(NamedTuple):
    """What the workers of a region have in common.

    region_of            [W] region of each worker, by place; () where nothing is shared
    correlation          of the noise behind the rates of workers of a region, in [0, 1]
    amplitude, day_s     every rate swings by this share of itself around its mean, once in day_s
    """

    region_of: Sequence[int] = ()
    correlation: float = 0.0
    amplitude: float = 0.0
    day_s: float = 86_400.0

    def mixed(self, white: NDArray[np.float64], places: Sequence[int], seed: int, block: int) -> NDArray[np.float64]:
        """Return noise [W, samples] that has a common part within each region: still standard normal."""
        if self.correlation == 0.0:
            return white
        samples = white.shape[1]
        regions = [int(self.region_of[place]) for place in places]
        common = {region: stream(seed, "trace", region, COMMON + block).standard_normal(samples)
                  for region in set(regions)}
        together = np.array([common[region] for region in regions])
        mixed: NDArray[np.float64] = np.sqrt(self.correlation) * together + np.sqrt(1 - self.correlation) * white
        return mixed

    def by_day(self, step_s: float, steps: int) -> Rates | float:
        """Return the factor of each step [steps]; its mean over whole days is 1."""
        if self.amplitude == 0.0:
            return 1.0
        edges = 2 * np.pi * np.arange(steps + 1) * step_s / self.day_s
        factor: Rates = 1 - self.amplitude * np.diff(np.cos(edges)) / np.diff(edges)
        return factor


ALONE = World()
"""Workers that share nothing."""


def beside_others(link: Trace, share: float, step_s: float, period_s: float, seed: int, number: int) -> Trace:
    """Return what other traffic leaves of a shared link.

    share    of its capacity that others take in the mean, in [0, 1); it fluctuates as a Beta variable of that mean
    number   of the link: each has a stream of its own

    >>> beside_others(Trace(1.0, np.array([8.0])), 0.0, 1.0, 4.0, 0, 0).bytes_per_s
    array([8.])
    """
    if share == 0.0:
        return link
    steps = max(1, round(period_s / step_s))
    white = stream(seed, "trace", number, OTHERS).standard_normal(steps)
    kept = np.exp(-step_s / OTHERS_S)
    gain = 1 / np.abs(1 - kept * np.exp(-2j * np.pi * np.arange(steps) / steps))
    gain /= np.sqrt((gain**2).mean())
    z = np.fft.irfft(np.fft.rfft(white) * gain[: steps // 2 + 1], n=steps)
    taken = betaincinv(OTHERS_COUNT * share, OTHERS_COUNT * (1 - share), ndtr(z))
    moments_s = (np.arange(steps, dtype=np.float64) + 0.5) * step_s
    return Trace(step_s, link.rate(moments_s) * (1 - taken), source=f"{link.source} beside other traffic")
