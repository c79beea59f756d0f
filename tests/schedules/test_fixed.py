import numpy as np
import pytest
from tests_support import view

from acesim.scenario.errors import PolicyError
from acesim.schedules import Drawing, Fixed


def test_everybody_takes_part_by_default():
    schedule = Fixed(local_steps=3)
    plan, _ = schedule.plan(view(5), schedule.init(view(5), np.random.default_rng(0)))
    np.testing.assert_array_equal(plan.participants, range(5))
    np.testing.assert_array_equal(plan.local_steps, [3] * 5)
    np.testing.assert_array_equal(plan.weights, [10, 11, 12, 13, 14])
    assert schedule.copies == 1


def test_a_fraction_is_drawn_without_replacement_and_repeats():
    schedule = Fixed(fraction=0.3)
    state = schedule.init(view(20), np.random.default_rng(1))
    drawn = [schedule.plan(view(20, round=r), state)[0].participants for r in range(50)]
    assert all(rows.size == 6 == np.unique(rows).size for rows in drawn)
    assert all((np.diff(rows) > 0).all() for rows in drawn)
    np.testing.assert_array_equal(drawn[7], schedule.plan(view(20, round=7), state)[0].participants)
    assert np.unique(np.concatenate(drawn)).size == 20
    assert schedule.copies is None


def test_a_round_that_is_planned_again_draws_others_and_the_next_round_as_if_it_had_not_been():
    schedule = Fixed(fraction=0.1)
    state = schedule.init(view(20), np.random.default_rng(1))
    tried = []
    for _ in range(50):
        plan, state = schedule.plan(view(20, round=3), state)
        tried.append(plan.participants)
    assert np.unique(np.concatenate(tried)).size == 20
    np.testing.assert_array_equal(schedule.plan(view(20, round=4), state)[0].participants,
                                  schedule.plan(view(20, round=4), state._replace(round=-1))[0].participants)


def test_the_plan_is_the_very_same_in_every_round_where_nobody_is_drawn():
    for schedule, same in ((Fixed(), True), (Fixed(fraction=0.5), False), (Fixed(tier="cloud"), True)):
        first, state = schedule.plan(view(9), schedule.init(view(9), np.random.default_rng(0)))
        assert (schedule.plan(view(9, round=1), state)[0] is first) == same


def test_a_plan_of_all_rounds_cannot_be_changed_by_one():
    plan, _ = Fixed().plan(view(4), Drawing(0))
    with pytest.raises(ValueError, match="read-only"):
        plan.weights[0] = -1.0


def test_who_is_enrolled_is_asked():
    class Even(Fixed):
        def enrolled(self, tier):
            return np.arange(tier.size) % 2 == 0

    np.testing.assert_array_equal(Even().plan(view(5), Drawing(0))[0].participants, [0, 2, 4])


def test_a_fraction_always_leaves_somebody():
    schedule = Fixed(fraction=0.01)
    plan, _ = schedule.plan(view(5), Drawing(0))
    assert plan.participants.size == 1


def test_a_tier_alone():
    schedule = Fixed(tier="cloud", weights="uniform")
    plan, _ = schedule.plan(view(4), Drawing(0))
    np.testing.assert_array_equal(plan.participants, [0])
    np.testing.assert_array_equal(schedule.enrolled(view(4).tier), [True, False, False, False])
    np.testing.assert_array_equal(plan.weights, np.ones(4))


def test_an_empty_tier_is_an_error():
    with pytest.raises(PolicyError, match="no worker of the fleet is of this tier"):
        Fixed(tier="moon").plan(view(4), Drawing(0))


@pytest.mark.parametrize(("field", "value", "rule"), [
    ("local_steps", 0, "at least 1"), ("fraction", 0, r"\(0, 1\]"), ("fraction", 1.1, r"\(0, 1\]"),
    ("quorum", -0.1, r"\[0, 1\]"), ("weights", "age", "examples, uniform")])
def test_bad_values_are_named(field, value, rule):
    with pytest.raises(PolicyError, match=f"{field} = {value}: .*{rule}"):
        Fixed(**{field: value})
