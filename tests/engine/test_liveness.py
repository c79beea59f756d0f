"""No quorum, no tree, no fraction and no rule for what is late may bring a run to a standstill, or lose an update."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import Rows, hand_device, hand_setup, play

from acesim.aggregators import Outer
from acesim.compressors import Dense, ErrorFeedback, TopK
from acesim.engine import Simulation
from acesim.learning.local import GradientStep
from acesim.learning.optimizers import SGD, LearningRate
from acesim.schedules import Fixed
from acesim.seam import TreePolicy

LATE = ("apply", "cancel", "to_residual")


def policy(schedule, tree):
    outer = Outer(SGD(), LearningRate("constant", 0.1))
    return TreePolicy(GradientStep(), ErrorFeedback(TopK(0.5)), outer, Dense(), schedule, tree)


def sound(played, setup):
    """Everybody does one thing at a time, every message answers one, and the run ends when its steps are done."""
    workers, total = len(setup.info.tier), setup.info.total_steps
    assert played.metrics[-1].progress == 1.0
    assert played.outcome.totals["local_steps"] >= workers * total
    ended = np.zeros(workers)
    for event in played.of("compute"):
        assert event.start_s >= ended[event.who]
        ended[event.who] = event.end_s
    asked, answered = (np.bincount([e.who for e in played.of(kind) if e.who < workers], minlength=workers)
                       for kind in ("download", "upload"))
    assert ((asked - answered >= 0) & (asked - answered <= 1)).all()
    times = [event.end_s for event in played.of("evaluate")]
    assert times == sorted(times)


choice = st.sampled_from


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 6), choice([0.0, 0.3, 0.5, 0.8, 1.0]), choice([1.0, 0.5, 0.2]), choice(LATE),
       choice(["star", "regions"]))
def test_every_run_ends(data, workers, quorum, fraction, late, tree):
    def drawn(values, count=workers):
        return data.draw(st.lists(choice(values), min_size=count, max_size=count))
    regions = data.draw(st.integers(1, 3)) if tree == "regions" else 0
    slow = choice([hand_device(), hand_device(2800.0)])
    setup = hand_setup(policy(Fixed(quorum=quorum, fraction=fraction, late=late), tree), up=drawn([50, 100, 500]),
                       down=drawn([50, 100, 500]), step_s=drawn([0.1, 1, 3]), latency_s=data.draw(choice([0, 0.25])),
                       region_of=drawn(range(regions)) if regions else None, region_up=drawn([50, 500, 5000], regions),
                       region_down=drawn([50, 500, 5000], regions), region_latency_s=data.draw(choice([0, 0.5])),
                       worker_device=data.draw(slow), region_device=data.draw(slow), cloud_device=data.draw(slow),
                       rounds=data.draw(st.integers(1, 12)))
    sound(play(setup), setup)


def test_those_who_are_drawn_are_still_busy_and_come_too_late():
    """Half of four workers a round, one answer is enough, what is late is dropped: a round may draw only those who
    still work for an earlier one, and drop what they bring.  The server must ask somebody again."""
    rule = policy(Fixed(quorum=0.0, fraction=0.5, late="cancel"), "star")
    for seed in range(8):
        setup = hand_setup(rule, up=[50, 50, 500, 500], down=[50, 100, 500, 50], step_s=[1, 3, 0.1, 3], rounds=6,
                           seed=seed)
        sound(play(setup), setup)


def test_a_region_is_asked_once_for_each_answer():
    """Four workers of one region, the first of whose answers closes its round; the cloud's as well."""
    setup = hand_setup(policy(Fixed(quorum=0.0), "regions"), up=[500, 100, 500, 500], down=[500, 50, 50, 500],
                       step_s=[1, 3, 1, 1], latency_s=0.25, region_of=[0] * 4, region_up=[500], region_down=[5000],
                       region_latency_s=0.5, worker_device=hand_device(2800.0), region_device=hand_device(2800.0),
                       rounds=8)
    played = play(setup)
    sound(played, setup)
    asked, answered = (sum(event.who == 4 for event in played.of(kind)) for kind in ("download", "upload"))
    assert 0 <= asked - answered <= 1


def test_simultaneous_answers_close_one_round():
    """Two equal workers answer at the same instant, one answer is enough: the other is late, and dropped."""
    setup = hand_setup(policy(Fixed(quorum=0.5, late="cancel"), "star"), up=[500] * 2, down=[500] * 2,
                       step_s=[1] * 2, rounds=4)
    played = play(setup)
    sound(played, setup)
    assert {event.who for event in played.of("upload")} == {0, 1}


@dataclass(frozen=True)
class Noted(ErrorFeedback):
    """Error feedback that adds up what it was given, by the random stream of its sender."""

    given: Any = None

    def encode(self, vector, level, rng, state):
        self.given[id(rng)] = self.given.get(id(rng), 0.0) + vector.astype(np.float64)
        return super().encode(vector, level, rng, state)


@dataclass(frozen=True)
class Using(Outer):
    """A server that adds up what it used, by sender."""

    used: Any = None

    def step(self, model, inbox, compressor, state):
        for update in inbox:
            decoded = compressor.decode(update.payload.body, model.size).astype(np.float64)
            self.used[update.sender] = self.used.get(update.sender, 0.0) + decoded
        return super().step(model, inbox, compressor, state)


@pytest.mark.parametrize("late", ["apply", "to_residual"])
@pytest.mark.parametrize("tree", ["star", "regions"])
def test_no_update_is_lost(tree, late):
    """For each who talks to the cloud: given = used + residual + what is still on its way, region servers included."""
    given, used = {}, {}
    policy_ = replace(policy(Fixed(quorum=0.5, late=late), tree), uplink=Noted(TopK(0.25), given=given),
                      aggregator=Using(SGD(), LearningRate("constant", 0.1), used=used))
    setup = hand_setup(policy_, up=[500, 500, 500], down=[500, 500, 500], step_s=[1, 2.3, 3.9], centres=[0, 8, -3],
                       region_of=[0, 1, 2], region_up=[500, 100, 250], region_down=[500] * 3, rounds=15, size=8)
    simulation = Simulation(setup, Rows())
    simulation.run()
    world = simulation.world
    under_way = [*simulation.carrier.messages.values(), *world.cloud.inbox,
                 *(entry.arguments[0] for entry in simulation.agenda.entries.values() if entry.action == "admit")]
    for row in world.cloud.children:
        owner = world.workers[row] if tree == "star" else world.servers[row]
        own = [message for message in under_way if message.sender == row and message.kind == "up"]
        travelling = sum((policy_.uplink.decode(message.payload.body, 8) for message in own), np.zeros(8))
        np.testing.assert_allclose(given[id(owner.rng)], used.get(row, 0.0) + owner.encoder.residual + travelling,
                                   rtol=1e-5, atol=1e-4)
