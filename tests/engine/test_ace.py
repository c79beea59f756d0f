"""What ACE-Sync asks of the engine, seen from outside: memories, guides, sketches, relayed downlinks."""

from dataclasses import replace

import numpy as np
import pytest
from tests_support import Rows, hand_setup, play, small_setup

from acesim.aggregators import Outer, Replay
from acesim.compressors import CachedFeedback, Dense, ErrorFeedback, Grouped, Uniform
from acesim.engine.simulation import Simulation
from acesim.engine.state import sketched
from acesim.learning.ahead import LookAhead
from acesim.learning.local import GradientStep
from acesim.learning.optimizers import SGD, LearningRate
from acesim.scenario.errors import PolicyError
from acesim.schedules import Fixed
from acesim.seam import TreePolicy

NOMINAL = {"model": [{"name": "x", "shape": [240_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}}


def played(setup):
    simulation = Simulation(setup, Rows())
    simulation.run()
    return simulation


def owners(world):
    return [*world.workers, *(server for server in world.servers.values() if server is not world.cloud)]


@pytest.mark.parametrize("tree", ["star", "regions"])
def test_cached_mass_is_conserved_through_the_tree(tree):
    """Server and sender have the same cache at every edge of the tree, after every round."""
    setup = small_setup("ace-sync/cache", {"tree": tree, "c_min": 20.0, "c_max": 40.0}, epochs=3, nominal=NOMINAL)
    simulation = played(setup)
    world, compared, filled = simulation.world, 0, 0
    for server in world.servers.values():
        for child, memory in server.memories.items():
            np.testing.assert_array_equal(memory.codes, world.owner(child).encoder.cache.codes)
            np.testing.assert_array_equal(memory.scales, world.owner(child).encoder.cache.scales)
            compared, filled = compared + 1, filled + bool(memory.codes.any())
    assert compared == (6 if tree == "star" else 9)
    assert filled == compared


@pytest.mark.parametrize("regions", [False, True])
def test_what_the_server_used_and_residuals_are_all_gradients(regions):
    """SGD at rate 1 adds up what the cloud used: model_0 - model_T + weighted residuals = sum of weighted gradients."""
    shape = {"region_of": [0, 0, 1, 1], "region_up": [9e9] * 2, "region_down": [9e9] * 2} if regions else {}
    rounds, total = 6, np.zeros(8)
    grouped = Grouped((4, 4), menu=("skip", "4-bit"), default="4-bit")
    levels = Fixed(level=np.array([1, 0]))
    server = Outer(SGD(), LearningRate("constant", 0.1))
    policy = TreePolicy(GradientStep(), CachedFeedback(grouped, 0.5), server, Dense(), levels,
                        "regions" if regions else "star")
    setup = hand_setup(policy, up=[9e9] * 4, down=[9e9] * 4, step_s=[1.0] * 4, size=8, rounds=rounds,
                       centres=[1.0, 2.0, 3.0, 5.0], **shape)
    simulation = Simulation(setup, Rows())
    first = simulation.world.cloud.model.astype(float)
    gradient = simulation.cohort._task.gradient

    def counted(parameters, batch, out=None):
        slopes, losses = gradient(parameters, batch)
        total[:] += slopes.sum(0) / 4
        return slopes, losses
    simulation.cohort._task.gradient = counted
    simulation.run()
    used = (first - simulation.world.cloud.model) / 0.1
    left = sum(worker.encoder.residual for worker in simulation.world.workers) / 4
    if regions:  # a region's mean is worth the share of its workers
        left = left + sum(server.encoder.residual for server in simulation.world.servers.values()
                          if server is not simulation.world.cloud) / 2
    np.testing.assert_allclose(used + left, total, rtol=1e-4, atol=1e-4)
    assert np.abs(left).max() > 0.1


def test_workers_walk_along_the_servers_optimizer():
    """One worker of a bowl, SGD at rate r: its second gradient is taken after a step of r / sqrt(2)."""
    server = Replay(SGD(), LearningRate("constant", 0.1))
    policy = TreePolicy(LookAhead(), Dense(), server, Dense(), Fixed(local_steps=2))
    setup = hand_setup(policy, up=[1e6], down=[1e6], step_s=[1.0], rounds=4, centres=[1.0], stop=None)
    simulation = played(setup)
    x, rate = setup.task.initial(0) - 1.0, 0.1 * 2**-0.5
    for _ in range(2):
        x = x - 2 * rate * (x + (x - rate * x)) / 2
    np.testing.assert_allclose(simulation.world.cloud.model, x + 1.0, rtol=1e-5)
    walked = simulation.world.measured.drift[0]
    assert 0 < walked < 1


@pytest.mark.parametrize("changes", [{"downlink": Uniform(4)}, {"schedule": Fixed(quorum=0.5)}])
def test_who_cannot_know_the_servers_optimizer_may_not_walk_along_it(changes):
    policy = TreePolicy(LookAhead(), Dense(), Replay(SGD(), LearningRate("constant", 0.1)), Dense(), Fixed())
    with pytest.raises(PolicyError, match="needs a lossless downlink"):
        replace(policy, **changes)


def test_a_region_hands_on_what_it_was_sent():
    """A lossy downlink is lost once, not once a hop: in a tree every worker holds what its region holds."""
    simulation = played(small_setup("ace-sync", {"down": "2-bit"}, epochs=2))
    world = simulation.world
    models = [owner.model for owner in owners(world)]
    assert all(model is models[0] for model in models[1:])
    assert not np.array_equal(models[0], world.cloud.model)


def test_sketches_are_sent_when_they_are_asked_for_and_paid():
    done = play(small_setup("ace-sync", {"sketch": 3, "recluster_every": 4}, epochs=2))
    control = {event.round: event.control_bytes for event in done.of("upload") if event.who < 6}
    assert set(control.values()) == {0, 12}
    assert control[0] == 12  # before the first clustering
    assert [number for number, each in control.items() if each and number > 1] == [4, 8]


def test_a_sketch_keeps_inner_products_in_the_mean():
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(5000).astype(np.float32)
    near = [float(sketched(direction, 16) @ sketched(direction + rng.standard_normal(5000).astype(np.float32), 16))
            for _ in range(40)]
    far = [float(sketched(direction, 16) @ sketched(rng.standard_normal(5000).astype(np.float32), 16))
           for _ in range(40)]
    assert np.mean(near) > 0.4
    assert abs(np.mean(far)) < 0.2
    assert sketched(np.zeros(8, np.float32), 4).tolist() == [0, 0, 0, 0]


def test_the_server_sees_how_many_steps_lie_behind_an_update():
    """Intervals that differ by worker, through regions: their weighted mean advances the learning rate."""
    setup = small_setup("ace-sync/adaptive-interval", {"h_min": 2, "h_max": 2}, epochs=2)
    simulation = played(setup)
    assert simulation.outer.steps == simulation.progress.steps / 6 == 12
    assert isinstance(setup.policy.uplink, ErrorFeedback)
