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
TRIES = 4
"""Of so many places for its outages, the one takes them where the link is slowest: outages are the depth of fades."""
MUCH = 0.2
"""Where outages take more than this share, even a single one is as long as they are together."""


def fluctuate(model: RateModel, shapes: Sequence[Shape], white: NDArray[np.float64],
              outages: Sequence[np.random.Generator], fades: NDArray[np.float64] | None = None) -> Rates:
    """Return rate / mean of each link, float64 [W, samples] on the model's own spacing.

    shapes    [W] of the links
    white     [W, samples] standard normal noise
    outages   [W] streams that the outages are drawn from
    fades     [W, samples] noise whose fades attract the outages, where it is not `white`
    """
    rows = list(white)
    attracting = rows if fades is None else list(fades)
    return np.array([_link(model, shape, row, near, rng)
                     for shape, row, near, rng in zip(shapes, rows, attracting, outages, strict=True)])


def turned(model: RateModel, shapes: Sequence[Shape], relative: Rates, by: Rates) -> Rates:
    """Return rates whose stretches each begin, and so end, where that stretch of `by` is at its best.

    Stretches are circles that know nothing of each other.  Cut anywhere, a bad end would now and then meet a bad
    beginning, and be worse than anything that was measured.
    """
    return np.array([_turned(model, shape, row, guide) for shape, row, guide in zip(shapes, relative, by, strict=True)])


def _turned(model: RateModel, shape: Shape, row: Rates, guide: Rates) -> Rates:
    count = _stretches(model, shape, len(row))
    if count == 1:
        return row
    pairs = zip(np.array_split(row, count), np.array_split(guide, count), strict=True)
    return np.concatenate([np.roll(part, -_best(near)) for part, near in pairs])


def _best(rates: Rates) -> int:
    """Return the middle of the best quarter of a circle."""
    quarter = max(1, len(rates) // 4)
    passed = np.cumsum(np.concatenate([[0.0], rates, rates[:quarter]]))
    return int(np.argmax(passed[quarter:-1] - passed[: -quarter - 1]) + quarter // 2) % len(rates)


def _stretches(model: RateModel, shape: Shape, samples: int) -> int:
    return max(1, round(samples * model.sample_s / shape.span_s))


def _link(model: RateModel, shape: Shape, white: NDArray[np.float64], fades: NDArray[np.float64],
          rng: np.random.Generator) -> Rates:
    """Return the rate / mean of one link: stretches as long as its measurement, all of the same mean.

    Over one long circle, outages and slow swings would gather as they never could while the link was measured, and the
    slowest of many workers would wait for what nobody has seen.
    """
    count = _stretches(model, shape, len(white))
    own = np.array_split(white, count)
    attracting = own if fades is white else np.array_split(fades, count)
    parts = [_stretch(model, shape, part, near, rng) for part, near in zip(own, attracting, strict=True)]
    return parts[0] if count == 1 else np.concatenate([scaled(rates, 1.0, None) for rates in parts])


def _stretch(model: RateModel, shape: Shape, white: NDArray[np.float64], fades: NDArray[np.float64],
             rng: np.random.Generator) -> Rates:
    rates = shape.quantile(_filtered(model, shape, white))
    out = outage(shape.outages, model.sample_s, len(rates), rng)
    if out.any():
        near = rates if fades is white else shape.quantile(_filtered(model, shape, fades))
        turns = rng.integers(len(rates), size=TRIES).tolist()
        out = np.roll(out, min(turns, key=lambda turn: float(near[np.roll(out, turn)].mean())))
    rates[out] = np.interp(100 * rng.random(int(out.sum())), OUTAGE_PERCENT, shape.outages.over_mean)
    return rates


def _filtered(model: RateModel, shape: Shape, white: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return z of a circle, of mean 0 and variance 1 over it."""
    z = np.fft.irfft(np.fft.rfft(white) * np.sqrt(model.spectrum(shape, len(white))), n=len(white))
    spread = z.std()
    found: NDArray[np.float64] = (z - z.mean()) / (spread if spread > 0 else 1.0)
    return found


def outage(outages: Outages, sample_s: float, samples: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which samples are outage, bool [samples], on a circle; where they begin on it is the caller's choice.

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
    return out


def scaled(relative: Rates, mean: float, bounds: Range | None) -> Rates:
    """Return rates with this mean over the period, then clipped into the bounds if there are any."""
    rates = mean * relative / max(float(relative.mean()), MOSTLY_OUTAGE)
    if bounds is None or bounds.low == bounds.high:
        return rates
    return np.clip(rates, bounds.low, bounds.high)
