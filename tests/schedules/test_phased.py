"""Warm-ups, critical regimes, and the answers of an asynchronous server."""

import numpy as np
import pytest
from tests_support import view

from acesim.learning.optimizers import LearningRate
from acesim.policies.dgc import densities
from acesim.scenario.errors import PolicyError
from acesim.schedules import Accordion, Asynchronous, WarmUp
from acesim.seam import Rated


def played(schedule, updates, workers=3):
    """Return the plans of the rounds before which the server saw these updates, None first."""
    state, plans = schedule.init(view(workers), np.random.default_rng(0)), []
    for number, update in enumerate(updates):
        plan, state = schedule.plan(view(workers, round=number, update=update), state)
        plans.append(plan)
    return plans


def of_norm(norm):
    return np.array([0.6 * norm, 0.8 * norm], np.float32)


def test_levels_follow_one_another():
    plans = played(WarmUp(levels=(0.5, 0.2, 0.1), rounds=2), [None] * 7)
    assert [plan.levels[0] for plan in plans] == [0.5, 0.5, 0.2, 0.2, 0.1, 0.1, 0.1]


def test_densities_of_the_paper_and_of_the_code():
    """25, 6.25, 1.5625, .4 and .1 %; .316, .1, .0316, .01, .00316 and .001."""
    assert densities(0.001, "paper") == (0.25, 0.0625, 0.015625, 0.00390625, 0.001)
    assert densities(0.001, "code") == pytest.approx((0.316, 0.1, 0.0316, 0.01, 0.00316, 0.001), rel=1e-2)
    assert densities(0.1, "paper") == (0.25, 0.1, 0.1, 0.1, 0.1)
    assert densities(0.1, "none") == (0.1,)


@pytest.mark.parametrize("parameters", [{"levels": ()}, {"rounds": 0}, {"rounds": 1.5}])
def test_a_warm_up_is_checked(parameters):
    with pytest.raises(PolicyError, match="WarmUp: levels = "):
        WarmUp(**parameters)


def test_accordion_by_hand():
    """Norms 10, 4, 3, 3, 6: |10 - 4| / 10 = .6 is critical, 1/4 and 0 are not, |3 - 6| / 3 = 1 is."""
    plans = played(Accordion(gentle=0.9, harsh=0.1), [None, *map(of_norm, (10, 4, 3, 3, 6))])
    assert [plan.levels[0] for plan in plans] == [0.9, 0.9, 0.9, 0.1, 0.1, 0.9]
    assert [plan.report["critical"] for plan in plans] == [1, 1, 1, 0, 0, 1]


def test_accordion_adds_up_a_window():
    """Windows of two: 3 + 1, then 2 + 2: no change, though every update changed by a half or more."""
    plans = played(Accordion(gentle=0.9, harsh=0.1, window=2), [None, *map(of_norm, (3, 1, 2, 2, 2, 2))])
    assert [plan.levels[0] for plan in plans] == [0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1]


def test_accordion_at_a_standstill_is_critical():
    """No gradient at all says nothing: rather too much is sent than too little."""
    plans = played(Accordion(gentle=0.9, harsh=0.1), [None, *map(of_norm, (0, 0, 1))])
    assert [plan.levels[0] for plan in plans] == [0.9] * 4


@pytest.mark.parametrize(("parameters", "says"), [({"change": 0}, "change = 0"), ({"window": 0}, "window = 0")])
def test_accordion_is_checked(parameters, says):
    with pytest.raises(PolicyError, match=says):
        Accordion(**parameters)


def test_workers_are_told_the_rate_of_the_runs_progress():
    schedule = Asynchronous(learning_rate=LearningRate("linear", 0.4, 0, 10))
    state = schedule.init(view(2), np.random.default_rng(0))
    told = [schedule.plan(view(2, progress=share), state)[0] for share in (0.0, 0.5, 1.0)]
    assert [plan.levels for plan in told] == [[Rated(0.4)] * 2, [Rated(0.2)] * 2, [Rated(0.0)] * 2]
    assert told[0].nbytes == 4
    assert Asynchronous().plan(view(2), state)[0].levels is None
    assert told[0].quorum == 0


def test_those_who_were_heard_last_are_sent_all_once_in_a_while():
    """Worker r % 3 is heard before round r; each is due once in six rounds."""
    schedule, whole = Asynchronous(resync_every=6), {0: [], 1: [], 2: []}
    state = schedule.init(view(3), np.random.default_rng(0))
    for number in range(1, 31):
        staleness = np.array([1 + (number - row) % 3 for row in range(3)])
        plan, state = schedule.plan(view(3, round=number, staleness=staleness), state)
        if plan.down_level is not None:
            assert plan.down_level == 1.0
            whole[number % 3].append(number)
    assert whole == {0: [6, 12, 18, 24, 30], 1: [7, 13, 19, 25], 2: [8, 14, 20, 26]}


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_a_resync_takes_versions(every):
    with pytest.raises(PolicyError, match="resync_every = "):
        Asynchronous(resync_every=every)
