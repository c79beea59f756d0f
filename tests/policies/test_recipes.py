"""What each recipe is made of, and what only it does."""

import numpy as np
import pytest
from tests_support import counted_text, language, play, small_setup

from acesim.compressors import (
    CachedFeedback,
    Clipped,
    Dense,
    ErrorFeedback,
    Grouped,
    MomentumCorrection,
    SparsificationAwareMomentum,
    TopK,
    Uniform,
)
from acesim.engine.world import World
from acesim.learning.local import GradientStep, LocalSteps
from acesim.policies import RECIPES
from acesim.scenario.errors import PolicyError
from acesim.schedules import AceSchedule, Drawing

P, HEADER, ROUNDS, W = 24, 64, 12, 6


def totals(policy, **parameters):
    return play(small_setup(policy, parameters)).outcome.totals


def test_full_sync_sends_gradients_whole():
    policy = small_setup("full-sync").policy
    assert (policy.local, policy.uplink, policy.downlink, policy.tree) == (GradientStep(), Dense(), Dense(), "star")


def test_full_sync_optimised_halves_the_bytes_and_leaves_in_buckets():
    """24 entries of 2 bytes in buckets of 20 bytes or more: one tensor, so one bucket; bytes are half either way."""
    setup = small_setup("full-sync-optimised", nominal={
        "model": [{"name": name, "shape": [10]} for name in "abc"], "tokens_per_step": {"cloud": 1, "edge": 1}},
        parameters={"bucket_megabytes": 30e-6})
    assert [chunk.share for chunk in setup.policy.uplink.chunks] == pytest.approx([2 / 3, 1 / 3])
    sent = play(setup).outcome.totals
    assert sent["upload_values_bytes"] == sent["download_values_bytes"] == ROUNDS * W * 2 * 30


def test_top_k_by_hand():
    """k = floor(.3 x 24) = 7 entries of 8 bytes; with bitmap indices 4 x 7 + 3."""
    assert totals("top-k")["bytes_up"] == ROUNDS * W * (7 * 8 + HEADER)
    assert totals("top-k", index="bitmap")["bytes_up"] == ROUNDS * W * (7 * 4 + 3 + HEADER)
    assert totals("top-k", index="auto")["bytes_up"] == ROUNDS * W * (7 * 4 + 3 + HEADER)
    assert totals("top-k")["bytes_down"] == ROUNDS * W * (4 * P + HEADER)


def test_top_k_without_feedback_is_top_k_alone():
    assert small_setup("top-k", {"error_feedback": False}).policy.uplink == TopK(0.3)
    assert small_setup("top-k").policy.uplink == ErrorFeedback(TopK(0.3))


def test_fedavg_sends_once_in_h_steps():
    for steps in (1, 2, 3):
        assert totals("fedavg", local_steps=steps)["bytes_up"] == ROUNDS // steps * W * (4 * P + HEADER)


def test_fedavg_draws_its_fraction():
    played = play(small_setup("fedavg", {"fraction": 0.5, "local_steps": 2}))
    drawn = {}
    for event in played.of("upload"):
        drawn.setdefault(event.round, []).append(event.who)
    assert {len(rows) for rows in drawn.values()} == {3}
    assert len({tuple(rows) for rows in drawn.values()}) > 1
    assert played.outcome.rounds == 12  # half of the workers, two steps each: 6 x 12 / (3 x 2)


def test_fedavg_walks_with_the_scenarios_betas_and_its_own_rate():
    local = small_setup("fedavg", {"inner_learning_rate": 0.02, "keep_state": False}).policy.local
    assert isinstance(local, LocalSteps)
    assert (local.optimizer.betas, local.learning_rate.peak, local.keep_state) == ((0.9, 0.95), 0.02, False)


@pytest.mark.parametrize("name", ["fedavg", "local-only"])
def test_workers_rules_take_the_scenarios_eps(name):
    task = {"kind": "quadratic", "dimension": P, "optimizer": {"eps": 1e-3}}
    assert small_setup(name, task=task).policy.local.optimizer.eps == 1e-3
    assert small_setup(name).policy.local.optimizer.eps == 1e-8


def test_fedavg_weighs_by_examples(tmp_path):
    setup = small_setup("fedavg", task=language(counted_text(tmp_path)))
    assert len(set(setup.info.examples)) > 1
    plan, _ = setup.policy.schedule.plan(_first_view(setup), Drawing(0))
    np.testing.assert_array_equal(plan.weights, setup.info.examples)


def _first_view(setup):
    return World(setup).view(0.0, 0.0, None, None)


def test_cloud_only_leaves_the_edge_in_peace():
    played = play(small_setup("cloud-only"))
    assert {event.who for event in played.of("compute")} == {0, 1}
    assert played.outcome.totals["egress_bytes"] == 0


def test_local_only_sends_nothing_and_ends_a_round_with_an_epoch():
    played = play(small_setup("local-only"))
    assert not played.of("upload")
    assert not played.of("download")
    assert played.outcome.totals["link_bytes"] == 0
    assert played.outcome.rounds == 2
    assert played.metrics[-1].time_s == max(event.end_s for event in played.of("compute"))


@pytest.mark.parametrize(("bits", "nbytes"), [(1, 3 + 32), (2, 6 + 32), (4, 12 + 32), (8, 24 + 32)])
def test_uniform_quantised_by_hand(bits, nbytes):
    """24 entries of `bits` bits, and a scale of 4 bytes for each of 8 groups."""
    setup = small_setup("uniform-quantised", {"bits": bits})
    assert isinstance(setup.policy.uplink.inner, Uniform)
    assert play(setup).outcome.totals["bytes_up"] == ROUNDS * W * (nbytes + HEADER)


