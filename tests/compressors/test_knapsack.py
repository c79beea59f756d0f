import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import solve_exact, solve_greedy, solve_uniform
from acesim.compressors.knapsack import climb, prepared
from acesim.scenario.errors import PolicyError

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)
SOLVERS = [solve_exact, lambda *problem: solve_greedy(*problem)[0], solve_uniform]


@st.composite
def problems(draw, groups=4, levels=4):
    shape = draw(st.tuples(st.integers(1, groups), st.integers(1, levels)))
    numbers = st.integers(-3, 20) | st.floats(-3, 20)
    values = draw(st.lists(numbers, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    costs = draw(st.lists(st.integers(0, 12), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    costs = np.array(costs).reshape(shape)
    spare = draw(st.integers(0, 30))
    values = np.array(values, np.float64).reshape(shape)
    if draw(st.booleans()) and shape[1] > 1:
        values[0, draw(st.integers(0, shape[1] - 1))] = -np.inf  # a group may have fewer levels
    cheapest = np.where(np.isneginf(values), 99, costs).min(1).sum()
    return values, costs, int(cheapest) + spare


def total(table, picks):
    return table[np.arange(len(picks)), picks].sum()


def by_trying_all(values, costs, budget):
    best = -np.inf
    for picks in itertools.product(range(values.shape[1]), repeat=len(values)):
        if total(costs, np.array(picks)) <= budget:
            best = max(best, total(values, np.array(picks)))
    return best


def hull_steps(values, costs):
    """Value of every step up each group's upper hull, the plain way: each time by the steepest line."""
    steps = []
    for worth, price in zip(values, costs, strict=True):
        there = [(cost, value) for cost, value in zip(price, worth, strict=True) if value > -np.inf]
        at = min(there, key=lambda point: (point[0], -point[1]))
        while above := [point for point in there if point[0] > at[0] and point[1] > at[1]]:
            best = max(above, key=lambda point: ((point[1] - at[1]) / (point[0] - at[0]), point[0]))
            steps.append(best[1] - at[1])
            at = best
    return steps


@quick
@given(problems())
def test_exact_is_exact(problem):
    picks = solve_exact(*problem)
    assert total(problem[1], picks) <= problem[2]
    assert total(problem[0], picks) == pytest.approx(by_trying_all(*problem), abs=1e-9)


@quick
@given(problems(7, 6))
def test_greedy_is_within_its_stated_gap(problem):
    values, costs, budget = problem
    picks, gap = solve_greedy(*problem)
    best = total(values, solve_exact(*problem))
    assert total(costs, picks) <= budget
    assert best - gap - 1e-9 <= total(values, picks) <= best + 1e-9
    assert 0 <= gap <= max([0.0, *hull_steps(values, costs)]) + 1e-9


@pytest.mark.parametrize("solve", SOLVERS)
def test_large_budget_takes_the_best_level(solve):
    values = np.array([[0.0, 5, 3], [0, 1, 2]])
    costs = np.array([[0, 10**9, 10**9 + 1], [0, 1, 2]])
    large = 10**3 if solve is solve_exact else 10**9
    picks = solve(values, np.where(costs > 2, costs // 10**9 * large, costs), 3 * large)
    assert picks.tolist() == ([1, 2] if solve is not solve_uniform else [1, 1])


def test_greedy_fills_what_is_left():
    """The steep step of 9 fits, the next of 10 does not; a worse one of the same group does."""
    values = np.array([[0.0, 90, 91], [0, 50, 0], [0, 3, 0]])
    costs = np.array([[0, 9, 12], [0, 10, 10], [0, 2, 9]])
    picks, gap = solve_greedy(values, costs, 12)
    assert picks.tolist() == [1, 0, 1]
    assert gap == pytest.approx(5.0 * 3 - 3)


def test_ragged_groups():
    values = np.array([[1.0, -np.inf, -np.inf], [0, 2, 7]])
    costs = np.array([[3, 0, 0], [0, 1, 2]])
    for solve in SOLVERS[:2]:
        assert solve(values, costs, 4).tolist() == [0, 1]
        with pytest.raises(PolicyError, match=r"budget = 2: the cheapest levels take 3"):
            solve(values, costs, 2)


def test_costs_share_a_unit():
    """Costs in whole millions cost the exact solver no more than costs in ones."""
    values, costs = np.array([[0.0, 1, 3]] * 5), np.array([[0, 1, 2]] * 5)
    scaled = solve_exact(values, costs * 10**6, 7 * 10**6 + 5)
    assert scaled.tolist() == solve_exact(values, costs, 7).tolist()


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize(("values", "costs", "message"), [
    ([[1.0, np.nan]], [[0, 1]], "must not be NaN"),
    ([[1.0, np.inf]], [[0, 1]], "must not be NaN or infinite"),
    ([[-np.inf, -np.inf]], [[0, 1]], "at least must be above -inf"),
    ([[1.0, 2.0]], [[0, -1]], "whole numbers >= 0"),
    ([[1.0, 2.0]], [[0.0, 1.0]], "whole numbers >= 0"),
    ([[1.0, 2.0]], [[0, 1], [0, 1]], "must be equal and"),
    (np.zeros((0, 2)), np.zeros((0, 2), int), "must be equal and")])
def test_refusals(solve, values, costs, message):
    with pytest.raises(PolicyError, match=message):
        solve(np.array(values), np.array(costs), 5)


def test_exact_refuses_a_table_too_large():
    with pytest.raises(PolicyError, match=r"the table is too large; count costs in a larger unit"):
        solve_exact(np.zeros((10, 2)), np.outer(np.arange(10**9, 10**9 + 10), [0, 1]), 10**10)


@quick
@given(problems(5, 4))
def test_uniform_stays_within_budget(problem):
    values, costs, budget = problem
    values = np.where(np.isneginf(values), -50.0, values)
    if costs.sum(0).min() <= budget:
        picks = solve_uniform(values, costs, budget)
        assert total(costs, picks) <= budget or (np.diff(costs, axis=1) < 0).any()
    else:
        with pytest.raises(PolicyError, match="the cheapest levels take"):
            solve_uniform(values, costs, budget)


@pytest.mark.reference
def test_a_hundred_instances_of_milp():
    path = SHARED / "validation" / "knapsack" / "mckp_100.json"
    if not path.exists():
        pytest.skip(f"reference answers not found beside the project: {path.name}")
    solved = 0
    for instance in json.loads(path.read_text(encoding="utf-8"))["instances"]:
        levels = max(map(len, instance["values"]))
        values = np.array([row + [-np.inf] * (levels - len(row)) for row in instance["values"]])
        costs = np.array([row + [0] * (levels - len(row)) for row in instance["costs"]])
        if not instance["feasible"]:
            for solve in SOLVERS[:2]:
                with pytest.raises(PolicyError, match="the cheapest levels take"):
                    solve(values, costs, instance["budget"])
            continue
        exact = solve_exact(values, costs, instance["budget"])
        greedy, gap = solve_greedy(values, costs, instance["budget"])
        assert total(values, exact) == pytest.approx(instance["optimum"], abs=1e-6)
        assert instance["optimum"] - gap - 1e-6 <= total(values, greedy) <= instance["optimum"] + 1e-6
        assert gap <= max(hull_steps(values, costs)) + 1e-9
        assert max(total(costs, exact), total(costs, greedy)) <= instance["budget"]
        solved += 1
    assert solved >= 50


@quick
@given(problems(groups=6), st.data())
def test_some_groups_of_a_hull_are_climbed_as_if_there_were_no_others(problem, data):
    """Also where numpy lays the chosen columns out the other way round."""
    values, costs, _ = problem
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    if not chosen.any():
        return
    weights = np.arange(1.0, 1.0 + chosen.sum())
    least = np.where(np.isneginf(values), 99, costs).min(1)[chosen].sum()
    room = int(least) + data.draw(st.integers(0, 30))
    part, gap = climb(prepared(values, costs).only(chosen), weights, room)
    alone, same = climb(prepared(values[chosen], costs[chosen]), weights, room)
    assert (part.tolist(), gap) == (alone.tolist(), same)
