"""What is usual for each kind of access: fitted numbers, read from traces/access_models.json and access_shapes.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

PERCENT = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0, 100.0)
"""Where the quantiles of a shape are given."""
OUTAGE_PERCENT = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
"""Where the quantiles of what is left of the rate in outages are given."""
BEAT_HALF_S = 4 / 3
"""Half the foot of a beat: seen in samples of a second, a quarter of it falls in each neighbour."""


@dataclass(frozen=True)
class Outages:
    """An on/off process: runs with next to no rate, log-normal in length, and log-normal gaps between them.

    share            of the time that is outage
    mean_s           mean length of a run
    spread_ln        standard deviation of the logarithm of their length
    gap_spread_ln    of the logarithm of the gaps: above 1 outages come in bursts
    over_mean        quantiles at OUTAGE_PERCENT of what is left of rate / mean
    """

    share: float
    mean_s: float
    spread_ln: float
    gap_spread_ln: float
    over_mean: tuple[float, ...]


@dataclass(frozen=True)
class Shape:
    """How one measured link fluctuated: a Gaussian copula over two time scales, cut by outages.

    z(t) = sqrt(1 - nugget - beat) (sqrt(slow_share) OU(slow_s) + sqrt(1 - slow_share) OU(fast_s))
           + sqrt(beat) B(t) + sqrt(nugget) N(t)
    rate(t) = mean * Q(Phi(z(t)))            outside outages

    mean_bytes_per_s     of the link that was measured
    over_mean            Q: quantiles at PERCENT of rate / mean outside outages
    beat                 share of the variance that comes again every `beat_s` of the model; B(t) forgets in slow_s
    span_s               length of the measurement: what is slower is not known, so every such stretch has the same mean
    """

    mean_bytes_per_s: float
    over_mean: tuple[float, ...]
    slow_share: float
    slow_s: float
    fast_s: float
    nugget: float
    beat: float
    outages: Outages
    span_s: float = math.inf

    def quantile(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Q(Phi(z))."""
        found: NDArray[np.float64] = np.interp(100 * ndtr(z), PERCENT, self.over_mean)
        return found

    def row(self) -> list[float]:
        """Return the numbers as they stand in access_shapes.json."""
        off = self.outages
        return [self.mean_bytes_per_s, *self.over_mean, self.slow_share, self.slow_s, self.fast_s, self.nugget,
                self.beat, off.share, off.mean_s, off.spread_ln, off.gap_spread_ln, *off.over_mean, self.span_s]


def shape_of(row: Sequence[float]) -> Shape:
    """Return the shape that a row of access_shapes.json spells: the inverse of `Shape.row`."""
    quantiles = 1 + len(PERCENT)
    slow_share, slow_s, fast_s, nugget, beat, share, mean_s, spread_ln, gap_spread_ln = row[quantiles : quantiles + 9]
    *left, span_s = row[quantiles + 9 :]
    outages = Outages(share, mean_s, spread_ln, gap_spread_ln, tuple(left))
    return Shape(row[0], tuple(row[1:quantiles]), slow_share, slow_s, fast_s, nugget, beat, outages, span_s)


@dataclass(frozen=True)
class RateModel:
    """One direction of a kind of access: the shapes of many measured links; each generated link takes one of them.

    fit        which measurements they were fitted to
    sample_s   spacing of the measurements: nothing is known of what is faster
    beat_s     what a pattern of the link repeats after; 0 for none
    shapes     ascending by their mean
    """

    fit: str
    sample_s: float
    beat_s: float
    shapes: tuple[Shape, ...]

    @cached_property
    def _means(self) -> NDArray[np.float64]:
        return np.array([shape.mean_bytes_per_s for shape in self.shapes])

    @cached_property
    def median_bytes_per_s(self) -> float:
        """Median over links of their mean."""
        return float(np.median(self._means))

    @cached_property
    def spread_ln(self) -> float:
        """Standard deviation over links of the logarithm of their mean."""
        return float(np.log(self._means).std())

    def mean_at(self, normal: float) -> float:
        """Return the mean rate of a link of this rank among links, given as a standard normal number."""
        rank = float(ndtr(normal)) * len(self.shapes) - 0.5
        return float(np.exp(np.interp(rank, np.arange(len(self.shapes)), np.log(self._means))))

    def shape_at(self, normal: float) -> Shape:
        """Return the shape of a link of this rank: links that are slow in the mean fluctuate as slow ones do."""
        return self.shapes[min(int(ndtr(normal) * len(self.shapes)), len(self.shapes) - 1)]

    def spectrum(self, shape: Shape, samples: int) -> NDArray[np.float64]:
        """Return the power of z at each frequency of a circle of `samples`, [samples // 2 + 1].

        The mean over the circle is taken out, for quantiles and time scales are those of traces less their own
        mean; without it a short period would be good or bad as a whole.
        """
        slow, fast = (_ou_spectrum(time_s, self.sample_s, samples) for time_s in (shape.slow_s, shape.fast_s))
        steady = 1 - shape.nugget - shape.beat
        power = steady * (shape.slow_share * slow + (1 - shape.slow_share) * fast) + shape.nugget
        if shape.beat:
            power = power + shape.beat * _beat_spectrum(self.beat_s, shape.slow_s, self.sample_s, samples)
        power[0] = 0.0
        return power


