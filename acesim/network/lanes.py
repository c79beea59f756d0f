"""Lanes: many transfers of one kind at once, from all starts to all ends in one go.

A barrier sends to everybody, and everybody answers: nothing that happens meanwhile can change when those transfers
end.  Of those whose links could never bind each end is a closed form, and all of them one array expression;
the others `Flows` plays, start by start in order of time.  Both give what transfers started one by one would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from acesim.network.crowds import Crowds
from acesim.network.flows import Flows
from acesim.network.groups import DONE
from acesim.network.routes import Route, RouteTable
from acesim.network.traces import LEAST_BYTES, ROUNDING, Capacity, Trace
from acesim.scenario.errors import TraceError

Seconds = NDArray[np.float64]
Bytes = NDArray[np.float64]
Which = NDArray[np.int64] | slice

MOST_KEPT = 1 << 16
"""Transfers whose bytes are counted together at most."""


def binding(links: Sequence[Capacity], routes: Sequence[Route]) -> set[int]:
    """Return the links that could bind if transfers over all these routes were under way at once.

    >>> from acesim.network.traces import constant
    >>> binding([constant(3.), constant(2.), constant(9.)], [(0, 2), (0, 2), (1, 2)])
    {0}
    """
    flows = Flows(links)
    for key, route in enumerate(routes):
        flows.start(key, 1.0, route, 0.0)
    return flows.binding


class Closed:
    """Capacities that repeat on grids of their own, side by side in flat arrays: `Trace.time_to_move` for many.

    traces   one for each row; all repeat

    >>> from acesim.network.traces import constant
    >>> closed = Closed([constant(5.), Trace(1., np.array([2., 0., 4.]))])
    >>> closed.time_to_move(np.array([0, 1]), np.array([10., 5.]), np.array([3., 0.]))
    array([5.  , 2.75])
    """

    def __init__(self, traces: Sequence[Trace]) -> None:
        lengths = np.array([len(trace) for trace in traces])
        # What has passed by each edge of a trace, and the rate after it; 0 after the last, so that both have one place.
        self._passed = np.concatenate([trace.cumulative_bytes for trace in traces])
        self._rates = np.concatenate([part for trace in traces for part in (trace.bytes_per_s, [0.0])])
        self._first = np.cumsum([0, *(lengths[:-1] + 1)])
        self._last = lengths - 1
        self._step_s = np.array([trace.step_s for trace in traces])
        self._period_s = lengths * self._step_s
        self._total = np.array([trace.cumulative_bytes[-1] for trace in traces])
        # Each trace rises by 1 from where the last has ended: where transfers end, one search finds for all.
        self._foot = np.arange(len(traces), dtype=np.float64)
        each = lengths + 1
        self._rises = self._passed / self._total.repeat(each) + self._foot.repeat(each)

    def time_to_move(self, rows: Which, nbytes: Bytes, start_s: Seconds, whole_bytes: Bytes | None = None) -> Seconds:
        """Return when transfers over some rows have moved their bytes, all [F]; whole_bytes: they are the rest of."""
        total, period_s = self._total[rows], self._period_s[rows]
        period, before = self._place(rows, start_s)
        target, missing = before + nbytes, DONE * (nbytes if whole_bytes is None else whole_bytes)
        slack = missing + ROUNDING * target
        whole = np.maximum(np.ceil((target - slack) / total) - 1, 0.0)
        within_s = self._time_within(rows, target - whole * total, slack)
        end_s = np.maximum(start_s, (period + whole) * period_s + within_s)
        ends: Seconds = np.where(nbytes > missing, end_s, start_s)
        return ends

    def moved_bytes(self, rows: Which, start_s: Seconds, end_s: Seconds) -> Bytes:
        """Return the bytes that pass between two moments, all [F]."""
        first, before = self._place(rows, start_s)
        last, after = self._place(rows, end_s)
        moved: Bytes = (last - first) * self._total[rows] + (after - before)
        return moved

    def _place(self, rows: Which, time_s: Seconds) -> tuple[Bytes, Bytes]:
        """Return (whole periods before a moment, bytes from the start of its period)."""
        period_s = self._period_s[rows]
        period = np.floor(time_s / period_s)
        within = time_s - period * period_s
        step_s = self._step_s[rows]
        step = np.minimum((within / step_s).astype(np.int64), self._last[rows])
        at = self._first[rows] + step
        return period, self._passed[at] + self._rates[at] * (within - step * step_s)

    def _time_within(self, rows: Which, nbytes: Bytes, slack: Bytes) -> Seconds:
        """Return when `nbytes` have passed within a period that carries them, up to the slack."""
        wanted = np.minimum(np.maximum(nbytes - slack, LEAST_BYTES), self._total[rows])
        at, before = self._before(rows, wanted)
        step_s, past = self._step_s[rows], (nbytes - before) / self._rates[at]
        ends: Seconds = (at - self._first[rows]) * step_s + np.minimum(np.maximum(past, 0.0), step_s)
        return ends

    def _before(self, rows: Which, wanted: Bytes) -> tuple[NDArray[np.int64], Bytes]:
        """Return (the last edge by which less than `wanted` has passed, what has passed by it), all [F]."""
        at = self._rises[1:].searchsorted(wanted / self._total[rows] + self._foot[rows])
        at = np.maximum(at, self._first[rows])  # what is little may be rounded to the foot, where the trace before ends
        while True:  # the search is exact but for its roundings
            before = self._passed[at]
            late, early = before >= wanted, self._passed[at + 1] < wanted
            if not np.count_nonzero(late | early):
                return at, before
            at += early
            at -= late


class Lane:
    """Routes that transfers of one kind take.

    links    capacity of each link of the network
    routes   [F]; transfers are named by their place in it
    hops     int64 [F], links on each route

    Several calls of `carry` never overlap: each begins when all transfers of the one before have ended.
    """

    def __init__(self, links: Sequence[Capacity], routes: Sequence[Route]) -> None:
        self._routes, self._flows, self._couples = routes, Flows(links), binding(links, routes)
        table = RouteTable(links)
        capacities = [table.capacities[table.row(route)] for route in routes]
        self._known = np.array([isinstance(each, Trace) and each.end == "loop" for each in capacities])
        self._place = self._known.cumsum() - 1  # of routes that are known, in the closed form
        self._closed = Closed([each for each in capacities if isinstance(each, Trace) and each.end == "loop"]) \
            if self._known.any() else None
        self._free = self._known & [self._couples.isdisjoint(route) for route in routes]
        self._all_free = bool(self._free.all())
        self._crowds = Crowds(table, routes, self._couples, ~self._free)
        self._moved = np.zeros(len(links))
        self._ran: list[tuple[NDArray[np.int64], Seconds, Seconds]] = []
        self._kept = 0  # transfers in there
        self.hops = np.array([len(route) for route in routes])
        longest = int(self.hops.max())
        self._over = np.array([(*route, *[len(links)] * (longest - len(route))) for route in routes])

    @property
    def free(self) -> NDArray[np.bool_]:
        """Which transfers are alone on their routes, whatever the others do [F]?"""
        return self._free

    def carry(self, rows: NDArray[np.int64], nbytes: Bytes, start_s: Seconds) -> Seconds:
        """Return when transfers over routes `rows` end that start at `start_s`, all [F]; no row twice."""
        if self._all_free and rows.size == len(self._routes):
            end_s = self._alone_s(slice(None), nbytes, start_s)  # all, in order: views instead of copies
            self._note(rows, start_s, end_s)
            return end_s
        end_s = np.full(rows.size, math.inf)
        if rows.size == len(self._routes) and start_s.min() == start_s.max():
            apart = self._apart_at_once
            end_s[apart] = self._alone_s(self._place[rows[apart]], nbytes[apart], start_s[apart])
        else:
            known = self._known[rows]
            end_s[known] = self._alone_s(self._place[rows[known]], nbytes[known], start_s[known])
            apart = self._free[rows] | (end_s < self._crowds.gather_s(rows, start_s, end_s))
        self._note(rows[apart], start_s[apart], end_s[apart])
        if not apart.all():
            end_s[~apart] = self._played(rows[~apart], nbytes[~apart], start_s[~apart])
        return end_s

    @cached_property
    def _apart_at_once(self) -> NDArray[np.bool_]:
        """Which transfers nobody disturbs if all start at one instant [F]?  It does not depend on when they end."""
        rows, start_s = np.arange(len(self._routes)), np.zeros(len(self._routes))
        apart: NDArray[np.bool_] = self._free | (self._known & (self._crowds.gather_s(rows, start_s, start_s) > 0.0))
        return apart

    def _alone_s(self, rows: Which, nbytes: Bytes, start_s: Seconds, whole_bytes: Bytes | None = None) -> Seconds:
        """Return when transfers end that nobody disturbs; rows of the closed form."""
        return np.empty(0) if self._closed is None else self._closed.time_to_move(rows, nbytes, start_s, whole_bytes)

    def _note(self, rows: NDArray[np.int64], start_s: Seconds, end_s: Seconds) -> None:
        """Keep when transfers ran alone: what they moved is counted many rounds at a time."""
        self._ran.append((rows, start_s, end_s))
        self._kept += rows.size
        if self._kept > MOST_KEPT:
            self._count()

    def _count(self) -> None:
        """Count what transfers have moved that ran alone."""
        if self._closed is not None and self._ran:
            rows, start_s, end_s = (np.concatenate(parts) for parts in zip(*self._ran, strict=True))
            self._moved += self.per_link(rows, self._closed.moved_bytes(self._place[rows], start_s, end_s))
            self._ran, self._kept = [], 0

    def per_link(self, rows: NDArray[np.int64], nbytes: Bytes) -> Bytes:
        """Return what each link carries when these routes carry `nbytes` [F], float64 [links]."""
        over = self._over[rows]
        weights = np.repeat(nbytes, over.shape[1])
        return np.bincount(over.ravel(), weights, minlength=len(self._moved) + 1)[:-1].astype(np.float64)

    def _played(self, rows: NDArray[np.int64], nbytes: Bytes, start_s: Seconds) -> Seconds:
        """Play transfers start by start; once all have started nobody can be disturbed who is alone."""
        flows, ends = self._flows, dict[int, float]()
        starts = sorted(zip(start_s.tolist(), rows.tolist(), nbytes.tolist(), strict=True), reverse=True)
        together = flows.endless and bool(self._known[rows].all())
        while starts or (len(flows) and not together):
            next_s = flows.next_finish()
            if starts and (time_s := starts[-1][0]) <= next_s:
                while starts and starts[-1][0] == time_s:  # all of one instant, before any is solved for
                    _, row, size = starts.pop()
                    flows.start(row, size, self._routes[row], time_s)
                continue
            if next_s == math.inf:
                raise TraceError("network", None, "a transfer never ends; give its links a rate above zero")
            for row in flows.advance(next_s):
                ends[row] = next_s
        if together:
            ended, alone = flows.drain()
            ends.update(ended)
            if alone:
                left, since_s, whole = np.array([(flow.left, flow.since_s, flow.nbytes) for flow in alone]).T
                alone_s = self._alone_s(self._place[[flow.key for flow in alone]], left, since_s, whole)
                ends.update(zip([flow.key for flow in alone], alone_s.tolist(), strict=True))
        return np.array([ends[row] for row in rows.tolist()])

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Integral of all rates over each link, float64 [links]."""
        self._count()
        return self._moved + self._flows.moved_bytes_per_link
