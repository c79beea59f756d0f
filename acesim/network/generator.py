"""Draws every worker's own link: its mean rates, its round trip, traces that fluctuate as measured ones do.

The period joins smoothly because z is drawn on a circle: white noise is filtered in the frequency domain with
the spectrum of the wanted process.  That is exact and needs no cross-fade, which would dampen the fluctuation
at the seam.  The sum of independent Gaussian processes is one Gaussian process with the summed spectrum, so
one draw serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.network.files import Recording, as_trace, read_csv
from acesim.network.models import AccessModel, Outages, RateModel, access_models
from acesim.network.traces import Rates, Trace, constant, resample, turned
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.streams import stream

if TYPE_CHECKING:
    from acesim.scenario.schema import Access
    from acesim.scenario.units import Range

_MEANS, _DOWN, _UP, _OUTAGES = range(4)  # blocks of a worker's trace stream; append only
FLOOR = 0.01
"""A generated rate without bounds never falls below this share of its mean: links that are down answer
slowly, and a retransmission that gets through in the end is closer to them than one that waits for ever."""
MOSTLY_OUTAGE = 0.25
"""A period that carries less than this share of what it should is not scaled up to its mean in full."""
LONGEST_OUTAGE = 0.75
"""Outages never take more than this share of a period."""
USUAL_RTT_S = (0.01, 0.06)
"""For kinds that tell nothing of it, as for fixed lines."""


class Line(NamedTuple):
    """A worker's own link, and the round trip between the worker and the cloud."""

    down: Trace
    up: Trace
    rtt_s: float


class Draws(NamedTuple):
    """The numbers a worker's constants come from.  All are always drawn, whatever the access needs, so that a
    change of one setting leaves the others as they were."""

    down: float
    up: float
    rtt: float
    mean: float
    ratio: float
    up_mean: float


def within(values: Range | float, share: float) -> float:
    """Return a value of a range, log-uniformly: `share` 0 gives its low end, 1 its high end.

    >>> within(5.0, 0.3)
    5.0
    """
    if isinstance(values, int | float):
        return float(values)
    if values.low == values.high or values.low <= 0:
        return float(values.low + share * (values.high - values.low))
    return float(values.low * (values.high / values.low) ** share)


def lines(accesses: Sequence[Access], step_s: float, period_s: float, seed: int) -> list[Line]:
    """Return the link of every worker, in order.

    accesses   one a worker; the position is the worker's row number
    step_s, period_s   of the generated traces
    raises     ScenarioError for an unknown kind or a constant rate that is missing, TraceError for a file
               that cannot be used

    A range bounds what the link does: its mean is drawn in it log-uniformly, and the trace is clipped to it.
    A scalar is the mean; the trace is not clipped, but never falls below 1 % of it.  Nothing at all means the
    kind's own log-normal of means.
    """
    draws = [_draws(seed, row) for row in range(len(accesses))]
    means = [_means(access, draw) for access, draw in zip(accesses, draws, strict=True)]
    traces: dict[tuple[int, str], Trace] = {}
    for kind in dict.fromkeys(access.kind for access in accesses):
        rows = [row for row, access in enumerate(accesses) if access.kind == kind]
        if kind == "trace":
            traces |= _recorded(accesses, rows, means, step_s)
        elif kind in access_models():
            traces |= _generated(access_models()[kind], accesses, rows, means, step_s, period_s, seed)
        else:
            traces |= {(row, direction): constant(means[row][direction], kind) for row in rows
                       for direction in ("down", "up")}
    return [Line(traces[row, "down"], traces[row, "up"], _rtt(access, draws[row]))
            for row, access in enumerate(accesses)]


def _draws(seed: int, row: int) -> Draws:
    rng = stream(seed, "trace", row, _MEANS)
    return Draws(*rng.random(3).tolist(), *rng.standard_normal(3).tolist())


def _rtt(access: Access, draw: Draws) -> float:
    if access.rtt_s is not None:
        return within(access.rtt_s, draw.rtt)
    model = access_models().get(access.kind)
    low, high = (model.rtt_low_s, model.rtt_high_s) if model else USUAL_RTT_S
    return float(low * (high / low) ** draw.rtt)


def _means(access: Access, draw: Draws) -> dict[str, float]:
    """Return the mean rate of each direction that has one by now; a recording may still give the rest."""
    model, means = access_models().get(access.kind), {}
    if access.downlink_bytes_per_s is not None:
        means["down"] = within(access.downlink_bytes_per_s, draw.down)
    elif model:
        means["down"] = model.down.median_bytes_per_s * np.exp(model.down.spread_ln * draw.mean)
    elif access.kind != "trace":
        raise ScenarioError([Problem(("workers", "access", "downlink"), None,
                                     f"kind {access.kind} has no usual rate: write for example downlink: 20 "
                                     f"Mbps (kinds with a usual rate: {', '.join(access_models())})")])
    if access.uplink_bytes_per_s is not None:
        means["up"] = within(access.uplink_bytes_per_s, draw.up)
    elif model and model.up_has_means and access.downlink_bytes_per_s is None:
        means["up"] = model.up.median_bytes_per_s * np.exp(model.up.spread_ln * draw.up_mean)
    elif model:
        means["up"] = means["down"] * np.exp(model.ratio_ln + model.ratio_spread_ln * draw.ratio)
    elif access.kind != "trace":
        means["up"] = means["down"]
    return means


