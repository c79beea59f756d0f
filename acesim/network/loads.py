"""Which links could be filled by the flows on them: kept up to date with a few sums per arrival or departure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from acesim.network.routes import Route, RouteTable
from acesim.network.terms import EQUAL, Terms, restrict
from acesim.network.traces import Rates

NEARLY = 1e-12
"""Links filled to within this relative margin do not bind."""
SCALE = 2.0**40
"""Sums are of whole numbers of 2^-40 bytes/s, rounded up: exact, so that no order of arrivals matters."""
ENDLESS = 1 << 1200
SATURATED = 1.25
"""A link whose flows want this many times its mean is left without a profile."""


class Rider(Protocol):
    """What `Loads` has to know of a flow."""

    key: int
    row: int
    route: Route
    terms: Terms


@dataclass(slots=True)
class _Passage:
    """A link as the flows of one narrowest neighbour cross it: no more than `most` together."""

    link: int
    most: int
    load: int = 0


class Loads:
    """What the flows under way could want of each link at most, and which links that could fill.

    table     of the routes
    members   for each link the flows on it, by key
    binds     for each link: could its flows fill it?  As decided last
    touched   links to be decided anew

    Four questions, each asked only when those before it leave doubt: Are there two flows?  Is the sum of their
    highest rates more than the link's lowest?  Do their means exceed its mean?  Does their sum exceed the link at
    any step of the period?
    """

    def __init__(self, table: RouteTable) -> None:
        links = range(len(table.links))
        self._table = table
        self._own = [table.row((link,)) for link in links]
        self._room = [math.floor(table.minimum[row] * (1 + NEARLY) * SCALE) for row in self._own]
        self._mean_room = [math.ceil(table.mean[row] * SCALE) for row in self._own]
        self.members: list[dict[int, Rider]] = [{} for _ in links]
        self.binds = [False] * len(links)
        self.touched: dict[int, None] = {}
        self._wanted = [0] * len(links)
        self._means = [0] * len(links)
        self._passages: dict[tuple[int, int], _Passage] = {}
        self._ways: dict[int, tuple[_Passage, ...]] = {}  # of each row
        self._free: dict[int, tuple[int, int]] = {}  # (highest, mean) of each row that no terms restrict
        self._profiles: dict[int, Rates] = {}

    def enter(self, flow: Rider) -> None:
        """Take note of an arrival."""
        highest, mean = self._figures(flow)
        for passage in self._ways[flow.row]:
            link, load, most = passage.link, passage.load, passage.most
            passage.load = load + highest
            if load < most:
                self._wanted[link] += min(load + highest, most) - load
            self._means[link] += mean
            self.members[link][flow.key] = flow
            if self._wanted[link] > self._room[link] and not self.binds[link]:
                self.touched[link] = None
        if self._profiles:
            self._redraw(flow, 1.0)

    def leave(self, flow: Rider) -> None:
        """Take note of a departure."""
        highest, mean = self._figures(flow)
        for passage in self._ways[flow.row]:
            link, most = passage.link, passage.most
            load = passage.load = passage.load - highest
            if load < most:
                self._wanted[link] -= min(load + highest, most) - load
            self._means[link] -= mean
            del self.members[link][flow.key]
            if self.binds[link]:
                self.touched[link] = None
        if self._profiles:
            self._redraw(flow, -1.0)

    def changed(self) -> list[int]:
        """Decide anew which links could be filled; return those for which the answer has changed."""
        touched, self.touched = self.touched, {}
        changed = []
        for link in touched:
            could = self._could_bind(link)
            if could != self.binds[link]:
                self.binds[link] = could
                changed.append(link)
        return changed

    def _figures(self, flow: Rider) -> tuple[int, int]:
        """Return (highest, mean) rate of a flow in whole numbers; lay the way of a row that is new."""
        row = flow.row
        if row not in self._ways:
            self._ways[row] = tuple(self._passage(flow.route, link) for link in flow.route)
            self._free[row] = self._whole(row, EQUAL)
        return self._free[row] if flow.terms.free else self._whole(row, flow.terms)

    def _whole(self, row: int, terms: Terms) -> tuple[int, int]:
        return (math.ceil(terms.of(self._table.maximum[row]) * SCALE),
                math.ceil(terms.of(self._table.mean[row]) * SCALE))

    def _passage(self, route: Route, link: int) -> _Passage:
        """Return how a route comes over a link.

        Flows that come over one neighbouring link cannot take more together than it carries.  Only narrower
        neighbours count: two links must not each be dismissed because of the other.
        """
        place = route.index(link)
        neighbours = [(self._widest(other), other) for other in route[max(place - 1, 0): place + 2]]
        narrowest = min(neighbours)[1]
        if (link, narrowest) not in self._passages:
            most = ENDLESS if narrowest == link else math.ceil(self._widest(narrowest) * SCALE)
            self._passages[link, narrowest] = _Passage(link, most)
        return self._passages[link, narrowest]

    def _widest(self, link: int) -> float:
        return self._table.maximum[self._own[link]]

    # ---------------------------------------------------------------------------------- decisions

    def _could_bind(self, link: int) -> bool:
        """Say whether a link's flows could ever fill it; in doubt, yes."""
        if len(self.members[link]) < 2:
            self._profiles.pop(link, None)
            return False
        if self._wanted[link] <= self._room[link]:
            return False
        if self._means[link] > self._mean_room[link]:
            if self._means[link] > SATURATED * self._mean_room[link]:
                self._profiles.pop(link, None)
            return True  # on average, so at some moment; in doubt where a limit cuts off peaks
        return self._peaks(link)

    def _peaks(self, link: int) -> bool:
        """Say whether the sum of what all flows could take exceeds a link at any step of the period."""
        table, members = self._table, self.members[link]
        rows = [self._own[link], *(flow.row for flow in members.values())]
        if not all(table.spelt(row) for row in rows):
            return True
        if link not in self._profiles:
            profile = np.zeros(table.period)
            for key in sorted(members):
                profile += self._demand(members[key])
            self._profiles[link] = profile
        return bool((self._profiles[link] > table.demand(self._own[link]) * (1 + NEARLY)).any())

    def _redraw(self, flow: Rider, sign: float) -> None:
        """Add a flow to the profiles of its links, or take it away."""
        for link in flow.route:
            profile = self._profiles.get(link)
            if profile is None:
                continue
            if self._table.spelt(flow.row):
                profile += sign * self._demand(flow)
            else:
                del self._profiles[link]

    def _demand(self, flow: Rider) -> Rates:
        return restrict(self._table.demand(flow.row)[None], [flow.terms])[0]
