"""Chunks on the simulated clock: what LayerFusion reckons is what the engine plays."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests_support import hand_device, hand_setup, play, small_setup

from acesim.aggregators import Outer, SketchedSGD
from acesim.compressors import (
    QSGD,
    Costs,
    CountSketch,
    Dense,
    ErrorFeedback,
    Fused,
    TopK,
    layer_fusion,
)
from acesim.compressors.fusion import layerwise, predicted_s
from acesim.learning.local import GradientStep, MomentumStep
from acesim.learning.optimizers import SGD, LearningRate
from acesim.schedules import Fixed
from acesim.seam import TreePolicy

LAYERS = tuple((size,) for size in (400, 7, 90, 250, 3, 50))
TOTAL = 800
SLOWLY = LearningRate("constant", 0.01)


def setup_of(uplink, *, up=2000.0, startup_s=0.05, launch_s=0.01, memory=1e5, header=40, rounds=1):
    """One worker of .9 s a step (.6 s backward) whose device needs 1 / memory seconds for a byte of work."""
    policy = TreePolicy(GradientStep(), uplink, Outer(SGD(), SLOWLY), Dense(), Fixed())
    device = replace(hand_device(memory), launch_s=launch_s)
    setup = hand_setup(policy, up=[up], down=[1e6], step_s=[0.9], latency_s=0.125, header=header, nominal=TOTAL,
                       size=80, worker_device=device, rounds=rounds)
    return replace(setup, topology=replace(setup.topology, message_startup_s=startup_s))


def costs_of(uplink, *, up=2000.0, startup_s=0.05, launch_s=0.01, memory=1e5, header=40):
    work = uplink.work("encode")
    return Costs(0.6, TOTAL * work.bytes / memory, work.launches * launch_s, startup_s, 1 / up, header)


def sent_s(uplink, **world):
    """Return the simulated time from the beginning of the backward pass to the last byte."""
    played = play(setup_of(uplink, **world))
    (compute,), (upload,) = played.of("compute"), played.of("upload")
    return upload.end_s - 0.125 - (compute.end_s - 0.6)


WORLDS = [{}, {"startup_s": 0.0}, {"launch_s": 0.0}, {"up": 200.0}, {"up": 1e6}, {"memory": 1e3}, {"header": 500},
          {"startup_s": 0.0, "launch_s": 0.0, "header": 0}, {"startup_s": 2.0}]


@pytest.mark.parametrize("world", WORLDS, ids=repr)
@pytest.mark.parametrize("inner", [Dense("bf16"), TopK(0.1), QSGD(7, 64), CountSketch(3, ratio=0.1)], ids=repr)
def test_what_is_reckoned_is_what_is_played(inner, world):
    for stops in (layerwise(LAYERS), (TOTAL,), (400, 497, 800), layer_fusion(inner, LAYERS, costs_of(inner, **world))):
        expected = predicted_s(inner, stops, costs_of(inner, **world))
        assert sent_s(Fused(inner, stops), **world) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("world", WORLDS[:5], ids=repr)
def test_no_other_cut_is_played_faster(world):
    """All 32 cuts of six layers, each simulated; the encoder's work is that of top-k with its error feedback."""
    uplink = ErrorFeedback(TopK(0.1))
    stops = layerwise(LAYERS)
    cuts = [(*inner, TOTAL) for size in range(6) for inner in itertools.combinations(stops[:-1], size)]
    times = {cut: sent_s(ErrorFeedback(Fused(TopK(0.1), cut)), **world) for cut in cuts}
    chosen = layer_fusion(TopK(0.1), LAYERS, costs_of(uplink, **world))
    assert times[chosen] == pytest.approx(min(times.values()), rel=1e-9)
    assert times[chosen] <= times[stops] * (1 + 1e-9)