def _ou_spectrum(time_s: float, sample_s: float, samples: int) -> NDArray[np.float64]:
    """Power of an Ornstein-Uhlenbeck process of unit variance on a circle."""
    kept = np.exp(-sample_s / time_s)
    around = 1 / np.abs(1 - kept * np.exp(-2j * np.pi * np.arange(samples) / samples)) ** 2
    power: NDArray[np.float64] = (around / around.mean())[: samples // 2 + 1]
    return power


def _beat_spectrum(beat_s: float, time_s: float, sample_s: float, samples: int) -> NDArray[np.float64]:
    """Power of a pattern of unit variance that repeats after beat_s and is forgotten after time_s, on a circle."""
    lag_s = sample_s * np.minimum(np.arange(samples), samples - np.arange(samples))
    wanted = np.fft.rfft(beat_again(lag_s, beat_s) * np.exp(-lag_s / time_s)).real
    power: NDArray[np.float64] = np.maximum(wanted, 0.0)
    return power


def beat_again(lag_s: NDArray[np.float64], beat_s: float) -> NDArray[np.float64]:
    """Return how much of a beat is met again after each lag: a tent around each repetition.

    >>> beat_again(np.array([0.0, 1.0, 2.5, 4.0, 5.0]), 5.0)
    array([1.  , 0.25, 0.  , 0.25, 1.  ])
    """
    past_s = lag_s % beat_s
    tent: NDArray[np.float64] = np.maximum(1 - np.minimum(past_s, beat_s - past_s) / BEAT_HALF_S, 0.0)
    return tent


@dataclass(frozen=True)
class AccessModel:
    """One kind of access.

    down, up             how each direction fluctuates
    up_has_means         do the means of `up` come from uplinks? Else from the downlink and the ratio below
    ratio_ln, ratio_spread_ln   ln(uplink mean / downlink mean) ~ Normal
    correlation          of z between the directions
    rtt_low_s, rtt_high_s   usual round trips
    jitter               standard deviation of a round trip over its mean
    """

    down: RateModel
    up: RateModel
    up_has_means: bool
    ratio_ln: float
    ratio_spread_ln: float
    correlation: float
    rtt_low_s: float
    rtt_high_s: float
    jitter: float


def traces_folder() -> Traversable:
    """Return the folder of shipped data on traces: installed, or beside the package in a checkout."""
    try:
        return files("acesim.traces")
    except ModuleNotFoundError:
        return Path(__file__).resolve().parents[2] / "traces"


@lru_cache(maxsize=1)
def access_models() -> Mapping[str, AccessModel]:
    """Return the model of every kind that fluctuates, by name.

    >>> sorted(access_models())
    ['3g', '5g', '5g-mmwave', 'fixed', 'lte', 'satellite', 'wifi']
    """
    kinds, shapes = (json.loads(traces_folder().joinpath(name).read_text(encoding="utf-8"))
                     for name in ("access_models.json", "access_shapes.json"))
    return MappingProxyType({name: _access_model(fields, shapes[name]) for name, fields in kinds.items()})


def _access_model(fields: dict[str, Any], shapes: dict[str, Any]) -> AccessModel:
    ratio, down = fields["up_over_down"], _rate_model(shapes["down"])
    up = _rate_model(shapes["up"]) if "up" in shapes else down
    low_s, high_s = fields["rtt_s"]
    return AccessModel(down, up, "up" in shapes, ratio["median_ln"], ratio["spread_ln"], ratio["correlation"],
                       low_s, high_s, fields["jitter"])


def _rate_model(fields: dict[str, Any]) -> RateModel:
    return RateModel(fields["fit"], fields["sample_s"], fields["beat_s"], tuple(map(shape_of, fields["rows"])))
