"""The equivalence lattice: policies that must coincide do, bit for bit where the arithmetic is the same."""

from dataclasses import replace

import numpy as np
import pytest
from tests_support import counted_text, language, play, small_scenario, small_setup

from acesim.aggregators import Outer
from acesim.compressors import Dense, ErrorFeedback, TopK, Uniform
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.schedules import Fixed
from acesim.seam import TreePolicy

SGD_TASK = {"kind": "quadratic", "dimension": 24, "steps_per_epoch": 6, "noise": 0.3,
            "optimizer": {"name": "sgd", "learning_rate": 0.05, "schedule": "constant", "warm_up": "0 rounds"}}
WHOLE = {"model": [{"name": "x", "shape": [240_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}}


def played(setup, policy=None):
    return play(setup if policy is None else replace(setup, policy=policy))


def same_world(a, b):
    """Models, times and bytes are equal, bit for bit."""
    np.testing.assert_array_equal(a.outcome.model, b.outcome.model)
    assert a.timeline() == b.timeline()
    assert repr(a.metrics) == repr(b.metrics)  # NaN equals itself in text
    assert a.outcome.training_digest == b.outcome.training_digest


def test_fedavg_of_one_sgd_step_is_full_sync_with_an_sgd_server():
    """mean(theta - (theta - lr g_k)) = lr mean(g_k): equal but for float32 roundings of the parameters."""
    setup = small_setup(task=SGD_TASK)
    rate = LearningRate("constant", 0.05)
    fedavg = TreePolicy(LocalSteps(SGD(), rate), Dense(), Outer(SGD(), LearningRate("constant", 1.0)), Dense(), Fixed())
    full_sync = TreePolicy(GradientStep(), Dense(), Outer(SGD(), rate), Dense(), Fixed())
    a, b = played(setup, fedavg), played(setup, full_sync)
    np.testing.assert_allclose(a.outcome.model, b.outcome.model, rtol=1e-5, atol=1e-6)
    assert a.timeline("download", "compute", "upload") == b.timeline("download", "compute", "upload")


def test_proximal_zero_is_fedavg():
    setup = small_setup("fedavg")
    proximal = replace(setup.policy, local=replace(setup.policy.local, proximal=0.0))
    same_world(played(setup), played(setup, proximal))


def test_diloco_of_rate_one_without_momentum_is_fedavg():
    setup = small_setup("fedavg")
    outer = Outer(SGD(momentum=0.0, nesterov=False), LearningRate("constant", 1.0))
    same_world(played(setup), played(setup, replace(setup.policy, aggregator=outer)))


def test_all_entries_with_error_feedback_are_full_sync():
    """Nothing is left behind, so the models agree bit for bit; only bytes and hence times differ."""
    a, b = played(small_setup("full-sync")), played(small_setup("top-k", {"ratio": 1.0}))
    np.testing.assert_array_equal(a.outcome.model, b.outcome.model)
    assert [row.loss_nats for row in a.metrics] == [row.loss_nats for row in b.metrics]
    assert b.metrics[-1].bytes_up > a.metrics[-1].bytes_up


@pytest.mark.parametrize("edge", [0, 5])
def test_one_region_of_dense_messages_is_a_star(edge):
    """All workers in one region, the data centre's or an edge one: the sum is the same, and so is its order."""
    setup = small_setup(cloud=0 if edge else 3, edge=edge, network={"regions": 1})
    star, tree = played(setup), played(setup, replace(setup.policy, tree="regions"))
    np.testing.assert_array_equal(star.outcome.model, tree.outcome.model)
    assert star.metrics[-1].bytes_up == tree.metrics[-1].bytes_up


def test_several_regions_of_dense_messages_are_nearly_a_star():
    """The mean of weighted means is the weighted mean, summed in another order: a few roundings of float32."""
    setup = small_setup(task=SGD_TASK, cloud=2, edge=5, network={"regions": 3})
    star, tree = played(setup), played(setup, replace(setup.policy, tree="regions"))
    np.testing.assert_allclose(star.outcome.model, tree.outcome.model, rtol=1e-5, atol=1e-6)
    totals = tree.outcome.totals
    assert totals["bytes_up"] == star.outcome.totals["bytes_up"]
    assert totals["region_bytes_up"] == tree.outcome.rounds * 4 * (4 * 24 + 64)  # three edge regions, one data centre


def test_eight_bits_come_close_to_thirty_two():
    """A step of max/127 leaves an error of under half of it in each entry, and error feedback sends it later."""
    setup = small_setup(task=SGD_TASK | {"noise": 0.0}, epochs=6)
    fine = replace(setup.policy, uplink=ErrorFeedback(Uniform(8, (24,))))
    a, b = played(setup), played(setup, fine)
    np.testing.assert_allclose(a.outcome.model, b.outcome.model, atol=2e-2)
    assert b.metrics[-1].loss_nats == pytest.approx(a.metrics[-1].loss_nats, rel=1e-2)
    assert b.metrics[-1].bytes_up == 36 * 6 * (24 + 4 + 64)  # rounds x workers x (codes + scale + header)


@pytest.mark.parametrize("tree", ["star", "regions"])
@pytest.mark.parametrize("late", ["apply", "cancel"])
def test_a_quorum_of_nearly_all_is_a_barrier(tree, late):
    """ceil(.9 x 6) = 6 and so in every region: nobody is ever late, so what would become of him does not matter."""
    setup = small_setup()
    barrier = replace(setup.policy, tree=tree)
    same_world(played(setup, barrier), played(setup, replace(barrier, schedule=Fixed(quorum=0.9, late=late))))


def test_drawing_everybody_is_asking_everybody():
    """round(.999 x 6) = 6 workers are drawn, through the sampling path."""
    setup = small_setup()
    same_world(played(setup), played(setup, replace(setup.policy, schedule=Fixed(fraction=0.999))))


def test_equal_examples_weigh_as_uniform_weights_do():
    """The quadratic task deals the same number of examples to all."""
    setup = small_setup()
    np.testing.assert_array_equal(played(setup).outcome.model,
                                  played(setup, replace(setup.policy, schedule=Fixed(weights="uniform"))).outcome.model)


@pytest.mark.parametrize("tree", ["star", "regions"])
def test_ace_sync_with_room_for_everything_is_full_sync(tree):
    """c_min = c_max = 1 and nominal groups of 30 000 entries, whose scales and levels fit the one per cent of room."""
    scenario = small_scenario(nominal=WHOLE)
    ace = played(small_setup("ace-sync", {"c_min": 1.0, "c_max": 1.0, "tree": tree}, scenario=scenario))
    full = played(small_setup("full-sync", scenario=scenario))
    np.testing.assert_allclose(ace.outcome.model, full.outcome.model, rtol=1e-5, atol=1e-6)
    assert ace.metrics[-1].loss_nats == pytest.approx(full.metrics[-1].loss_nats, rel=1e-5)


def test_top_k_keeps_its_mass_at_any_level_of_the_schedule():
    """A level from the schedule is the compressor's own ratio, said elsewhere."""
    setup = small_setup("top-k", {"ratio": 0.25})
    told = replace(setup.policy, uplink=ErrorFeedback(TopK(0.9)), schedule=Fixed(level=0.25))
    np.testing.assert_array_equal(played(setup).outcome.model, played(setup, told).outcome.model)


@pytest.mark.parametrize("policy", ["full-sync", "top-k", "fedavg", "ace-sync", "local-only"])
@pytest.mark.parametrize("kind", ["quadratic", "language"])
def test_the_reference_backend_trains_the_same(policy, kind, tmp_path):
    """One worker at a time or eight at once: the same batches, payloads and weights, bit for bit."""
    task = language(counted_text(tmp_path)) if kind == "language" else SGD_TASK
    runs = [played(small_setup(policy, task=task, edge=8, chunk=chunk)) for chunk in (1, 8, 3)]
    for other in runs[1:]:
        same_world(runs[0], other)


@pytest.mark.parametrize("quorum", [0.0, 0.5])
def test_the_reference_backend_trains_the_same_without_a_barrier(quorum):
    setup = small_setup(task=SGD_TASK, edge=8)
    policy = replace(setup.policy, schedule=Fixed(quorum=quorum))
    same_world(*(played(replace(setup, chunk=chunk), policy) for chunk in (1, 8)))
