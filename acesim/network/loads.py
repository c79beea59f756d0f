"""Which links could be filled by the flows on them: kept up to date with a few sums per arrival or departure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from acesim.network.ends import Flow
from acesim.network.routes import Route, RouteTable
from acesim.network.terms import EQUAL, Terms, restrict
from acesim.network.traces import Rates

NEARLY = 1e-12
"""Links filled to within this relative margin do not bind."""
SCALE = 2.0**40
"""Sums are of whole numbers of 2^-40 bytes/s, rounded up: exact, so that no order of arrivals matters."""
ENDLESS = 1 << 1200
LINGERING = 0.4
"""A link that has bound goes on while its flows want this share of its mean: it would soon bind again, and to form
groups anew costs more than to solve for a link that does not matter.  Rates are the same either way."""
SATURATED = 1.25
"""A link whose flows want this many times its mean is left without a profile."""


@dataclass(slots=True)
class _Passage:
    """A link as the flows of one narrowest neighbour cross it: no more than `most` together."""

    link: int
    most: int
    load: int = 0


@dataclass(slots=True)
class _Profile:
    """What the flows on a link could take of it together in each step of a period.

    room      up to which it does not bind
    changes   flows that have come since (True), or gone
    """

    wanted: Rates
    room: Rates
    changes: list[tuple[Flow, bool]] = field(default_factory=list)


class _Way(NamedTuple):
    """What an arrival or a departure on a row changes.

    highest, mean   rate of a flow that no terms restrict
    own             its links that no other row crosses: they matter only where it carries two flows
    shared          how it comes over the others; not over those that nothing can fill
    """

    highest: int
    mean: int
    own: tuple[int, ...]
    shared: tuple[_Passage, ...]


class Loads:
    """What the flows under way could want of each link at most, and which links that could fill.

    table     of the routes
    flows     all that are under way, by key
    members   for each link the flows on it, by key; none are kept for links that nothing can fill
    binds     for each link: could its flows fill it, or could they lately?  As decided last
    touched   links to be decided anew

    Four questions, each asked only when those before it leave doubt: Are there two flows?  Is the sum of their
    highest rates more than the link's lowest?  Do their means exceed its mean?  Does their sum exceed the link at
    any step of the period?
    """

    def __init__(self, table: RouteTable, flows: Mapping[int, Flow]) -> None:
        links = range(len(table.links))
        self._table, self._flows = table, flows
        self._own = [table.row((link,)) for link in links]
        self._room = [math.floor(table.minimum[row] * (1 + NEARLY) * SCALE) for row in self._own]
        self._mean_room = [math.ceil(table.mean[row] * SCALE) for row in self._own]
        self.members: list[dict[int, Flow]] = [{} for _ in links]
        self.binds = [False] * len(links)
        self.touched: dict[int, None] = {}
        self._wanted = [0] * len(links)
        self._means = [0] * len(links)
        self._rows: list[dict[int, None]] = [{} for _ in links]  # that cross each link
        self._bound = [0] * len(links)  # on all that can ever come over each link
        self._passages: dict[tuple[int, int], _Passage] = {}
        self._ways: dict[int, _Way] = {}  # of each row
        self._profiles: dict[int, _Profile] = {}
        self._demands: dict[int, Rates] = {}  # of rows

    def enter(self, flow: Flow) -> None:
        """Take note of an arrival."""
        key, profiles = flow.key, self._profiles
        highest, mean, own, shared = self._ways.get(flow.row) or self._way(flow)
        if flow.terms is not EQUAL and not flow.terms.free:
            highest, mean = self._figures(flow.row, flow.terms)
        for link in own:
            members = self.members[link]
            members[key] = flow
            if len(members) > 1 and not self.binds[link]:
                self.touched[link] = None
        for passage in shared:
            link, load, most = passage.link, passage.load, passage.most
            passage.load = load + highest
            if load < most:
                self._wanted[link] += highest if load + highest < most else most - load
            self._means[link] += mean
            self.members[link][key] = flow
            if self._wanted[link] > self._room[link] and not self.binds[link]:
                self.touched[link] = None
            if link in profiles:
                self._change(link, flow, True)

    def leave(self, flow: Flow) -> None:
        """Take note of a departure."""
        key, profiles = flow.key, self._profiles
        highest, mean, own, shared = self._ways[flow.row]
        if flow.terms is not EQUAL and not flow.terms.free:
            highest, mean = self._figures(flow.row, flow.terms)
        for link in own:
            del self.members[link][key]
            if self.binds[link]:
                self.touched[link] = None
        for passage in shared:
            link, most = passage.link, passage.most
            load = passage.load = passage.load - highest
            if load < most:
                self._wanted[link] -= highest if load + highest < most else most - load
            self._means[link] -= mean
            del self.members[link][key]
            if self.binds[link]:
                self.touched[link] = None
            if link in profiles:
                self._change(link, flow, False)

    def clear(self) -> None:
        """Forget all flows, where no link binds."""
        for members in self.members:
            members.clear()
        for passage in self._passages.values():
            passage.load = 0
        links = len(self.members)
        self._wanted, self._means = [0] * links, [0] * links
        self._profiles.clear()

    def changed(self) -> list[int]:
        """Decide anew which links could be filled; return those for which the answer has changed."""
        touched, self.touched = self.touched, {}
        changed = []
        for link in touched:
            could = self._lingers(link) or self._could_bind(link)
            if could != self.binds[link]:
                self.binds[link] = could
                changed.append(link)
        return changed

    # ---------------------------------------------------------------------------------- the ways of rows

    def _figures(self, row: int, terms: Terms) -> tuple[int, int]:
        """Return (highest, mean) rate of a flow on a row, in whole numbers."""
        return (math.ceil(terms.of(self._table.maximum[row]) * SCALE),
                math.ceil(terms.of(self._table.mean[row]) * SCALE))

    def _way(self, flow: Flow) -> _Way:
        """Lay the way of a row, new or over links that have become shared."""
        row, route = flow.row, flow.route
        outgrown = []
        for link in route:
            if row not in self._rows[link]:
                before = self._kind(link) if self._rows[link] else None
                self._rows[link][row] = None
                self._pass(route, link)
                if before not in (None, self._kind(link)):
                    outgrown.append(link)
        for link in outgrown:
            self._recount(link)
        kinds = {link: self._kind(link) for link in route}
        way = self._ways[row] = _Way(*self._figures(row, EQUAL),
                                     tuple(link for link in route if kinds[link] == "own"),
                                     tuple(self._pass(route, link) for link in route if kinds[link] == "shared"))
        return way

    def _kind(self, link: int) -> str:
        """Say what a link is: free where nothing can fill it, own where one row crosses it, else shared."""
        limit_s = getattr(self._table.links[link], "limit_s", math.inf)
        if self._bound[link] <= self._room[link] and limit_s == math.inf:
            return "free"
        return "own" if len(self._rows[link]) < 2 else "shared"

    def _recount(self, link: int) -> None:
        """Count anew what is under way on a link that has become own or shared."""
        riders = {key: flow for key, flow in self._flows.items() if link in flow.route and flow.row in self._ways}
        for flow in riders.values():
            self.leave(flow)
        for row in self._rows[link]:
            self._ways.pop(row, None)
        for flow in riders.values():
            self.enter(flow)

    def _pass(self, route: Route, link: int) -> _Passage:
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
            self._bound[link] += most
        return self._passages[link, narrowest]

    def _widest(self, link: int) -> float:
        return self._table.maximum[self._own[link]]

    # ---------------------------------------------------------------------------------- decisions

    def _could_bind(self, link: int) -> bool:
        """Say whether a link's flows could ever fill it; in doubt, yes."""
        if len(self.members[link]) < 2:
            self._profiles.pop(link, None)
            return False
        if len(self._rows[link]) < 2:
            return True
        if self._wanted[link] <= self._room[link]:
            return False
        if self._means[link] > self._mean_room[link]:
            if self._means[link] > SATURATED * self._mean_room[link]:
                self._profiles.pop(link, None)  # not at once: around the mean it would be drawn anew again and again
            return True  # on average, so at some moment; in doubt where a limit cuts off peaks
        return self._peaks(link)

    def _lingers(self, link: int) -> bool:
        return (self.binds[link] and len(self.members[link]) > 1
                and self._means[link] > LINGERING * self._mean_room[link])

    def _peaks(self, link: int) -> bool:
        """Say whether the sum of what all flows could take exceeds a link at any step of the period."""
        profile = self._profiles.get(link) or self._drawn(link)
        if profile is None:
            return True
        for flow, comes in profile.changes:
            if comes:
                profile.wanted += self._demand(flow)
            else:
                profile.wanted -= self._demand(flow)
        profile.changes.clear()
        return bool(np.count_nonzero(profile.wanted > profile.room))

    def _drawn(self, link: int) -> _Profile | None:
        """Return the profile of a link, drawn from its flows; None if one of them has no period."""
        table, members = self._table, self.members[link]
        if not all(map(table.spelt, [self._own[link], *(flow.row for flow in members.values())])):
            return None
        wanted = np.zeros(table.period)
        for key in sorted(members):
            wanted += self._demand(members[key])
        profile = self._profiles[link] = _Profile(wanted, table.demand(self._own[link]) * (1 + NEARLY))
        return profile

    def _change(self, link: int, flow: Flow, comes: bool) -> None:
        """Note that a flow comes over a link that has a profile, or goes; one that is mostly past is drawn anew."""
        changes = self._profiles[link].changes
        changes.append((flow, comes))
        if len(changes) > len(self.members[link]) or not self._table.spelt(flow.row):
            del self._profiles[link]

    def _demand(self, flow: Flow) -> Rates:
        rates = self._demands.get(flow.row)
        if rates is None:
            rates = self._demands[flow.row] = self._table.demand(flow.row)
        return rates if flow.terms is EQUAL or flow.terms.free else restrict(rates[None], [flow.terms])[0]
