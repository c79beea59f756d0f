"""Turns white noise into the rate of a link: how each shape fluctuates, and its outages.

A period joins smoothly because z is drawn on a circle: white noise is filtered in the frequency domain with the
spectrum of the wanted process.  That is exact and needs no cross-fade, which would dampen the fluctuation at the
seam.  The sum of independent Gaussian processes is one Gaussian process with the summed spectrum, so one draw
serves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acesim.network.models import OUTAGE_PERCENT, Outages, RateModel, Shape
from acesim.network.traces import Rates
from acesim.scenario.units import Range

MOSTLY_OUTAGE = 0.25
"""A period that carries less than this share of what it should is not scaled up to its mean in full."""
LONGEST_OUTAGE = 0.95
"""Outages never take more than this share of a period: a transfer has to end some day."""
MUCH = 0.2
"""Where outages take more than this share, even a single one is as long as they are together."""


def fluctuate(model: RateModel, shapes: Sequence[Shape], white: NDArray[np.float64],
              outages: Sequence[np.random.Generator]) -> Rates:
    """Return rate / mean of each link, float64 [W, samples] on the model's own spacing.

    shapes    [W] of the links
    white     [W, samples] standard normal noise
    outages   [W] streams that the outages are drawn from
    """
    samples = white.shape[1]
    gains = {id(shape): np.sqrt(model.spectrum(shape, samples)) for shape in shapes}
    z = np.fft.irfft(np.fft.rfft(white) * np.array([gains[id(shape)] for shape in shapes]), n=samples)
    spread = z.std(axis=1, keepdims=True)
    z = (z - z.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return np.array([_cut_by_outages(shape.quantile(row), shape.outages, model.sample_s, rng)
                     for shape, row, rng in zip(shapes, z, outages, strict=True)])


def _cut_by_outages(rates: Rates, outages: Outages, sample_s: float, rng: np.random.Generator) -> Rates:
    out = outage(outages, sample_s, len(rates), rng)
    left = np.interp(100 * rng.random(int(out.sum())), OUTAGE_PERCENT, outages.over_mean)
    rates[out] = left
    return rates


def outage(outages: Outages, sample_s: float, samples: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which samples are outage, bool [samples], on a circle.

    Where a period has several outages, or they take much of it, their lengths are scaled to the share of time they
    take together, so that every period has its share; a single short one comes or does not.
    """
    out = np.zeros(samples, dtype=bool)
    lost = outages.share * samples
    wanted = lost / (outages.mean_s / sample_s)
    count = int(wanted) + int(rng.random() < wanted - int(wanted))
    if count == 0:
        return out
    lengths = np.exp(outages.spread_ln * rng.standard_normal(count))
    mean = lost / count if count > 1 or lost > MUCH * samples else lost / wanted
    usual = lengths.mean() if count > 1 or lost > MUCH * samples else np.exp(outages.spread_ln**2 / 2)
    lengths = np.maximum(np.round(lengths * mean / usual), 1.0)
    lengths *= min(1.0, LONGEST_OUTAGE * samples / lengths.sum())
    gaps = np.exp(outages.gap_spread_ln * rng.standard_normal(count))
    gaps *= (samples - lengths.sum()) / gaps.sum()
    starts = np.cumsum(gaps + lengths) - lengths
    for first, last in zip(np.round(starts).astype(int), np.round(starts + lengths).astype(int), strict=True):
        out[first:last] = True
    return np.roll(out, int(rng.integers(samples)))


def scaled(relative: Rates, mean: float, bounds: Range | None) -> Rates:
    """Return rates with this mean over the period, then clipped into the bounds if there are any."""
    rates = mean * relative / max(float(relative.mean()), MOSTLY_OUTAGE)
    if bounds is None or bounds.low == bounds.high:
        return rates
    return np.clip(rates, bounds.low, bounds.high)
