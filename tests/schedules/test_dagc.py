"""DAGC's assignment: by hand, as published, and as properties; never that it beats the uniform one by its own bound."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support import view

from acesim.scenario.errors import PolicyError
from acesim.schedules import DataAware
from acesim.schedules.dagc import MODES, absolute, clip_at_one, least_conservative, phi, relative

sizes = st.lists(st.integers(1, 10_000), min_size=1, max_size=29)
ratios = st.floats(1e-4, 0.02)  # small enough for 29 workers that none reaches 1 often; clipping has its own tests


def shares(counts):
    return np.array(counts) / sum(counts)


def arithmetic(n, skew):
    series = np.linspace(1, 1 / skew, n)
    return series / series.sum()


@pytest.mark.parametrize(("skew", "expected"), [(2, 10.97), (10, 13.19), (100, 14.65), (1000, 14.875)])
def test_phi_of_the_papers_settings(skew, expected):
    """n = 10, arithmetic sizes, Phi in units of 1 / (n ratio); the uniform assignment has 10.0."""
    p = arithmetic(10, skew)
    assert 10 * 0.01 * phi(p, relative(p, 0.01).ratios) == pytest.approx(expected, abs=0.005)
    assert 10 * 0.01 * phi(p, relative(p, 0.01, "uniform").ratios) == pytest.approx(10.0)


def test_by_hand():
    """p = .5, .3, .2: j is the smallest, r the next: Q = (.630 + .448) / .448 = 2.406, delta_j = .3 / 3.406 = .0881."""
    found = relative(np.array([0.5, 0.3, 0.2]), 0.1)
    assert found.least == 2
    np.testing.assert_allclose(found.ratios, [0.3 / 3.4057 * (5 / 3) ** (2 / 3), 0.3 / 3.4057, 0.3 / 3.4057], rtol=1e-4)


@given(sizes, ratios)
def test_the_budget_is_kept_and_ratios_go_with_the_data_but_for_one(counts, ratio):
    """sum delta = n ratio; delta_i / delta_l = (p_i / p_l)^(2/3) for all but worker j; delta_j = delta_r = least."""
    p, found = shares(counts), relative(shares(counts), ratio)
    assert found.ratios.sum() == pytest.approx(len(counts) * ratio, rel=1e-7)
    assert (found.ratios > 0).all()
    assert (found.ratios <= 1).all()
    if found.clipped or np.ptp(p) == 0:
        return
    others = np.delete(np.arange(p.size), found.least)
    scale = found.ratios[others] / p[others] ** (2 / 3)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-5)
    assert found.ratios[found.least] == pytest.approx(found.ratios.min(), rel=1e-7)
    assert found.ratios[others].min() == pytest.approx(found.ratios.min(), rel=1e-5)


@given(sizes, ratios)
def test_more_data_means_more_entries_with_at_most_one_exception(counts, ratio):
    p, found = shares(counts), relative(shares(counts), ratio)
    rows = np.delete(np.arange(p.size), found.least) if found.least >= 0 else np.arange(p.size)
    order = rows[np.argsort(p[rows], kind="stable")]
    assert (np.diff(found.ratios[order]) >= -1e-9).all()


def test_the_exception_may_stand_in_the_middle():
    """Of 21, 20, 17, 5 and 5 the second gets the least, .636 of the mean, and the smaller third 1.438."""
    found = relative(shares((21, 20, 17, 5, 5)), 0.01)
    assert found.least == 1
    np.testing.assert_allclose(found.ratios / 0.01, [1.655, 0.636, 1.438, 0.636, 0.636], atol=1e-3)


@given(sizes)
def test_the_published_figure_is_phi(counts):
    """n ratio Phi = (1 + Q_j)(p_j + p_r Q_j), and no other j has a smaller one."""
    p, n = shares(counts), len(counts)
    found = relative(p, 1e-4)
    if np.ptp(p) == 0 or n == 1 or found.clipped:
        return
    s, figures = p ** (2 / 3), []
    for j in range(n):
        r = min((k for k in range(n) if k != j), key=lambda k: p[k])
        q = (s.sum() - s[j]) / s[r]
        figures.append((1 + q) * (p[j] + p[r] * q))
    assert n * 1e-4 * phi(p, found.ratios) == pytest.approx(min(figures), rel=1e-5)


@given(st.integers(1, 29), st.floats(1e-4, 1), st.sampled_from(MODES))
def test_equal_data_gives_equal_ratios_exactly(n, ratio, mode):
    assert relative(np.full(n, 1 / n), ratio, mode).ratios.tolist() == [ratio] * n


@given(sizes, ratios)
def test_pure_powers(counts, ratio):
    p, found = shares(counts), relative(shares(counts), ratio, "p23")
    if not found.clipped:
        np.testing.assert_allclose(found.ratios, len(counts) * ratio * p ** (2 / 3) / (p ** (2 / 3)).sum(), atol=1e-11)


@pytest.mark.parametrize("counts", [(5, 3, 2), (100, 1, 1), (40, 30, 29), (7, 7, 1)])
def test_water_filling_is_the_minimum(counts):
    """Against a search over all assignments of three workers, in steps of half a per cent of the budget."""
    p, budget, step = shares(counts), 0.03, 0.03 / 200
    grid = itertools.product(np.arange(step, budget, step), repeat=2)
    best = min(phi(p, np.array([a, b, budget - a - b])) for a, b in grid if budget - a - b > step / 2)
    found = relative(p, 0.01, "waterfill").ratios
    assert found.sum() == pytest.approx(budget)
    assert phi(p, found) <= best * (1 + 1e-9)


@given(sizes)
def test_water_filling_is_no_worse_than_any_other_mode(counts):
    p = shares(counts)
    figures = {mode: phi(p, relative(p, 1e-3, mode).ratios) for mode in MODES}
    assert figures["waterfill"] <= min(figures.values()) * (1 + 1e-6)


@given(sizes, st.floats(0.02, 1))
def test_no_ratio_is_above_one_and_the_surplus_is_shared_out(counts, ratio):
    found = relative(shares(counts), ratio)
    assert found.ratios.max() <= 1
    assert found.ratios.sum() == pytest.approx(len(counts) * ratio, rel=1e-6)
    assert found.clipped <= np.count_nonzero(found.ratios == 1)


def test_a_surplus_that_overflows_again_is_shared_again():
    """1.9 leaves .9; half of it lifts .8 over 1, whose .05 go to the last."""
    found, clipped = clip_at_one(np.array([1.9, 0.8, 0.1]), np.array([4.0, 1.0, 2.6]))
    assert clipped == 2
    assert found[:2].tolist() == [1.0, 1.0]
    assert found.sum() == pytest.approx(2.8)


def test_two_workers_and_one():
    assert relative(np.array([0.9, 0.1]), 0.1).ratios.tolist() == [0.1, 0.1]  # j and r: both are least
    assert relative(np.array([1.0]), 0.3).ratios.tolist() == [0.3]
    assert least_conservative(np.array([0.9, 0.1])) in (0, 1)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.2, "much", None, True])
def test_a_ratio_has_its_range(ratio):
    with pytest.raises(PolicyError, match=r"ratio = .*: must be a number in \(0, 1\]"):
        relative(np.array([0.5, 0.5]), ratio)


def test_modes_and_data_are_checked():
    with pytest.raises(PolicyError, match="mode = 'best': must be one of paper, p23, waterfill, uniform"):
        relative(np.array([0.5, 0.5]), 0.1, "best")
    with pytest.raises(PolicyError, match="mode = 'p23': must be one of paper, uniform"):
        absolute(np.array([0.5, 0.5]), 0.1, "p23")
    for assign in (relative, absolute):
        with pytest.raises(PolicyError, match="worker 1 holds no examples"):
            assign(np.array([1.0, 0.0]), 0.1)


# ---- thresholds

@given(sizes, st.floats(1e-6, 10))
def test_thresholds(counts, mean):
    """Their harmonic mean is `mean`, lambda p^(2/3) is constant, and sum p^2 lambda^2 is at most the uniform one's,
    equal only for equal data: this minimum, unlike that of Phi, is one."""
    p, found = shares(counts), absolute(shares(counts), mean)
    assert len(counts) / np.sum(1 / found) == pytest.approx(mean, rel=1e-9)
    np.testing.assert_allclose(found * p ** (2 / 3), found[0] * p[0] ** (2 / 3), rtol=1e-9)
    ours, uniform = np.sum(p**2 * found**2), np.sum(p**2) * mean**2
    assert ours <= uniform * (1 + 1e-9)
    if np.ptp(counts) > 0.1 * max(counts):
        assert ours < uniform


@pytest.mark.parametrize(("skew", "uniform", "ours"), [(10, 0.1273, 0.0896), (1000, 0.1406, 0.0813)])
def test_the_factor_of_the_papers_settings(skew, uniform, ours):
    p = arithmetic(10, skew)
    assert np.sum(p**2 * absolute(p, 1.0, "uniform") ** 2) == pytest.approx(uniform, abs=5e-5)
    assert np.sum(p**2 * absolute(p, 1.0) ** 2) == pytest.approx(ours, abs=5e-5)


@pytest.mark.parametrize("threshold", [0, -0.1, float("inf"), float("nan"), "low", True])
def test_a_threshold_has_its_range(threshold):
    with pytest.raises(PolicyError, match=r"threshold = .*: must be a finite number above 0"):
        absolute(np.array([0.5, 0.5]), threshold)


# ---- the schedule

def test_levels_are_told_once_and_stay():
    schedule, known = DataAware("ratio", 0.1), {"examples": np.array([50, 30, 20])}
    first, _ = schedule.plan(view(3, **known), ())
    later, _ = schedule.plan(view(3, round=5, **known), ())
    assert first.levels == later.levels == relative(np.array([0.5, 0.3, 0.2]), 0.1).ratios.tolist()
    assert (first.nbytes, later.nbytes) == (4, 0)
    assert first.weights.tolist() == [50, 30, 20]
    least, greatest = min(first.levels), max(first.levels)
    assert first.report == {"least_ratio": least, "greatest_ratio": greatest, "clipped_ratios": 0.0}
    assert later.report == {}


def test_clipping_is_in_the_log():
    plan, _ = DataAware("ratio", 0.8).plan(view(3, examples=np.array([60, 30, 10])), ())
    assert plan.report["clipped_ratios"] == 1.0
    assert max(plan.levels) == 1.0


@pytest.mark.parametrize(("parameters", "says"), [
    ({"what": "bits"}, "what = 'bits'"), ({"mean": 0}, "ratio = 0"), ({"mode": "x"}, "mode = 'x'"),
    ({"local_steps": 0}, "local_steps = 0"), ({"local_steps": 1.5}, r"local_steps = 1\.5")])
def test_the_schedule_checks_what_it_is_given(parameters, says):
    with pytest.raises(PolicyError, match=says):
        DataAware(**({"what": "ratio", "mean": 0.1} | parameters))
