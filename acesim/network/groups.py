"""Groups of flows whose rates are known up to the first completion among them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acesim.network.filling import max_min, water_level
from acesim.network.routes import RouteTable
from acesim.network.terms import Terms, restrict, weights_of
from acesim.network.traces import LONGEST_STANDSTILL
from acesim.scenario.errors import TraceError

Bytes = NDArray[np.float64]

DONE = 1e-12
"""A flow with no more than this share of its bytes left is done: rounding must not make it
wait out an outage."""
MARGIN = 1.25
"""A first block is this much longer than the first completion is expected to take."""


class Group(Protocol):
    """Flows that are coupled to each other and to nobody else.

    finish_s   of its next completion
    done       the keys that finish then
    alive      False once it has been dissolved; ticket: of its entry among the completions that are due
    """

    finish_s: float
    done: Sequence[int]
    alive: bool
    ticket: int

    @property
    def keys(self) -> Sequence[int]:
        """Its flows, ascending."""

    def left(self, time_s: float) -> Bytes:
        """Return the bytes each flow has still to move at a moment up to the next completion."""

    def rate(self, key: int, time_s: float) -> float:
        """Return the rate of a flow."""


class Together:
    """Flows that share links of any kind, solved for a block of steps; a change of any flow dissolves it.

    edges_s    float64 [S + 1]
    by_step    float64 [F, S], rates
    passed     float64 [F, S], bytes moved by the end of each step
    left       float64 [F], bytes to move; slack: what may be missing
    """

    def __init__(self, keys: Sequence[int], edges_s: NDArray[np.float64], by_step: Bytes, passed: Bytes,
                 left: Bytes, slack: Bytes) -> None:
        self.keys: Sequence[int] = tuple(keys)
        self.alive, self.ticket = True, -1
        self._edges_s, self._by_step, self._passed, self._left = edges_s, by_step, passed, left
        candidates = np.flatnonzero(passed[:, -1] >= left - slack).tolist()
        ends = {flow: self._end(flow, left, slack) for flow in candidates}
        self.finish_s = min(ends.values())
        # Not by what is left alone: late in a long run a rounding of the clock is worth more than the slack.
        lacks = self.left(self.finish_s) > slack
        self.done: Sequence[int] = tuple(key for flow, key in enumerate(self.keys) if not lacks[flow]
                                         or ends.get(flow, math.inf) <= self.finish_s)

    def _end(self, flow: int, left: Bytes, slack: Bytes) -> float:
        """Return when a flow has moved what it had left."""
        if left[flow] <= slack[flow]:
            return float(self._edges_s[0])
        step = int(np.searchsorted(self._passed[flow], left[flow] - slack[flow]))
        before = self._passed[flow, step - 1] if step else 0.0
        past_s = (left[flow] - before) / self._by_step[flow, step]
        return float(self._edges_s[step] + min(past_s, self._edges_s[step + 1] - self._edges_s[step]))

    def _step(self, time_s: float) -> int:
        after = int(np.searchsorted(self._edges_s, time_s, side="right"))
        return min(after, len(self._edges_s) - 1) - 1

    def left(self, time_s: float) -> Bytes:
        """Return the bytes each flow has still to move at a moment up to the next completion."""
        step = self._step(time_s)
        moved: Bytes = self._by_step[:, step] * (time_s - self._edges_s[step])
        return self._left - (moved + self._passed[:, step - 1] if step else moved)

    def rate(self, key: int, time_s: float) -> float:
        """Return the rate of a flow."""
        return float(self._by_step[bisect_left(self.keys, key), self._step(time_s)])


def together(table: RouteTable, keys: Sequence[int], rows: Sequence[int], terms: Sequence[Terms],
             link_rows: Sequence[int], members: Sequence[NDArray[np.int64]], left: Bytes, slack: Bytes,
             start_s: float) -> Together:
    """Solve a group from `start_s` on, block after block, until a flow is done.

    rows         of the flows' routes in `table`; link_rows: of the links that couple them
    terms        of the flows
    members      for each of these links, the positions of its flows
    left         bytes each flow has still to move; slack: bytes that may be missing at the end
    """
    weights = weights_of(terms)
    span_s = MARGIN * _expected_s(table, rows, terms, link_rows, members, left) + table.step_s
    edges: list[NDArray[np.float64]] = []
    by_step: list[Bytes] = []
    passed: list[Bytes] = []
    base, at_s = np.zeros((len(rows), 1)), start_s
    while True:
        block_s, rates = table.sample([*rows, *link_rows], at_s, span_s)
        shares = max_min(restrict(rates[: len(rows)], terms), rates[len(rows):], members, weights)
        base = base[:, -1:] + np.cumsum(shares * np.diff(block_s), axis=1)
        edges.append(block_s if not edges else block_s[1:])
        by_step.append(shares)
        passed.append(base)
        if (base[:, -1] >= left - slack).any():
            return Together(keys, np.concatenate(edges), np.hstack(by_step), np.hstack(passed), left, slack)
        at_s, span_s = float(block_s[-1]), 2 * span_s
        for_ever = block_s[0] >= table.settled_s(rows) or shares.shape[1] > LONGEST_STANDSTILL
        if for_ever and not shares.any():
            raise Stuck(keys, start_s)


def _expected_s(table: RouteTable, rows: Sequence[int], terms: Sequence[Terms], link_rows: Sequence[int],
                members: Sequence[NDArray[np.int64]], left: Bytes) -> float:
    """Return roughly how long the first completion will take, with every rate at its mean."""
    paces = [each.of(table.mean[row]) for row, each in zip(rows, terms, strict=True)]
    weights, means = weights_of(terms), list(paces)
    for link_row, on_link in zip(link_rows, members, strict=True):
        if weights is None:
            level = _level(sorted(means[flow] for flow in on_link), table.mean[link_row])
        else:
            caps = np.array([[means[flow]] for flow in on_link])
            level = float(water_level(caps, np.array([table.mean[link_row]]), weights[on_link])[0])
        for flow in on_link:
            paces[flow] = min(paces[flow], level if weights is None else float(weights[flow]) * level)
    return min(float(nbytes) / pace for nbytes, pace in zip(left, paces, strict=True))


def _level(ascending: Sequence[float], capacity: float) -> float:
    """Return the water level of a few numbers: `filling.water_level` for one step, without numpy's overhead.

    >>> _level([1.0, 5.0, 9.0], 7.0)
    3.0
    """
    still_open = len(ascending)
    for cap in ascending:
        if cap * still_open >= capacity:
            return capacity / still_open
        capacity -= cap
        still_open -= 1
    return math.inf


class Stuck(TraceError):
    """Transfers that can never end, from some moment on."""

    def __init__(self, keys: Sequence[int], time_s: float) -> None:
        self.keys, self.time_s = tuple(keys), time_s
        super().__init__("network", None,
                         f"from {time_s:g} s on nothing moves any more for flows {list(keys)}: the traces of "
                         f"their route end at zero, or are never above it together; end them above zero, or shift one")

    def __reduce__(self) -> tuple[type[Stuck], tuple[Sequence[int], float]]:
        """Errors cross processes: they are made anew there."""
        return Stuck, (self.keys, self.time_s)
