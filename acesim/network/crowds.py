"""Crowds: from when on transfers over shared links could disturb each other, told before any of them is played.

Whoever ends before has its closed form.  As long as all run alone, who is under way is known from all starts and
ends: what they could want of each link is one matrix product.  The answer is on the safe side, by a hair.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from acesim.network.routes import Route, RouteTable

HAIR = 1e-9
"""Links that would be filled to within this relative margin count as filled."""
LARGEST = 1 << 22
"""Entries of the largest matrix that is worth it; beyond, a crowd is there at once."""

Seconds = NDArray[np.float64]


class Crowd:
    """The transfers over one link.

    link     could bind
    rows     int64 [M] of the routes that cross it, ascending
    """

    def __init__(self, table: RouteTable, routes: Sequence[Route], link: int, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        own, wanted = table.row((link,)), [table.row(routes[row]) for row in rows.tolist()]
        self._highest = np.array([table.maximum[row] for row in wanted])
        self._mean = np.array([table.mean[row] for row in wanted])
        self._room, self._mean_room = table.minimum[own] * (1 - HAIR), table.mean[own] * (1 - HAIR)
        self._demand: NDArray[np.float64] | None = None
        self._capacity = np.empty(0)
        if all(table.spelt(row) for row in (own, *wanted)) and rows.size * max(table.period, rows.size) <= LARGEST:
            self._demand = np.array([np.broadcast_to(table.demand(row), table.period) for row in wanted])
            self._capacity = table.demand(own) * (1 - HAIR)

    def gather_s(self, here: NDArray[np.int64], start_s: Seconds, end_s: Seconds) -> float:
        """Return when transfers, places in `rows`, could first fill the link while all run alone; inf for never."""
        if self._demand is None:
            return float(start_s.min()) if here.size > 1 else math.inf
        order = start_s.argsort()
        here, start_s, end_s = here[order], start_s[order], end_s[order]
        # At each start: who is under way.  Those of one instant are all there at the last of them.
        there = ((start_s <= start_s[:, None]) & (end_s >= start_s[:, None])).astype(np.float64)
        full = (there @ self._highest[here] > self._room) & (there.sum(axis=1) > 1)
        over = there @ self._mean[here] > self._mean_room
        doubtful = (full & ~over).nonzero()[0]
        if doubtful.size:
            over[doubtful] = (there[doubtful] @ self._demand[here] > self._capacity).any(axis=1)
        first = (full & over).nonzero()[0]
        return float(start_s[first[0]]) if first.size else math.inf


class Crowds:
    """The links over which transfers of a lane could disturb each other.

    links    that could bind
    among    bool [F], the routes whose transfers could be disturbed
    """

    def __init__(self, table: RouteTable, routes: Sequence[Route], links: Collection[int],
                 among: NDArray[np.bool_]) -> None:
        numbers = {link: number for number, link in enumerate(sorted(links))}
        over: list[list[int]] = [[] for _ in numbers]
        around = {number: number for number in numbers.values()}  # trees of links that one transfer ties together

        def root(number: int) -> int:
            while around[number] != number:
                number = around[number] = around[around[number]]
            return number

        for row in among.nonzero()[0].tolist():
            crossed = [numbers[link] for link in routes[row] if link in numbers]
            for number in crossed:
                over[number].append(row)
                around[root(number)] = root(crossed[0])
        self._crowds = [Crowd(table, routes, link, np.array(over[number])) for link, number in numbers.items()
                        if len(over[number]) > 1]
        self._part = np.full(len(routes), len(numbers))
        for row in among.nonzero()[0].tolist():
            crossed = [numbers[link] for link in routes[row] if link in numbers]
            if crossed:
                self._part[row] = root(crossed[0])
        self._parts = len(numbers) + 1

    def gather_s(self, rows: NDArray[np.int64], start_s: Seconds, end_s: Seconds) -> Seconds:
        """Return for each transfer from when on it could be disturbed, itself or by others who are, [F].

        rows             of routes, ascending
        start_s, end_s   of transfers over them, were all alone
        """
        first = np.full(self._parts, math.inf)
        for crowd in self._crowds:
            places = np.minimum(rows.searchsorted(crowd.rows), rows.size - 1)
            here = (rows[places] == crowd.rows).nonzero()[0]
            if here.size:
                places, part = places[here], self._part[crowd.rows[0]]
                first[part] = min(first[part], crowd.gather_s(here, start_s[places], end_s[places]))
        gathered_s: Seconds = first[self._part[rows]]
        return gathered_s
