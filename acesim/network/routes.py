"""Capacities of routes: worked out once, sampled many at once where they lie on the common grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.network.traces import Capacity, Least, Rates, Trace, least

Route = tuple[int, ...]


class RouteTable:
    """The lowest capacity along every route met so far, by row number.

    A policy uses the same routes in every round, so each is worked out once.  A link alone is a route of one.

    links     capacity of each link
    step_s    of the common grid: the step of the traces that repeat
    period    of the grid in steps, the longest of these traces
    by_step   float64 [period, columns], rows that flows share links on, spelt out a column each: all that a moment
              needs lies side by side
    capacities, minimum, maximum, mean   of each row
    """

    def __init__(self, links: Sequence[Capacity]) -> None:
        self.links = tuple(links)
        grids = [link for link in self.links if isinstance(link, Trace) and len(link) > 1 and link.end == "loop"]
        self.step_s = grids[0].step_s if grids else 1.0
        self.period = max((len(link) for link in grids if link.step_s == self.step_s), default=1)
        self.capacities: list[Capacity] = []
        self.minimum: list[float] = []
        self.maximum: list[float] = []
        self.mean: list[float] = []
        self.by_step: Rates = np.empty((self.period, 16))
        self._rows: dict[Route, int] = {}
        self._steps: list[int] = []  # 0: not on the grid, 1: constant
        self._columns: dict[int, int] = {}

    def __getstate__(self) -> dict[str, object]:
        """What is pickled: the links, routes and columns met, not what can be computed from them."""
        return {"links": self.links, "routes": list(self._rows), "columns": list(self._columns)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RouteTable.__init__(self, state["links"])
        for route in state["routes"]:
            self.row(route)
        for row in state["columns"]:
            self.column(row)

    def row(self, route: Route) -> int:
        """Return the row of a route, new or old.

        raises   ValueError for a route that is empty, crosses a link twice or names one that is not there,
                 TraceError for one that can never carry anything
        """
        row = self._rows.get(route)
        if row is None:
            known = all(0 <= link < len(self.links) for link in route)
            if not route or not known or len(set(route)) < len(route):
                raise ValueError(f"route {route}: must name some of {len(self.links)} links, none twice")
            row = self._rows[route] = self._add(least([self.links[link] for link in route], f"route {route}"))
        return row

    def _add(self, capacity: Capacity) -> int:
        self.capacities.append(capacity)
        self.minimum.append(capacity.minimum)
        self.maximum.append(capacity.maximum)
        self.mean.append(capacity.maximum if math.isnan(capacity.mean) else capacity.mean)
        steps = 0
        if capacity.minimum == capacity.maximum:
            steps = 1
        elif isinstance(capacity, Trace) and capacity.step_s == self.step_s and capacity.end == "loop":
            steps = len(capacity)
        self._steps.append(steps)
        return len(self.capacities) - 1

    def spelt(self, row: int) -> bool:
        """Say whether a row repeats with the period of the grid, or is constant."""
        return self._steps[row] in (1, self.period)

    def constant(self, row: int) -> bool:
        """Say whether a row never changes."""
        return self._steps[row] == 1

    def demand(self, row: int) -> Rates:
        """Return the rates of a row that is `spelt` over a period, float64 [period] or, if constant, [1]."""
        capacity = self.capacities[row]
        if self._steps[row] == 1 or not isinstance(capacity, Trace):
            return np.array([capacity.maximum])
        return capacity.bytes_per_s

    def column(self, row: int) -> int:
        """Return the column of a row in `by_step`, new or old."""
        column = self._columns.get(row)
        if column is None:
            column = self._columns[row] = len(self._columns)
            if column == self.by_step.shape[1]:
                self.by_step = np.concatenate([self.by_step, np.empty_like(self.by_step)], axis=1)
            self.by_step[:, column] = self.demand(row)
        return column

    def block(self, first: int, steps: int, columns: NDArray[np.int64]) -> Rates:
        """Return what columns carry in some steps of the grid from the `first` on, a new array [steps, columns]."""
        start = first % self.period
        if start + steps <= self.period:
            return self.by_step[start: start + steps].take(columns, axis=1)
        numbers = np.arange(start, start + steps) % self.period
        return self.by_step[numbers[:, None], columns]

    def settled_s(self, rows: Sequence[int]) -> float:
        """Return when the last of these rows has become constant; inf for what repeats."""
        return max(self.capacities[row].settled_s for row in rows)

    def sample(self, rows: Sequence[int], start_s: float, span_s: float) -> tuple[NDArray[np.float64], Rates]:
        """Return (edges [S + 1] from start_s to start_s + span_s or later, rates [rows, S] between them)."""
        steps = {self._steps[row] for row in rows}
        if 0 in steps:
            return self._off_grid(rows, start_s, start_s + span_s)
        if steps == {1}:
            return np.array([start_s, start_s + span_s]), np.array([[self.maximum[row]] for row in rows])
        first, count = math.floor(start_s / self.step_s), math.ceil(span_s / self.step_s) + 1
        numbers = np.arange(first, first + count + 1)
        periods = [self.demand(row) for row in rows]
        rates = np.array([period[numbers[:-1] % len(period)] for period in periods])
        return np.maximum(numbers * self.step_s, start_s), rates

    def _off_grid(self, rows: Sequence[int], start_s: float,
                  end_s: float) -> tuple[NDArray[np.float64], Rates]:
        edges, _ = Least([self.capacities[row] for row in rows]).steps(start_s, end_s)
        middles = (edges[:-1] + edges[1:]) / 2  # never on an edge, where rounding could pick the wrong step
        return edges, np.array([self.capacities[row].rate(middles) for row in rows])
