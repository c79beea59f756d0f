"""Fits the shape of a measured link: what `traces/access_shapes.json` is made with.

The time scales are fitted to the autocorrelation of the *rate*: that of z is carried through the quantile function
by its Hermite series (for g(z) = sum c_j He_j(z) / sqrt(j!) the correlation of g is sum c_j^2 r^j / sum c_j^2),
and both are taken less the mean over the trace, as measured ones are.  Normal scores would not do: ties among
zeros have no order, and what has none has no memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermevander
from numpy.typing import NDArray
from scipy.optimize import least_squares

from acesim.network.fluctuation import fluctuate
from acesim.network.models import OUTAGE_PERCENT, PERCENT, Outages, RateModel, Shape, beat_again
from acesim.network.statistics import autocorrelation
from acesim.network.traces import Rates

TERMS = 24
"""Of the Hermite series."""
LONGEST_LAG = 120
"""Samples: beyond it, and beyond half of a trace, autocorrelations are mostly noise."""
SURROGATES = 16
"""Generated traces that the fit is corrected with."""
WIDEST = 3.0
"""Largest spread of the logarithm of outages and gaps."""
_NORMAL = np.random.Generator(np.random.Philox(7)).standard_normal((200, 200))
_NORMAL.flags.writeable = False


def fit_shape(rates: Rates, sample_s: float, threshold: float = 0.005, beat_s: float = 0.0, correction: float = 0.5,
              widest: float = WIDEST, lower_percent: float = 0.0, seed: int = 0) -> Shape:
    """Return the shape of one measured link.

    rates        bytes per second, equally spaced by sample_s
    threshold    share of the mean below which the link is out
    beat_s       a period to look for; 0 for none
    correction   how far the fit is moved by what surrogates of the same length still lack, in [0, 1]
    widest       spread of the logarithm of outages and gaps at most: short traces cannot tell how long outages get
    lower_percent   how far below OUTAGE_PERCENT the quantiles of what is left in outages are taken.  Between a quantile
                 of 0 and the next one rates rise at once, so that next to nothing comes too seldom; half a step lower,
                 it has its share on average
    """
    relative = rates / rates.mean()
    out = relative < threshold
    quantiles = tuple(np.percentile(relative[~out], PERCENT, method="hazen").tolist())
    shape = Shape(float(rates.mean()), quantiles, 0.0, 1.0, 1.0, 1.0, 0.0,
                  _outages(relative, out, sample_s, widest, lower_percent), len(rates) * sample_s)
    lags = np.unique(np.round(np.geomspace(1, max(min(LONGEST_LAG, len(rates) // 2), 1), 30)).astype(int))
    if len(rates) < 60 or np.ptp(relative[~out]) < 1e-6:
        return shape  # too short for time scales: each sample for itself
    wanted = np.array([_masked(relative, ~out, lag) for lag in lags])
    known = np.isfinite(wanted)
    fit = _Scales(shape, sample_s, beat_s, len(rates), lags[known])
    shape = fit.to(wanted[known])
    if correction:
        model = RateModel("", sample_s, beat_s, (shape,))
        lacking = autocorrelation(relative, lags[known]) - _of_surrogates(model, len(rates), lags[known], seed)
        shape = fit.to(np.clip(fit.expected(shape) + correction * lacking, -0.5, 0.995))
    return shape


def _of_surrogates(model: RateModel, samples: int, lags: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = fluctuate(model, model.shapes * SURROGATES, rng.standard_normal((SURROGATES, samples)), [rng] * SURROGATES)
    found: NDArray[np.float64] = np.mean([autocorrelation(row, lags) for row in drawn if row.std() > 0], axis=0)
    return found


def _masked(relative: Rates, on: NDArray[np.bool_], lag: int) -> float:
    """Return the autocorrelation outside outages; NaN where too few pairs are left."""
    spread = np.where(on, relative - relative[on].mean(), 0.0)
    pairs = int((on[:-lag] & on[lag:]).sum())
    if pairs <= 10:
        return math.nan
    return float((spread[:-lag] * spread[lag:]).sum() / pairs / ((spread**2).sum() / on.sum()))


class _Scales:
    """Time scales of a link: fits them to an autocorrelation."""

    def __init__(self, shape: Shape, sample_s: float, beat_s: float, samples: int, lags: NDArray[np.int64]) -> None:
        self.shape, self.sample_s, self.beat_s, self.samples = shape, sample_s, beat_s, samples
        self.lags = lags
        self.carry = _carried(shape)
        self.weight = np.sqrt(1 - lags / samples)
        everything = np.arange(1, samples)
        self.pairs_s = everything.astype(np.float64) * sample_s
        self.pairs = 2 * (samples - everything) / samples**2
        self.lags_s = lags.astype(np.float64) * sample_s

    def expected(self, shape: Shape) -> NDArray[np.float64]:
        """Return the autocorrelation of the rate of such a shape, less the mean over the trace."""
        inside = (self._of_z(shape, self.pairs_s) * self.pairs).sum() + 1 / self.samples  # variance of the mean
        return self.carry(np.clip((self._of_z(shape, self.lags_s) - inside) / (1 - inside), -1, 1))

    def _of_z(self, shape: Shape, lag_s: NDArray[np.float64]) -> NDArray[np.float64]:
        slow = np.exp(-lag_s / shape.slow_s)
        steady = shape.slow_share * slow + (1 - shape.slow_share) * np.exp(-lag_s / shape.fast_s)
        found: NDArray[np.float64] = (1 - shape.nugget - shape.beat) * steady
        if self.beat_s:
            found = found + shape.beat * slow * beat_again(lag_s, self.beat_s)
        return found

    def to(self, wanted: NDArray[np.float64]) -> Shape:
        """Return the shape whose autocorrelation is nearest, from several starts."""
        longest = min(400.0, max(self.samples * self.sample_s / 2, 40.0))
        low = np.array([0.0, 5.0, 0.2, 0.0, 0.0])
        high = np.array([1.0, longest, 5.0, 0.6, 0.6 if self.beat_s else 1e-9])
        starts = [[0.7, 30.0, 2.0, 0.05, 0.3], [0.3, 10.0, 2.0, 0.05, 0.1]]
        fits = [least_squares(lambda scales: (self.expected(self._with(scales)) - wanted) * self.weight,
                              np.clip(start, low + 1e-3 * (high - low), high - 1e-3 * (high - low)),
                              bounds=(low, high)) for start in starts]
        return self._with(min(fits, key=lambda fit: float(fit.cost)).x)

    def _with(self, scales: NDArray[np.float64]) -> Shape:
        share, slow_s, fast_s, nugget, beat = map(float, scales)
        return replace(self.shape, slow_share=share, slow_s=slow_s, fast_s=fast_s, nugget=nugget,
                       beat=beat if self.beat_s else 0.0)


def _carried(shape: Shape) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what the quantile function makes of a correlation of z."""
    grid = np.linspace(-4.5, 4.5, 2001)
    weight = np.exp(-(grid**2) / 2)
    weight /= weight.sum()
    rate = shape.quantile(grid)
    scale = np.sqrt([float(math.factorial(degree)) for degree in range(TERMS)])
    power = ((weight * rate) @ (hermevander(grid, TERMS - 1) / scale))[1:] ** 2
    power /= power.sum()
    def carry(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (correlation[:, None] ** np.arange(1, TERMS)) @ power
        return found
    return carry


def _outages(relative: Rates, out: NDArray[np.bool_], sample_s: float, widest: float, lower_percent: float) -> Outages:
    """Return the on/off process of a link."""
    if not out.any():
        return Outages(0.0, sample_s, 0.0, 0.0, (0.0,) * len(OUTAGE_PERCENT))
    edges = np.concatenate([[0], np.flatnonzero(np.diff(out.astype(int))) + 1, [len(out)]])
    lengths, kinds = np.diff(edges), out[edges[:-1]]
    off_ln, gap_ln = (min(_spread(runs), widest) for runs in (lengths[kinds], lengths[~kinds]))
    left = np.percentile(relative[out], np.maximum(np.array(OUTAGE_PERCENT) - lower_percent, 0.0))
    return Outages(float(out.mean()), float(lengths[kinds].mean() * sample_s), off_ln, gap_ln, tuple(left.tolist()))


def _spread(lengths: NDArray[np.int64]) -> float:
    """Return the log-normal spread under which the same share of the time falls in the longest runs.

    What a transfer meets is the run it starts in, long ones above all: sum(L^2) / sum(L)^2 says how much.  The spread
    of log(L) would not tell, for most runs are the shortest there are.  A single run tells nothing: 1.
    """
    count = len(lengths)
    if count < 2:
        return 1.0
    drawn = min(count, _NORMAL.shape[1])
    wanted = (lengths**2).sum() / lengths.sum() ** 2 * count / drawn
    spreads = np.linspace(0, WIDEST, 31)
    shares = [np.median((runs**2).sum(axis=1) / runs.sum(axis=1) ** 2)
              for runs in (np.exp(spread * _NORMAL[:, :drawn]) for spread in spreads)]
    return float(np.interp(wanted, np.maximum.accumulate(shares), spreads))


class Settings(NamedTuple):
    """How one direction of a kind is fitted: see `fit_shape`.

    source     what was measured
    sample_s   spacing of the measurements
    most       links kept, evenly over the ranks of their means
    """

    source: str
    sample_s: float = 1.0
    threshold: float = 0.005
    beat_s: float = 0.0
    correction: float = 0.5
    widest: float = WIDEST
    lower_percent: float = 0.0
    most: int = 10_000


SETTINGS: Mapping[tuple[str, str], Settings] = MappingProxyType({
    ("3g", "down"): Settings("3G (HSPA, EV-DO)"), ("3g", "up"): Settings("3G (UMTS, EV-DO)"),
    ("lte", "down"): Settings("LTE", correction=1.0),
    ("5g", "down"): Settings("5G sub-6 GHz mixed with LTE", threshold=0.02, correction=1.0),
    ("5g-mmwave", "down"): Settings("5G mmWave", threshold=0.05, correction=0.0, lower_percent=10.0),
    ("satellite", "down"): Settings("Starlink in motion", correction=1.0),
    ("satellite", "up"): Settings("Starlink in motion", beat_s=5.0, correction=1.0),
    ("wifi", "down"): Settings("Wi-Fi, walking on a campus", widest=1.2),
    ("fixed", "down"): Settings("FCC MBA 2016, fixed lines", sample_s=5.0, most=64)})
"""What is fitted, and how; chosen by what then agrees with the measurements (docs/fidelity.md)."""


def fit_models(measured: Mapping[tuple[str, str], Sequence[Rates]]) -> dict[tuple[str, str], RateModel]:
    """Fit every direction of every kind that SETTINGS names, from measured rates by (kind, direction)."""
    return {key: _fit_model(measured[key], settings) for key, settings in SETTINGS.items() if key in measured}


def _fit_model(links: Sequence[Rates], settings: Settings) -> RateModel:
    ordered = sorted(links, key=lambda rates: float(rates.mean()))
    kept = min(settings.most, len(ordered))
    chosen = [ordered[int((place + 0.5) * len(ordered) / kept)] for place in range(kept)]
    hours = settings.sample_s * sum(map(len, links)) / 3600
    fit = f"{settings.source}: {kept} of {len(links)} links, {hours:.2g} h"
    shapes = tuple(fit_shape(rates, settings.sample_s, settings.threshold, settings.beat_s, settings.correction,
                             settings.widest, settings.lower_percent, place) for place, rates in enumerate(chosen))
    return RateModel(fit, settings.sample_s, settings.beat_s, shapes)


def spelt(models: Mapping[tuple[str, str], RateModel]) -> str:
    """Spell models as access_shapes.json: a line for each link, four digits."""
    kinds: dict[str, list[str]] = {}
    for (kind, direction), model in models.items():
        rows = ",\n".join("   " + json.dumps([float(f"{value:.4g}") for value in shape.row()], separators=(",", ":"))
                          for shape in model.shapes)
        kinds.setdefault(kind, []).append(f'  "{direction}": {{"fit": {json.dumps(model.fit)}, "sample_s": '
                                          f'{model.sample_s}, "beat_s": {model.beat_s}, "rows": [\n{rows}\n  ]}}')
    body = ",\n".join(f' "{kind}": {{\n' + ",\n".join(ways) + "\n }" for kind, ways in kinds.items())
    return "{\n" + body + "\n}\n"
