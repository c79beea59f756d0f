"""Cohorts that take turns: equals together, everybody as often, and the same gradients a step as with all at once."""

import numpy as np
import pytest
from tests_support import play, small_setup, view

from acesim.policies import build
from acesim.scenario.errors import PolicyError
from acesim.schedules import Turns
from acesim.schedules.turns import Cohorts


def test_cohorts_are_of_equals():
    seen = view(6, round=2, compute_s=np.array([3.0, 1.0, 2.0, 1.0, 2.0, 3.0]), latency_s=np.zeros(6),
                bandwidth_bytes_per_s=np.array([1.0, 1.0, 1.0, 1e3, 1.0, 1.0]))
    # three steps and 12 bytes take 21, 15, 18, 3.012, 18 and 21 seconds
    assert Turns(3).dealt(seen, np.full(6, 12.0)) == Cohorts(pytest.approx([2, 0, 1, 0, 1, 2]), 0)


def test_who_is_unknown_counts_as_slow():
    seen = view(3, compute_s=np.array([np.nan, 5.0, 1.0]), latency_s=np.zeros(3), bandwidth_bytes_per_s=np.ones(3))
    np.testing.assert_array_equal(Turns(3).dealt(seen, np.ones(3)).numbers, [2, 1, 0])


@pytest.mark.parametrize(("workers", "count"), [(7, 3), (8, 4), (2, 5), (5, 1)])
def test_everybody_is_asked_once_in_every_cycle(workers, count):
    turns, cohorts = Turns(count), Turns(count).dealt(view(workers, round=3), np.ones(workers))
    asked = []
    for number in range(3, 3 + min(workers, count)):
        rows, steps, cohorts = turns.next(view(workers, round=number), cohorts)
        asked.append((rows, steps))
    assert sorted(np.concatenate([rows for rows, _ in asked]).tolist()) == list(range(workers))
    assert all(rows.size for rows, _ in asked)
    assert all((steps == min(workers, count)).all() for _, steps in asked)


def test_a_round_that_is_planned_again_is_the_next_cohorts():
    turns, cohorts = Turns(3), Turns(3).dealt(view(6, round=3), np.ones(6))
    first, _, cohorts = turns.next(view(6, round=3), cohorts)
    again, _, _ = turns.next(view(6, round=3), cohorts)
    assert not set(first) & set(again)


def test_nobody_waits_before_there_are_cohorts():
    rows, steps, cohorts = Turns(4).next(view(5), None)
    assert (rows.tolist(), steps.tolist(), cohorts) == ([0, 1, 2, 3, 4], [1] * 5, None)


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_a_turn_needs_a_cohort(count):
    with pytest.raises(PolicyError, match=r"turns = .*: must be a whole number of cohorts, at least 1"):
        Turns(count)


def test_turns_and_local_steps_exclude_each_other():
    with pytest.raises(PolicyError, match=r"turns = 2, h_max = 4: cannot both exceed 1"):
        build("ace-sync", small_setup().info, {"turns": 2, "h_max": 4})


def test_a_server_remembers_a_copy_for_every_cohort():
    info = small_setup().info
    alone, turns = (build("ace-sync-plus", info, {"turns": count, "pace": None, "down_rho": 0.0}) for count in (1, 4))
    assert turns.memory_bytes("cloud", 1000, 80) - alone.memory_bytes("cloud", 1000, 80) == 4 * 1000 * 3
    assert turns.memory_bytes("cloud", 1000, 2) - alone.memory_bytes("cloud", 1000, 2) == 4 * 1000
    foreseeing = build("ace-sync-plus", info, {"turns": 4, "pace": None})  # each of them with the model before
    assert foreseeing.memory_bytes("cloud", 1000, 80) - turns.memory_bytes("cloud", 1000, 80) == 4 * 1000 * 4


@pytest.mark.parametrize("policy", ["ace-sync", "ace-sync-plus"])
def test_two_turns_take_the_samples_of_one_round_at_half_the_messages(policy):
    def played(turns):
        return play(small_setup(policy, {"turns": turns, "warm_up": 1, "pace": None}, cloud=2, edge=4, epochs=3))
    whole, halves = played(1), played(2)
    done = [sum(row.steps for row in each.events if row.kind == "compute") for each in (whole, halves)]
    assert done == [6 * 18, 6 * 18]
    sent = [sum(row.kind == "upload" and row.who < 6 for row in each.events) for each in (whole, halves)]
    assert sent == [6 * 18, 6 + 3 * 17]
