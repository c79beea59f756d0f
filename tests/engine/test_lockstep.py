"""Rounds played in one go are the rounds that events play: the same rows, in the same order, the same training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests_support import counted_text, hand_device, hand_setup, language, play, small_setup

from acesim.aggregators import Outer
from acesim.compressors import Dense, ErrorFeedback, TopK
from acesim.engine import Simulation
from acesim.learning.local import GradientStep
from acesim.learning.optimizers import SGD, LearningRate
from acesim.schedules import Fixed
from acesim.seam import Chunk, TreePolicy

WIDE = {"region_uplink": "100 Gbps", "cloud_ingress": "1000 Gbps", "cloud_egress": "1000 Gbps"}
NARROW = {"region_uplink": "20 Mbps"}
NOMINAL = {"model": [{"name": "a", "shape": [300_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}}
RATE = LearningRate("constant", 0.1)


def both(setup):
    """Play a world both ways; return (events one by one, rounds in one go)."""
    assert Simulation(setup, None).lockstep._lanes, "this world would not be played in one go"
    return play(replace(setup, one_by_one=True)), play(setup)


def same(one, other):
    np.testing.assert_array_equal(one.outcome.model, other.outcome.model)
    assert one.outcome.training_digest == other.outcome.training_digest
    assert one.outcome.totals == pytest.approx(other.outcome.totals, rel=1e-12, nan_ok=True)
    assert (one.outcome.ideal_s, one.outcome.rounds) == (other.outcome.ideal_s, other.outcome.rounds)
    assert len(one.events) == len(other.events)
    for rows, others in ((one.events, other.events), (one.metrics, other.metrics)):
        pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(others), rtol=1e-12, atol=0)


@pytest.mark.parametrize("network", [WIDE, NARROW])
@pytest.mark.parametrize(("policy", "parameters"), [
    ("full-sync", {}), ("top-k", {"ratio": 0.2}), ("fedavg", {"local_steps": 3}), ("fedavg", {"fraction": 0.4}),
    ("uniform-quantised", {"bits": 4}), ("cloud-only", {}), ("ace-sync-plus", {"tree": "star", "rest_every": 2}),
    ("ace-sync/flat", {"sketch": 3, "recluster_every": 4}), ("ace-sync/flat", {"h_min": 1, "h_max": 4}),
    ("ace-sync/cache", {"tree": "star", "c_min": 20.0, "c_max": 40.0}),
    ("ace-sync/flat", {"personal": ["x.0", "x.5"], "clusters": 3, "recluster_every": 4})])
def test_policies(policy, parameters, network):
    same(*both(small_setup(policy, parameters, cloud=3, edge=9, epochs=3, network=network, nominal=NOMINAL)))


@pytest.mark.parametrize("network", [WIDE, NARROW])
def test_a_language_model(tmp_path, network):
    task = language(counted_text(tmp_path))
    same(*both(small_setup(task=task, cloud=3, edge=9, network=network, nominal=NOMINAL)))


def test_wide_lines_are_free_and_narrow_ones_are_not():
    for network, free in ((WIDE, True), (NARROW, False)):
        lanes = Simulation(small_setup(cloud=3, edge=9, network=network), None).lockstep._lanes
        assert lanes["upload"].free.tolist() == [True] * 3 + [free] * 9  # the data centre's own are on wide ones


def test_work_that_queues_at_the_server():
    """Decoding 100 entries takes the cloud half a second for each answer, one after another."""
    policy = TreePolicy(GradientStep(), ErrorFeedback(TopK(0.5)), Outer(SGD(), RATE), Dense("bf16"), Fixed())
    same(*both(hand_setup(policy, up=[500, 125, 600, 333], down=[1000, 250, 900, 77], step_s=[2, 1, 3, 1.5],
                          latency_s=[0.25, 0.5, 0.1, 0.2], cloud_device=hand_device(700.0),
                          worker_device=hand_device(900.0), rounds=3)))


def test_launches_and_start_ups():
    """A quarter of a second to launch a kernel, and half a second before the first byte of a message."""
    policy = TreePolicy(GradientStep(), ErrorFeedback(TopK(0.5)), Outer(SGD(), RATE), Dense("bf16"), Fixed())
    slow = replace(hand_device(900.0), launch_s=0.25)
    setup = hand_setup(policy, up=[500, 125, 600], down=[1000, 250, 900], step_s=[2, 1, 3], latency_s=[0.25, 0.5, 0.1],
                       cloud_device=slow, worker_device=slow, rounds=3)
    same(*both(replace(setup, topology=replace(setup.topology, message_startup_s=0.5))))


@pytest.mark.parametrize("launch_s", [[0.0] * 3, [0.25, 0.0, 0.5]])
def test_encoders_that_take_no_time_have_no_rows(launch_s):
    """Work is declared, but only launches cost something here, and not on every device."""
    policy = TreePolicy(GradientStep(), ErrorFeedback(TopK(0.5)), Outer(SGD(), RATE), Dense("bf16"), Fixed())
    setup = hand_setup(policy, up=[500, 125, 600], down=[1000, 250, 900], step_s=[2, 1, 3], rounds=3)
    devices = [replace(device, launch_s=each_s) for device, each_s in
               zip(setup.fleet.devices, [*launch_s, *[0.0] * 9], strict=False)]
    setup = replace(setup, fleet=replace(setup.fleet, devices=tuple(devices)))
    one, other = both(setup)
    same(one, other)
    assert len(other.of("encode")) == 3 * np.count_nonzero(launch_s)


def test_stragglers_and_slow_phases():
    compute = {"stragglers": {"spread": 0.4, "share": 0.2},
               "slow_phases": {"factor": 3, "every": "2 min", "last": "60 s"}}
    same(*both(small_setup("fedavg", {"local_steps": 2}, nominal=NOMINAL, edge=6, epochs=3, compute=compute)))


@pytest.mark.parametrize("change", [
    {"schedule": Fixed(quorum=0.5)}, {"tree": "regions"}, {"schedule": Fixed(sync_parent=False)},
    {"uplink": Dense(chunks=(Chunk(0.5, 0.5), Chunk(0.5, 1.0)))}])
def test_worlds_where_something_could_come_between_are_played_by_events(change):
    setup = small_setup()
    simulation = Simulation(replace(setup, policy=replace(setup.policy, **change)), None)
    plan, _ = simulation.policy.schedule.plan(simulation._view(), simulation.policy.schedule.init(
        simulation._view(), np.random.default_rng(0)))
    assert not simulation.lockstep.fits(plan)


def test_who_shares_an_encoding_waits_for_no_later_one():
    """A lossy downlink to workers that hold different models, from a cloud that takes its time to encode."""
    policy = TreePolicy(GradientStep(), Dense(), Outer(SGD(), RATE), Dense("bf16"), Fixed(fraction=0.5))
    setup = hand_setup(policy, up=[500] * 12, down=[1000] * 12, step_s=[1] * 12, cloud_device=hand_device(700.0),
                       rounds=8, centres=np.arange(12.0))
    same(*both(setup))


@pytest.mark.parametrize("steps", [7, 8, 9, 24])
def test_many_local_steps_are_added_up_alike(steps):
    fleet = small_setup(cloud=3, edge=9).fleet
    spans_s = fleet.spans_s(np.arange(12), np.zeros(12, int), np.full(12, steps), np.zeros(12))
    alone_s = [float(fleet.compute_s(row, 0, steps, 0.0).cumsum()[-1]) for row in range(12)]
    assert spans_s.tolist() == alone_s
