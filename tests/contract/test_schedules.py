"""One battery for every schedule: what it plans is sound, repeats, and leaves what it was shown as it was."""

import copy
import pickle
from dataclasses import fields

import numpy as np
import pytest
from tests_support import groups, view

from acesim import schedules
from acesim.learning.optimizers import LearningRate
from acesim.schedules import (
    Accordion,
    AceSchedule,
    Asynchronous,
    Attention,
    Budgets,
    Clusters,
    DataAware,
    Fixed,
    Intervals,
    Pace,
    Turns,
    WarmUp,
)
from acesim.seam import Budget, Schedule

GROUPS = groups(8, 8, 4, 12)
P, W, R = 32, 7, 3
SCHEDULES = [
    Fixed(), Fixed(local_steps=4, weights="uniform"), Fixed(fraction=0.4), Fixed(quorum=0),
    Fixed(quorum=0.5, late="cancel"), Fixed(tier="cloud"), Fixed(tier="edge", fraction=0.1), Fixed(level=0.25),
    Fixed(local_steps=3, sync_parent=False),
    AceSchedule(Budgets(4 * P), Attention(GROUPS)),
    AceSchedule(Budgets(4 * P, factor=8.0), Attention(GROUPS), learned=False, warm_up=0),
    AceSchedule(Budgets(4 * P, deadline_s=0.5, beta=0.0), Attention(GROUPS), keep=0.2, careful=0.2),
    AceSchedule(Budgets(4 * P), Attention(GROUPS), clusters=Clusters(2, 2, sketch=3),
                intervals=Intervals(1, 4, watch=2), latency_power=1.0, curvature=True, rest_every=2, down_factor=8.0),
    AceSchedule(Budgets(4 * P, factor=8.0), Attention(GROUPS), warm_up=1, turns=Turns(3)),
    AceSchedule(Budgets(4 * P, factor=8.0), Attention(GROUPS), intervals=Intervals(1, 3), down_factor=8.0,
                pace=Pace(0.1)),
    DataAware("ratio", 0.1), DataAware("ratio", 0.7, "waterfill", 3), DataAware("threshold", 0.01),
    WarmUp(levels=(0.5, 0.1), rounds=2), Accordion(gentle=0.5, harsh=0.1), Accordion(window=3),
    Asynchronous(), Asynchronous(learning_rate=LearningRate("linear", 0.5, 2, 9), resync_every=2),
]
NAMES = [f"{type(schedule).__name__}-{row}" for row, schedule in enumerate(SCHEDULES)]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=NAMES)


def views(rounds):
    """What a server sees, round by round: nothing at first, then measured figures, some still unknown."""
    rng = np.random.default_rng(5)
    yield view(W, cloud=2, regions=R)
    for number in range(1, rounds):
        rate = rng.lognormal(14, 1, W)
        rate[number % W] = np.nan
        yield view(W, cloud=2, regions=R, round=number, bandwidth_bytes_per_s=rate, progress=number / rounds,
                   down_bandwidth_bytes_per_s=rng.lognormal(14, 1, W),
                   region_bandwidth_bytes_per_s=rng.lognormal(16, 1, R), compute_s=rng.random(W) + 0.1,
                   round_time_s=rng.random(W) + 1, drift=rng.random(W), time_s=3.0 * number,
                   update=rng.standard_normal(P).astype(np.float32), step=rng.standard_normal(P).astype(np.float32),
                   curvature=rng.random(P).astype(np.float32))


def plans(schedule, seed=0, rounds=6):
    seen = list(views(rounds))
    state = schedule.init(seen[0], np.random.default_rng(seed))
    made = []
    for each in seen:
        plan, state = schedule.plan(each, state)
        made.append(plan)
    return made


@every
def test_it_keeps_its_side_of_the_seam(schedule):
    assert isinstance(schedule, Schedule)
    assert schedule.enrolled(view(W, cloud=2).tier).shape == (W,)
    assert schedule.copies is None or schedule.copies >= 1


@every
def test_plans_are_sound(schedule):
    enrolled = np.flatnonzero(schedule.enrolled(view(W, cloud=2).tier))
    for plan in plans(schedule):
        rows = plan.participants
        assert rows.dtype.kind == "i"
        assert rows.size
        assert set(rows.tolist()) <= set(enrolled.tolist())
        assert (np.diff(rows) > 0).all()
        assert plan.local_steps.shape == plan.weights.shape == (W,)
        assert plan.local_steps.dtype.kind == "i"
        assert (plan.local_steps[rows] >= 1).all()
        assert np.isfinite(plan.weights).all()
        assert (plan.weights[rows] > 0).all()
        assert 0 <= plan.quorum <= 1
        assert plan.late in ("apply", "cancel", "to_residual")
        assert plan.nbytes >= 0
        assert all(isinstance(name, str) and np.isfinite(value) for name, value in plan.report.items())
        for levels, count in ((plan.levels, W), (plan.region_levels, R)):
            assert levels is None or len(levels) == count
            for level in levels or []:
                if isinstance(level, Budget):
                    assert 0 < level.nbytes < np.inf
                    assert np.isfinite(level.importance).all()


@every
def test_the_view_is_only_looked_at(schedule):
    seen = list(views(4))
    frozen = copy.deepcopy(seen)
    for each in seen:
        for field in fields(each):
            value = getattr(each, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
    state = schedule.init(seen[0], np.random.default_rng(0))
    for each, copied in zip(seen, frozen, strict=True):
        _, state = schedule.plan(each, state)
        for field in fields(each):
            np.testing.assert_array_equal(getattr(each, field.name), getattr(copied, field.name))


@every
def test_the_state_is_only_looked_at(schedule):
    """Planning twice from one state gives one plan twice: nothing is kept in the schedule or in the random stream."""
    seen = list(views(5))
    state = schedule.init(seen[0], np.random.default_rng(0))
    for each in seen:
        once, after = schedule.plan(each, state)
        twice, _ = schedule.plan(each, pickle.loads(pickle.dumps(state)))
        assert repr(once) == repr(twice)
        state = after


@every
def test_runs_repeat(schedule):
    assert repr(plans(schedule, seed=1)) == repr(plans(schedule, seed=1))


@every
def test_it_is_plain_data(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert " at 0x" not in repr(schedule)
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))


@every
def test_one_worker_is_enough(schedule):
    if getattr(schedule, "tier", None) == "edge":
        pytest.skip("the one worker is of the cloud")
    lone = view(1, cloud=1, regions=1)
    plan, _ = schedule.plan(lone, schedule.init(lone, np.random.default_rng(0)))
    np.testing.assert_array_equal(plan.participants, [0])


def test_one_copy_means_that_nobody_is_left_behind():
    assert Fixed().copies == 1
    assert Fixed(fraction=0.5).copies is None
    assert Fixed(quorum=0.9).copies is None
    assert AceSchedule(Budgets(4 * P), Attention(GROUPS)).copies == 1
    assert AceSchedule(Budgets(4 * P), Attention(GROUPS), turns=Turns(3)).copies == 3


def test_the_battery_misses_nobody():
    members = {value for value in vars(schedules).values() if isinstance(value, type) and hasattr(value, "plan")}
    assert {type(schedule) for schedule in SCHEDULES} == members