def _recorded(accesses: Sequence[Access], rows: Sequence[int], means: Sequence[dict[str, float]],
              step_s: float) -> dict[tuple[int, str], Trace]:
    """Return traces from files; a direction with a rate of its own is constant at it."""
    recordings: dict[str, Recording] = {}
    traces = {}
    for row in rows:
        access = accesses[row]
        if access.trace is None:
            raise ScenarioError([Problem(("workers", "access", "trace"), None, "kind trace needs a file")])
        if access.trace not in recordings:
            recordings[access.trace] = read_csv(access.trace)
        for direction in ("down", "up"):
            traces[row, direction] = constant(means[row][direction]) if direction in means[row] else as_trace(
                recordings[access.trace], direction, step_s, access.offset_s, access.end)
    return traces


def _generated(model: AccessModel, accesses: Sequence[Access], rows: Sequence[int],
               means: Sequence[dict[str, float]], step_s: float, period_s: float,
               seed: int) -> dict[tuple[int, str], Trace]:
    """Return both directions of all workers of one kind."""
    steps = max(1, round(period_s / step_s))
    samples = _samples(model.down, steps * step_s)
    white = {"down": _white(seed, rows, _DOWN, samples), "up": _white(seed, rows, _UP, samples)}
    shared = model.correlation
    white["up"] = shared * white["down"] + np.sqrt(1 - shared**2) * white["up"]
    on = [_on_share(model.down.outages, seed, row, step_s, steps) for row in rows]
    traces = {}
    for direction, rate_model in (("down", model.down), ("up", model.up)):
        shapes = _shapes(rate_model, white[direction], step_s, steps)
        for row, shape, on_share in zip(rows, shapes, on, strict=True):
            bounds = getattr(accesses[row], f"{direction}link_bytes_per_s")
            rates = _scaled(shape * on_share, means[row][direction], bounds)
            traces[row, direction] = Trace(step_s, rates, source=f"{accesses[row].kind} ({direction})")
    return traces


def _samples(model: RateModel, period_s: float) -> int:
    return max(1, int(np.ceil(period_s / model.sample_s * (1 - 1e-9))))


def _white(seed: int, rows: Sequence[int], block: int, samples: int) -> NDArray[np.float64]:
    return np.array([stream(seed, "trace", row, block).standard_normal(samples) for row in rows])


def _shapes(model: RateModel, white: NDArray[np.float64], step_s: float, steps: int) -> NDArray[np.float64]:
    """Turn white noise [W, samples] into rate / mean [W, steps]."""
    samples = white.shape[1]
    z = np.fft.irfft(np.fft.rfft(white) * np.sqrt(model.spectrum(samples)), n=samples)
    shapes = model.quantile(z)
    if step_s == model.sample_s:
        return shapes
    edges_s = np.minimum(np.arange(samples + 1) * model.sample_s, steps * step_s)
    return np.array([resample(shape, edges_s, step_s) for shape in shapes])


def _on_share(outages: Outages | None, seed: int, row: int, step_s: float, steps: int) -> NDArray[np.float64]:
    """Return the share of each step that is not outage [steps]; both directions are out together."""
    if outages is None:
        return np.ones(steps)
    rng, period_s = stream(seed, "trace", row, _OUTAGES), steps * step_s
    count = int(rng.poisson(outages.per_hour / 3600 * period_s))
    if count == 0:
        return np.ones(steps)
    off_s = rng.lognormal(np.log(outages.mean_s) - outages.spread_ln**2 / 2, outages.spread_ln, count)
    off_s *= min(1.0, LONGEST_OUTAGE * period_s / off_s.sum())
    # On a circle as well: the time between outages is shared out as exponential times are, given their sum.
    on_s = rng.dirichlet(np.ones(count)) * (period_s - off_s.sum())
    edges_s = np.concatenate([[0.0], np.cumsum(np.stack([on_s, off_s], axis=1))])
    edges_s, on = turned(edges_s, np.tile([1.0, 0.0], count), rng.random() * float(edges_s[-1]))
    return resample(on, edges_s, step_s)[:steps]


def _scaled(shape: Rates, mean: float, bounds: Range | None) -> Rates:
    """Return rates with this mean over the period, then clipped into the bounds, or floored without any."""
    rates = mean * shape / max(float(shape.mean()), MOSTLY_OUTAGE)
    if bounds is None or bounds.low == bounds.high:
        return np.maximum(rates, FLOOR * mean)
    return np.clip(rates, bounds.low, bounds.high)
