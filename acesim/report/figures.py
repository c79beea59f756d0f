"""Figures for a paper: readable at column width, distinct without colour, units on every axis.

No global state: every figure is an object of its own, drawn with the backend its suffix calls for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from acesim.records.read import RunRecord
from acesim.report.card import card
from acesim.report.compare import compare, gather
from acesim.report.layout import number, short_key, spelt
from acesim.report.placing import place_labels
from acesim.report.scales import Scale, size_scale, time_scale
from acesim.scenario.errors import AcesimError, ResultMissing

COLOURS = ("#333333", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
"""Okabe and Ito's palette, which the colour-blind can tell apart; dark grey for black, ochre for yellow."""
DASHES = ("-", "--", "-.", (0, (7, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)))
MARKERS = "osD^vPX*"
SUFFIXES = (".svg", ".png", ".pdf")
CAPTION_PER_INCH = 29
"""Letters of a caption."""
LETTER_PART = 0.045
"""Of a panel's width that a letter beside a bar takes, where long labels leave the panels a third of the figure."""

STYLE: dict[Any, Any] = {
    "font.size": 9, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8,
    "legend.frameon": False, "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6, "svg.fonttype": "none",
    "svg.hashsalt": "acesim", "pdf.fonttype": 42, "savefig.dpi": 200}


def draw(kind: str, records: Sequence[RunRecord], out: str | Path, baseline: str | None = None) -> Path:
    """Draw one of KINDS from finished runs into a file; the suffix (.svg, .png, .pdf) is the format.

    raises   AcesimError for an unknown kind or suffix
    """
    if kind not in KINDS:
        raise AcesimError(f"kind = {kind}: unknown figure (knows: {', '.join(KINDS)}, bandwidth)")
    path = checked(out)
    if records and not any(isfinite(record.manifest.get("loss_nats") or nan) for record in records):
        raise AcesimError(f"kind = {kind}: in none of these runs anything was learned; `acesim compare` tells their "
                          "bytes and times, --kind bandwidth draws a sweep's")
    with rc_context(STYLE):
        figure = KINDS[kind](records, baseline)
        seeds = len({record.seed for record in records})
        about = card(records[0].manifest.get("scenario") or {}) if records else ()
        caption(figure, [*spread(kind, seeds), *about])
        return save(figure, path)


SPREADS: Mapping[str, str] = {
    "table1": "bars: means over {} seeds; whiskers: their 95 % intervals",
    "convergence": "lines: means over {} seeds; bands: from the lowest to the highest",
    "pareto": "dots: means over {} seeds; whiskers: their 95 % intervals; grey: what nobody beats in both",
    "bandwidth": "lines: means over {} seeds; bands: their 95 % intervals",
    "crowd": "lines: means over {} seeds"}
"""What the widths in a figure of each kind are."""


def spread(kind: str, seeds: int) -> list[str]:
    """Return the line of a caption that says what the widths in a figure are; none where one seed has none."""
    return [SPREADS[kind].format(seeds)] if seeds > 1 else []


def draw_sweep(table: pd.DataFrame, keys: Sequence[str], out: str | Path,
               scenario: Mapping[str, Any] | None = None) -> Path:
    """Draw a sweep's curves: one line a policy, one column of panels for each value of a second key.

    table     a sweep's cells: a column for each of `keys`, and the columns of `compare`
    scenario  of a cell, as a manifest spells it: the fidelity card is written below
    raises    AcesimError for more than two keys or an unknown suffix
    """
    if not 1 <= len(keys) <= 2:
        raise AcesimError(f"{len(keys)} swept keys: curves can show one or two; the tidy table has them all")
    path = checked(out)
    with rc_context(STYLE):
        figure = bandwidth(table, keys)
        seeds = int(table["seeds"].max()) if "seeds" in table else 1
        kind = "bandwidth" if table["label"].nunique() <= FEW else "crowd"
        caption(figure, [*spread(kind, seeds), *(card(scenario) if scenario else ())])
        return save(figure, path)


