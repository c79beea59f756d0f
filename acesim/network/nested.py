"""Groups of flows over nested links, kept in arrays from arrival to departure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acesim.network.accelerated import FOR_EVER, Walk
from acesim.network.ends import Flow
from acesim.network.groups import DONE, Bytes, Stuck
from acesim.network.nesting import fill, fill_one, fill_step, riders
from acesim.network.routes import RouteTable
from acesim.network.terms import EQUAL

LONGEST_BLOCK = 512
MOST_ENTRIES = 1 << 19
"""A block of steps is no longer, and holds no more rates, than this."""
FEW, FEW_OF_MANY = 160, 640
"""No more rates than this are found faster one by one, on one link or on several."""
MARGIN = 1.25
"""A first block is this much longer than the first completion would take at the pace so far."""
SLOWEST = 1e-9
LEFT, SLACK, WEIGHT, SHARE, MOST, PACE = range(6)
"""Rows of the figures of a group."""
PLAIN = np.array([0.0, 0.0, 1.0, 1.0, math.inf, 0.0])
"""Figures of a flow on equal terms."""


@dataclass(slots=True)
class _Block:
    """Steps that have been solved.

    edges_s   [S + 1]; rates [S, F] between them
    passed    [S, F], bytes moved by the end of each step; before [F], by the start of the first
    """

    edges_s: NDArray[np.float64]
    rates: Bytes
    passed: Bytes
    before: Bytes

    def step(self, time_s: float) -> int:
        """Return the step in which a moment lies."""
        return min(int(self.edges_s.searchsorted(time_s, side="right")), len(self.rates)) - 1

    def moved(self, time_s: float) -> Bytes:
        """Return the bytes moved by a moment."""
        step = self.step(time_s)
        before = self.passed[step - 1] if step else self.before
        moved: Bytes = before + self.rates[step] * (time_s - self.edges_s[step])
        return moved


class Nested:
    """Flows that share nested links with each other and with nobody else.

    heights    {link: (height, link around it)}, as `nesting.heights` gives them
    number     of the group, in the order in which groups were formed
    flows      that form it, ascending by key
    keys       of its flows, ascending
    finish_s   of its next completion; done: the keys that finish then

    An arrival or a departure moves a few rows and lets the group be solved again from that moment on: nothing is
    solved twice for what is past, and little beyond the next completion.
    """

    def __getstate__(self) -> dict[str, object]:
        """What is pickled: all but the compiled code, whose part the plain way can take."""
        return self.__dict__ | {"_walked": None}

    def __init__(self, table: RouteTable, heights: Mapping[int, tuple[int, int]], flows: Sequence[Flow],
                 number: int, start_s: float) -> None:
        self.number, self.alive, self.ticket = number, True, -1
        self.keys: list[int] = []
        self.finish_s = math.inf
        self.done: Sequence[int] = ()
        self._table, self._since_s, self._heights = table, start_s, heights
        levels = 1 + max(height for height, _ in heights.values())
        by_height = [[link for link in heights if heights[link][0] == height] for height in range(levels)]
        self._local = {link: place for links in by_height for place, link in enumerate(links)}
        self._counts = np.array([len(links) for links in by_height])
        rows = [table.row((link,)) for links in by_height for link in links]
        self._links = np.array([table.column(row) for row in rows])
        self._means = np.array([[table.mean[row] for row in rows]])
        self._constant, self._paced = all(map(table.constant, rows)), False
        self._limited = self._weighted = False
        self._all_figures = np.empty((6, 2 * len(flows)))  # with room for more; so have places
        self._all_places = np.empty((1 + levels, 2 * len(flows)), dtype=np.int64)
        self._blocks: list[_Block] = []
        self._rest = np.empty(0)
        self._walked: Walk | None = None
        self._spots: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._taken: dict[tuple[int, ...], bool] = {}
        self.admit(flows)

    # ---------------------------------------------------------------------------------- who is in it

    @property
    def links(self) -> Iterable[int]:
        """The links that couple its flows."""
        return self._heights

    def around(self, link: int) -> int:
        """Return the link around one of its links, -1 if there is none."""
        return self._heights[link][1] if link in self._heights else -1

    def takes(self, links: tuple[int, ...]) -> bool:
        """Say whether links of one more flow would still be nested, all of them the group's own."""
        if links not in self._taken:
            inside_out = sorted(links, key=lambda link: self._heights.get(link, (0, 0)))
            self._taken[links] = all(link in self._heights and self._heights[link][1] == outer
                                     for link, outer in zip(inside_out, [*inside_out[1:], -1], strict=True))
        return self._taken[links]

    @property
    def _figures(self) -> Bytes:
        figures: Bytes = self._all_figures[:, : len(self.keys)]
        return figures

    @property
    def _places(self) -> NDArray[np.int64]:
        """Column of each flow, and at each height the number of its link."""
        return self._all_places[:, : len(self.keys)]

    def admit(self, flows: Sequence[Flow]) -> None:
        """Take flows in, ascending by key, at the moment the group stands at."""
        keys, there, wanted = self.keys, len(self.keys), len(self.keys) + len(flows)
        if wanted > self._all_figures.shape[1]:
            self._all_figures = np.concatenate([self._all_figures, np.empty((6, wanted))], axis=1)
            more = np.empty((len(self._all_places), wanted), dtype=np.int64)
            self._all_places = np.concatenate([self._all_places, more], axis=1)
        if len(flows) == 1:
            at = bisect_left(keys, flows[0].key)
            for rows in (self._all_figures, self._all_places):
                rows[:, at + 1: wanted] = rows[:, at: there]
            self._set(at, flows[0])
            keys.insert(at, flows[0].key)
            return
        self._set_many(there, flows)
        keys += [flow.key for flow in flows]
        if not there:
            return
        order = sorted(range(wanted), key=keys.__getitem__)
        keys.sort()
        self._figures[:] = self._figures.take(order, axis=1)
        self._places[:] = self._places.take(order, axis=1)

    def _set(self, at: int, flow: Flow) -> None:
        """Write down a flow: `_set_many` of one, without numpy's overhead."""
        figures, places = self._all_figures, self._all_places
        figures[:, at] = PLAIN
        figures[LEFT, at], figures[SLACK, at] = flow.left, DONE * flow.nbytes
        figures[PACE, at], places[0, at] = self._table.mean[flow.row], self._table.column(flow.row)
        for height, link in enumerate(self._spot(flow.links), 1):
            places[height, at] = link
        self._constant = self._constant and self._table.constant(flow.row)
        if flow.terms is not EQUAL:
            self._restrict(at, flow)

    def _set_many(self, start: int, flows: Sequence[Flow]) -> None:
        """Write down flows, one behind the other."""
        table, places = self._table, slice(start, start + len(flows))
        figures = self._all_figures[:, places]
        figures[:] = PLAIN[:, None]
        figures[LEFT] = [flow.left for flow in flows]
        figures[SLACK] = [DONE * flow.nbytes for flow in flows]
        figures[PACE] = [table.mean[flow.row] for flow in flows]
        written = [(table.column(flow.row), *self._spot(flow.links)) for flow in flows]
        self._all_places[:, places] = np.array(written).T
        self._constant = self._constant and all(table.constant(flow.row) for flow in flows)
        for at, flow in enumerate(flows, start):
            if flow.terms is not EQUAL:
                self._restrict(at, flow)

    def _spot(self, links: tuple[int, ...]) -> tuple[int, ...]:
        """Return at each height the number of the link among those of a flow, or how many there are for none."""
        spot = self._spots.get(links)
        if spot is None:
            place = self._counts.tolist()
            for link in links:
                place[self._heights[link][0]] = self._local[link]
            spot = self._spots[links] = tuple(place)
        return spot

    def _restrict(self, at: int, flow: Flow) -> None:
        """Write down the terms of a flow that has some of its own."""
        terms, figures = flow.terms, self._all_figures
        self._limited |= not terms.free
        self._weighted |= terms.weight != 1.0
        figures[WEIGHT, at], figures[SHARE, at] = terms.weight, terms.share
        figures[MOST, at], figures[PACE, at] = terms.most_bytes_per_s, terms.of(self._table.mean[flow.row])

    def remove(self, keys: Sequence[int]) -> None:
        """Let flows go, at the moment the group stands at."""
        there = self.keys
        if len(keys) == len(there):
            self.keys = []
            return
        for key in keys:
            at, end = bisect_left(there, key), len(there)
            for rows in (self._all_figures, self._all_places):
                rows[:, at: end - 1] = rows[:, at + 1: end]
            del there[at]

    # ---------------------------------------------------------------------------------- where it stands

    def stand_at(self, time_s: float) -> None:
        """Move the group to a moment up to the next completion: what has been moved by then is no longer left."""
        if time_s > self._since_s:
            left = self.left(time_s)
            if self._walked is None and (time_s - self._since_s > 4 * self._table.step_s or self._constant):
                figures = self._figures
                figures[PACE] = (figures[LEFT] - left) / (time_s - self._since_s)
            self._all_figures[LEFT, : len(left)] = left
            self._since_s = time_s

    def left(self, time_s: float) -> Bytes:
        """Return the bytes each flow has still to move at a moment up to the next completion."""
        left: Bytes = self._all_figures[LEFT, : len(self.keys)]
        if time_s <= self._since_s:
            return left
        if time_s == self.finish_s:
            return self._rest
        if self._walked is not None:
            return self._go(self._walked, time_s)[1]
        return left - self._block(time_s).moved(time_s)

    def rate(self, key: int, time_s: float) -> float:
        """Return the rate of a flow at a moment up to the next completion."""
        block = self._block(time_s)
        return float(block.rates[block.step(time_s), bisect_left(self.keys, key)])

    def _block(self, time_s: float) -> _Block:
        """Return the block in which a moment lies, solved already or, in periods that were skipped, solved now."""
        for block in self._blocks:
            if time_s < block.edges_s[-1]:
                if time_s >= block.edges_s[0]:
                    return block
                break
        return self._walk(self._figures[LEFT] - self._figures[SLACK], time_s)[-1]

    # ---------------------------------------------------------------------------------- the next completion

    def solve(self, walk: Walk | None) -> None:
        """Find the next completion, from the moment the group stands at on.

        walk   the compiled twin of what stands below, if there is one: it gives the same bits
        """
        self._blocks, self._walked = [], walk
        if walk is None:
            over = self._solve()
        else:
            self.finish_s, self._rest, over = self._go(walk, math.inf)
        keys = self.keys
        self.done = [keys[place] for place in over.nonzero()[0].tolist()]

    def _solve(self) -> NDArray[np.bool_]:
        """Set the next completion; return which flows end there."""
        left, slack = self._figures[LEFT], self._figures[SLACK]
        need = left - slack
        over: NDArray[np.bool_] = need <= 0.0
        if np.count_nonzero(over):
            self.finish_s, self._rest = self._since_s, left
            return over
        self._blocks = self._walk(need, math.inf)
        block = self._blocks[-1]
        step = int((block.passed >= need).argmax()) // len(need)  # the first entry lies in the first step
        before, rates = block.passed[step - 1] if step else block.before, block.rates[step]
        edge_s, end_s = block.edges_s[step: step + 2].tolist()
        first = (block.passed[step] >= need).nonzero()[0]
        past_s = np.maximum((left[first] - before[first]) / rates[first], 0.0)
        ends_s = edge_s + np.minimum(past_s, end_s - edge_s)
        self.finish_s = min(ends_s.tolist())
        self._rest = left - (before + rates * (self.finish_s - edge_s))
        # Not by what is left alone: late in a long run a rounding of the clock is worth more than the slack.
        over = self._rest <= slack
        over[first[ends_s <= self.finish_s]] = True
        return over

    def _go(self, walk: Walk, until_s: float) -> tuple[float, Bytes, NDArray[np.bool_]]:
        """Go by one compiled loop to the next completion or a moment before it.

        returns   when that is, the bytes each flow has left then, and whether it ends
        """
        flows, table = len(self.keys), self._table
        left, over = np.empty(flows), np.empty(flows, dtype=np.bool_)
        end_s = walk(table.by_step, self._all_places, self._counts, self._links, self._all_figures, self._limited,
                     self._weighted, self._constant, table.step_s, self._since_s, until_s, left, over)
        if end_s != end_s:
            raise Stuck(self.keys, self._since_s)
        return end_s, left, over

    def _walk(self, need: Bytes, until_s: float) -> list[_Block]:
        """Solve block after block up to the first completion, or beyond a moment; skip whole periods by division."""
        before = np.zeros(len(self.keys))
        if self._constant:
            return [self._standing(before)]
        table, blocks = self._table, []
        first = step = self._first_step()
        period_end, steps, turn = first + 1 + table.period, self._first_steps(), before
        while True:
            steps = min(steps, period_end - step) if step < period_end else steps
            block = self._solved(step, steps, before)
            blocks.append(block)
            turn = block.passed[0] if step == first else turn
            before = block.passed[-1]
            if block.edges_s[-1] > until_s or np.count_nonzero(before >= need):
                return blocks
            step, steps = step + steps, self._no_more(2 * steps)
            if step == period_end:
                whole = self._periods(need, before, before - turn, until_s - float(block.edges_s[-1]))
                before = before + whole * (before - turn)
                step += int(whole) * table.period

    def _first_step(self) -> int:
        """Return the number of the step of the grid in which the group stands; the next if it stands on an edge."""
        step = math.floor(self._since_s / self._table.step_s)
        return step + 1 if (step + 1) * self._table.step_s <= self._since_s else step

    def _first_steps(self) -> int:
        """Return how many steps the first completion may take at the pace so far, at first that of mean capacities."""
        if not self._paced:
            self._paced = True
            self._figures[PACE] = self._filled(self._figures[PACE][None].copy(), self._means)[0]
        expected_s = float((self._figures[LEFT] / np.maximum(self._figures[PACE], SLOWEST)).min())
        return self._no_more(2 + MARGIN * expected_s / self._table.step_s)

    def _no_more(self, steps: float) -> int:
        return int(max(1, min(steps, LONGEST_BLOCK, MOST_ENTRIES // len(self.keys))))

    def _solved(self, step: int, steps: int, before: Bytes) -> _Block:
        """Solve steps of the grid from a first one on."""
        table = self._table
        edges_s: Bytes = np.arange(step, step + steps + 1, dtype=np.float64) * table.step_s
        edges_s[0] = max(float(edges_s[0]), self._since_s)
        rates = self._shares(step, steps)
        passed = rates * (edges_s[1:] - edges_s[:-1])[:, None]
        passed[0] += before
        return _Block(edges_s, rates, passed.cumsum(axis=0), before)

    def _standing(self, before: Bytes) -> _Block:
        """Solve a group in which no rate ever changes: one step, long enough."""
        rates = self._shares(0, 1)
        left, moves = self._figures[LEFT], rates[0] > 0
        if not moves.any():
            raise Stuck(self.keys, self._since_s)
        span_s = 2.0 * float((left[moves] / rates[0][moves]).min()) + 1.0
        return _Block(np.array([self._since_s, self._since_s + span_s]), rates, rates * span_s, before)

    def _shares(self, step: int, steps: int) -> Bytes:
        """Return the rates in steps of the grid, [S, F]."""
        table, figures = self._table, self._figures
        caps = table.block(step, steps, self._places[0])
        if self._limited:
            caps = np.minimum(caps * figures[SHARE], figures[MOST])
        return self._filled(caps, table.block(step, steps, self._links))

    def _filled(self, caps: Bytes, links: Bytes) -> Bytes:
        """Return the rates [S, F] of flows that could take `caps`, over links of these capacities [S, links]."""
        weights, places, one = self._figures[WEIGHT] if self._weighted else None, self._places, links.shape[1] == 1
        if caps.size <= (FEW if one else FEW_OF_MANY):
            return self._one_by_one(caps.tolist(), links.tolist(), None if weights is None else weights.tolist())
        capacities = [links] if one else np.split(links, self._counts.cumsum()[:-1], axis=1)
        return fill(caps, capacities, [None] if one else list(places[1:]), weights)

    def _one_by_one(self, caps: list[list[float]], links: list[list[float]], weights: list[float] | None) -> Bytes:
        if len(self._links) == 1:
            return np.array([fill_one(each, room[0], weights) for each, room in zip(caps, links, strict=True)])
        chosen = [flows for place, count in zip(self._places[1:].tolist(), self._counts.tolist(), strict=True)
                  for flows in riders(place, count)]
        return np.array([fill_step(each, room, chosen, weights) for each, room in zip(caps, links, strict=True)])

    def _periods(self, need: Bytes, moved: Bytes, per_period: Bytes, span_s: float) -> float:
        """Return how many whole periods pass before the next completion, and within a span."""
        moves = per_period > 0
        whole = np.floor(((need[moves] - moved[moves]) / per_period[moves]).min()) if moves.any() else math.inf
        if whole * self._table.period > FOR_EVER:
            raise Stuck(self.keys, self._since_s)
        return float(min(whole, math.floor(span_s / (self._table.period * self._table.step_s))
                         if span_s < math.inf else whole))
