"""The figures that claims speak of, read off a run: at its end, at a moment of it, or on the way to a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from acesim.fleet import price_list
from acesim.records.read import RunRecord
from acesim.report.statistics import SUSTAINED, at, convergence_epochs, crossing, settled, smoothed
from acesim.report.verdicts import Sample
from acesim.scenario.claims import Measure
from acesim.scenario.costs import Prices


class Run(NamedTuple):
    """A run's page and its curve (a row per evaluation)."""

    record: RunRecord
    curve: pd.DataFrame


class Figure(NamedTuple):
    """What a figure is called, in which unit it is shown, and which way is better.

    scale   from SI to the unit
    better  "more" or "less"
    """

    words: str
    unit: str = ""
    scale: float = 1.0
    better: str = "less"


FIGURES: Mapping[str, Figure] = {
    "top1_percent": Figure("top-1 accuracy", "points", 1.0, "more"),
    "edge_top1_percent": Figure("top-1 accuracy on edge documents", "points", 1.0, "more"),
    "cloud_top1_percent": Figure("top-1 accuracy on cloud documents", "points", 1.0, "more"),
    "loss_nats": Figure("loss", "nats"),
    "perplexity": Figure("perplexity"),
    "bytes_up": Figure("bytes up", "GB", 1e-9),
    "bytes_down": Figure("bytes down", "GB", 1e-9),
    "bytes": Figure("bytes up and down", "GB", 1e-9),
    "region_bytes": Figure("bytes of region servers", "GB", 1e-9),
    "link_bytes": Figure("bytes times links", "GB", 1e-9),
    "egress_bytes": Figure("bytes that left the cloud", "GB", 1e-9),
    "energy_joules": Figure("energy", "kWh", 1 / 3.6e6),
    "time_s": Figure("time", "h", 1 / 3600),
    "epoch_s": Figure("time of an epoch", "s"),
    "round_s": Figure("time of a round", "s"),
    "sync_delay_s": Figure("wait between computations", "s"),
    "epochs": Figure("epochs trained", "epochs", 1.0, "more"),
    "rounds": Figure("rounds"),
    "drift": Figure("drift"),
    "convergence_epochs": Figure("epochs to within 1 % of the run's own final accuracy", "epochs"),
    "egress_cost": Figure("cost of egress", "money"),
    "carbon_kg": Figure("CO2", "kg"),
    "worker_gb": Figure("memory of a worker", "GB"),
    "server_gb": Figure("memory of a server", "GB"),
    "epochs_to": Figure("epochs", "epochs"),
    "rounds_to": Figure("rounds"),
    "time_to_s": Figure("time", "h", 1 / 3600),
    "bytes_to": Figure("bytes up and down", "GB", 1e-9),
    "bytes_up_to": Figure("bytes up", "GB", 1e-9),
    "joules_to": Figure("energy", "kWh", 1 / 3.6e6),
    "cost_to": Figure("cost of egress", "money"),
}
"""Every metric of a claims file."""

Curve = NDArray[np.float64]


def _column(*names: str) -> Callable[[Run], Curve]:
    return lambda run: run.curve[list(names)].to_numpy(np.float64).sum(axis=1)


def _cost(run: Run) -> Curve:
    prices = price_list(Prices.model_validate(run.record.manifest["scenario"].get("prices") or {}))
    return np.array([prices.cost(nbytes) for nbytes in run.curve["egress_bytes"]])


AXES: Mapping[str, Callable[[Run], Curve]] = {
    "epochs_to": _column("epoch"), "rounds_to": _column("round"), "time_to_s": _column("time_s"),
    "bytes_to": _column("bytes_up", "bytes_down"), "bytes_up_to": _column("bytes_up"),
    "joules_to": _column("energy_joules"), "cost_to": _cost,
}
"""What a run had spent at each evaluation, by the metric that tells what a target took."""

_BUDGETS: Mapping[str, Callable[[Run], Curve]] = {
    "equal-samples": _column("local_steps"), "equal-bytes": AXES["bytes_to"], "equal-time": AXES["time_to_s"]}
_SUMS: Mapping[str, tuple[str, ...]] = {
    "bytes": ("bytes_up", "bytes_down"), "region_bytes": ("region_bytes_up", "region_bytes_down"),
    "time_s": ("time_s",), "epoch_s": ("time_s",), "round_s": ("time_s",), "epochs": ("epoch",), "rounds": ("round",)}
_PER: Mapping[str, str] = {"epoch_s": "epoch", "round_s": "round"}
_ON_PAGE: Mapping[str, str] = {"time_s": "simulated_s", "epoch": "epochs", "round": "rounds"}


