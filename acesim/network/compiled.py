"""The arithmetic of `nested` and `nesting` step by step, to be compiled: the same sums in the same order.

Without numba this is plain Python, far too slow for use, but the same function; a test holds both to the same bits.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.network.accelerated import FOR_EVER

Rates = NDArray[np.float64]
Numbers = NDArray[np.int64]
Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


def _as_it_is(signature: str, **_: object) -> Compile:
    """Take numba's place where it is not installed."""
    return lambda function: function


njit: Callable[..., Compile] = (importlib.import_module("numba").njit if importlib.util.find_spec("numba")
                                else _as_it_is)


# Branches that nobody could foresee are written as sums of 0.0: the same bits, in two thirds of the time.


@njit("void(float64[::1], float64, int64[::1], float64[::1], boolean)", cache=True, error_model="numpy")
def fill_one(rates: Rates, capacity: float, place: Numbers, weight: Rates, weighted: bool) -> None:
    """Cut rates down to their shares of one link, that of the flows whose place is 0; see `nesting.fill_one`."""
    total, rest = 0.0, 0.0
    for flow in range(len(rates)):
        if place[flow] == 0:
            total += rates[flow]
            rest += weight[flow] if weighted else 1.0
    if total <= capacity:
        return
    level, raised = -1.0, capacity / rest
    while raised > level:
        level, taken, rest = raised, 0.0, 0.0
        for flow in range(len(rates)):
            if place[flow] == 0:
                share = weight[flow] if weighted else 1.0
                below = rates[flow] < share * level
                taken += rates[flow] if below else 0.0
                rest += 0.0 if below else share
        raised = max(level, (capacity - taken) / (rest if rest > 0.0 else 1.0))
    for flow in range(len(rates)):
        if place[flow] == 0:
            rates[flow] = min(rates[flow], weight[flow] * level if weighted else level)


@njit("void(float64[::1], int64, float64[:, ::1], int64[:, ::1], int64[::1], int64[::1], float64[::1], boolean,"
      "float64[:, ::1])", cache=True, error_model="numpy")
def fill(rates: Rates, row: int, by_step: Rates, places: Numbers, counts: Numbers, links: Numbers, weight: Rates,
         weighted: bool, sums: Rates) -> None:
    """Cut rates down to their shares of links, from the innermost on; see `nesting.fill`.  sums: room for four rows."""
    start, flows = 0, len(rates)
    total, rest, taken, level = sums[0], sums[1], sums[2], sums[3]
    for height in range(len(counts)):
        count, place = counts[height], places[1 + height]
        if count == 1:
            fill_one(rates, by_step[row, links[start]], place, weight, weighted)
            start += 1
            continue
        for link in range(count + 1):
            total[link], rest[link], level[link] = 0.0, 0.0, np.inf
        for flow in range(flows):
            total[place[flow]] += rates[flow]
            rest[place[flow]] += weight[flow] if weighted else 1.0
        raising = False
        for link in range(count):
            capacity = by_step[row, links[start + link]]
            if total[link] > capacity:
                level[link], raising = capacity / rest[link], True
        if not raising:
            start += count
            continue
        while raising:
            raising = False
            for link in range(count + 1):
                rest[link], taken[link] = 0.0, 0.0
            for flow in range(flows):
                share = weight[flow] if weighted else 1.0
                link = place[flow]
                below = rates[flow] < share * level[link]
                taken[link] += rates[flow] if below else 0.0
                rest[link] += 0.0 if below else share
            for link in range(count):
                spare = by_step[row, links[start + link]] - taken[link]
                raised = spare / (rest[link] if rest[link] > 0.0 else 1.0)
                if raised > level[link]:
                    level[link], raising = raised, True
        for flow in range(flows):
            rates[flow] = min(rates[flow], (weight[flow] if weighted else 1.0) * level[place[flow]])
        start += count


