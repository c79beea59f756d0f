"""What theory says a run must do: the rate of gradient descent, closed-form round times, conservation of mass."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import Rows, counted_text, hand_device, hand_setup, language, play, small_setup

from acesim.aggregators import Outer
from acesim.compressors import Dense, ErrorFeedback, Grouped, TopK, Uniform
from acesim.engine import Simulation
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.network.traces import constant
from acesim.schedules import Fixed
from acesim.seam import TreePolicy

EPS = float(np.finfo(np.float32).eps)
RATE = 0.05
BOWL = {"kind": "quadratic", "dimension": 24, "condition": 10.0, "noise": 0.0, "steps_per_epoch": 10,
        "optimizer": {"name": "sgd", "learning_rate": RATE, "schedule": "constant", "warm_up": "0 rounds",
                      "weight_decay": 0.0}}


# ---- the rate of gradient descent on a quadratic

def test_full_sync_descends_along_the_closed_form():
    """x_t - x* = (1 - lr a)^t (x_0 - x*), entry by entry, for the mean of gradients is the gradient of the sum.

    Each step rounds in float32: W gradients, their mean of W terms, the step: at most (W + 4) roundings of numbers
    not above M = max|gradient| lr + max|x|; earlier errors shrink by 1 - lr a <= 1 - lr, so the sum is at most that
    over lr.
    """
    setup = small_setup(task=BOWL, epochs=5)
    played, start, best = play(setup), setup.task.initial(0).astype(float), setup.task.optimum()
    exact = best + (1 - RATE * setup.task.curvature) ** 50 * (start - best)
    largest = np.abs(start).max() + RATE * (setup.task.curvature * np.abs(start - setup.task.centres)).max()
    assert np.abs(played.outcome.model - exact).max() <= (6 + 4) * EPS * largest / RATE


def test_the_loss_falls_at_the_predicted_rate():
    """f(x_t) - f* = 1/2 sum_i a_i (1 - lr a_i)^2t d_i^2 at every epoch mark, hence at least by (1 - lr a_min)^2 a step.

    The model is exact to 10 roundings over lr (above), under 1e-4; the distances are above .077 d at the last mark, so
    the loss is exact to some 2 x 1e-4 / .077.
    """
    setup = small_setup(task=BOWL, epochs=5)
    losses = np.array([row.loss_nats for row in play(setup).metrics])
    away, curvature = setup.task.initial(0) - setup.task.optimum(), setup.task.curvature
    steps = 10 * np.arange(6)[:, None]
    predicted = 0.5 * (curvature * (1 - RATE * curvature) ** (2 * steps) * away**2).sum(1)
    np.testing.assert_allclose(losses, predicted, rtol=3e-3)
    slowest = (1 - RATE * curvature.min()) ** 20  # ten steps an epoch, squared
    assert (losses[1:] <= slowest * losses[:-1]).all()


def test_noise_leaves_the_error_that_theory_predicts():
    """Stationary E f = sum_i lr sigma^2 / (W (2 - lr a_i)) / 2 for gradients with independent noise of variance
    sigma^2 in every entry and W workers.

    The mean over T rounds of a process with correlation rho = 1 - lr a has about T (1 - rho^2) / (1 + rho^2) effective
    draws; each chi-square term has a relative variance of 2.  Four standard errors are allowed; the seed is fixed.
    """
    sigma, rate, rounds, workers = 0.5, 0.2, 600, 4
    task = BOWL | {"noise": sigma, "condition": 1.0, "heterogeneity": 0.0, "steps_per_epoch": 1,
                   "optimizer": BOWL["optimizer"] | {"learning_rate": rate}}
    setup = small_setup(task=task, epochs=rounds, cloud=workers, edge=0)
    losses = np.array([row.loss_nats for row in play(setup).metrics[100:]])
    predicted = 24 * rate * sigma**2 / workers / (2 - rate) / 2
    rho = (1 - rate) ** 2
    draws = 24 * losses.size * (1 - rho) / (1 + rho)
    assert losses.mean() == pytest.approx(predicted, rel=4 * np.sqrt(2 / draws))


def test_local_steps_descend_as_far_as_the_same_steps_at_the_server():
    """With equal bowls H local SGD steps and an average are H server steps: heterogeneity alone makes them differ."""
    setup = small_setup(task=BOWL | {"heterogeneity": 0.0}, epochs=4)
    average = Outer(SGD(), LearningRate("constant", 1.0))
    local = LocalSteps(SGD(), LearningRate("constant", RATE))
    walk = TreePolicy(local, Dense(), average, Dense(), Fixed(local_steps=5))
    np.testing.assert_allclose(play(replace(setup, policy=walk)).outcome.model, play(setup).outcome.model,
                               rtol=1e-4, atol=1e-5)


# ---- round times on constant links

FULL_SYNC = TreePolicy(GradientStep(), Dense(), Outer(SGD(), LearningRate("constant", 0.1)), Dense(), Fixed())
rates = st.floats(1e2, 1e9)
seconds = st.floats(1e-3, 1e3)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_a_barriers_round_is_its_slowest_worker(data, workers):
    """max over workers of (latency + bytes / down + compute + bytes / up + latency), then the server's step."""
    def drawn(values):
        return np.array(data.draw(st.lists(values, min_size=workers, max_size=workers)))
    up, down, step_s, latency_s = drawn(rates), drawn(rates), drawn(seconds), drawn(st.floats(0, 1))
    server_s = data.draw(st.floats(0.01, 10))
    played = play(hand_setup(FULL_SYNC, up=up, down=down, step_s=step_s, latency_s=latency_s, nominal=1000,
                             cloud_device=hand_device(28_000 / server_s), rounds=3))
    expected_s = max(2 * latency_s + 4100 / down + step_s + 4100 / up)
    for number, event in enumerate(played.of("aggregate")):
        assert event.start_s == pytest.approx(expected_s * (number + 1) + server_s * number, rel=1e-9)
        assert event.end_s - event.start_s == pytest.approx(server_s, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 3))
