"""One level for each group: the multiple-choice knapsack, exactly and fast.

Maximise sum_i values[i, l_i] subject to sum_i costs[i, l_i] <= budget, one level l_i for each group i.
A value of -inf marks a level that a group does not have.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError

Picks = NDArray[np.int64]
Table = NDArray[np.float64]

_LARGEST_TABLE = 500_000_000  # cells of the exact solver: half a gigabyte of picks


def solve_exact(values: NDArray[Any], costs: NDArray[Any], budget: int) -> Picks:
    """Return the picks [G] of largest value, by dynamic programming over whole-number costs.

    best_i(b) = max over l of best_{i-1}(b - costs[i, l]) + values[i, l]; every budget b at once.

    values   float [G, L], -inf where a group has no such level
    costs    int [G, L], >= 0
    budget   in the same unit; time G L budget, memory G budget bytes, so scale large costs down (rounding up)
    raises   PolicyError when even the cheapest levels do not fit, or the table would take more than 500 MB

    >>> solve_exact(np.array([[0., 5.], [0., 4.]]), np.array([[0, 3], [0, 2]]), 4)
    array([1, 0])
    """
    values, costs = _checked(values, costs)
    groups = np.arange(len(values))
    least = np.where(np.isneginf(values), np.inf, costs).min(1)
    extra = np.where(np.isneginf(values), -1, costs - least[:, None]).astype(np.int64)
    room = _room(least, budget, int(extra.max(1).sum()))
    unit = max(1, math.gcd(*extra[extra > 0].tolist()))
    choices = _choices(values, extra // unit, room // unit)
    left, picks = room // unit, np.zeros(len(values), np.int64)
    for group in groups[::-1]:
        picks[group] = choices[group, left]
        left -= int(extra[group, picks[group]]) // unit
    return picks


def solve_greedy(values: NDArray[Any], costs: NDArray[Any], budget: int) -> tuple[Picks, float]:
    """Return (picks [G], gap): near-optimal picks, and a bound on what they miss of the largest value.

    The upper convex hull of every group's (cost, value) points is climbed in order of efficiency (value per
    cost), all groups together, until a step does not fit: the value so far and the fitting fraction of that
    step bound the optimum from above.  What is left of the budget then goes to single changes of a group that
    still fit, the largest gain first.  gap = bound - value reached, never more than the value of the one step
    that did not fit.

    values, costs, budget   as for `solve_exact`; costs may be as large as 2^53
    raises                  PolicyError when even the cheapest levels do not fit

    >>> solve_greedy(np.array([[0., 5.], [0., 4.]]), np.array([[0, 3], [0, 2]]), 4)
    (array([0, 1]), 3.3333333333333335)
    """
    return climb(prepared(values, costs), np.ones(len(values)), budget)


class Hull(NamedTuple):
    """A knapsack made ready: what follows from its levels alone, whatever its groups weigh.

    worth, price    values and costs [L, G]
    least           cost of each group's cheapest level [G]
    base            the cheapest levels [L, G]
    steps           the corners of the rising part of each group's upper hull beyond them, as places in [L, G] [S]
    slopes, rises   slope and rise in price with which the hull leads to each step [S]
    """

    worth: Table
    price: Table
    least: NDArray[np.float64]
    base: NDArray[np.bool_]
    steps: NDArray[np.int64]
    slopes: NDArray[np.float64]
    rises: NDArray[np.float64]

    def only(self, groups: NDArray[np.bool_]) -> Hull:
        """Return the hull of some of the groups."""
        level, group = np.divmod(self.steps, groups.size)
        there = groups[group]
        place = level * np.count_nonzero(groups) + (np.cumsum(groups) - 1)[group]
        return Hull(self.worth[:, groups].copy(), self.price[:, groups].copy(), self.least[groups],
                    self.base[:, groups].copy(), place[there], self.slopes[there], self.rises[there])


def prepared(values: NDArray[Any], costs: NDArray[Any]) -> Hull:
    """Return a knapsack made ready for `climb`; values and costs as for `solve_exact`."""
    values, costs = _checked(values, costs)
    worth, price = _available(values.T.copy(), costs.T.astype(np.float64))
    corners, slopes, before = _hull(worth, price)
    rising = corners & np.isfinite(slopes)
    return Hull(worth, price, price.min(0), corners & ~rising, np.flatnonzero(rising), slopes[rising],
                (price - before)[rising])


def climb(hull: Hull, weights: NDArray[np.float64], budget: int) -> tuple[Picks, float]:
    """Return what `solve_greedy` returns for values times the weights of their groups [G], each >= 0.

    A weight stretches a group's hull and leaves its corners where they are, so a hull serves as long as its levels do.
    """
    room = _room(hull.least, budget)
    efficiency = hull.slopes * weights[hull.steps % weights.size]
    order = np.argsort(-efficiency, kind="stable")[:np.count_nonzero(efficiency)]  # steps worth nothing come last
    spent = np.cumsum(hull.rises[order])
    fitting = int(np.searchsorted(spent, room, side="right"))
    room -= float(spent[fitting - 1]) if fitting else 0.0
    reached = hull.base.copy()
    reached.flat[hull.steps[order[:fitting]]] = True
    picks: Picks = np.where(reached, hull.price, -1.0).argmax(0)
    missed = float(efficiency[order[fitting]]) * room if fitting < order.size else 0.0
    return picks, max(0.0, missed - _fill(hull.worth * weights, hull.price, picks, room))


def solve_uniform(values: NDArray[Any], costs: NDArray[Any], budget: int) -> Picks:
    """Return picks [G] that prefer no group: the best level that all can have, and the next for the first
    groups.

    What a choice by group is to be held against, at equal bytes.  values, costs, budget as for `solve_exact`.

    raises   PolicyError when no level fits for all groups

    >>> solve_uniform(np.array([[0., 5.], [0., 4.]]), np.array([[0, 3], [0, 2]]), 4)
    array([1, 0])
    """
    values, costs = _checked(values, costs)
    worth, price = values.sum(0), costs.sum(0)
    _room(price.min(keepdims=True), budget)
    level = int(np.where(price <= budget, worth, -np.inf).argmax())
    better = worth > worth[level]
    if not better.any():
        return np.full(len(values), level)
    above = int(np.where(better, price, np.inf).argmin())
    rises = np.cumsum(costs[:, above] - costs[:, level]) <= budget - price[level]
    return np.asarray(np.where(rises, above, level))


def _checked(values: NDArray[Any], costs: NDArray[Any]) -> tuple[Table, NDArray[np.int64]]:
    table, whole = np.asarray(values, np.float64), np.asarray(costs)
    if table.ndim != 2 or table.shape != whole.shape or 0 in table.shape:
        raise PolicyError(f"knapsack: values {table.shape} and costs {whole.shape}: must be "
                          f"equal and [groups, levels]")
    if whole.dtype.kind not in "iu" or whole.min() < 0:
        raise PolicyError("knapsack: costs must be whole numbers >= 0; round them up")
    top = table.max(1)
    if not np.isfinite(top).all():
        group = int(np.flatnonzero(~np.isfinite(top))[0])
        raise PolicyError(f"knapsack: values of group {group} = {table[group].tolist()}: must not be NaN or "
                          f"infinite, and one at least must be above -inf")
    return table, whole.astype(np.int64)


def _room(least: NDArray[Any], budget: int, most: float = math.inf) -> Any:
    needed = least.sum()
    if not budget >= needed:
        raise PolicyError(f"knapsack: budget = {budget}: the cheapest levels take {needed:.0f}; raise it or "
                          f"offer a cheaper level")
    room = min(budget - needed, most)
    return int(room) if math.isfinite(most) else float(room)


def _choices(values: Table, extra: NDArray[np.int64], room: int) -> NDArray[Any]:
    """Return for each group and each budget 0..room the level with which the best picks end there."""
    groups, levels = values.shape
    if groups * (room + 1) > _LARGEST_TABLE:
        raise PolicyError(f"solve_exact: {groups} groups times a budget of {room}: the table is too large; "
                          f"count costs in a larger unit, or use solve_greedy")
    choices = np.zeros((groups, room + 1), np.min_scalar_type(levels - 1))
    best = np.zeros(room + 1)
    for group in range(groups):
        ahead = np.full(room + 1, -np.inf)
        for level in range(levels):
            cost = int(extra[group, level])
            if 0 <= cost <= room:
                trial = best[:room + 1 - cost] + values[group, level]
                better = trial > ahead[cost:]
                ahead[cost:][better] = trial[better]
                choices[group, cost:][better] = level
        best = ahead
    return choices


def _available(worth: Table, price: Table) -> tuple[Table, Table]:
    """Replace levels that are not there by worse copies of the group's cheapest, which no solution takes."""
    absent = np.isneginf(worth)
    if not absent.any():
        return worth, price
    least = np.where(absent, np.inf, price).min(0)
    base = np.where(~absent & (price == least), worth, -np.inf).max(0)
    return np.where(absent, base - 1.0, worth), np.where(absent, least, price)


