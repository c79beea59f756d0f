"""Network cards: a machine takes and gives no more than its card, whatever its lines carry.

A worker's card narrows its own link.  The cloud server has a card towards the Internet and one towards the data
centre's fabric.  A region's server has one for its workers and the cloud together; it is a link of its own, of a tree's
routes alone (a star passes the region by), and only where it could ever be the narrower one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from acesim.network.generator import Line
from acesim.network.traces import Rates, Trace, constant
from acesim.scenario.units import RATE, spell

Route = tuple[int, ...]


class Narrowed(NamedTuple):
    """Something whose card is slower than its lines: a worker ("phone-3"), a region's server, the cloud's."""

    name: str
    bytes_per_s: float


def behind(trace: Trace, card_bytes_per_s: float) -> Trace:
    """Return what a card leaves of a link; the very link where that is all of it.

    >>> link = Trace(1.0, np.array([2.0, 9.0]))
    >>> behind(link, 9.0) is link, behind(link, 4.0).bytes_per_s
    (True, array([2., 4.]))
    """
    if trace.maximum <= card_bytes_per_s:
        return trace
    return Trace(trace.step_s, np.minimum(trace.bytes_per_s, card_bytes_per_s), trace.end, trace.source)


def line_behind(line: Line, card_bytes_per_s: float) -> Line:
    """Return a worker's link as its card leaves it; the very link where that is all of it."""
    if max(line.down.maximum, line.up.maximum) <= card_bytes_per_s:
        return line
    return line._replace(down=behind(line.down, card_bytes_per_s), up=behind(line.up, card_bytes_per_s))


def together(traces: Sequence[Trace]) -> float:
    """Return a bound on what links carry together at any moment: exact where they share one grid.

    >>> together([Trace(1.0, np.array([1.0, 5.0])), Trace(1.0, np.array([4.0, 2.0])), constant(1.0)])
    8.0
    """
    most = 0.0
    sums: dict[tuple[float, int], Rates | float] = {}
    for trace in traces:
        if len(trace) == 1 or trace.end != "loop":
            most += trace.maximum
        else:
            grid = (trace.step_s, len(trace))
            sums[grid] = sums.get(grid, 0.0) + trace.bytes_per_s
    return most + sum(float(np.max(rates)) for rates in sums.values())


class RegionCards:
    """The cards of the regions' servers: their links, numbered from `first`, and which region's server has one.

    cards          [R] bytes/s
    ups, downs     [R] the links that end and begin at each server: of its workers, and its own towards the cloud
    """

    def __init__(self, cards: Sequence[float], ups: Sequence[tuple[Sequence[Trace], Trace]],
                 downs: Sequence[tuple[Sequence[Trace], Trace]], first: int) -> None:
        self.traces: list[Trace] = []
        self.names: list[str] = []
        self.narrowed: list[Narrowed] = []
        self._number: dict[tuple[int, str], int] = {}
        for region, (card, (members_up, line_up), (members_down, line_down)) in enumerate(zip(cards, ups, downs,
                                                                                              strict=True)):
            most = {"in": max(together(members_up), line_down.maximum),
                    "out": max(together(members_down), line_up.maximum)}
            for way in (way for way, wanted in most.items() if wanted > card):
                self._number[region, way] = first + len(self.traces)
                self.traces.append(constant(card, f"region-{region} card {way}"))
                self.names.append(f"region-{region} card {way}")
                self.narrowed.append(Narrowed(f"region-{region}", card))

    def into(self, region: int, route: Route) -> Route:
        """Return a way that ends at a region's server."""
        return (*route, self._number[region, "in"]) if (region, "in") in self._number else route

    def out_of(self, region: int, route: Route) -> Route:
        """Return a way that begins at a region's server."""
        return (self._number[region, "out"], *route) if (region, "out") in self._number else route


def in_words(narrowed: Sequence[Narrowed]) -> Iterator[str]:
    """Say what cards narrow, a phrase for each kind of machine and rate.

    >>> list(in_words([Narrowed("phone-0", 1.25e8), Narrowed("phone-1", 1.25e8)]))
    ['2 of phone at 1 Gbps']
    """
    found = Counter((each.name.rsplit("-", 1)[0], each.bytes_per_s) for each in dict.fromkeys(narrowed))
    for (name, rate), count in found.items():
        yield f"{count} of {name} at {spell(RATE, rate)}"
