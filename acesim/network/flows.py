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

from acesim.network.coupling import Coupling
from acesim.network.ends import Ends, Flow
from acesim.network.groups import DONE, Group
from acesim.network.loads import NEARLY
from acesim.network.routes import Route, RouteTable
from acesim.network.terms import EQUAL, Terms
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
        self._table = RouteTable(links)
        self._limits = {number: link for number, link in enumerate(links)
                        if isinstance(link, Trace) and link.limit_s < math.inf}
        self._flows: dict[int, Flow] = {}
        self._ends = Ends()
        self._coupling = Coupling(self._table, self._flows, self._ends, accelerator)
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
        self._coupling.enter(flow)

    def cancel(self, key: int, time_s: float) -> float:
        """End a transfer before its time; return the bytes it has moved."""
        self.tick(time_s)
        flow = self._flows[key]
        moved = flow.nbytes - self.remaining(key)
        self._coupling.leave([flow], self.clock_s)
        self._forget(flow, moved)
        return moved

    def advance(self, time_s: float) -> list[int]:
        """Move the clock; return the keys that finished by then, in order of (time, key)."""
        if time_s < self.clock_s:
            raise ValueError(f"advance to {time_s} s from {self.clock_s} s: the clock never runs back")
        finished: list[tuple[float, int]] = []
        self._coupling.settle(self.clock_s)
        while (end_s := self._ends.next_s()) <= time_s:
            self._set_clock(max(end_s, self.clock_s))
            finished += [(end_s, key) for key in self._complete(self._ends.pop())]
            if self.clock_s < time_s:  # else what is left goes on beyond this moment, and need not be solved yet
                self._coupling.settle(self.clock_s)
        self._set_clock(time_s)
        finished.sort()
        return [key for _, key in finished]

    def drain(self) -> tuple[list[tuple[int, float]], list[Flow]]:
        """Let all transfers end that are under way, as nobody else comes.

        returns   (key, when) of those that end among others, and of those that are alone already; those that will be
                  alone as far as their `left` bytes from `since_s` on, for all to be solved at once.  All are forgotten
        """
        coupling, alone = self._coupling, list[Flow]()
        coupling.leaving = alone
        coupling.settle(self.clock_s)
        ended = [(flow.key, finish_s) for finish_s, flow in self._ends.take_alone()]
        while (end_s := self._ends.next_s()) < math.inf:
            self._set_clock(max(end_s, self.clock_s))
            ended += [(key, end_s) for key in self._complete(self._ends.pop())]
            coupling.settle(self.clock_s)
        self._forget_all()
        return ended, alone

    @property
    def endless(self) -> bool:
        """No link's trace ends, so that no transfer can outlast one."""
        return not self._limits

    def next_finish(self) -> float:
        """Return when the next of the present transfers ends; inf if there is none."""
        self._coupling.settle(self.clock_s)
        return self._ends.next_s()

    @property
    def binding(self) -> set[int]:
        """The links that their present transfers could fill, or lately could: by these they are solved together."""
        self._coupling.settle(self.clock_s)
        return {link for link, binds in enumerate(self._coupling.loads.binds) if binds}

    def fills(self, link: int) -> bool:
        """Say whether the transfers under way want all of a link: one alone on average, several as decided last."""
        members = self._coupling.loads.members[link]
        if len(members) != 1:
            return self._coupling.loads.binds[link]
        (flow,) = members.values()
        return flow.terms.of(self._table.mean[flow.row]) >= self.mean((link,)) * (1 - NEARLY)

    def remaining(self, key: int) -> float:
        """Return the bytes a transfer has still to move."""
        flow = self._flows[key]
        if flow.group is None:
            return max(flow.left - flow.moved(self.clock_s), 0.0)
        return max(float(flow.group.left(self.clock_s)[bisect_left(flow.group.keys, key)]), 0.0)

    def rate(self, key: int) -> float:
        """Return the present rate of a transfer in bytes per second."""
        self._coupling.settle(self.clock_s)
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
            if time_s > link.limit_s * (1 + NEARLY) and self._coupling.loads.members[number]:
                raise TraceError(link.source, None,
                                 f"ends after {link.limit_s:g} s, but a transfer is still under way: give a "
                                 f"longer trace, or write end: loop or end: hold")
        self.clock_s = time_s

    # ---------------------------------------------------------------------------------- ends

    def _complete(self, what: Flow | Group) -> Sequence[int]:
        """Let flows end, a flow that is alone or those of a group that are due; return their keys."""
        if isinstance(what, Flow):
            self._balance(what, what.left - what.moved(self.clock_s))
            self._coupling.leave_alone(what)
            self._forget(what, what.nbytes)
            return (what.key,)
        flows, left = [self._flows[key] for key in what.done], what.left(self.clock_s)
        for flow in flows:
            self._balance(flow, float(left[bisect_left(what.keys, flow.key)]))
        self._coupling.leave(flows, self.clock_s)
        for flow in flows:
            self._forget(flow, flow.nbytes)
        return what.done

    def _balance(self, flow: Flow, left: float) -> None:
        """Hold the integral of a flow's rates against its bytes; roundings of the clock may have lost some."""
        noise_bytes = CLOCK_ROUNDINGS * math.ulp(self.clock_s) * self._table.maximum[flow.row]
        if abs(left) > 10 * DONE * flow.nbytes + noise_bytes:
            raise LedgerError(f"flow {flow.key}: moved {flow.nbytes - left!r} of {flow.nbytes!r} bytes when it ended "
                              f"at {self.clock_s!r} s; this is a fault of acesim")

    def _forget(self, flow: Flow, moved: float) -> None:
        """Count what a flow has moved that is gone: its bytes, so that roundings of the clock do not add up."""
        del self._flows[flow.key]
        for link in flow.route:
            self._moved[link] += moved

    def _forget_all(self) -> None:
        """Let all flows go that are under way, none of them coupled to others."""
        self._ends.clear()
        self._coupling.clear()
        for flow in list(self._flows.values()):
            self._forget(flow, flow.nbytes)
