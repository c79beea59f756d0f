"""What is usual for each kind of access: fitted numbers, read from traces/access_models.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr


@dataclass(frozen=True)
class Outages:
    """An on/off process: exponential times between outages, log-normal outages with a heavy tail.

    per_hour, mean_s   how many, and how long on average
    spread_ln          standard deviation of the logarithm of their length
    """

    per_hour: float
    mean_s: float
    spread_ln: float

    @property
    def share(self) -> float:
        """Share of the time that is outage."""
        return self.per_hour * self.mean_s / 3600

@dataclass(frozen=True)
class RateModel:
    """How one direction of an access fluctuates: a Gaussian copula over two time scales.

    z(t) = sqrt(1 - nugget) (sqrt(slow_share) OU(slow_s) + sqrt(1 - slow_share) OU(fast_s))
           + sqrt(nugget) N(t)
    rate(t) = mean * Q(Phi(z(t))) * on(t)

    fit                  which measurements it was fitted to
    median_bytes_per_s, spread_ln   of the log-normal means of different links
    sample_s             spacing of the measurements: nothing is known of what is faster
    percent, over_mean   Q: quantiles of rate / mean
    outages              on(t); they take the place of the lowest quantiles, so that the share of zeros stays
    """

    fit: str
    median_bytes_per_s: float
    spread_ln: float
    sample_s: float
    slow_share: float
    slow_s: float
    fast_s: float
    nugget: float
    percent: tuple[float, ...]
    over_mean: tuple[float, ...]
    outages: Outages | None

    def quantile(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Q(Phi(z)); beyond the outermost measured quantiles it is constant."""
        off = 100 * self.outages.share if self.outages else 0.0
        found: NDArray[np.float64] = np.interp(off + (100 - off) * ndtr(z), self.percent, self.over_mean)
        return found

    def spectrum(self, samples: int) -> NDArray[np.float64]:
        """Return the power of z at each frequency of a circle of `samples`, [samples // 2 + 1]; mean 1."""
        slow, fast = (_ou_spectrum(time_s, self.sample_s, samples) for time_s in (self.slow_s, self.fast_s))
        return (1 - self.nugget) * (self.slow_share * slow + (1 - self.slow_share) * fast) + self.nugget


def _ou_spectrum(time_s: float, sample_s: float, samples: int) -> NDArray[np.float64]:
    """Power of an Ornstein-Uhlenbeck process of unit variance on a circle."""
    kept = np.exp(-sample_s / time_s)
    around = 1 / np.abs(1 - kept * np.exp(-2j * np.pi * np.arange(samples) / samples)) ** 2
    power: NDArray[np.float64] = (around / around.mean())[: samples // 2 + 1]
    return power


@dataclass(frozen=True)
class AccessModel:
    """One kind of access.

    down, up             how each direction fluctuates
    up_has_means         do the means of `up` come from uplinks? Else from the downlink and the ratio below
    ratio_ln, ratio_spread_ln   ln(uplink mean / downlink mean) ~ Normal
    correlation          of z between the directions
    rtt_low_s, rtt_high_s   usual round trips
    """

    down: RateModel
    up: RateModel
    up_has_means: bool
    ratio_ln: float
    ratio_spread_ln: float
    correlation: float
    rtt_low_s: float
    rtt_high_s: float


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
    text = traces_folder().joinpath("access_models.json").read_text(encoding="utf-8")
    return MappingProxyType({name: _access_model(fields) for name, fields in json.loads(text).items()})


def _access_model(fields: dict[str, Any]) -> AccessModel:
    ratio, down = fields["up_over_down"], _rate_model(fields["down"])
    up = _rate_model(fields["up"]) if fields["up"] else down
    return AccessModel(down, up, fields["up"] is not None, ratio["median_ln"], ratio["spread_ln"],
                       ratio["correlation"], *fields["rtt_s"])


def _rate_model(fields: dict[str, Any]) -> RateModel:
    outages = fields["outages"]
    shaped = {"percent": tuple(fields["percent"]), "over_mean": tuple(fields["over_mean"]),
              "outages": Outages(**outages) if outages else None}
    return RateModel(**(fields | shaped))