def chosen(labels: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the labels to draw: those wanted, or all; ResultMissing where one was not run.

    >>> chosen(["a", "b", "a"], ["b"]), chosen(["a", "b", "a"], [])
    (['b'], ['a', 'b'])
    """
    there = list(dict.fromkeys(labels))
    absent = [label for label in wanted if label not in there]
    if absent:
        raise ResultMissing(f"--policy {absent[0]}: no finished run has this label (there are: {', '.join(there)})")
    return list(dict.fromkeys(wanted)) or there


def caption(figure: Figure, lines: Sequence[str]) -> None:
    """Write lines below a figure, small: what its widths are, and the fidelity card, go wherever the figure goes."""
    width = int(figure.get_figwidth() * CAPTION_PER_INCH)
    text = "\n".join(part for line in lines for part in textwrap.wrap(line, width))
    if text:
        figure.text(0.01, -0.01, text, fontsize=4.5, color="#555555", va="top")


def checked(out: str | Path) -> Path:
    """Return the path if its suffix is one that can be drawn."""
    path = Path(out)
    if path.suffix not in SUFFIXES:
        raise AcesimError(f"{path}: unknown kind of picture {path.suffix or '(no suffix)'} (knows: "
                          f"{', '.join(SUFFIXES)})")
    return path


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
    figure.savefig(path, bbox_inches="tight", metadata=dated)
    return path


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tick(value: float, _: object) -> str:
    """Spell a place on an axis: three figures, all of a large number's.

    >>> [_tick(value, None) for value in (0.05, 8.5, 118.0, 2500.0)]
    ['0.05', '8.5', '118', '2,500']
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _between(value: float, _: object) -> str:
    """Spell a place between powers of ten if it is twice or five times one.

    >>> [_between(value, None) for value in (200.0, 3000.0, 5000.0)]
    ['200', '', '5,000']
    """
    return _tick(value, None) if f"{value:e}"[0] in "25" else ""


def _columns(entries: int) -> int:
    """Columns of a legend above the panels: one row if it fits, else rows of about the same length."""
    rows = -(-entries // 5)
    return -(-entries // rows)


def _look(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)]}


def _marker(place: int) -> str:
    """Return another marker for every colour's next turn."""
    return MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


# --- table1 ----------------------------------------------------------------------------------------------------------

BARS = (("top1_percent", "Top-1 of the proxy (%)", "paper_top1_percent", 1.0),
        ("gb_up_per_baseline_round", "GB up per round\nof the baseline", "paper_gb", 1.0),
        ("convergence_epochs", "Convergence (epochs)", "paper_convergence_epochs", 1.0))


def table1(records: Sequence[RunRecord], baseline: str | None = None) -> Figure:
    """Draw the comparison as bars; where the paper has a value it is a hollow diamond."""
    table = compare(records, baseline)
    time = time_scale(table["simulated_s"].max())
    bars = (*BARS, ("simulated_s", f"Simulated time ({time.short})", "", time.factor))
    figure = _figure(7.2, 1.35 + 0.32 * len(table))
    panels = figure.subplots(1, len(bars), sharey=True)
    for panel, (name, title, said, scale) in zip(panels, bars, strict=True):
        theirs = table[said].to_numpy(float) if said in table else np.full(len(table), np.nan)
        _bars(panel, table, name, scale, theirs)
        panel.plot(theirs, np.arange(len(table)), "D", mfc="none", mec="#333333", ms=5, zorder=4)
        panel.set_xlabel(title)
    panels[0].set_yticks(range(len(table)), table["label"])
    panels[0].invert_yaxis()
    if "paper_gb" in table:
        panels[0].plot([], [], "D", mfc="none", mec="#333333", ms=5, label="the paper's Table 1")
        figure.legend(loc="outside upper right")
    return figure


def _bars(panel: Axes, table: pd.DataFrame, name: str, scale: float, theirs: np.ndarray) -> None:
    means = table[name].to_numpy(float) * scale
    half = (table.get(f"{name}_high", table[name]) - table.get(f"{name}_low", table[name])).to_numpy(float) / 2
    half = np.where(np.isfinite(half), half, 0.0) * scale
    rows = np.arange(len(table))
    colours = [COLOURS[row % len(COLOURS)] for row in rows]
    shown = np.where(np.isfinite(means), means, 0.0)
    panel.barh(rows, shown, 0.62, color=colours, alpha=0.85)
    if half.any():
        panel.errorbar(shown, rows, xerr=half, fmt="none", ecolor="#111111", elinewidth=1, capsize=2)
    widest = max(np.nanmax(theirs, initial=0.0), (shown + half).max(initial=0.0)) or 1.0
    for row in rows:
        text = number(means[row])
        needs = 1.2 * widest * (LETTER_PART * len(text) + LETTER_PART)
        inside = shown[row] - half[row] > needs  # in its own bar nobody takes it for the paper's
        panel.annotate(text, (0 if inside else shown[row] + half[row], row), xytext=(4, 0),
                       textcoords="offset points", va="center", fontsize=7.5, color="white" if inside else "black")
    panel.set_xlim(0, 1.2 * widest)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)


