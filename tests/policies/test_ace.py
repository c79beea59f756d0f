"""Presets and ablations: each changes what its name says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from tests_support import play, small_setup

from acesim.aggregators import Outer, Personal, Replay
from acesim.compressors import CachedFeedback, Dense, ErrorFeedback, Grouped, Lattice, Uniform
from acesim.learning.ahead import LastStep, LookAhead
from acesim.learning.local import GradientStep
from acesim.policies import RECIPES, build, describe, knobs
from acesim.policies.ace import personal_spans
from acesim.scenario.errors import PolicyError
from acesim.schedules import Clusters, Intervals
from acesim.seam import Group

CHANGED = {
    "ace-sync/no-attention": {"attention": False}, "ace-sync/no-knapsack": {"knapsack": False},
    "ace-sync/no-error-feedback": {"error_feedback": False}, "ace-sync/no-clusters": {"clusters": 0},
    "ace-sync/flat": {"tree": "star"}, "ace-sync/cache": {"cache": 0.5}, "ace-sync/top-p": {"top_p": 0.1},
    "ace-sync/adaptive-interval": {"h_max": 4}, "ace-sync/latency-weights": {"latency_power": 1.0},
    "ace-sync/personal": {"personal": ("norm", "bias")},
    "ace-sync/paper": {"c_max": 64.0, "top_p": 0.1, "cache": 0.5, "h_max": 4},
}
NOMINAL = {"model": [{"name": "x", "shape": [240_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}}


@pytest.fixture(scope="module")
def info():
    return small_setup().info


@pytest.mark.parametrize("name", CHANGED)
def test_a_preset_is_ace_sync_with_other_defaults(name, info):
    assert knobs(RECIPES[name]) == knobs(RECIPES["ace-sync"]) | CHANGED[name]
    assert build(name, info, {}) == build("ace-sync", info, CHANGED[name]) != build("ace-sync", info, {})
    back = {parameter: knobs(RECIPES["ace-sync"])[parameter] for parameter in CHANGED[name]}
    assert build(name, info, back) == build("ace-sync", info, {})
    for parameter, value in CHANGED[name].items():
        assert f"{parameter}: {value}" in describe(RECIPES[name])[0]


def test_personal_groups_are_stretches_of_entries():
    """By kind, by name, by a tensor that is cut, by what it is part of; where they touch they are one."""
    names = (("wte.weight.0", "embedding"), ("wte.weight.1", "embedding"), ("h.0.vectors", "norm"), ("h.0.fc.weight",
             "mlp"), ("h.0.fc.bias", "other"), ("h.1.vectors", "norm"))
    groups = [Group(name, 10 * row, 10 * row + 10, kind) for row, (name, kind) in enumerate(names)]
    for words, spans in (((), ()), (("norm", "bias"), ((20, 30), (40, 60))), (("wte.weight",), ((0, 20),)),
                         (("wte.weight.1", "norm"), ((10, 30), (50, 60))), (("h.0",), ((20, 50),)), (("head",), ()),
                         (("vectors", "norm"), ((20, 30), (50, 60)))):
        assert personal_spans(groups, words) == spans


def test_personal_groups_have_a_variant_a_cluster(info):
    """Two cloud workers are a cluster of their own beside those of four of the edge."""
    policy = build("ace-sync", info, {"personal": "x.0"})
    assert policy.aggregator == Personal(build("ace-sync", info, {}).aggregator, ((0, 3),), 24, 5)
    assert policy.schedule.personal
    assert policy.schedule.copies is None
    assert build("ace-sync", info, {"personal": ["x.0", "x.1"], "clusters": 2}).aggregator.spans == ((0, 6),)
    assert build("ace-sync", info, {"personal": ["x.0"], "clusters": 2}).aggregator.most == 3
    unknown = replace(info, sketched=True)  # a scenario is checked before its data is read: names are not
    assert build("ace-sync", unknown, {"personal": "h.0"}).aggregator.spans == ((0, 1),)
    with pytest.raises(PolicyError, match="needs clusters"):
        build("ace-sync", unknown, {"personal": "h.0", "clusters": 0})
    nothing = build("ace-sync/personal", info, {})
    assert nothing.aggregator == build("ace-sync", info, {}).aggregator
    assert "no group that personal asks for" in nothing.remarks[0]


def test_every_ablation_is_here():
    assert {name for name in RECIPES if name.startswith("ace-sync/")} == set(CHANGED)


def test_the_preset_has_the_papers_parts(info):
    policy = build("ace-sync", info, {})
    assert isinstance(policy.uplink, ErrorFeedback)
    assert isinstance(policy.uplink.inner, Grouped)
    assert policy.uplink.inner.choice == "knapsack"
    assert (policy.local, policy.downlink, policy.tree) == (GradientStep(), Dense(), "regions")
    assert type(policy.aggregator) is Outer
    assert (policy.schedule.clusters, policy.schedule.intervals) == (Clusters(), Intervals())


@pytest.mark.parametrize(("parameters", "part"), [
    ({"cache": 0.5}, lambda policy: isinstance(policy.uplink, CachedFeedback)),
    ({"error_feedback": False}, lambda policy: isinstance(policy.uplink, Grouped)),
    ({"error_feedback": False, "operator": "stochastic"}, lambda policy: policy.uplink.rounding == "stochastic"),
    ({"operator": "shrunk"}, lambda policy: policy.uplink.inner.rounding == "shrunk"),
    ({"coding": "lattice", "offset": 0.3}, lambda policy: policy.uplink.inner.offset == 0.3),
    ({"down": "4-bit"}, lambda policy: policy.downlink.bits == 4 and isinstance(policy.downlink, Uniform)),
    ({"down": "lattice", "down_c": 20.0}, lambda policy: isinstance(policy.downlink, Lattice)
     and policy.schedule.down_factor == 20.0),
    ({"down": "4-bit", "down_rho": 0.5}, lambda policy: policy.downlink.rho == 0.5 and policy.downlink.inner.bits == 4),
    ({"region_c": 4.0}, lambda policy: policy.schedule.region_factor == 4.0),
    ({"h_min": 2, "h_max": 2}, lambda policy: isinstance(policy.local, LookAhead)
     and isinstance(policy.aggregator, Replay)),
    ({"h_min": 2, "h_max": 2, "ahead": "last-step", "down": "2-bit"}, lambda policy: policy.local == LastStep()),
    ({"c": 8.0}, lambda policy: policy.schedule.budgets.factor == 8.0),
])
def test_switches_turn_what_they_name(parameters, part, info):
    assert part(build("ace-sync", info, parameters))


@pytest.mark.parametrize(("parameters", "rule"), [
    ({"operator": "stochastic"}, "must be contractive"), ({"operator": "odd"}, "rounding = 'odd'"),
    ({"cache": 0.5, "error_feedback": False}, "needs error_feedback"), ({"cache": 1.0}, r"cache = 1\.0"),
    ({"coding": "odd"}, "must be one of levels, lattice"), ({"coding": "lattice", "top_p": 0.1}, "goes with cache = 0"),
    ({"knapsack": False, "top_p": 0.1}, "needs the knapsack"), ({"down": "3-bit"}, "must be one of dense, 8-bit"),
    ({"h_max": 4, "down": "2-bit"}, "needs a lossless downlink"), ({"ahead": "odd"}, "must be one of server"),
    ({"h_max": 4, "ahead": "last-step"}, "must be equal"), ({"h_min": 3, "h_max": 2}, "1 <= h_min <= h_max"),
    ({"c": 0.5}, r"c = 0\.5"), ({"latency_power": -1.0}, "latency_power"),
    ({"down_c": 0.1}, "down_c = 0"), ({"offset": 0.6}, "offset = 0"),
    ({"coding": "lattice", "operator": "shrunk"}, "goes with operator"), ({"down_rho": 0.8}, "needs a lossy down"),
    ({"down_rho": 1.0, "down": "4-bit"}, r"must lie in \[0, 1\)"), ({"region_c": 0.5}, "must be at least 1"),
    ({"personal": "x.0", "clusters": 0}, r"clusters = 0: entries are personal to a cluster of workers: needs clusters"),
    ({"personal": ["x.0", "x.9"]}, r"personal = 'x\.9': no such group; did you mean x\.\d\? .*kinds embedding"),
    ({"personal": "norms"}, "did you mean norm"), ({"personal": [3]}, r"personal = \[3\]: must be names"),
    ({"personal": 3}, "personal = 3: must be names"), ({"personal": None}, r"\[\] for none"),
    ({"personal": "x.0", "down": "4-bit"}, "needs down = 'dense'"),
    ({"personal": "x.0", "turns": 2}, "needs every cluster in every round"),
    ({"personal": "x.0", "h_max": 4}, "take ahead = 'last-step'")])
def test_what_does_not_go_together_is_refused(parameters, rule, info):
    with pytest.raises(PolicyError, match=rule):
        build("ace-sync", info, parameters)


def test_plus_sends_little_both_ways():
    """After the warm-up what its factors say, on the average, and with a pace no more; it learns as FullSync does."""
    full, free, paced = (play(small_setup(*given, epochs=6, nominal=NOMINAL)) for given in (
        ("full-sync",), ("ace-sync-plus", {"pace": None}), ("ace-sync-plus",)))
    for kind, factor in (("upload", 9.5), ("download", 13.0)):
        means = [np.mean([event.message_bytes - event.header_bytes - event.control_bytes for event in played.of(kind)
                          if event.round >= 4 and event.who < 6]) for played in (free, paced)]
        assert means[0] == pytest.approx(4 * 240_000 / factor, rel=0.1)
        assert means[1] <= 1.02 * means[0]
    assert free.metrics[-1].loss_nats == pytest.approx(full.metrics[-1].loss_nats, rel=0.1)


@pytest.mark.parametrize("parameters", [
    {"h_min": 2, "h_max": 2}, {"h_min": 2, "h_max": 2, "ahead": "last-step", "down": "4-bit"}, {"rest_every": 3},
    {"operator": "shrunk"}, {"curvature": True}, {"cache": 0.5, "tree": "star"}, {"c": 32.0, "coding": "lattice"},
    {"deadline_s": 0.01, "careful": 0.2}, {"sketch": 4, "recluster_every": 3}])
def test_every_switch_learns(parameters):
    played = play(small_setup("ace-sync", parameters, epochs=6, nominal=NOMINAL))
    assert played.metrics[-1].loss_nats < 0.7 * played.metrics[0].loss_nats


def test_regions_send_as_finely_as_they_are_told():
    """Three times the bytes of a worker's, after the warm-up; of 24 entries a lattice meets its budget to a fifth."""
    played = play(small_setup("ace-sync", {"c": 12.0, "region_c": 4.0, "coding": "lattice"}, epochs=6, nominal=NOMINAL))
    sent = {who: np.mean([event.values_bytes for event in played.of("upload") if event.round >= 4 and test(event.who)])
            for who, test in (("workers", lambda row: row < 6), ("regions", lambda row: row >= 6))}
    assert sent["regions"] == pytest.approx(3 * sent["workers"], rel=0.2)


def test_twice_the_steps_are_half_the_messages():
    one, two = (play(small_setup("ace-sync", {"h_min": h, "h_max": h}, epochs=4)) for h in (1, 2))
    assert len(two.of("upload")) * 2 == len(one.of("upload"))
    assert two.metrics[-1].local_steps == one.metrics[-1].local_steps
