"""Variants of the model in the engine: who is sent what, what crosses between regions and the cloud, and its price."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from tests_support import Rows, counted_text, hand_setup, language, play, small_setup

from acesim.aggregators import Outer, Personal
from acesim.compressors import Dense, ErrorFeedback, Grouped, Uniform
from acesim.engine.simulation import Simulation
from acesim.learning.local import GradientStep
from acesim.learning.optimizers import SGD, AdamW, LearningRate
from acesim.scenario.errors import PolicyError
from acesim.schedules import Fixed
from acesim.seam import TreePolicy

NOMINAL = {"model": [{"name": "x", "shape": [240_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}}
RATE = LearningRate("constant", 0.5)
TREES = [{}, {"region_of": [0, 1, 0, 1], "region_up": [9e9] * 2, "region_down": [9e9] * 2}]


@dataclass(frozen=True)
class Following(Fixed):
    """Workers that follow variants: those of the first list, from round `after` on those of the second."""

    first: tuple[int, ...] = ()
    then: tuple[int, ...] = ()
    after: int = 1000

    def plan(self, view, state):
        plan, state = super().plan(view, state)
        numbers = self.first if view.round < self.after else self.then
        return replace(plan, variants=np.array(numbers) if numbers else None), state


def world(tree, schedule, uplink=None, downlink=None, spans=((2, 4),), size=4, rounds=1, inner=None, **facts):
    """Four workers in a bowl each, with their bottoms at 1, 3, 5 and 7."""
    server = Personal(inner or Outer(SGD(), RATE), spans, size, 3)
    policy = TreePolicy(GradientStep(), uplink or Dense(), server, downlink or Dense(), schedule,
                        "regions" if tree else "star")
    return hand_setup(policy, up=[1e6] * 4, down=[1e6] * 4, step_s=[1.0] * 4, size=size, rounds=rounds,
                      centres=[1.0, 3.0, 5.0, 7.0], **tree, **facts)


def played(setup):
    simulation = Simulation(setup, Rows())
    simulation.run()
    return simulation


@pytest.mark.parametrize("tree", TREES, ids=["star", "regions"])
def test_each_pair_goes_to_its_own_bottom_and_all_to_the_common_one(tree):
    """x <- x - (x - c) / 2 from x_0: after T rounds c + (x_0 - c) / 2^T, c = 4 for all; 2 and 6 where personal."""
    setup = world(tree, Following(first=(0, 0, 1, 1)), rounds=3)
    start = setup.task.initial(0).astype(float)
    cloud = played(setup).world.cloud
    for model, own in ((cloud.model, 4), (cloud.models[0], 2), (cloud.models[1], 6)):
        bottoms = np.array([4, 4, own, own])
        np.testing.assert_allclose(model, bottoms + (start - bottoms) / 8, rtol=1e-6)


@pytest.mark.parametrize("tree", TREES, ids=["star", "regions"])
def test_each_worker_is_scored_by_its_own(tree):
    """Far from the start, of two entries at the pair's bottom: |2 - 1|^2 less |4 - 1|^2 or |4 - 3|^2, and so on: -4."""
    rows = play(world(tree, Following(first=(0, 0, 1, 1)), rounds=30))
    own = [event.value for event in rows.events if event.name == "personal_loss_nats"]
    assert len(own) == len(rows.metrics) == 2
    assert own[0] == pytest.approx(rows.metrics[0].loss_nats)  # nobody has a variant yet
    assert (own[-1], rows.metrics[-1].loss_nats) == pytest.approx((-4.0, 0.0), abs=1e-5)
    assert [event.value for event in rows.events if event.name == "personal_top1_percent"] == [0.0, 0.0]


@pytest.mark.parametrize("tree", TREES, ids=["star", "regions"])
def test_who_changes_its_cluster_takes_over_the_new_ones_entries(tree):
    """Worker 1 goes over to the others, worker 3 begins a third variant, which begins as the model is."""
    schedule = Following(first=(0, 0, 1, 1), then=(0, 1, 1, 2), after=2)
    simulation = Simulation(world(tree, schedule, rounds=3), Rows())
    seen, step = [], simulation._step
    simulation._step = lambda inbox: (seen.append([worker.model for worker in simulation.world.workers]), step(inbox))
    simulation.run()
    start = simulation.setup.task.initial(0)[3]
    held = [[float(model[3]) for model in models] for models in seen]
    zero, one, mean = ((c + (start - c) / 4) for c in (2, 6, 4))
    assert held[0] == [start] * 4
    assert held[2] == pytest.approx([zero, one, one, mean])
    assert simulation.world.cloud.models[2][3] == pytest.approx(mean - 0.5 * (mean - 7))
    if not tree:
        assert seen[2][1] is seen[2][2]  # of one variant there is one copy, however many hold it


