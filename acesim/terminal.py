"""What is drawn on a terminal: pages of tables, and the progress of runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from acesim.records.read import RunRecord
from acesim.report.layout import Block, Page, number
from acesim.study import RunProgress

WIDTH = 116
"""Columns of a table that is not shown in a terminal."""
GAP = 3
"""Between two columns."""


class Voice:
    """What is said beside the result, on standard error: nothing when quiet, more when verbose."""

    def __init__(self, quiet: bool, verbose: bool) -> None:
        self.quiet, self.verbose = quiet, verbose

    def say(self, text: str) -> None:
        """Say something unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def detail(self, text: str) -> None:
        """Say something if verbose."""
        if self.verbose and not self.quiet:
            print(text, file=sys.stderr)


def show_page(page: Page) -> None:
    """Print a page's blocks as tables, and its notes below."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for block in page.blocks:
        console.print(Text(block.title, style="bold"))  # not as the table's: it would be broken at the table's width
        for places in [range(len(block.header))] if block.prose else _fitting(block, console.width):
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for place in places:
                justify: Literal["left", "right"] = "right" if place and not block.prose else "left"
                least = None if block.prose else _least(block, place)
                table.add_column(Text(block.header[place]), justify=justify, no_wrap=place == 0, min_width=least)
            for row in block.rows:
                table.add_row(*(Text(row[place]) for place in places))
            whole = None if block.prose else max(console.width, sum(_least(block, place) + GAP for place in places))
            console.print(table, width=whole, crop=False)
    for note in page.lines:
        console.print(Text(note))


def _least(block: Block, place: int) -> int:
    """Return how wide a column is at least: a heading may be broken between words, a figure never."""
    return max(map(len, [*block.header[place].split(), *(row[place] for row in block.rows)]), default=1)


def _fitting(block: Block, width: int) -> list[list[int]]:
    """Cut a table that is too wide into several that are not, each with the first column."""
    parts, first = [[0]], _least(block, 0) + GAP + 1
    taken = first
    for place in range(1, len(block.header)):
        wide = _least(block, place) + GAP
        if taken + wide > width and len(parts[-1]) > 1:
            parts.append([0])
            taken = first
        parts[-1].append(place)
        taken += wide
    return parts


class Display:
    """The state of all runs as a live table, or, where there is no terminal, a line for each run that ends."""

    def __init__(self, console: Console, live: Live | None, chatty: bool) -> None:
        self._console, self._live, self._chatty = console, live, chatty
        self._started_s = time.monotonic()
        self._told: dict[tuple[int, str], str] = {}

    def __call__(self, runs: list[RunProgress]) -> None:
        """Show how far the runs are."""
        if self._live is not None:
            self._live.update(self._table(runs))
        for place, each in enumerate(runs):
            line = _line(each)
            ended = each.status in ("done", "failed")
            if self._live is None and (ended or self._chatty) and self._told.get((place, each.label)) != line:
                self._told[place, each.label] = line
                self._console.print(Text(line), soft_wrap=True)

    def _table(self, runs: Sequence[RunProgress]) -> Table:
        under_way = [each for each in runs if each.status == "running"]
        table = Table(box=box.SIMPLE_HEAD, title=self._summary(runs), title_justify="left", title_style="")
        for name in ("run", "progress", "simulated", "loss", "top-1 %", "TB sent"):
            table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
        for each in under_way:
            table.add_row(f"{each.label}, seed {each.seed}", *_cells(each))
        return table

    def _summary(self, runs: Sequence[RunProgress]) -> str:
        ended = sum(each.status in ("done", "failed") for each in runs)
        shares = [1.0 if each.status in ("done", "failed") else float(each.row.get("progress") or 0) for each in runs]
        share, spent_s = sum(shares) / max(len(runs), 1), time.monotonic() - self._started_s
        left = f", about {_span(spent_s * (1 - share) / share)} left" if 0.02 < share < 1 else ""
        return f"{ended} of {len(runs)} runs, {100 * share:.0f} % after {_span(spent_s)}{left}"


def _cells(each: RunProgress) -> list[str]:
    row = {name: float("nan") if value is None else float(value) for name, value in each.row.items()}
    sent = row.get("bytes_up", float("nan")) + row.get("bytes_down", float("nan"))
    return [f"{100 * row.get('progress', 0):.0f} %", _span(row.get("time_s", 0)),
            number(row.get("loss_nats", float("nan")), 3), number(row.get("top1_percent", float("nan")), 1),
            number(sent / 1e12)]


def _line(each: RunProgress) -> str:
    if each.status in ("waiting", "failed"):
        return f"{each.label}, seed {each.seed}: {each.status}"
    share, simulated, loss, top1, sent = _cells(each)
    return (f"{each.label}, seed {each.seed}: {each.status}, {share}, {simulated} simulated, loss {loss}, "
            f"top-1 {top1} %, {sent} TB{_host(each.row)}")


def _host(row: Mapping[str, Any]) -> str:
    """Say what a finished run took of this machine.

    >>> _host({"wall_s": 12.4, "peak_rss_bytes": 229_400_000}), _host({})
    (', in 12 s and 229 MB here', '')
    """
    span_s, peak = row.get("wall_s"), row.get("peak_rss_bytes")
    memory = "" if peak is None else f" and {peak / 1e6:.0f} MB"
    return "" if span_s is None else f", in {_span(span_s)}{memory} here"


def _span(seconds: float) -> str:
    """Spell a time.

    >>> _span(42), _span(600), _span(90000), _span(1e6)
    ('42 s', '10 min', '25 h', '11.6 d')
    """
    for limit, unit_s, unit, digits in ((120, 1, "s", 0), (7200, 60, "min", 0), (172800, 3600, "h", 0)):
        if seconds < limit:
            return f"{seconds / unit_s:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} d"


@contextmanager
def shown_progress(quiet: bool, chatty: bool) -> Iterator[Display | None]:
    """Give what `on_progress` is to be called with; None when quiet."""
    if quiet:
        yield None
        return
    console = Console(stderr=True, highlight=False)
    live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
    with live or nullcontext():
        yield Display(console, live, chatty)


def host_line(records: Sequence[RunRecord]) -> str:
    """Say what runs took of the machines they were computed on."""
    spans = [float(record.manifest.get("wall_s") or 0) for record in records]
    peaks = [record.manifest.get("peak_rss_bytes") or 0 for record in records]
    memory = f", {max(peaks) / 1e6:.0f} MB of memory at most" if max(peaks) else ""
    return f"computed in {_span(sum(spans))} of one process{memory}"


def sparkline(values: Sequence[float], width: int = 72) -> str:
    """Draw a curve in one line of text.

    >>> sparkline([0., 1., 2., 4.], 4)
    '▁▃▅█'
    """
    width = min(width, len(values))
    borders = [place * len(values) // width for place in range(width + 1)]
    means = [sum(values[start:stop]) / (stop - start) for start, stop in pairwise(borders)]
    top = max(means) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(int(8 * mean / top), 7)] for mean in means)