@njit("float64(float64[::1], float64[::1], float64[::1], int64, float64)", cache=True, error_model="numpy")
def periods(need: Rates, moved: Rates, turn: Rates, period: int, most: float) -> float:
    """Move flows over all whole periods before the next completion, at most some; return how many, NaN for no end."""
    whole: float = np.inf
    for flow in range(len(need)):
        if moved[flow] > turn[flow]:
            whole = min(whole, (need[flow] - moved[flow]) / (moved[flow] - turn[flow]))
    whole = float(np.floor(whole))
    if whole * period > FOR_EVER:
        return np.nan
    whole = min(whole, most)
    for flow in range(len(need)):
        moved[flow] = moved[flow] + whole * (moved[flow] - turn[flow])
    return whole


@njit("float64(float64[:, ::1], int64[:, ::1], int64[::1], int64[::1], float64[:, ::1], boolean, boolean, boolean,"
      "float64, float64, float64, float64[::1], boolean[::1])", cache=True, error_model="numpy")
def walk(by_step: Rates, places: Numbers, counts: Numbers, links: Numbers, figures: Rates, limited: bool,
         weighted: bool, constant: bool, step_s: float, since_s: float, until_s: float, rest: Rates,
         over: NDArray[np.bool_]) -> float:
    """Go from step to step up to the next completion, or a moment before it; return when that is, NaN for never.

    rest, over   set to the bytes each flow has left then, and whether it ends; the others are those of `Nested`
    """
    flows, period = len(rest), len(by_step)
    left, slack, weight = figures[0, :flows], figures[1, :flows], figures[2, :flows]
    share, most, column = figures[3], figures[4], places[0]
    ended = False
    for flow in range(flows):
        over[flow] = left[flow] <= slack[flow]
        ended |= over[flow]
    if until_s == np.inf and ended:
        rest[:] = left
        return since_s
    room = np.zeros((4, flows))
    need, moved, turn, rates = room[0], room[1], room[2], room[3]
    need[:] = left - slack
    sums = np.empty((4, counts.max() + 1))
    step = math.floor(since_s / step_s)
    if (step + 1) * step_s <= since_s:
        step += 1
    edge_s, first = max(step * step_s, since_s), step
    while True:
        row = step % period
        for flow in range(flows):
            rates[flow] = by_step[row, column[flow]]
            if limited:
                rates[flow] = min(rates[flow] * share[flow], most[flow])
        fill(rates, row, by_step, places, counts, links, weight, weighted, sums)
        span_s = (step + 1) * step_s - edge_s
        if until_s < (np.inf if constant else (step + 1) * step_s):
            rest[:] = left - (moved + rates * (until_s - edge_s))
            return until_s
        if constant:
            span_s = np.inf
            for flow in range(flows):
                if rates[flow] > 0.0:
                    span_s = min(span_s, left[flow] / rates[flow])
            if span_s == np.inf:
                return np.nan
            span_s = 2.0 * span_s + 1.0
        finish_s = np.inf
        for flow in range(flows):
            if moved[flow] + rates[flow] * span_s >= need[flow]:
                past_s = max((left[flow] - moved[flow]) / rates[flow], 0.0)
                finish_s = min(finish_s, edge_s + min(past_s, span_s))
        if finish_s < np.inf:
            break
        for flow in range(flows):
            moved[flow] += rates[flow] * span_s
        if step == first:
            turn[:] = moved
        step += 1
        if step == first + 1 + period:
            whole = periods(need, moved, turn, period, np.floor((until_s - step * step_s) / (period * step_s)))
            if math.isnan(whole):
                return np.nan
            step += int(whole) * period
        edge_s = step * step_s
    for flow in range(flows):
        rest[flow] = left[flow] - (moved[flow] + rates[flow] * (finish_s - edge_s))
        over[flow] = rest[flow] <= slack[flow]
        if moved[flow] + rates[flow] * span_s >= need[flow]:
            past_s = max((left[flow] - moved[flow]) / rates[flow], 0.0)
            over[flow] = over[flow] or edge_s + min(past_s, span_s) <= finish_s
    return finish_s