# ---- bytes

def test_a_star_pays_nothing_for_variants():
    rows = play(world({}, Following(first=(0, 0, 1, 1)), rounds=2))
    assert {event.message_bytes for event in (*rows.of("upload"), *rows.of("download"))} == {4 * 100 + 100}


@pytest.mark.parametrize(("region_of", "more"), [([0, 1, 0, 1], 1), ([0, 0, 1, 1], 0)])
def test_a_region_pays_for_every_variant_but_one(region_of, more):
    """Half the entries are personal: 50 of 100 nominal ones in fp32, beside 100 and a header of 100."""
    rows = play(world(TREES[1] | {"region_of": region_of}, Following(first=(0, 0, 1, 1)), rounds=2))
    for kind, rounds in (("upload", {0: more, 1: more}), ("download", {0: 0, 1: more})):  # at first all are one model
        for event in rows.of(kind):
            extra = rounds[event.round] if event.who >= 4 else 0
            assert event.message_bytes == 500 + 4 * 50 * extra
            assert event.proxy_bytes == 16 + 8 * extra
    assert len(rows.of("upload")) == 2 * (4 + 2)


def test_what_rides_beside_is_spelt_in_as_many_bytes():
    simulation = Simulation(world(TREES[1], Following(first=(0, 1, 2, 0)), rounds=2), Rows())
    beside, send = [], simulation.carrier.send
    simulation.carrier.send = lambda message: (beside.append(message.beside), send(message))
    simulation.run()
    found = [payload for payload in beside if payload is not None]
    assert len(found) == 2 * 2 + 2
    assert all(payload.nbytes == len(Dense().serialise(payload.body)) == 8 for payload in found)


@pytest.mark.parametrize("tree", TREES, ids=["star", "regions"])
def test_rounds_that_do_not_wait_for_everybody(tree):
    """Worker 3 is always late: its update speaks for its own variant when it comes, and all bytes are accounted for."""
    setup = world(tree, Following(first=(0, 0, 1, 1), then=(0, 1, 0, 1), after=4, quorum=0.5), rounds=10)
    fleet = replace(setup.fleet, step_s=np.array([1.0, 1.0, 1.0, 2.5]))
    rows = play(replace(setup, fleet=fleet, timeout_s=5.0))
    assert rows.metrics[-1].progress == 1.0
    assert rows.metrics[-1].loss_nats < 0.1 * rows.metrics[0].loss_nats


# ---- what it is equal to

ONE = {"personal": ["x.0", "x.5"], "clusters": 1}
NONE = {"clusters": 1}


@pytest.mark.parametrize("changes", [{}, {"tree": "star"}, {"cache": 0.5, "c_min": 20.0, "c_max": 40.0},
                                     {"h_min": 2, "h_max": 2, "ahead": "last-step"}, {"curvature": True, "sketch": 3},
                                     {"coding": "lattice", "c": 12.0}])
def test_one_cluster_is_ace_sync_bit_for_bit(changes):
    """Every row but the personal scores, which are those of the model."""
    ours, plain = (play(small_setup("ace-sync", parameters | changes, cloud=0, edge=7, epochs=4, nominal=NOMINAL))
                   for parameters in (ONE, NONE))
    assert ours.outcome.training_digest == plain.outcome.training_digest
    assert ours.outcome.model.tobytes() == plain.outcome.model.tobytes()
    assert ours.outcome.totals == plain.outcome.totals
    rows = ours.frame()
    rows = rows[~rows["name"].str.startswith("personal")].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, plain.frame(), check_exact=True)
    own = [event.value for event in ours.events if event.name == "personal_loss_nats"]
    assert own == pytest.approx([row.loss_nats for row in ours.metrics])


def test_one_cluster_over_text_scores_what_the_model_scores(tmp_path):
    task = language(counted_text(tmp_path))
    ours, plain = (play(small_setup(name, {"clusters": 1}, task=task, cloud=0, edge=4, epochs=3))
                   for name in ("ace-sync/personal", "ace-sync"))
    assert ours.outcome.training_digest == plain.outcome.training_digest
    for name, column in (("personal_loss_nats", "loss_nats"), ("personal_top1_percent", "top1_percent")):
        assert [event.value for event in ours.events if event.name == name] == [
            getattr(row, column) for row in plain.metrics]