# --- convergence -----------------------------------------------------------------------------------------------------

CURVES = (("top1_percent", "Top-1 of the proxy (%)"), ("loss_nats", "Loss (nats)"))


def _epochs(curve: pd.DataFrame) -> pd.Series:
    return curve["epoch"]


def _gigabytes(curve: pd.DataFrame) -> pd.Series:
    return (curve["bytes_up"] + curve["bytes_down"]) / 1e9


def _axes(curves: Sequence[pd.DataFrame]) -> list[tuple[str, Callable[[pd.DataFrame], pd.Series]]]:
    """Return what curves are drawn over, in units in which the longest can be read."""
    size = size_scale(max(float(_gigabytes(curve).max()) for curve in curves))
    time = time_scale(max(float(curve["time_s"].max()) for curve in curves))
    return [("Epochs", _epochs), (f"{size.name} sent, up and down", lambda curve: _gigabytes(curve) * size.factor),
            (f"Simulated time ({time.short})", lambda curve: curve["time_s"] * time.factor)]


def convergence(records: Sequence[RunRecord], baseline: str | None = None) -> Figure:
    """Draw accuracy and loss over epochs, bytes and simulated time: the mean of seeds in their range."""
    runs = gather(records)
    axes = _axes([run.curve for seeds in runs.values() for run in seeds.values()])
    figure = _figure(7.2, 4.4)
    panels = figure.subplots(len(CURVES), len(axes), sharex="col", sharey="row")
    for row, (name, title) in enumerate(CURVES):
        panels[row, 0].set_ylabel(title)
        for column, (_, axis) in enumerate(axes):
            for place, seeds in enumerate(runs.values()):
                _curve(panels[row, column], [(axis(run.curve), run.curve[name]) for run in seeds.values()], place)
    for column, (title, _) in enumerate(axes):
        panels[-1, column].set_xlabel(title)
        panels[-1, column].set_xlim(left=0)
    panels[-1, 0].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panels[-1, 0].set_ylim(*_loss_limits([run.curve["loss_nats"].to_numpy() for seeds in runs.values()
                                          for run in seeds.values()]))
    handles = [panels[0, 0].plot([], [], **_look(place), label=label)[0] for place, label in enumerate(runs)]
    figure.legend(handles=handles, loc="outside upper center", ncols=_columns(len(runs)), handlelength=3.2)
    return figure