@pytest.mark.parametrize("inner", [Dense(), TopK(0.1), QSGD(7, 64), CountSketch(3, ratio=0.1)], ids=repr)
def test_one_group_plays_as_the_compressor_alone(inner):
    """Identical rows: bytes, times and losses."""
    whole, alone = (play(replace(setup_of(uplink, rounds=3), one_by_one=True))
                    for uplink in (Fused(inner, (TOTAL,)), inner))
    assert repr(whole.events) == repr(alone.events)
    np.testing.assert_array_equal(whole.outcome.model, alone.outcome.model)


def test_headers_start_ups_and_launches_are_those_of_every_chunk():
    uplink = Fused(TopK(0.1), layerwise(LAYERS))
    (upload,) = play(setup_of(uplink)).of("upload")
    assert upload.header_bytes == 6 * 40
    assert upload.values_bytes == 4 * (40 + 1 + 9 + 25 + 1 + 5)


# ---- recipes

NOMINAL = {"model": "resnet-50", "tokens_per_step": {"cloud": "32 x 160", "edge": "32 x 160"}}
FUSED = {"top-k": {"ratio": 0.01}, "qsgd": {}, "sketch-fusion": {}, "full-sync-optimised": {}}
GPU = {"like": "a100", "launch": "10 us"}


def cloud_setup(policy, fused, **parameters):
    """Four GPUs on 10 Gbit/s and .1 ms a message; the policy takes sending for what it is."""
    told = {"startup_s": 1e-4, "s_per_byte": 8e-10} if fused is True else {}
    return small_setup(policy, {**FUSED[policy], **parameters, **told, "fused": fused}, cloud=4, edge=0, epochs=1,
                       nominal=NOMINAL, network={"message_startup": "0.1 ms"})


@pytest.mark.parametrize("policy", sorted(FUSED))
def test_merged_is_never_slower_than_layer_by_layer_or_one_bucket(policy):
    taken = {how: play(cloud_setup(policy, how)).metrics[-1].time_s for how in (True, "layerwise", "whole")}
    assert taken[True] <= taken["layerwise"]
    assert taken[True] <= taken["whole"]


def test_the_cut_is_of_nominal_layers():
    setup = cloud_setup("sketch-fusion", "layerwise", rows=3, ratio=0.1)
    (first, *_) = play(setup).of("upload")
    shapes = setup.info.nominal_shapes
    assert first.values_bytes == sum(4 * 3 * max(1, -(-size // 30)) for size in map(np.prod, shapes))
    assert first.header_bytes == 64 * len(shapes) == 64 * 161


def exact(**parameters):
    """Sketch-Fusion whose sketch loses nothing."""
    return small_setup("sketch-fusion", {"rows": 1, "ratio": 1.0, "hashing": "fold", "recover": 0.25, "fused": "whole",
                                         **parameters}, epochs=3)


def test_a_sketch_without_collisions_trains_as_the_vector_itself():
    setup = exact()
    server = setup.policy.aggregator
    whole = replace(setup.policy, uplink=Dense(), aggregator=replace(server, sketch=Dense()))
    sketched, dense = play(setup), play(replace(setup, policy=whole))
    np.testing.assert_allclose(sketched.outcome.model, dense.outcome.model, rtol=1e-4, atol=1e-5)
    assert sketched.outcome.totals["bytes_up"] == dense.outcome.totals["bytes_up"]


def test_momentum_of_the_workers_is_momentum_of_the_server():
    """Sums of momenta are momenta of sums; with nothing masked the two are the same."""
    setup = exact(masking="subtract", learning_rate=0.02)
    server = setup.policy.aggregator
    assert isinstance(server, SketchedSGD)
    worker = replace(setup.policy, local=MomentumStep(0.9, masking=False), aggregator=replace(server, momentum=0.0))
    np.testing.assert_allclose(play(setup).outcome.model, play(replace(setup, policy=worker)).outcome.model, rtol=1e-3,
                               atol=1e-4)


def test_the_downlink_sends_the_entries_that_were_recovered():
    setup = exact()
    (*_, last) = play(setup).of("download")
    assert last.message_bytes - last.header_bytes == 8 * 6  # a quarter of 24
    assert exact(momentum_at="worker").policy.local == MomentumStep(0.9)
