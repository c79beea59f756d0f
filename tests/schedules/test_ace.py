import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support import groups, view

from acesim.scenario.errors import PolicyError
from acesim.schedules import AceSchedule, Attention, Budgets, Clusters, Intervals
from acesim.schedules.attention import contribution, rank_correlation, statistics
from acesim.schedules.budgets import edge_median

GROUPS = groups(8, 8, 4, 12)
DENSE = 4000


OF_BUDGETS = ("c_min", "c_max", "beta", "factor", "deadline_s")


def schedule(**changes):
    budgets = Budgets(DENSE, **{name: changes.pop(name) for name in OF_BUDGETS if name in changes})
    return AceSchedule(budgets, Attention(GROUPS), **changes)


def first(ace, workers=3, **known):
    seen = view(workers, **known)
    return ace.plan(seen, ace.init(seen, np.random.default_rng(0)))


def test_budgets_follow_equation_5():
    ace = schedule(c_min=2, c_max=16, beta=1, warm_up=0)
    bandwidth = np.array([1e9, 1e6, 2e6, 0.5e6])
    plan, _ = ace.plan(view(4, bandwidth_bytes_per_s=bandwidth), ace.init(view(4), np.random.default_rng(0)))
    factor = 2 + 14 * np.exp(-bandwidth / 1e6)  # median of the three edge workers is 1e6
    np.testing.assert_allclose([level.nbytes for level in plan.levels], DENSE / factor)


def test_the_cloud_stays_out_of_the_median():
    assert edge_median(np.array([1e9, 1.0, 2.0, 3.0]), np.array(["cloud", "edge", "edge", "edge"])) == 2.0


def test_before_anything_is_measured_all_is_sent_whole():
    ace = schedule(warm_up=0)
    plan, _ = ace.plan(view(3), ace.init(view(3), np.random.default_rng(0)))
    assert all(level.nbytes >= DENSE for level in plan.levels)


def test_the_warm_up_sends_whole_gradients_even_on_known_links():
    ace = schedule(warm_up=2)
    known = view(3, round=1, bandwidth_bytes_per_s=np.full(3, 1e3))
    plan, _ = ace.plan(known, ace.init(known, np.random.default_rng(0)))
    assert all(level.nbytes >= DENSE for level in plan.levels)


def test_a_deadline_cuts_budgets():
    ace = schedule(c_min=1, c_max=1, warm_up=0, deadline_s=2.0)
    plan, _ = first(ace, bandwidth_bytes_per_s=np.array([1e9, 100.0, 200.0]))
    assert [level.nbytes for level in plan.levels[1:]] == [200.0, 400.0]


@given(st.lists(st.floats(1e2, 1e9), min_size=2, max_size=8), st.floats(0.1, 4))
def test_a_faster_worker_never_gets_a_smaller_budget(rates, beta):
    budgets = np.array(Budgets(DENSE, beta=beta).nbytes(np.array(sorted(rates)), float(np.median(rates))))
    assert (np.diff(budgets) >= 0).all()
    assert (budgets >= DENSE / 16 * (1 - 1e-12)).all()
    assert (budgets <= DENSE / 2 * (1 + 1e-12)).all()


@pytest.mark.parametrize(("changes", "rule"), [
    ({"c_min": 0.5}, "1 <= c_min <= c_max"), ({"c_min": 5, "c_max": 4}, "1 <= c_min <= c_max"),
    ({"beta": -1}, "beta = -1"), ({"deadline_s": 0}, "deadline_s = 0"), ({"keep": 2}, "top_p = 2"),
    ({"factor": 0.5}, "c = 0.5"), ({"latency_power": -1}, "latency_power = -1"), ({"rest_every": 0}, "rest_every = 0"),
    ({"rest_share": 2}, "rest_share = 2"), ({"careful": 2}, "careful = 2"), ({"down_factor": 0.5}, "down = 0.5")])
def test_bad_values_are_named(changes, rule):
    with pytest.raises(PolicyError, match=rule):
        schedule(**changes)


def test_the_predictor_learns_which_groups_matter():
    """Importance that follows structure only (magnitudes are alike) must be found by the structural branch."""
    attention, rng = Attention(GROUPS, learning_rate=0.05), np.random.default_rng(0)
    state = attention.init()
    label = np.array([1.0, 2 / 3, 0.0, 1 / 3])
    for _ in range(300):
        state = attention.learn(label, attention.observe(rng.standard_normal(32).astype(np.float32), state))
    assert rank_correlation(attention.predict(state), label) == pytest.approx(1.0)


def test_the_gradient_of_the_predictor_is_that_of_its_loss():
    """One Adam step from zero moments moves every weight against the sign of the numerical gradient."""
    attention, rng = Attention(GROUPS), np.random.default_rng(1)
    state = attention.observe(rng.standard_normal(32).astype(np.float32), attention.init())
    state = state._replace(weights=rng.standard_normal(state.weights.size) * 0.3)
    label = np.array([0.1, 0.9, 0.4, 0.6])

    def loss(weights):
        return np.mean((attention.predict(state._replace(weights=weights)) - label) ** 2)
    eye = np.eye(state.weights.size) * 1e-6
    numeric = np.array([(loss(state.weights + e) - loss(state.weights - e)) / 2e-6 for e in eye])
    learned = attention.learn(label, state)
    np.testing.assert_allclose(learned.first / 0.1, numeric, rtol=1e-5, atol=1e-9)