def test_ace_sync_keeps_to_its_budgets():
    """After the warm-up no worker sends more than dense / c_k; importance and budget ride down with the model."""
    setup = small_setup("ace-sync", {"c_min": 4.0, "c_max": 4.0}, epochs=4, nominal={
        "model": [{"name": "x", "shape": [240_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}})
    played = play(setup)
    assert isinstance(setup.policy.uplink.inner, Grouped)
    for event in played.of("upload"):
        sent = event.message_bytes - event.header_bytes
        assert sent <= 4 * 240_000 * (1.01 if event.round < 2 else 0.25)
        assert event.round < 2 or sent > 0.8 * 4 * 240_000 / 4  # and not much less: the knapsack fills its sack
    groups = len(setup.info.groups)
    assert {event.control_bytes for event in played.of("download")} == {4 * groups + 4}


def test_ace_sync_gives_slow_links_smaller_budgets():
    setup = small_setup("ace-sync", {"clusters": 0}, epochs=6, cloud=1, edge=6, nominal={
        "model": [{"name": "x", "shape": [240_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}})
    played = play(setup)
    late = [event for event in played.of("upload") if event.round >= 20 and event.who < 7]
    sent = np.array([np.mean([e.message_bytes for e in late if e.who == row]) for row in range(7)])
    spans_s = {row: [e.end_s - e.start_s for e in late if e.who == row] for row in range(7)}
    assert sent[0] == pytest.approx(max(sent), rel=1e-4)  # the data centre's worker; a fast link may have as much
    rate = np.array([sent[row] / np.mean(spans_s[row]) for row in range(1, 7)])
    assert np.corrcoef(np.argsort(np.argsort(rate)), np.argsort(np.argsort(sent[1:])))[0, 1] > 0.7


def test_ace_sync_reports_how_well_it_predicts():
    figures = {event.name for event in play(small_setup("ace-sync")).of("figure")}
    assert figures == {"drift", "rank_correlation", "rank_correlation_magnitude"}


@pytest.mark.parametrize(("tree", "senders"), [("regions", {0, 1, 2, 3, 4, 5, 6, 7, 8}), ("star", {0, 1, 2, 3, 4, 5})])
def test_ace_sync_in_regions_and_as_a_star(tree, senders):
    """Rows 6 and 7 are the edge regions, 8 is the data centre's."""
    played = play(small_setup("ace-sync", {"tree": tree}))
    assert {event.who for event in played.of("upload")} == senders


def test_ace_sync_without_attention_learns_nothing():
    policy = small_setup("ace-sync", {"attention": False}).policy
    assert isinstance(policy.schedule, AceSchedule)
    seen = _first_view(small_setup("ace-sync"))
    plan, _ = policy.schedule.plan(seen, policy.schedule.init(seen, np.random.default_rng(0)))
    np.testing.assert_array_equal(plan.levels[0].importance, np.ones(8, np.float32))


# ---- what the scenario says of learning

KNOBS = {"name": "sgd", "learning_rate": 0.4, "schedule": "step", "drops": [0.25, 0.5], "factor": 0.5,
         "warm_up": "2 rounds", "weight_decay": 0.25, "clip_norm": 3.0}


def knobs(policy, **changes):
    task = {"kind": "quadratic", "dimension": 24, "steps_per_epoch": 6, "optimizer": KNOBS | changes}
    return small_setup(policy, task=task).policy


@pytest.mark.parametrize("policy", ["full-sync", "fedavg", "local-only"])
def test_the_learning_rate_of_a_scenario_drops_where_and_as_far_as_it_says(policy):
    """Of 12 rounds 2 warm up; a quarter and a half of the other 10 are done at steps 5 and 7."""
    found = knobs(policy)
    rate = found.local.learning_rate if isinstance(found.local, LocalSteps) else found.aggregator.learning_rate
    shares = [rate(step) / rate.peak for step in (0, 1, 4, 5, 6, 7, 11)]
    assert shares == pytest.approx([0.5, 1, 1, 0.5, 0.5, 0.25, 0.25])


def test_every_recipe_that_trains_clips():
    """A sketch's server never sees a gradient whose length it could take."""
    for policy in sorted(set(RECIPES) - {"sketch-fusion"}):
        found = knobs(policy)
        if isinstance(found.uplink, Clipped):  # an asynchronous server sees no gradient whole
            assert found.uplink.longest == 3.0, policy
            continue
        server = getattr(found.aggregator, "optimizer", found.aggregator)
        rule = found.local.optimizer if isinstance(found.local, LocalSteps) else server
        assert rule.clip_norm == 3.0, policy
    assert knobs("full-sync").aggregator.optimizer.weight_decay == 0.25
    assert knobs("local-only").local.optimizer.weight_decay == 0.25


@pytest.mark.parametrize("megabytes", [-1, 1e300])
def test_given_bytes_names_its_own_parameter(megabytes):
    with pytest.raises(PolicyError, match=r"megabytes_down = .*: must be >= 0 and <= 1e\+09"):
        small_setup("given-bytes", {"megabytes_down": megabytes}, task={"kind": "network-only"})


KEEPING = (ErrorFeedback, MomentumCorrection, SparsificationAwareMomentum, CachedFeedback)


def inside(uplink):
    """Yield a compressor and all it is made of."""
    yield uplink
    for name in ("inner", "vectors", "matrices"):
        if hasattr(uplink, name):
            yield from inside(getattr(uplink, name))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_an_uplink_that_keeps_what_it_did_not_send_takes_back_what_was_not_used(name):
    """However it is wrapped: workers that leave in the middle of an upload would lose their updates."""
    uplink = small_setup(name).policy.uplink
    if any(isinstance(part, KEEPING) for part in inside(uplink)):
        assert callable(getattr(uplink, "give_back", None))
