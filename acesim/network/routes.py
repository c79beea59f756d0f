"""Capacities of routes, sampled many at once: rows of one flat array where they lie on the common grid."""

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
    minimum, maximum, mean   of each row
    """

    def __init__(self, links: Sequence[Capacity]) -> None:
        self.links = tuple(links)
        traces = [link for link in self.links if isinstance(link, Trace) and len(link) > 1]
        grids = [trace for trace in traces if trace.end == "loop"]
        self.step_s = grids[0].step_s if grids else 1.0
        self.capacities: list[Capacity] = []
        self.minimum: list[float] = []
        self.maximum: list[float] = []
        self.mean: list[float] = []
        self._rows: dict[Route, int] = {}
        self._usual_steps = max((len(link) for link in grids), default=1)
        self._flat: Rates = np.empty(2 * len(self.links) * self._usual_steps)  # grows; `_filled` are in use
        self._filled = 0
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._steps: list[int] = []  # 0: not on the grid, 1: constant

    def __getstate__(self) -> dict[str, object]:
        """What is pickled: the links and the routes met, not what can be computed from them."""
        return {"links": self.links, "routes": list(self._rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RouteTable.__init__(self, state["links"])
        for route in state["routes"]:
            self.row(route)

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
        values, steps = np.empty(0), 0
        if capacity.minimum == capacity.maximum:  # spelt out, so that rows have one length and need one index
            values, steps = np.full(self._usual_steps, capacity.maximum), 1
        elif isinstance(capacity, Trace) and capacity.step_s == self.step_s and capacity.end == "loop":
            values, steps = capacity.bytes_per_s, len(capacity)
        self._append(values)
        self._steps.append(steps)
        return len(self.capacities) - 1

    def _append(self, values: Rates) -> None:
        """Put a row's values behind those of the others."""
        end = self._filled + len(values)
        if end > self._flat.size:
            self._flat = np.concatenate([self._flat, np.empty(end)])
        self._flat[self._filled: end] = values
        self._offsets.append(self._filled)
        self._lengths.append(len(values))
        self._filled = end

    def period_steps(self, rows: Sequence[int]) -> int:
        """Return the common period of rows in steps of the grid, 0 where there is none or a very long one."""
        steps = math.lcm(*(self._steps[row] for row in rows))
        return steps if steps <= 4 * self._usual_steps else 0

    def settled_s(self, rows: Sequence[int]) -> float:
        """Return when the last of these rows has become constant; inf for what repeats."""
        return max(self.capacities[row].settled_s for row in rows)

    def sample(self, rows: Sequence[int], start_s: float, span_s: float) -> tuple[NDArray[np.float64], Rates]:
        """Return (edges [S + 1] from start_s to start_s + span_s or later, rates [rows, S] between them)."""
        steps = {self._steps[row] for row in rows}
        if 0 in steps:
            return self._off_grid(rows, start_s, start_s + span_s)
        offsets = np.array([self._offsets[row] for row in rows])[:, None]
        if steps == {1}:
            return np.array([start_s, start_s + span_s]), self._flat[offsets]
        first, count = math.floor(start_s / self.step_s), math.ceil(span_s / self.step_s) + 1
        numbers = np.arange(first, first + count + 1)
        edges = np.maximum(numbers * self.step_s, start_s)
        if steps <= {1, self._usual_steps}:
            return edges, self._flat[offsets + numbers[:-1] % self._usual_steps]
        lengths = np.array([self._lengths[row] for row in rows])[:, None]
        return edges, self._flat[offsets + numbers[:-1] % lengths]

    def _off_grid(self, rows: Sequence[int], start_s: float,
                  end_s: float) -> tuple[NDArray[np.float64], Rates]:
        edges, _ = Least([self.capacities[row] for row in rows]).steps(start_s, end_s)
        middles = (edges[:-1] + edges[1:]) / 2  # never on an edge, where rounding could pick the wrong step
        return edges, np.array([self.capacities[row].rate(middles) for row in rows])