def test_contribution_is_ranked_to_the_unit_interval():
    update = np.repeat(np.array([3.0, 1.0, 0.0, 2.0], np.float32), [8, 8, 4, 12])
    np.testing.assert_allclose(contribution(update, -update, GROUPS), [1.0, 1 / 3, 0.0, 2 / 3])


def test_statistics_by_hand():
    vector = np.zeros(32, np.float32)
    vector[:8] = [1, -1] * 4
    magnitude, variance = statistics(vector, GROUPS)
    np.testing.assert_allclose(magnitude, [1, 0, 0, 0])
    np.testing.assert_allclose(variance, [1, 0, 0, 0])


def test_rank_correlation_of_a_constant_is_zero():
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0.0


def test_the_plan_reports_both_correlations_from_the_second_round_on():
    ace, rng = schedule(), np.random.default_rng(2)
    state = ace.init(view(3), rng)
    for round_number in range(3):
        update = rng.standard_normal(32).astype(np.float32)
        seen = view(3, round=round_number, update=None if round_number == 0 else update, step=-update)
        plan, state = ace.plan(seen, state)
    assert set(plan.report) == {"rank_correlation", "rank_correlation_magnitude"}
    assert plan.nbytes == 4 * len(GROUPS) + 4


def test_a_predictor_that_nobody_asks_is_neither_taught_nor_scored():
    ace, update = schedule(learned=False), np.ones(32, np.float32)
    first = ace.init(view(3), np.random.default_rng(2))
    for round_number in range(1, 4):
        plan, state = ace.plan(view(3, round=round_number, update=update, step=-update), first)
        assert plan.report == {}
        assert state.attention is first.attention


def test_one_factor_for_all_ignores_links():
    plan, _ = first(schedule(factor=8.0, warm_up=0), bandwidth_bytes_per_s=np.array([1e9, 1.0, np.nan]))
    assert [level.nbytes for level in plan.levels] == [DENSE / 8] * 3


def test_a_careful_deadline_is_reckoned_with_a_low_quantile():
    ace, budgets = schedule(factor=1.0, warm_up=0, deadline_s=1.0, careful=0.0), []
    state = ace.init(view(2), np.random.default_rng(0))
    for number, rate in enumerate((300.0, 100.0, 500.0)):
        plan, state = ace.plan(view(2, round=number, bandwidth_bytes_per_s=np.full(2, rate)), state)
        budgets.append(plan.levels[1].nbytes)
    assert budgets == [300.0, 100.0, 100.0]


def test_a_careful_deadline_holds_from_the_first_measurement_on():
    """Rounds in which nothing was known yet are no reason to send without end."""
    ace, budgets = schedule(factor=1.0, warm_up=0, deadline_s=1.0, careful=0.5), []
    state = ace.init(view(2), np.random.default_rng(0))
    for number, rate in enumerate((np.nan, 100.0, 300.0)):
        plan, state = ace.plan(view(2, round=number, bandwidth_bytes_per_s=np.full(2, rate)), state)
        budgets.append(plan.levels[1].nbytes)
    assert budgets[1:] == [100.0, 200.0]


def test_a_cluster_has_the_budget_of_its_slowest_quartile():
    ace = schedule(c_min=2, c_max=16, warm_up=0, clusters=Clusters(1))
    rates = np.array([1e9, 1e6, 2e6, 3e6, 4e6, 5e6])
    plan, _ = first(ace, 6, bandwidth_bytes_per_s=rates, compute_s=np.ones(6))
    expected = DENSE / (2 + 14 * np.exp(-2e6 / 3e6))  # quartile 2e6, median 3e6 of the five at the edge
    np.testing.assert_allclose([level.nbytes for level in plan.levels[1:]], expected)
    assert plan.levels[0].nbytes == pytest.approx(DENSE / 2)


def test_curvature_divides_importance_by_the_root_of_v():
    ace = schedule(learned=False, curvature=True)
    plan, _ = first(ace, curvature=np.repeat(np.array([4.0, 1.0, 16.0, 1.0], np.float32), [8, 8, 4, 12]))
    np.testing.assert_allclose(plan.levels[0].importance, [0.5, 1.0, 0.25, 1.0], rtol=1e-5)


def test_resting_groups_weigh_nothing_but_in_their_turn():
    """The two least important of four groups are sent every third round; the warm-up sends all."""
    ace = schedule(learned=False, curvature=True, rest_every=3, warm_up=1)
    curvature = np.repeat(np.array([1.0, 9.0, 4.0, 1.0], np.float32), [8, 8, 4, 12])
    state, sent = ace.init(view(3), np.random.default_rng(0)), []
    for number in range(4):
        plan, state = ace.plan(view(3, round=number, curvature=curvature), state)
        sent.append((plan.levels[0].importance > 0).astype(int).tolist())
    assert sent == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 1, 1], [1, 1, 0, 1]]


def test_intervals_and_weights_go_into_the_plan():
    ace = schedule(intervals=Intervals(3, 3), latency_power=1.0)
    plan, _ = first(ace, participation=np.array([1.0, 0.5, 1.0]), round_time_s=np.array([1.0, 1.0, 4.0]))
    assert plan.local_steps.tolist() == [3, 3, 3]
    np.testing.assert_allclose(plan.weights, [10, 5.5, 3])
    assert plan.report == {"local_steps": 3.0}


def test_the_downlink_has_a_budget_of_its_own():
    ace = schedule(down_factor=8.0, warm_up=1)
    plan, state = first(ace)
    later, _ = ace.plan(view(3, round=1), state)
    assert (plan.down_level.nbytes, later.down_level.nbytes) == (DENSE, DENSE / 8)
    assert schedule().down_factor is None
