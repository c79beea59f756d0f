"""Draws every worker's own link: its mean rates, its round trip, traces that fluctuate as measured ones do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.network.blocks import resampled
from acesim.network.files import Recording, as_trace
from acesim.network.fluctuation import fluctuate, scaled, turned
from acesim.network.formats import read_all
from acesim.network.models import AccessModel, RateModel, access_models
from acesim.network.traces import Rates, Trace, constant, resample
from acesim.network.worlds import ALONE, World
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.streams import stream

if TYPE_CHECKING:
    from acesim.scenario.schema import Access
    from acesim.scenario.units import Range

_MEANS, _DOWN, _UP, _OUT_DOWN, _OUT_UP, _BLOCKS, _PHASE = range(7)  # blocks of a worker's trace stream; append only
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


def recorded(name: str, line: Line) -> Recording:
    """Return a link as a recording, for files."""
    edges_s = np.arange(len(line.down) + 1, dtype=np.float64) * line.down.step_s
    return Recording(name, edges_s, line.down.bytes_per_s, line.up.bytes_per_s)


def lines(accesses: Sequence[Access], step_s: float, period_s: float, seed: int, world: World = ALONE) -> list[Line]:
    """Return the link of every worker, in order.

    accesses   one a worker; the position is the worker's row number
    step_s, period_s   of the generated traces
    world      what the workers of a region have in common
    raises     ScenarioError for an unknown kind or a constant rate that is missing, TraceError for a file
               that cannot be used

    A range bounds what the link does: its mean is drawn in it log-uniformly, and the trace is clipped to it.
    A scalar is the mean; the trace is not clipped.  Nothing at all means a mean as the kind's links have them.
    """
    return lines_of(range(len(accesses)), accesses, step_s, period_s, seed, world)


def lines_of(rows: Sequence[int], accesses: Sequence[Access], step_s: float, period_s: float, seed: int,
             world: World = ALONE) -> list[Line]:
    """Return the links of these rows: as `lines`, but the rows that streams belong to are given."""
    draws = [_draws(seed, row) for row in rows]
    means = [_means(access, draw) for access, draw in zip(accesses, draws, strict=True)]
    traces: dict[tuple[int, str], Trace] = {}
    for kind in dict.fromkeys(access.kind for access in accesses):
        chosen = _Chosen(rows, [place for place, access in enumerate(accesses) if access.kind == kind], accesses,
                         draws, means)
        if kind == "trace":
            traces |= _recorded(chosen, step_s, period_s, seed)
        elif kind in access_models():
            traces |= _generated(access_models()[kind], chosen, step_s, period_s, seed, world)
        else:
            traces |= {(place, direction): constant(means[place][direction], kind) for place in chosen.places
                       for direction in ("down", "up")}
    return [Line(traces[place, "down"], traces[place, "up"], _rtt(access, draws[place]))
            for place, access in enumerate(accesses)]


class _Chosen(NamedTuple):
    """The workers of one kind: their places in the lists, and these lists."""

    rows: Sequence[int]
    places: Sequence[int]
    accesses: Sequence[Access]
    draws: Sequence[Draws]
    means: Sequence[dict[str, float]]


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
        means["down"] = model.down.mean_at(draw.mean)
    elif access.kind != "trace":
        raise ScenarioError([Problem(("workers", "access", "downlink"), None,
                                     f"kind {access.kind} has no usual rate: write for example downlink: 20 "
                                     f"Mbps (kinds with a usual rate: {', '.join(access_models())})")])
    if access.uplink_bytes_per_s is not None:
        means["up"] = within(access.uplink_bytes_per_s, draw.up)
    elif model and model.up_has_means and access.downlink_bytes_per_s is None:
        means["up"] = model.up.mean_at(draw.up_mean)
    elif model:
        means["up"] = means["down"] * np.exp(model.ratio_ln + model.ratio_spread_ln * draw.ratio)
    elif access.kind != "trace":
        means["up"] = means["down"]
    return means


def _recorded(chosen: _Chosen, step_s: float, period_s: float, seed: int) -> dict[tuple[int, str], Trace]:
    """Return traces from files; a direction with a rate of its own is constant at it.

    Where there are several recordings, workers take them in turn; with `resample` each worker draws blocks of one.
    """
    recordings: dict[str, list[Recording]] = {}
    taken: dict[str, int] = {}
    traces: dict[tuple[int, str], Trace] = {}
    for place in chosen.places:
        access = chosen.accesses[place]
        if access.trace is None:
            raise ScenarioError([Problem(("workers", "access", "trace"), None, "kind trace needs a file")])
        if access.trace not in recordings:
            recordings[access.trace] = read_all(access.trace)
        known = recordings[access.trace]
        turn = taken[access.trace] = taken.get(access.trace, -1) + 1
        for direction in ("down", "up"):
            if direction in chosen.means[place]:
                traces[place, direction] = constant(chosen.means[place][direction])
            elif access.resample:
                rng = stream(seed, "trace", chosen.rows[place], _BLOCKS)  # both directions draw the same blocks
                traces[place, direction] = resampled(known, direction, step_s, period_s, access.block_s, rng)
            else:
                traces[place, direction] = as_trace(known[turn % len(known)], direction, step_s, access.offset_s,
                                                    access.end)
    return traces


def _generated(model: AccessModel, chosen: _Chosen, step_s: float, period_s: float, seed: int,
               world: World) -> dict[tuple[int, str], Trace]:
    """Return both directions of all workers of one kind."""
    steps = max(1, round(period_s / step_s))
    samples = {"down": _samples(model.down, steps * step_s), "up": _samples(model.up, steps * step_s)}
    rows = [chosen.rows[place] for place in chosen.places]
    white = {direction: world.mixed(_white(seed, rows, block, samples[direction]), chosen.places, seed, block)
             for direction, block in (("down", _DOWN), ("up", _UP))}
    shared = model.correlation
    if samples["up"] == samples["down"]:
        white["up"] = shared * white["down"] + np.sqrt(1 - shared**2) * white["up"]
    traces: dict[tuple[int, str], Trace] = {}
    apart = world.correlation == 0.0  # else neighbours would lose step
    # what is turned begins at its best: left so, all links would be good at one time, and bad at another
    phases = [int(stream(seed, "trace", row, _PHASE).integers(steps)) if apart else 0 for row in rows]
    guide = np.zeros(0)
    for direction, rate_model in (("down", model.down), ("up", model.up)):
        own = direction == "up" and model.up_has_means
        shapes = [rate_model.shape_at(draw.up_mean if own else draw.mean)
                  for draw in (chosen.draws[place] for place in chosen.places)]
        outages = [stream(seed, "trace", row, _OUT_UP if own else _OUT_DOWN) for row in rows]
        borrowed = direction == "up" and not own
        relative = fluctuate(rate_model, shapes, white[direction], outages, white["down"] if borrowed else None)
        guide = guide if borrowed else relative  # both directions of a link keep step
        relative = turned(rate_model, shapes, relative, guide) if apart else relative
        relative = _on_grid(relative, rate_model.sample_s, step_s, steps)
        relative = np.array([np.roll(rates, phase) for rates, phase in zip(relative, phases, strict=True)])
        relative *= world.by_day(step_s, steps)
        for place, rates in zip(chosen.places, relative, strict=True):
            access = chosen.accesses[place]
            bounds = getattr(access, f"{direction}link_bytes_per_s")
            traces[place, direction] = Trace(step_s, scaled(rates, chosen.means[place][direction], bounds),
                                             source=f"{access.kind} ({direction})")
    return traces


def _samples(model: RateModel, period_s: float) -> int:
    return max(1, int(np.ceil(period_s / model.sample_s * (1 - 1e-9))))


def _white(seed: int, rows: Sequence[int], block: int, samples: int) -> NDArray[np.float64]:
    return np.array([stream(seed, "trace", row, block).standard_normal(samples) for row in rows])


def _on_grid(relative: Rates, sample_s: float, step_s: float, steps: int) -> Rates:
    """Return rates [W, steps] that carry the same bytes as those on the model's own spacing."""
    if step_s == sample_s:
        return relative
    edges_s = np.minimum(np.arange(relative.shape[1] + 1) * sample_s, steps * step_s)
    return np.array([resample(rates, edges_s, step_s) for rates in relative])
