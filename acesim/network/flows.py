"""Flows: transfers under way that share links max-min fairly while every link's capacity changes in time.

Rates are those of a fluid: at each moment no flow can get more without a flow that has no more getting less.
Solutions go with arrivals and departures, not with the steps of traces:

1. A link that its flows cannot fill, whatever the others do, couples nobody.
2. A flow coupled to nobody moves over the lowest trace of its route: closed form.
3. Flows coupled by links that could bind are a group.  While its members stay the same, a whole block of
   steps is solved at once, up to the first completion, and whole periods are skipped by division.
4. An arrival or a departure solves anew only the groups it touches, and all those of one instant cost one
   solution, when it is asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acesim.network.accelerated import compiled
from acesim.network.ends import Ends, Flow
from acesim.network.groups import DONE, Group, Stuck, together
from acesim.network.loads import NEARLY, Loads
from acesim.network.nested import Member, Nested
from acesim.network.nesting import heights
from acesim.network.routes import Route, RouteTable
from acesim.network.terms import EQUAL, Terms, limited
from acesim.network.traces import Capacity, Trace
from acesim.scenario.errors import LedgerError, TraceError

CLOCK_ROUNDINGS = 1000
"""How many times the clock may have been rounded while a flow was under way."""


class Flows:
    """The transfers under way over a set of links.

    links        capacity of each link
    accelerator  "auto", "on" or "off": is the compiled twin of the arithmetic taken?  It gives the same bits.  None:
                 as ACESIM_ACCELERATOR in the environment says, else "auto"; see `accelerated`
    clock_s      the present moment; it never runs back

    State is plain data: it can be pickled at any moment and taken up again.

    >>> from acesim.network.traces import constant
    >>> flows = Flows([constant(10.0), constant(4.0)])
    >>> flows.start(0, 30.0, (0,), 0.0)
    >>> flows.start(1, 8.0, (0, 1), 0.0)
    >>> flows.next_finish(), flows.advance(2.0), flows.remaining(0), flows.next_finish()
    (2.0, [1], 18.0, 3.8)
    """

    def __init__(self, links: Sequence[Capacity], accelerator: str | None = None) -> None:
        self.clock_s = 0.0
        self._accelerator = accelerator
        self._table = RouteTable(links)
        self._limits = {number: link for number, link in enumerate(links)
                        if isinstance(link, Trace) and link.limit_s < math.inf}
        self._flows: dict[int, Flow] = {}
        self._loads = Loads(self._table, self._flows)
        self._loose: dict[int, None] = {}  # flows that are neither alone nor in a group
        self._owners: dict[int, Nested] = {}  # of links that bind
        self._unsolved: dict[int, Nested] = {}  # by number
        self._ends = Ends()
        self._leaving: list[Flow] | None = None  # while nobody else comes: those that are alone from now on
        self._groups = 0
        self._solutions = 0
        self._moved = [0.0] * len(links)

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

    def start_many(self, keys: Sequence[int], nbytes: Sequence[float], routes: Sequence[Route], time_s: float) -> None:
        """Let transfers begin at one instant, in any order: one solution for all.  Raises as `release`."""
        for key, size, route in zip(keys, nbytes, routes, strict=True):
            self.release(key, size, route, time_s, EQUAL)

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
        flow = self._flows[key] = Flow(key, float(nbytes), route, row, terms, float(nbytes), time_s)
        self._loose[key] = None
        self._loads.enter(flow)

    def cancel(self, key: int, time_s: float) -> float:
        """End a transfer before its time; return the bytes it has moved."""
        self.tick(time_s)
        flow = self._flows[key]
        moved = flow.nbytes - self.remaining(key)
        self._drop(flow, moved)
        return moved

    def advance(self, time_s: float) -> list[int]:
        """Move the clock; return the keys that finished by then, in order of (time, key)."""
        if time_s < self.clock_s:
            raise ValueError(f"advance to {time_s} s from {self.clock_s} s: the clock never runs back")
        finished: list[tuple[float, int]] = []
        self._settle()
        while (end_s := self._ends.next_s()) <= time_s:
            self._set_clock(max(end_s, self.clock_s))
            for key in self._ends.pop().done:
                finished.append((end_s, key))
                self._complete(self._flows[key])
            if self.clock_s < time_s:  # else what is left goes on beyond this moment, and need not be solved yet
                self._settle()
        self._set_clock(time_s)
        finished.sort()
        return [key for _, key in finished]

    def drain(self) -> tuple[list[tuple[int, float]], list[Flow]]:
        """Let all transfers end that are under way, as nobody else comes.

        returns   (key, when) of those that end among others, and of those that are alone already; those that will be
                  alone as far as their `left` bytes from `since_s` on, for all to be solved at once.  All are forgotten
        """
        self._leaving = list[Flow]()
        self._settle()
        ended = []
        for finish_s, flow in list(self._ends.alone()):
            ended.append((flow.key, finish_s))
            self._drop(flow, flow.nbytes)
        while (end_s := self._ends.next_s()) < math.inf:
            self._set_clock(max(end_s, self.clock_s))
            for key in self._ends.pop().done:
                ended.append((key, end_s))
                self._complete(self._flows[key])
            self._settle()
        alone, self._leaving = self._leaving, None
        for flow in alone:
            self._drop(flow, flow.nbytes)
        return ended, alone

    @property
    def endless(self) -> bool:
        """No link's trace ends, so that no transfer can outlast one."""
        return not self._limits

    def next_finish(self) -> float:
        """Return when the next of the present transfers ends; inf if there is none."""
        self._settle()
        return self._ends.next_s()

    @property
    def binding(self) -> set[int]:
        """The links that their present transfers could fill, so that these depend on each other."""
        self._settle()
        return {link for link, binds in enumerate(self._loads.binds) if binds}

    def remaining(self, key: int) -> float:
        """Return the bytes a transfer has still to move."""
        flow = self._flows[key]
        if flow.group is None:
            return max(flow.left - flow.moved(self.clock_s), 0.0)
        return max(float(flow.group.left(self.clock_s)[bisect_left(flow.group.keys, key)]), 0.0)

    def rate(self, key: int) -> float:
        """Return the present rate of a transfer in bytes per second."""
        self._settle()
        flow = self._flows[key]
        if flow.group is not None:
            return flow.group.rate(key, self.clock_s)
        assert flow.alone is not None
        return float(flow.alone.rate(np.array([self.clock_s]))[0])

    def mean(self, route: Route) -> float:
        """Return what a route carries on average; raises as `start` does where it is none."""
        return self._table.mean[self._table.row(route)]

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Integral of all rates over each link up to the present moment, float64 [links].

        That the rates of every finished flow add up to its bytes was checked when it ended.
        """
        moved = np.array(self._moved)
        for key, flow in self._flows.items():
            moved[list(flow.route)] += flow.nbytes - self.remaining(key)
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
            if time_s > link.limit_s * (1 + NEARLY) and self._loads.members[number]:
                raise TraceError(link.source, None,
                                 f"ends after {link.limit_s:g} s, but a transfer is still under way: give a "
                                 f"longer trace, or write end: loop or end: hold")
        self.clock_s = time_s

    # ---------------------------------------------------------------------------------- ends

    def _complete(self, flow: Flow) -> None:
        """Let a flow end: the integral of its rates must be its bytes, but for roundings of the clock."""
        group = flow.group
        if group is None:
            left = flow.left - flow.moved(self.clock_s)
        else:
            left = float(group.left(self.clock_s)[bisect_left(group.keys, flow.key)])
        noise_bytes = CLOCK_ROUNDINGS * math.ulp(self.clock_s) * self._table.maximum[flow.row]
        if abs(left) > 10 * DONE * flow.nbytes + noise_bytes:
            raise LedgerError(f"flow {flow.key}: moved {flow.nbytes - left!r} of {flow.nbytes!r} bytes when it ended "
                              f"at {self.clock_s!r} s; this is a fault of acesim")
        self._drop(flow, flow.nbytes)  # so that roundings of the clock do not add up over millions of messages

    def _drop(self, flow: Flow, moved: float) -> None:
        """Forget a flow."""
        group = flow.group
        if isinstance(group, Nested):
            group.stand_at(self.clock_s)
            group.remove(flow.key)
            group.ticket, group.alive = -1, bool(group.keys)
            self._unsolved[group.number] = group
        elif group is not None:
            self._loosen(flow)
        self._loose.pop(flow.key, None)
        flow.ticket = -1
        del self._flows[flow.key]
        self._loads.leave(flow)
        for link in flow.route:
            self._moved[link] += moved

    # ---------------------------------------------------------------------------------- who is coupled to whom

    def _settle(self) -> None:
        """Find which links couple their flows now, and solve the groups that have changed."""
        while self._loads.touched:
            for link in self._loads.changed():
                if not self._still_coupled(link):
                    for key in self._loads.members[link]:
                        self._loosen(self._flows[key])
        if self._loose:
            self._gather()
        if self._unsolved:
            for number in sorted(self._unsolved):
                if self._unsolved[number].alive:
                    self._solve(self._unsolved[number])
            self._unsolved = {}

    def _solve(self, group: Nested) -> None:
        self._solutions += 1
        group.solve(compiled(self._solutions, self._accelerator))
        self._ends.enter(group.finish_s, group)

    def _still_coupled(self, link: int) -> bool:
        """Keep a link that no longer binds in its group if the link around it does: all stay coupled anyway."""
        owner = self._owners.get(link)
        if self._loads.binds[link] or owner is None or not owner.alive:
            return False
        outer = owner.around(link)
        self._loads.binds[link] = outer >= 0 and self._loads.binds[outer]
        return self._loads.binds[link]

    def _loosen(self, flow: Flow) -> None:
        """Take a flow out of what it is in, at the present moment; its group is dissolved."""
        if flow.group is None:
            flow.left -= flow.moved(self.clock_s)
            self._set_loose(flow)
            return
        group = flow.group
        group.alive, group.ticket = False, -1
        if isinstance(group, Nested):
            self._loads.touched.update((link, None) for link in group.links if self._loads.binds[link])
        for key, left in zip(group.keys, group.left(self.clock_s).tolist(), strict=True):
            member = self._flows[key]
            member.left, member.group = left, None
            self._set_loose(member)

    def _set_loose(self, flow: Flow) -> None:
        flow.since_s, flow.alone, flow.ticket = self.clock_s, None, -1
        self._loose[flow.key] = None

    def _gather(self) -> None:
        """Let every loose flow run alone, join a group that is there, or form one."""
        while self._loose:  # a group that is dissolved on the way may hold more than is put together again at once
            loose, self._loose = sorted(self._loose), {}
            joining: dict[int, list[Flow]] = {}
            apart: list[Flow] = []
            for key in loose:
                flow = self._flows[key]
                links = self._binding(flow)
                owner = self._owners.get(links[0]) if links else None
                if flow.group is not None:
                    continue
                if not links:
                    self._run_alone(flow)
                elif owner is not None and owner.alive and owner.takes(links) and self._table.spelt(flow.row):
                    joining.setdefault(links[0], []).append(flow)
                else:
                    apart.append(flow)
            for link, flows in joining.items():
                self._join(self._owners[link], flows)
            for flow in apart:
                if flow.group is None:
                    self._form_group(flow.key)

    def _binding(self, flow: Flow) -> list[int]:
        return [link for link in flow.route if self._loads.binds[link]]

    def _run_alone(self, flow: Flow) -> None:
        """Let a flow that is coupled to nobody move over the lowest capacity of its route."""
        if self._leaving is not None:
            self._leaving.append(flow)
            return
        flow.alone, flow.since_s = limited(self._table.capacities[flow.row], flow.terms), self.clock_s
        finish_s = flow.alone.time_to_move(flow.left, self.clock_s, DONE * flow.nbytes)
        if finish_s == math.inf:
            raise Stuck((flow.key,), self.clock_s)
        self._ends.enter(finish_s, flow)

    def _join(self, group: Nested, flows: Sequence[Flow]) -> None:
        """Let flows join a group."""
        group.stand_at(self.clock_s)
        group.admit([self._member(flow) for flow in flows])
        for flow in flows:
            flow.group = group
        group.ticket = -1
        self._unsolved[group.number] = group

    def _member(self, flow: Flow) -> Member:
        return Member(flow.key, flow.row, flow.terms, flow.left, flow.nbytes, self._binding(flow))

    def _form_group(self, key: int) -> None:
        """Put a flow and all it is coupled to into one group."""
        keys, links = self._coupled(key)
        flows = [self._flows[each] for each in keys]
        for flow in flows:
            if flow.group is not None:
                self._loosen(flow)
        members = [self._member(flow) for flow in flows]
        nesting = heights([member.links for member in members])
        rows = [*(self._table.row((link,)) for link in links), *(flow.row for flow in flows)]
        group: Group
        if nesting is not None and all(self._table.spelt(row) for row in rows):
            nested = group = Nested(self._table, nesting, members, self._groups, self.clock_s)
            self._unsolved[self._groups] = nested
            self._owners.update(dict.fromkeys(links, nested))
        else:
            group = self._together(flows, links)
            self._ends.enter(group.finish_s, group)
        for flow in flows:
            flow.group = group
        self._groups += 1

    def _together(self, flows: Sequence[Flow], links: Sequence[int]) -> Group:
        place = {flow.key: position for position, flow in enumerate(flows)}
        on_links = [np.array(sorted(place[each] for each in self._loads.members[link])) for link in links]
        left, nbytes = np.array([(flow.left, flow.nbytes) for flow in flows]).T
        return together(self._table, list(place), [flow.row for flow in flows], [flow.terms for flow in flows],
                        [self._table.row((link,)) for link in links], on_links, left, DONE * nbytes, self.clock_s)

    def _coupled(self, key: int) -> tuple[list[int], list[int]]:
        """Return (keys, links): the flows that a chain of binding links ties to this one, itself included."""
        keys, links, open_keys = {key}, set(), [key]
        while open_keys:
            for link in self._binding(self._flows[open_keys.pop()]):
                if link not in links:
                    links.add(link)
                    fresh = [other for other in self._loads.members[link] if other not in keys]
                    keys.update(fresh)
                    open_keys += fresh
        return sorted(keys), sorted(links)