def test_a_tree_of_regions_waits_on_both_levels(data, workers, regions):
    """max over regions of (far latency + bytes / far down + slowest of its workers + bytes / far up + far latency)."""
    def drawn(values, count):
        return np.array(data.draw(st.lists(values, min_size=count, max_size=count)))
    up, down, step_s = drawn(rates, workers), drawn(rates, workers), drawn(seconds, workers)
    far_up, far_down = drawn(rates, regions), drawn(rates, regions)
    region_of = drawn(st.integers(0, regions - 1), workers)
    near_s, far_s = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    played = play(hand_setup(replace(FULL_SYNC, tree="regions"), up=up, down=down, step_s=step_s, latency_s=near_s,
                             region_of=region_of, region_up=far_up, region_down=far_down, region_latency_s=far_s,
                             rounds=1))
    own_s = 2 * near_s + 500 / down + step_s + 500 / up
    expected_s = max(2 * far_s + 500 / far_down[region] + own_s[region_of == region].max() + 500 / far_up[region]
                     for region in set(region_of.tolist()))
    assert played.metrics[-1].time_s == pytest.approx(expected_s, rel=1e-9)


def test_a_shared_link_is_shared_fairly():
    """Four equal workers upload at once over one region's uplink, which is far slower than their own links: each
    message takes 4 x bytes / shared rate.
    """
    network = {"regions": 1, "region_uplink": "8 Mbps", "region_downlink": "1 Gbps"}
    setup = small_setup(cloud=0, edge=4, epochs=1, network=network,
                        nominal={"model": [{"name": "x", "shape": [250_000]}], "tokens_per_step": {"edge": 64}})
    links = [constant(25e6) for _ in range(8)] + list(setup.topology.links[8:])
    same = replace(setup.fleet, step_s=np.ones(4), devices=(hand_device(),) * 4 + setup.fleet.devices[4:])
    quiet = replace(setup.topology, links=tuple(links), up_latency_s=np.zeros(4), down_latency_s=np.zeros(4))
    uploads = play(replace(setup, fleet=same, topology=quiet)).of("upload")
    for event in uploads:
        assert event.end_s - event.start_s == pytest.approx(4 * (4 * 250_000 + 64) / 1e6, rel=1e-9)


# ---- conservation of mass

@dataclass(frozen=True)
class Recorded(ErrorFeedback):
    """Error feedback that writes down, for every random stream (so for every sender), what went in and came out."""

    notes: Any = None

    def encode(self, vector, level, rng, state):
        payload, after = super().encode(vector, level, rng, state)
        note = self.notes.setdefault(id(rng), {"in": 0.0, "out": 0.0, "count": 0, "size": 0.0})
        note["in"] = note["in"] + vector.astype(np.float64)
        note["out"] = note["out"] + self.decode(payload.body, vector.size).astype(np.float64)
        note["size"] = max(note["size"], np.abs(vector).max() + np.abs(state.residual).max())
        note["residual"], note["count"] = after.residual.astype(np.float64), note["count"] + 1
        return payload, after


def inner_of(name, info):
    sizes = tuple(group.size for group in info.groups)
    return {"top-k": TopK(0.1), "4 bits": Uniform(4, sizes), "sign": Uniform(1, sizes), "grouped": Grouped(sizes)}[name]


@pytest.mark.parametrize("tree", ["star", "regions"])
@pytest.mark.parametrize("name", ["top-k", "4 bits", "sign", "grouped"])
def test_error_feedback_loses_nothing_over_a_whole_run(name, tree, tmp_path):
    """Sum of the gradients = sum of what was decoded + what is left, for every sender, regions included.

    Two float32 roundings a round of numbers not above the largest sum of gradient and residual.
    """
    setup = small_setup("full-sync", task=language(counted_text(tmp_path)), epochs=5)
    notes = {}
    policy = replace(setup.policy, uplink=Recorded(inner_of(name, setup.info), notes=notes), tree=tree)
    simulation = Simulation(replace(setup, policy=policy), Rows())
    simulation.run()
    assert len(notes) == (9 if tree == "regions" else 6)
    for note in notes.values():
        assert note["count"] == 20
        missing = np.abs(note["in"] - note["out"] - note["residual"]).max()
        assert missing <= 2 * note["count"] * EPS * note["size"]


def test_what_the_server_used_is_what_the_workers_sent():
    """Star, SGD: x_0 - x_T = lr sum over rounds of the mean of what was decoded."""
    setup = small_setup(task=BOWL, epochs=3)
    notes = {}
    policy = replace(setup.policy, uplink=Recorded(TopK(0.1), notes=notes))
    played = play(replace(setup, policy=policy))
    walked = (setup.task.initial(0).astype(float) - played.outcome.model) / RATE
    np.testing.assert_allclose(walked, np.mean([note["out"] for note in notes.values()], axis=0), rtol=1e-4, atol=1e-3)
