"""What a trace looks like: its statistics as text, and a picture of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acesim.network.files import Recording
from acesim.network.models import AccessModel
from acesim.network.statistics import autocorrelation, summary, times_to_move
from acesim.network.traces import Rates
from acesim.scenario.units import to_mbps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STARTS = 2000
LONGEST_LAG_S = 120.0
POINTS = 4000
"""More steps than this are drawn as their means."""


def grid_of(recording: Recording) -> tuple[Recording, float]:
    """Return the recording on equal steps and their length: a second, or as coarse as it is itself."""
    step_s = max(1.0, float(np.diff(recording.edges_s).min()))
    return recording.stepped(step_s), step_s


def ways(recording: Recording) -> Iterator[tuple[str, Rates]]:
    """Yield (name, rates) of each direction there is."""
    for name, rates in (("down", recording.down), ("up", recording.up)):
        if rates is not None:
            yield name, rates


def statistics_page(recording: Recording) -> list[str]:
    """Return lines that say what is in a recording."""
    even, step_s = grid_of(recording)
    lines = [f"{recording.file}: {len(recording.edges_s) - 1} rows, {recording.edges_s[-1]:g} s; statistics in steps "
             f"of {step_s:g} s"]
    for name, rates in ways(even):
        found = summary(rates, step_s)
        low, middle, high = (to_mbps(value) for value in (found.p5, found.p50, found.p95))
        memory = ", ".join(f"{value:.2f} at {lag_s} s" for lag_s, value in
                           ((1, found.acf1), (10, found.acf10), (60, found.acf60)) if np.isfinite(value))
        lines.append(f"{name:5} mean {to_mbps(found.mean):.4g} Mbps, CV {found.cv:.2f}; p5 {low:.4g}, p50 "
                     f"{middle:.4g}, p95 {high:.4g} Mbps; below 0.1 Mbps {100 * found.near0:.1f} % of the time")
        if memory:
            lines.append(f"      autocorrelation {memory}")
        if rates.any():
            lines.extend(_waits(rates, step_s))
    return lines


def _waits(rates: Rates, step_s: float) -> Iterator[str]:
    starts_s = (np.arange(STARTS) + 0.5) / STARTS * len(rates) * step_s
    for amount_s in (1.0, 8.0, 60.0):
        low, middle, high = np.percentile(times_to_move(rates, step_s, amount_s, starts_s), [5, 50, 95])
        yield (f"      {amount_s:g} s worth of mean-rate data take {low:.3g} (p5), {middle:.3g} (p50), {high:.3g} s "
               f"(p95)")


def kind_line(name: str, model: AccessModel) -> str:
    """Return a line on a kind of access."""
    means = [to_mbps(model.down.mean_at(normal)) for normal in (-1.2816, 0.0, 1.2816)]
    low, middle, high = (f"{mean:.3g}" for mean in means)
    return (f"{name:10} mean down {low} to {high} Mbps, median {middle}; round trip {1000 * model.rtt_low_s:.0f}-"
            f"{1000 * model.rtt_high_s:.0f} ms; {model.down.fit}")


def draw_trace(recording: Recording, out: str | Path) -> Path:
    """Draw rates over time, their distribution and their memory into a file (.svg, .png, .pdf)."""
    from matplotlib import rc_context  # half a second, which nobody need wait for who draws nothing
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from acesim.report.figures import COLOURS, STYLE, checked, save

    path = checked(out)
    even, step_s = grid_of(recording)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplot_mosaic([["time", "time"], ["share", "memory"]])
        for place, (name, rates) in enumerate(ways(even)):
            colour = COLOURS[1 + place]
            _over_time(panels["time"], rates, step_s, name, colour)
            panels["share"].plot(np.sort(to_mbps(1.0) * rates), 100 * (np.arange(len(rates)) + 1) / len(rates),
                                 color=colour)
            lags = np.arange(0, max(2, min(int(LONGEST_LAG_S / step_s), len(rates) // 2)))
            panels["memory"].plot(lags * step_s, autocorrelation(rates, lags), color=colour)
        for panel, x, y in (("time", "Time (s)", "Rate (Mbps)"), ("memory", "Lag (s)", "Autocorrelation"),
                            ("share", "Rate (Mbps)", "Share of the time below (%)")):
            panels[panel].set_xlabel(x)
            panels[panel].set_ylabel(y)
        panels["time"].legend(loc="upper right")
        panels["time"].set_title(Path(recording.file).name, loc="left")
        return save(figure, path)


def _over_time(panel: Axes, rates: Rates, step_s: float, name: str, colour: str) -> None:
    many = max(1, -(-len(rates) // POINTS))
    whole = len(rates) // many * many
    shown = to_mbps(1.0) * rates[:whole].reshape(-1, many).mean(axis=1)
    panel.plot(np.arange(len(shown)) * many * step_s, shown, drawstyle="steps-post", lw=0.9, color=colour, label=name)
    panel.set_ylim(bottom=0)