def _loss_limits(losses: Sequence[np.ndarray]) -> tuple[float, float]:
    """Leave the untrained model out of the picture where there is more to see."""
    trained = np.concatenate([loss[1:] if len(loss) > 3 else loss for loss in losses])
    low, high = float(np.nanmin(trained)), float(np.nanmax(trained))
    margin = 0.06 * (high - low) or 0.1
    return low - margin, high + margin


def _curve(panel: Axes, curves: Sequence[tuple[pd.Series, pd.Series]], place: int) -> None:
    """Draw the mean over seeds up to where the shortest ends, and the range from the lowest to the highest."""
    end = min(float(x.iloc[-1]) for x, _ in curves)
    if not end > 0:
        return  # a policy that sends nothing has no curve over bytes
    grid = np.linspace(max(float(x.iloc[0]) for x, _ in curves), end, 200)
    read = np.array([np.interp(grid, x, y) for x, y in curves])
    panel.plot(grid, read.mean(axis=0), lw=1.4, **_look(place))
    if len(curves) > 1:
        panel.fill_between(grid, read.min(axis=0), read.max(axis=0), color=_look(place)["color"], alpha=0.15, lw=0)


# --- pareto ----------------------------------------------------------------------------------------------------------

def pareto(records: Sequence[RunRecord], baseline: str | None = None) -> Figure:
    """Draw accuracy against bytes and against time; the grey steps join what nobody beats in both."""
    table = compare(records, baseline)
    size, time = size_scale(table["gb_total"].max()), time_scale(table["simulated_s"].max())
    costs = (("gb_total", f"{size.name} sent, up and down", size.factor),
             ("simulated_s", f"Simulated time ({time.short})", time.factor))
    figure = _figure(7.2, 3.2)
    panels = figure.subplots(1, len(costs), sharey=True)
    for panel, (name, title, scale) in zip(panels, costs, strict=True):
        known = table[np.isfinite(table[name]) & np.isfinite(table["top1_percent"])]
        x, y = known[name].to_numpy(float) * scale, known["top1_percent"].to_numpy(float)
        _steps(panel, x, y)
        for place, row in zip(known.index, known.to_dict("records"), strict=True):
            _dot(panel, row, name, scale, int(place))
        panel.margins(0.16)
        panel.set_xlabel(title)
        if len(x) and 0 < x.min() < x.max() / 30:
            panel.set_xscale("log")
            panel.xaxis.set_major_formatter(FuncFormatter(_tick))
        place_labels(panel, x, y, known["label"].tolist(), [_look(int(place))["color"] for place in known.index])
    panels[0].set_ylabel("Top-1 of the proxy (%)")
    return figure


def _dot(panel: Axes, row: Mapping[Any, Any], name: str, scale: float, place: int) -> None:
    def half(figure: str, unit: float) -> float:
        width = (row.get(f"{figure}_high", np.nan) - row.get(f"{figure}_low", np.nan)) / 2 * unit
        return width if isfinite(width) else 0.0
    panel.errorbar(row[name] * scale, row["top1_percent"], xerr=half(name, scale), yerr=half("top1_percent", 1.0),
                   fmt=_marker(place), ms=6, color=_look(place)["color"], elinewidth=1, capsize=2)


def _steps(panel: Axes, x: np.ndarray, y: np.ndarray) -> None:
    order = np.lexsort((-y, x))
    best = np.maximum.accumulate(y[order])
    front = order[np.concatenate(([True], best[1:] > best[:-1]))] if len(order) else order
    panel.step(x[front], y[front], where="post", color="#999999", lw=1, zorder=0)


# --- sweeps ----------------------------------------------------------------------------------------------------------

