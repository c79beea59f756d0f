"""Holds generated links against measured ones, figure by figure: what `docs/fidelity.md` shows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from acesim.network.fitting import SETTINGS, fit_models
from acesim.network.fluctuation import fluctuate, scaled, turned
from acesim.network.models import RateModel, access_models
from acesim.network.statistics import summary, times_to_move
from acesim.network.traces import Rates
from acesim.scenario.units import from_mbps

AMOUNTS_S = (1.0, 8.0, 60.0, 600.0)
WORKERS = 64
TARGET = 0.15
"""A generated figure should be within this share of the measured one, or within its bootstrap interval."""
STARTS, BARRIERS = 100, 4000
GENERATED = 2048
"""Links that are generated at least, as many for each measured one: the slowest of 64 hang on few of them."""
KINDS: Mapping[str, str] = {"LTE": "lte", "5G/LTE driving": "5g", "5G": "5g", "5G mmWave": "5g-mmwave", "3G": "3g",
                            "LEO satellite": "satellite", "WiFi (campus walk)": "wifi", "fixed": "fixed"}
"""How the index of measured traces calls what the simulator calls."""


class Figure(NamedTuple):
    """One figure of one kind of access: measured, its 95 % bootstrap interval over traces, generated."""

    name: str
    measured: float
    low: float
    high: float
    generated: float

    @property
    def holds(self) -> bool:
        """Is the generated figure within the larger of TARGET and the interval?"""
        margin = TARGET * abs(self.measured)
        return bool(min(self.low, self.measured - margin) <= self.generated <= max(self.high, self.measured + margin))


def figures(traces: Sequence[Rates], step_s: float, rng: np.random.Generator) -> dict[str, float]:
    """Return the figures of a set of links, in Mbps-free units: bytes per second, seconds, shares.

    Mean, CV and autocorrelations are medians over traces, near0 is a mean.  Times are quantiles over random traces and
    random starts of the time to move so many seconds worth of the trace's own mean rate, the trace repeating; and of
    the slowest of 64 such.
    """
    found = [summary(rates, step_s) for rates in traces]
    table = np.array(found)
    medians = {name: _median(table[:, place]) for place, name in enumerate(found[0]._fields)}
    chosen = {"mean": medians["mean"], "mean of the slow 10 %": float(np.percentile(table[:, 0], 10)),
              "mean of the fast 10 %": float(np.percentile(table[:, 0], 90)), "cv": medians["cv"],
              "cv of the unsteady 10 %": float(np.percentile(table[:, 1], 90)),
              "acf1": medians["acf1"], "acf10": medians["acf10"], "acf60": medians["acf60"],
              "near0": float(table[:, -1].mean())}
    for amount_s in AMOUNTS_S:
        taken = np.concatenate([times_to_move(rates, step_s, amount_s, rng.random(STARTS) * len(rates) * step_s)
                                for rates in traces])
        slowest = taken[rng.integers(len(taken), size=(BARRIERS, WORKERS))].max(axis=1)
        for who, times in (("one", taken), ("slowest of 64", slowest)):
            for percent in (5, 50, 95):
                chosen[f"{amount_s:g} s, {who}, p{percent}"] = float(np.percentile(times, percent))
    return chosen


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def compare(traces: Sequence[Rates], model: RateModel, step_s: float, seed: int = 0, copies: int | None = None,
            resamples: int = 100, period_s: float | None = None) -> list[Figure]:
    """Compare measured links with generated ones of the same lengths and ranks.

    traces      measured rates in bytes per second, each equally spaced by step_s
    copies      generated links for each measured one; None: as many as GENERATED asks for
    resamples   of the bootstrap, over traces
    period_s    of the generated links; None: as long as the measured ones
    A figure that no trace is long enough for is left out.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    measured = figures(traces, step_s, rng)
    drawn = [figures([traces[place] for place in rng.integers(len(traces), size=len(traces))], step_s, rng)
             for _ in range(resamples)]
    samples = None if period_s is None else round(period_s / step_s)
    copies = copies or -(-GENERATED // len(traces))
    made = figures(alike(traces, model, copies, rng, samples), step_s, rng)
    bounds = {name: np.percentile([each[name] for each in drawn], [2.5, 97.5]).tolist() for name in measured}
    return [Figure(name, value, bounds[name][0], bounds[name][1], made[name]) for name, value in measured.items()
            if np.isfinite(value)]


def alike(traces: Sequence[Rates], model: RateModel, copies: int, rng: np.random.Generator,
          samples: int | None = None) -> list[Rates]:
    """Return generated links: for each measured one, `copies` of its rank among the means, and as long as it, or of
    so many samples.

    Length and mean go together in measurements (a campaign has its own of both), so links are drawn under both.
    """
    ranks = np.argsort(np.argsort([float(rates.mean()) for rates in traces], kind="stable"), kind="stable")
    return [links for rank, rates in zip(ranks, traces, strict=True)
            for links in generate(model, samples or len(rates), ndtri((rank + rng.random(copies)) / len(traces)), rng)]


def generate(model: RateModel, samples: int, normals: NDArray[np.float64], rng: np.random.Generator) -> list[Rates]:
    """Return links as the generator of scenarios makes them where no rate is given.

    normals   [W] ranks of the links, as standard normal numbers
    """
    shapes = [model.shape_at(normal) for normal in normals.tolist()]
    relative = fluctuate(model, shapes, rng.standard_normal((len(normals), samples)), [rng] * len(normals))
    relative = turned(model, shapes, relative, relative)
    return [scaled(rates, model.mean_at(normal), None)
            for normal, rates in zip(normals.tolist(), relative, strict=True)]


def measured(folder: Path) -> dict[tuple[str, str], list[Rates]]:
    """Return measured rates by (kind, direction) from a folder with an INDEX.csv (source,access,file,dir,...)."""
    with (folder / "INDEX.csv").open(encoding="utf-8") as index:
        rows = list(csv.DictReader(index))
    found: dict[tuple[str, str], list[Rates]] = {}
    for row in rows:
        found.setdefault((KINDS[row["access"]], row["dir"]), []).extend(_rates(folder / row["file"], row["dir"]))
    return found


def _rates(file: Path, direction: str) -> Iterable[Rates]:
    """Yield the rates in a file: a row for each moment, or (fixed lines) a row for each line."""
    with file.open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    if f"{direction}_mbps" in rows[0]:
        values = [row[f"{direction}_mbps"] for row in rows]
        yield from_mbps(1.0) * np.array([float(value) for value in values if value])
    else:
        for row in rows:
            yield from_mbps(1.0) * np.array([float(value) for name, value in row.items()
                                             if value and name.endswith("_mbps")])


USUAL_PERIOD_S = 1024.0
"""Of a scenario's generated rates."""


class Held(NamedTuple):
    """How one direction of a kind of access compares: measured links, figures, and how many of them are within target:
    over the usual period, as long as the measurements, and of halves that were not fitted (None: too few links).

    halves_usual         of such halves over the usual period
    apart                of the measured half that was fitted, itself held against the other: what a generator that
                         knows one half can be expected to reach
    worst, worst_ratio   of the figures over the usual period, autocorrelations and shares apart: the one whose
                         generated value is farthest from the measured one, by ratio
    """

    access: str
    links: int
    figures: int
    usual: int
    as_long: int
    halves: int | None
    halves_usual: int | None
    apart: int | None
    worst: str
    worst_ratio: float


def page(folder: Path, seed: int = 0) -> tuple[list[Held], str]:
    """Return the summary of docs/fidelity.md's tables, and their Markdown: the summary, then every kind.

    folder   of measured traces, with its INDEX.csv
    """
    summaries, tables, links = [], [], measured(folder)
    parts = halves(links, seed)
    for key, model in fitted().items():
        found, over = (compare(links[key], model, model.sample_s, seed, period_s=period_s)
                       for period_s in (None, USUAL_PERIOD_S))
        summaries.append(held(" ".join(key), len(links[key]), over, found, parts.get(key)))
        tables.append(f"### {key[0]}, {key[1]}\n\n{model.fit}\n\n{_beside(found, over)}\n")
    head = ("| access | measured links | figures | within target, period 1024 s | as long as measured "
            "| halves not fitted, as long | period 1024 s | measured halves, one against the other "
            "| farthest, period 1024 s |\n|---|---|---|---|---|---|---|---|---|")
    return summaries, "\n".join([head, *map(_spelt, summaries), "", *tables])


def held(access: str, links: int, over: Sequence[Figure], found: Sequence[Figure],
         parts: Sequence[Sequence[Figure]] | None) -> Held:
    """Count the figures that hold, and find the one that is farthest off.

    parts   as `halves` gives them, None where there are too few links
    """
    ratios = {each.name: each.generated / each.measured for each in over
              if not each.name.startswith(("acf", "near")) and min(each.measured, each.generated) > 0}
    worst = max(ratios, key=lambda name: abs(np.log(ratios[name])))
    unfitted, unfitted_usual, apart = map(_holding, parts) if parts else (None, None, None)
    return Held(access, links, len(found), _holding(over), _holding(found), unfitted, unfitted_usual, apart, worst,
                float(ratios[worst]))


def _holding(compared: Sequence[Figure]) -> int:
    return sum(each.holds for each in compared)


def _spelt(row: Held) -> str:
    parts = " | ".join("too few links" if each is None else str(each)
                       for each in (row.halves, row.halves_usual, row.apart))
    return (f"| {row.access} | {row.links} | {row.figures} | {row.usual} | {row.as_long} | {parts} "
            f"| {row.worst}: x {row.worst_ratio:.2f} |")


def fitted() -> dict[tuple[str, str], RateModel]:
    """Return the shipped model of every direction that was fitted by itself."""
    found = {}
    for kind, model in access_models().items():
        found[kind, "down"] = model.down
        if model.up_has_means:
            found[kind, "up"] = model.up
    return found


FEWEST_LINKS = 8


def halves(links: Mapping[tuple[str, str], Sequence[Rates]],
           seed: int) -> dict[tuple[str, str], tuple[list[Figure], list[Figure], list[Figure]]]:
    """Fit a random half of the links of each kind, and compare with the other half: what is generated, as long as
    measured and over the usual period, and the fitted half itself."""
    found = {}
    for key, rates in links.items():
        if key in SETTINGS and len(rates) >= FEWEST_LINKS:
            order = np.random.Generator(np.random.Philox(seed)).permutation(len(rates))
            fitted_, other = ([rates[place] for place in order[first::2]] for first in (0, 1))
            model = fit_models({key: fitted_})[key]
            unfitted, usual = (compare(other, model, model.sample_s, seed, period_s=period_s)
                               for period_s in (None, USUAL_PERIOD_S))
            half = figures(fitted_, model.sample_s, np.random.Generator(np.random.Philox(seed)))
            found[key] = unfitted, usual, [each._replace(generated=half[each.name]) for each in unfitted]
    return found


def _beside(found: Sequence[Figure], over: Sequence[Figure]) -> str:
    """Spell figures as a Markdown table: generated as long as measured, and over the usual period."""
    lines = ["| figure | measured | bootstrap 95 % | generated, as long | holds | period 1024 s | holds |",
             "|---|---|---|---|---|---|---|"]
    lines += [f"| {each.name} | {_number(each, each.measured)} | {_number(each, each.low)} to "
              f"{_number(each, each.high)} | {_number(each, each.generated)} | {_verdict(each)} "
              f"| {_number(usual, usual.generated)} | {_verdict(usual)} |"
              for each, usual in zip(found, over, strict=True)]
    return "\n".join(lines)


def _verdict(figure: Figure) -> str:
    return "yes" if figure.holds else "**no**"


def _number(figure: Figure, value: float) -> str:
    if figure.name.startswith("mean"):
        return f"{value / from_mbps(1.0):.3g} Mbps"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