def _hull(worth: Table, price: Table) -> tuple[NDArray[np.bool_], Table, Table]:
    """Return which levels are corners of the rising part of their group's upper hull, and the slope and the
    price from which the hull leads there; all [L, G].

    A level is a corner when every line to it from a cheaper level is steeper than every line from it to a
    dearer one; the flattest of the former is the hull's own edge.  Slopes to the cheapest levels are inf.
    """
    gain, extra = worth[:, None] - worth, price[:, None] - price  # [k, j, G]: from j to k
    with np.errstate(divide="ignore", invalid="ignore"):  # equal costs are left out of both sides below
        slope = gain / extra
    cheaper = extra < 0
    arriving = np.where(cheaper, slope, np.inf).min(0)
    leaving = np.where(extra > 0, slope, -np.inf).max(0)
    corners = (arriving > leaving) & (arriving > 0)
    same = extra == 0
    if np.count_nonzero(same) > worth.size:  # of equal costs only the best counts, of equal values the first
        first = np.arange(len(worth))[:, None, None] < np.arange(len(worth))[:, None]
        corners &= ~(same & ((gain > 0) | ((gain == 0) & first))).any(0)
    before = np.where(cheaper, np.where(corners, price, -np.inf)[:, None], -np.inf).max(0)
    return corners, arriving, before


def _fill(worth: Table, price: Table, picks: Picks, room: float) -> float:
    """Change picks in place while a single change gains and fits; return the gain."""
    columns = np.arange(picks.size)
    gain, extra = worth - worth[picks, columns], price - price[picks, columns]
    total = 0.0
    while True:
        fits = np.where(extra <= room, gain, 0.0)
        best = int(fits.argmax())
        if fits.flat[best] <= 0:
            return total
        level, group = divmod(best, picks.size)
        total += float(gain[level, group])
        room -= float(extra[level, group])
        picks[group] = level
        gain[:, group] -= gain[level, group]
        extra[:, group] -= extra[level, group]
