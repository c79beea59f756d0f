"""Flows: transfers under way that share links max-min fairly while every link's capacity changes in time.

Rates are those of a fluid: at each moment no flow can get more without a flow that has no more getting less.
Solutions go with arrivals and departures, not with the steps of traces:

1. A link that its flows cannot fill, whatever the others do, couples nobody.
2. A flow coupled to nobody moves over the lowest trace of its route: closed form.
3. Flows coupled by links that could bind are a group.  While its members stay the same, a whole block of
   steps is solved at once, up to the first completion.
4. An arrival or a departure solves anew only the groups it touches.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acesim.network.groups import DONE, Alone, Group, together
from acesim.network.routes import Route, RouteTable
from acesim.network.terms import EQUAL, Terms, limited, restrict
from acesim.network.traces import Capacity, Trace
from acesim.scenario.errors import LedgerError, TraceError

NEARLY = 1e-12
"""Links filled to within this relative margin do not bind."""
CLOCK_ROUNDINGS = 1000
"""How many times the clock may have been rounded while a flow was under way."""


@dataclass(slots=True)
class _Flow:
    """A transfer: what was left of it, and what it had moved, when its group was formed."""

    key: int
    nbytes: float
    route: Route
    row: int
    terms: Terms
    maximum: float
    left: float
    moved: float = 0.0
    group: Group | None = None


class Flows:
    """The transfers under way over a set of links.

    links    capacity of each link
    clock_s  the present moment; it never runs back

    State is plain data: it can be pickled at any moment and taken up again.

    >>> from acesim.network.traces import constant
    >>> flows = Flows([constant(10.0), constant(4.0)])
    >>> flows.start(0, 30.0, (0,), 0.0)
    >>> flows.start(1, 8.0, (0, 1), 0.0)
    >>> flows.next_finish(), flows.advance(2.0), flows.remaining(0), flows.next_finish()
    (2.0, [1], 18.0, 3.8)
    """

    def __init__(self, links: Sequence[Capacity]) -> None:
        self.clock_s = 0.0
        self._table = RouteTable(links)
        self._link_rows = [self._table.row((link,)) for link in range(len(links))]
        self._limits = {number: link for number, link in enumerate(links)
                        if isinstance(link, Trace) and link.limit_s < math.inf}
        self._flows: dict[int, _Flow] = {}
        self._members: list[dict[int, None]] = [{} for _ in links]
        self._binds = [False] * len(links)
        self._touched: dict[int, None] = {}
        self._loose: dict[int, None] = {}  # flows without a group
        self._ends: list[tuple[float, int, Group]] = []  # a heap; dissolved groups stay until they come up
        self._groups = 0
        self._moved = np.zeros(len(links))

    def __len__(self) -> int:
        return len(self._flows)

    # ---------------------------------------------------------------------------------- what callers do

    def start(self, key: int, nbytes: float, route: Route, time_s: float, rtt_s: float = 0.0,
              more: bool = False, weight: float = 1.0) -> None:
        """Let a transfer begin.  Several at one instant cost one solution, when it is asked for.

        rtt_s, more   its round trip, and whether others of its connection follow: nothing to a fluid, but every
                      transport is called alike
        weight        links are shared in proportion to it
        raises        as `release`
        """
        self.release(key, nbytes, route, time_s, EQUAL if weight == 1.0 else Terms(weight))

    def release(self, key: int, nbytes: float, route: Route, time_s: float, terms: Terms) -> None:
        """Let bytes flow on given terms.

        raises   ValueError for a key that is under way, bytes that are negative or not finite, an impossible
                 route, a time that is past, or one by which another transfer would have ended unnoticed;
                 TraceError for a route that can never carry anything
        """
        if key in self._flows:
            raise ValueError(f"flow {key} is under way already: give each transfer a key of its own")
        if not 0 <= nbytes < math.inf:
            raise ValueError(f"flow {key} of {nbytes} bytes: must be finite and >= 0")
        if not 0 < terms.weight < math.inf:
            raise ValueError(f"flow {key} has weight {terms.weight}: must be finite and > 0")
        row = self._table.row(route)
        self.tick(time_s)
        self._flows[key] = _Flow(key, float(nbytes), route, row, terms, terms.of(self._table.maximum[row]),
                                 float(nbytes))
        self._loose[key] = None
        for link in route:
            self._members[link][key] = None
            self._touched[link] = None

    def cancel(self, key: int, time_s: float) -> float:
        """End a transfer before its time; return the bytes it has moved."""
        self.tick(time_s)
        self._loosen(key)
        moved = self._flows[key].moved
        self._remove(key)
        return moved

    def advance(self, time_s: float) -> list[int]:
        """Move the clock; return the keys that finished by then, in order of (time, key)."""
        if time_s < self.clock_s:
            raise ValueError(f"advance to {time_s} s from {self.clock_s} s: the clock never runs back")
        finished: list[tuple[float, int]] = []
        while (end_s := self.next_finish()) <= time_s:
            self._set_clock(max(end_s, self.clock_s))
            for key in self._ends[0][2].done:
                finished.append((end_s, key))
                self._complete(key)
        self._set_clock(time_s)
        return [key for _, key in sorted(finished)]

    def next_finish(self) -> float:
        """Return when the next of the present transfers ends; inf if there is none."""
        self._settle()
        while self._ends and not self._ends[0][2].alive:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else math.inf

    @property
    def binding(self) -> set[int]:
        """The links that their present transfers could fill, so that these depend on each other."""
        self._settle()
        return {link for link, binds in enumerate(self._binds) if binds}

    def remaining(self, key: int) -> float:
        """Return the bytes a transfer has still to move."""
        flow = self._flows[key]
        return max(flow.left - self._moved_since(flow), 0.0)

    def rate(self, key: int) -> float:
        """Return the present rate of a transfer in bytes per second."""
        self._settle()
        group = self._flows[key].group
        assert group is not None
        return float(group.rates(self.clock_s)[group.keys.index(key)])

    def mean(self, route: Route) -> float:
        """Return what a route carries on average; raises as `start` does where it is none."""
        return self._table.mean[self._table.row(route)]

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Integral of all rates over each link up to the present moment, float64 [links].

        That the rates of every finished flow add up to its bytes was checked when it ended.
        """
        moved = self._moved.copy()
        for flow in self._flows.values():
            moved[list(flow.route)] += flow.moved + self._moved_since(flow)
        return moved

    # ---------------------------------------------------------------------------------- the clock

    def tick(self, time_s: float) -> None:
        """Move the clock to the moment of a change; what ends at that very moment is left to `advance`."""
        if time_s < self.clock_s:
            raise ValueError(f"a change at {time_s} s, but it is {self.clock_s} s: the clock never runs back")
        if time_s > self.clock_s:
            if (end_s := self.next_finish()) < time_s:
                raise ValueError(f"a change at {time_s} s, but a transfer ends at {end_s} s: advance first")
            self._set_clock(time_s)

    def _set_clock(self, time_s: float) -> None:
        for number, link in self._limits.items():
            if time_s > link.limit_s * (1 + NEARLY) and self._members[number]:
                raise TraceError(link.source, None,
                                 f"ends after {link.limit_s:g} s, but a transfer is still under way: give a "
                                 f"longer trace, or write end: loop or end: hold")
        self.clock_s = time_s

    # ---------------------------------------------------------------------------------- flows and groups

    def _moved_since(self, flow: _Flow) -> float:
        """Return what a flow has moved since its group was formed."""
        if flow.group is None:
            return 0.0
        return float(flow.group.moved(self.clock_s)[flow.group.keys.index(flow.key)])

    def _loosen(self, key: int) -> None:
        """Dissolve the group of a flow at the present moment."""
        group = self._flows[key].group
        if group is None:
            return
        group.alive = False
        for member, moved in zip(group.keys, np.asarray(group.moved(self.clock_s)).tolist(), strict=True):
            flow = self._flows[member]
            flow.moved += moved
            flow.left -= moved
            flow.group = None
            self._loose[member] = None

    def _complete(self, key: int) -> None:
        """Let a flow end: the integral of its rates must be its bytes, but for roundings of the clock."""
        self._loosen(key)
        flow = self._flows[key]
        noise_bytes = CLOCK_ROUNDINGS * math.ulp(self.clock_s) * self._table.maximum[flow.row]
        if abs(flow.left) > 10 * DONE * flow.nbytes + noise_bytes:
            raise LedgerError(f"flow {key}: moved {flow.moved!r} of {flow.nbytes!r} bytes when it ended at "
                              f"{self.clock_s!r} s; this is a fault of acesim")
        flow.moved = flow.nbytes  # so that roundings of the clock do not add up over millions of messages
        self._remove(key)

    def _remove(self, key: int) -> None:
        """Forget a flow that has no group."""
        flow = self._flows.pop(key)
        del self._loose[key]
        for link in flow.route:
            del self._members[link][key]
            self._touched[link] = None
            self._moved[link] += flow.moved

    def _settle(self) -> None:
        """Find which links couple their flows now, and solve the groups that have changed."""
        if not self._touched:
            return
        for link in self._touched:
            was, self._binds[link] = self._binds[link], self._could_bind(link)
            if was or self._binds[link]:
                for key in self._members[link]:
                    self._loosen(key)
        self._touched = {}
        for key in sorted(self._loose):
            if self._flows[key].group is None:
                self._form_group(key)
        self._loose = {}

    def _form_group(self, key: int) -> None:
        """Put a flow and all it is coupled to into one group."""
        keys, links = self._coupled(key)
        flows = [self._flows[each] for each in keys]
        group: Group
        if len(flows) == 1:
            alone = flows[0]
            group = Alone(key, limited(self._table.capacities[alone.row], alone.terms), alone.left,
                          DONE * alone.nbytes, self.clock_s)
        else:
            place = {each: position for position, each in enumerate(keys)}
            members = [np.array(sorted(place[each] for each in self._members[link])) for link in links]
            left, nbytes = np.array([(flow.left, flow.nbytes) for flow in flows]).T
            group = together(self._table, keys, [flow.row for flow in flows], [flow.terms for flow in flows],
                             [self._link_rows[link] for link in links], members, left, DONE * nbytes,
                             self.clock_s)
        for flow in flows:
            flow.group = group
        heapq.heappush(self._ends, (group.finish_s, self._groups, group))
        self._groups += 1

    def _coupled(self, key: int) -> tuple[list[int], list[int]]:
        """Return (keys, links): the flows that a chain of binding links ties to this one, itself included."""
        keys, links, open_keys = {key}, set(), [key]
        while open_keys:
            for link in self._flows[open_keys.pop()].route:
                if self._binds[link] and link not in links:
                    links.add(link)
                    fresh = [other for other in self._members[link] if other not in keys]
                    keys.update(fresh)
                    open_keys += fresh
        return sorted(keys), sorted(links)

    # ---------------------------------------------------------------------------------- which links bind

    def _could_bind(self, link: int) -> bool:
        """Say whether a link's flows could ever fill it; in doubt, yes."""
        members, table, own = self._members[link], self._table, self._link_rows[link]
        if len(members) < 2:
            return False
        flows = [self._flows[key] for key in members]
        room = table.minimum[own] * (1 + NEARLY)
        if sum(flow.maximum for flow in flows) <= room or self._most(link) <= room:
            return False
        if sum(flow.terms.of(table.mean[flow.row]) for flow in flows) > table.mean[own]:
            return True  # on average, so at some moment; in doubt where a limit cuts off peaks
        rows = [flow.row for flow in flows]
        steps = table.period_steps([own, *rows])
        if not steps:
            return True
        _, rates = table.sample([own, *rows], 0.0, steps * table.step_s)
        wanted = restrict(rates[1:], [flow.terms for flow in flows]).sum(axis=0)
        return bool((wanted > rates[0] * (1 + NEARLY)).any())

    def _most(self, link: int) -> float:
        """Return a bound on what a link's flows could take, given that they share other links beside it.

        Flows that come over one neighbouring link cannot take more together than it carries.  Only narrower
        neighbours count: two links must not each be dismissed because of the other.
        """
        through: dict[int, float] = {}
        for key in self._members[link]:
            flow = self._flows[key]
            narrowest = min(self._beside(flow.route, link), default=(math.inf, link))[1]
            through[narrowest] = through.get(narrowest, 0.0) + flow.maximum
        return sum(total if other == link else min(total, self._widest(other))
                   for other, total in through.items())

    def _beside(self, route: Route, link: int) -> list[tuple[float, int]]:
        """Return (capacity, number) of the narrower neighbours of a link on a route; ties go by number."""
        place = route.index(link)
        neighbours = [(self._widest(other), other) for other in route[max(place - 1, 0): place + 2]]
        return [neighbour for neighbour in neighbours if neighbour < (self._widest(link), link)]

    def _widest(self, link: int) -> float:
        return self._table.maximum[self._link_rows[link]]