@pytest.mark.parametrize("tree", TREES, ids=["star", "regions"])
def test_residuals_and_what_was_used_are_all_gradients(tree):
    """SGD adds up what was used: of all entries by all, on a star of the personal ones by each variant's own two."""
    uplink = ErrorFeedback(Grouped((4, 4), menu=("skip", "4-bit"), default="4-bit"))
    setup = world(tree, Following(first=(0, 0, 1, 1), level=np.array([1, 0])), uplink, spans=((2, 6),), size=8,
                  rounds=5, inner=Outer(SGD(), LearningRate("constant", 0.1)))
    simulation, total = Simulation(setup, Rows()), np.zeros((4, 8))
    first, gradient = simulation.world.cloud.model.astype(float), simulation.cohort._task.gradient

    def counted(parameters, batch, out=None):
        slopes, losses = gradient(parameters, batch)
        total[batch.workers] += slopes
        return slopes, losses
    simulation.cohort._task.gradient = counted
    simulation.run()
    cloud, workers = simulation.world.cloud, simulation.world.workers
    left = np.stack([worker.encoder.residual for worker in workers]).astype(float)
    above = sum(server.encoder.residual for server in simulation.world.servers.values() if server is not cloud) / 2
    np.testing.assert_allclose((first - cloud.model) / 0.1 + left.mean(0) + above, total.mean(0), rtol=1e-4, atol=1e-4)
    assert np.abs(left).max() > 0.1
    if not tree:
        for number, rows in ((0, [0, 1]), (1, [2, 3])):
            used = (first - cloud.models[number])[2:6] / 0.1
            np.testing.assert_allclose(used + left[rows].mean(0)[2:6], total[rows].mean(0)[2:6], rtol=1e-4, atol=1e-4)


def test_clusters_through_regions_learn_and_repeat():
    setup = small_setup("ace-sync/personal", {"personal": ["x.0", "x.5"], "clusters": 3, "recluster_every": 3}, cloud=3,
                        edge=9, epochs=6, nominal=NOMINAL)
    first, again = play(setup), play(setup)
    pd.testing.assert_frame_equal(first.frame(), again.frame(), check_exact=True)
    assert first.metrics[-1].loss_nats < 0.5 * first.metrics[0].loss_nats
    own = [event.value for event in first.events if event.name == "personal_loss_nats"]
    assert own[-1] < first.metrics[-1].loss_nats  # every worker's bowl has a bottom of its own


def test_a_lossy_downlink_of_a_star_carries_each_variant():
    setup = world({}, Following(first=(0, 0, 1, 1)), downlink=Uniform(8, (4,)), rounds=25)
    simulation = played(setup)
    for worker, number in zip(simulation.world.workers, (0, 0, 1, 1), strict=True):
        np.testing.assert_allclose(worker.model, simulation.world.cloud.models[number], atol=0.05)
    assert simulation.world.workers[0].model is simulation.world.workers[1].model


# ---- what does not fit together

def test_lossy_downlinks_do_not_go_through_regions():
    with pytest.raises(PolicyError, match="lossless downlink only"):
        world(TREES[1], Following(), downlink=Uniform(4))


@pytest.mark.parametrize(("numbers", "rule"), [
    ((), "does not say who follows which"), ((0, 0, 1), "a number from 0 to 2 for each of 4"),
    ((0, 0, 1, 3), "from 0 to 2"), ((0, 0, -1, 1), "from 0 to 2"), ((0.0, 0.5, 1.0, 1.0), "from 0 to 2")])
def test_plans_that_name_no_variant_are_refused(numbers, rule):
    with pytest.raises(PolicyError, match=rule):
        played(world({}, Following(first=numbers)))


def test_variants_that_nobody_keeps_are_refused():
    setup = world({}, Following(first=(0, 0, 1, 1)))
    with pytest.raises(PolicyError, match="keeps none; wrap it in Personal"):
        played(replace(setup, policy=replace(setup.policy, aggregator=Outer(AdamW(), RATE))))


def test_a_task_without_shards_of_workers_own_is_refused():
    setup = world({}, Following(first=(0, 0, 1, 1)))

    class Bare:
        initial, size = setup.task.initial, setup.task.size
    with pytest.raises(PolicyError, match="give it evaluate_own"):
        Simulation(replace(setup, task=Bare()), Rows())


def test_a_region_has_every_variant_but_one_twice():
    """What it hands on, and what it sums: of 3 variants, or of as many as it has workers."""
    policy = world(TREES[1], Following()).policy
    assert policy.memory_bytes("region", 1000, 8) == 8 * 1000 + 2 * 8 * 500
    assert policy.memory_bytes("region", 1000, 2) == 8 * 1000 + 8 * 500
    assert policy.memory_bytes("worker", 1000, 0) == 8 * 1000
    assert policy.memory_bytes("cloud", 1000, 8) == 8 * 1000 + 3 * 8 * 500