def _swept(table: pd.DataFrame, keys: Sequence[str], time: Scale) -> list[tuple[str, str, float]]:
    """Return what is drawn of a sweep, and how it is called: what any run has; speed-ups over numbers of workers."""
    kinds = [("top1_percent", "Top-1 of the proxy (%)", 1.0),
             ("simulated_s", f"Simulated time ({time.short})", time.factor),
             ("time_to_97_s", f"Time to 97 % ({time.short})", time.factor),
             ("time_to_target_s", f"Time to target ({time.short})", time.factor)]
    if keys[0].endswith(".count"):
        kinds.append(("speed_up", "Speed-up", 1.0))
    return [kind for kind in kinds if kind[0] in table and table[kind[0]].notna().any()]


FEW = 8
"""Most swept values that are all marked on their axis, and most lines that are drawn with their bands."""


def bandwidth(table: pd.DataFrame, keys: Sequence[str]) -> Figure:
    """Draw what a sweep found over its first key, a line a policy; a second key gives columns of panels.

    What no run of the sweep has reached is left out.
    """
    swept = _swept(table, keys, time_scale(table["simulated_s"].max()))
    kinds = [None] if len(keys) == 1 else list(dict.fromkeys(table[keys[1]]))
    figure = _figure(7.2 if len(kinds) == 1 else 2.0 + 2.2 * len(kinds),
                     2.7 if len(kinds) == 1 else 0.8 + 2.5 * len(swept))
    shape = (1, len(swept)) if len(kinds) == 1 else (len(swept), len(kinds))
    panels = figure.subplots(*shape, squeeze=False, sharey="row" if len(kinds) > 1 else False, sharex=True)
    labels = list(dict.fromkeys(table["label"]))
    for column, kind in enumerate(kinds):
        shown = table if kind is None else table[table[keys[1]] == kind]
        for row, (name, title, scale) in enumerate(swept):
            panel = panels[0, row] if kind is None else panels[row, column]
            _sweep_lines(panel, shown, keys[0], name, scale, labels)
            if kind is None or column == 0:
                panel.set_ylabel(title)
            if row == 0 and kind is not None:
                panel.set_title(f"{short_key(keys[1])} {spelt(kind)}", fontsize=8)
    figure.supxlabel(short_key(keys[0]), fontsize=9)  # of keys that change together the first may stand for many
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center",
                  ncols=_columns(len(labels)), handlelength=3.2)
    return figure


def _sweep_lines(panel: Axes, table: pd.DataFrame, key: str, name: str, scale: float, labels: Sequence[str]) -> None:
    for place, label in enumerate(labels):
        line = table[table["label"] == label]
        # values of several keys, and units of ranges, go below each other
        x = [each.replace(" / ", "/\n").replace(" ", "\n") if isinstance(each, str) else each for each in line[key]]
        y = line[name].to_numpy(float) * scale
        panel.plot(x, y, marker=_marker(place), ms=3.5, lw=1.2, label=label, **_look(place))
        if f"{name}_low" in line and len(labels) <= FEW:  # the bands of a crowd would hide its lines
            low, high = (line[f"{name}_{end}"].to_numpy(float) * scale for end in ("low", "high"))
            panel.fill_between(x, low, high, color=_look(place)["color"], alpha=0.15, lw=0)
    values = table[name].to_numpy(float)
    if name != "top1_percent" and np.nanmax(values, initial=0) > 8 * np.nanmin(values, initial=np.inf) > 0:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(_tick))
        panel.yaxis.set_minor_formatter(FuncFormatter(_between))
    places = pd.to_numeric(table[key], errors="coerce").to_numpy(float)
    if np.isfinite(places).all() and places.min() > 0 and places.max() >= 8 * places.min():
        panel.set_xscale("log")
        if len(set(places)) <= FEW:
            panel.set_xticks(sorted(set(places)))
            panel.minorticks_off()
        panel.xaxis.set_major_formatter(FuncFormatter(_tick))


KINDS: dict[str, Callable[[Sequence[RunRecord], str | None], Figure]] = {
    "table1": table1, "convergence": convergence, "pareto": pareto}
"""Figures drawn from runs; "bandwidth" is drawn from a sweep's table (`draw_sweep`)."""