def spent_to(run: Run, metric: str, goal_percent: float, sustained: int = SUSTAINED) -> Sample:
    """Return what a run had spent when it reached an accuracy, or, if it never did, all that it spent.

    Epochs are read off the smoothed curve, as the paper's epochs to convergence are; the others where the accuracy is
    reached for so many evaluations in a row.
    """
    axis, top1 = AXES[metric](run), run.curve["top1_percent"].to_numpy(np.float64)
    smooth = metric == "epochs_to" and sustained > 1
    place = crossing(axis, smoothed(top1), goal_percent, 1) if smooth else crossing(axis, top1, goal_percent, sustained)
    return Sample(place) if isfinite(place) else Sample(float(axis[-1]) if len(axis) else nan, exact=False)


def standing(run: Run, metric: str, axis: Curve | None, place: float) -> float:
    """Return a figure at a place of an axis, linear between evaluations; at the end of the run for None."""
    per = _PER.get(metric)
    whole = sum(_read(run, name, axis, place) for name in _SUMS.get(metric, (metric,)))
    divisor = _read(run, per, axis, place) if per else 1.0
    return whole / divisor if divisor else nan


def _read(run: Run, name: str, axis: Curve | None, place: float) -> float:
    if axis is not None:
        return at(place, axis, run.curve[name])
    known = _number(run.record.manifest.get(_ON_PAGE.get(name, name)))  # counts what was sent after the last evaluation
    return known if isfinite(known) else float(run.curve[name].iloc[-1]) if name in run.curve else nan


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else nan


Seeds = Mapping[int, Run]


def measured(measure: Measure, runs: Mapping[str, Seeds]) -> tuple[dict[int, Sample], dict[int, Sample]]:
    """Return the figure of both policies at every seed that all of the measure's policies have, in the figure's unit.

    runs   by label, then by seed
    """
    seeds = sorted(set.intersection(*(set(runs.get(label, {})) for label in measure.policies)))
    pairs = {seed: _pair(measure, {label: runs[label][seed] for label in measure.policies}) for seed in seeds}
    return {seed: pair[0] for seed, pair in pairs.items()}, {seed: pair[1] for seed, pair in pairs.items()}


def resolution(measure: Measure, runs: Mapping[str, Seeds]) -> float:
    """Return the smallest difference that a figure can tell: one of the predictions scored, for accuracies; else 0."""
    if not measure.metric.endswith("top1_percent"):
        return 0.0
    scored = [float(run.curve["scored"].iloc[-1]) for label in (measure.of, measure.against)
              for run in runs.get(label, {}).values()]
    return 100 / min(scored) if scored and min(scored) > 0 else 0.0


def _pair(measure: Measure, runs: Mapping[str, Run]) -> tuple[Sample, Sample]:
    both, scale = (runs[measure.of], runs[measure.against]), FIGURES[measure.metric].scale
    of, against = _standing(measure, both) if measure.target is None else _spent(measure, both, runs)
    return Sample(of.value * scale, of.exact), Sample(against.value * scale, against.exact)


def _spent(measure: Measure, both: tuple[Run, Run], runs: Mapping[str, Run]) -> list[Sample]:
    target = measure.target
    assert target is not None
    goal = target.top1_percent
    if goal is None:
        final = settled(runs[str(target.of)].curve["top1_percent"].to_numpy(np.float64))
        goal = (target.share_percent or nan) / 100 * final
    if not goal > 0:  # a task without accuracy, or a run that learnt nothing: there is no way to get there
        return [Sample(nan)] * 2
    sustained = SUSTAINED if target.top1_percent is None else 1  # as papers count; a run may stop at its target
    return [spent_to(run, measure.metric, goal, sustained) for run in both]


def _standing(measure: Measure, both: tuple[Run, Run]) -> list[Sample]:
    if measure.metric == "convergence_epochs":
        return [Sample(convergence_epochs(run.curve["epoch"], run.curve["top1_percent"])) for run in both]
    read = _column("epoch") if measure.epoch is not None else _BUDGETS.get(measure.at)
    if read is None:
        return [Sample(standing(run, measure.metric, None, nan)) for run in both]
    axes = [read(run) for run in both]
    place = measure.epoch if measure.epoch is not None else min(float(axis[-1]) for axis in axes)
    return [Sample(standing(run, measure.metric, axis, place)) for run, axis in zip(both, axes, strict=True)]


def in_words(measure: Measure) -> str:
    """Say what is measured.

    >>> in_words(Measure(metric="loss_nats", of="a", against="b", form="difference", epoch=20.0))
    'loss of a less that of b, at epoch 20'
    """
    figure = FIGURES[measure.metric].words
    two = (f"{figure} of {measure.of} over that of {measure.against}" if measure.form == "ratio" else
           f"{figure} of {measure.of} less that of {measure.against}")
    return two + _where(measure)


def _where(measure: Measure) -> str:
    target = measure.target
    if target is not None and target.of is not None:
        return f", to {target.share_percent:g} % of {target.of}'s final accuracy"
    if target is not None:
        return f", to {target.top1_percent:g} % top-1"
    if measure.epoch is not None:
        return f", at epoch {measure.epoch:g}"
    return "" if measure.at == "end" else f", at {measure.at.replace('-', ' ')}"
