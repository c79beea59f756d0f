"""One battery for every recipe: a policy that is added is tested by being named in RECIPES."""

import inspect
import pickle
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from tests_support import play, small_scenario, small_setup, view

from acesim.policies import RECIPES, build, describe, knobs
from acesim.scenario.errors import PolicyError
from acesim.seam import Aggregator, Compressor, LocalTraining, Schedule, TreePolicy

every = pytest.mark.parametrize("name", sorted(RECIPES))


@pytest.fixture(scope="module")
def info():
    return small_setup().info


PARABOLA = {"sketch-fusion": {"ratio": 0.5, "recover": 0.2},  # a sketch of 24 entries has but a few columns
            "ace-sync/personal": {"personal": ["x.0", "x.3"]}}  # a parabola has neither biases nor norms


@every
def test_the_loss_falls_on_a_parabola(name):
    played = play(small_setup(name, PARABOLA.get(name), epochs=4))
    first, last = played.metrics[0], played.metrics[-1]
    # Alone, every worker falls into its own bowl, whose bottom lies a little off the common one.
    # Given bytes carry nothing, so nothing is learned from them.
    fallen = {"local-only": 0.85, "given-bytes": 1.001}.get(name, 0.7)
    assert last.loss_nats < fallen * first.loss_nats
    assert 4.0 <= last.epoch <= 4.5  # intervals that follow the drift need not end on an epoch's mark
    assert last.time_s > 0


@every
def test_one_worker_is_enough(name):
    played = play(small_setup(name, PARABOLA.get(name), cloud=1, edge=0))
    assert played.metrics[-1].local_steps == 12
    assert played.metrics[-1].loss_nats < played.metrics[0].loss_nats


@every
def test_one_worker_of_the_edge_is_enough(name):
    if name == "cloud-only":
        pytest.skip("cloud-only needs a cloud worker, and says so: tests/engine/test_laws.py")
    played = play(small_setup(name, PARABOLA.get(name), cloud=0, edge=1))
    assert played.metrics[-1].loss_nats < played.metrics[0].loss_nats


@every
def test_a_model_of_one_parameter_is_enough(name):
    task = {"kind": "quadratic", "dimension": 1, "steps_per_epoch": 4}
    assert np.isfinite(play(small_setup(name, task=task)).metrics[-1].loss_nats)


@every
def test_a_policy_is_plain_data(name, info):
    """It pickles, equals the one that is built again, prints itself, and cannot be changed."""
    policy = build(name, info, {})
    assert pickle.loads(pickle.dumps(policy)) == policy == build(name, info, {})
    assert repr(policy).startswith("TreePolicy(local=")
    assert " at 0x" not in repr(policy)
    for part in (policy, policy.local, policy.uplink, policy.aggregator, policy.downlink, policy.schedule):
        assert is_dataclass(part)
        with pytest.raises(AttributeError):
            setattr(part, fields(part)[0].name if fields(part) else "anything", None)


@every
def test_every_part_keeps_its_side_of_the_seam(name, info):
    policy = build(name, info, {})
    assert isinstance(policy, TreePolicy)
    assert isinstance(policy.local, LocalTraining)
    assert isinstance(policy.uplink, Compressor)
    assert isinstance(policy.downlink, Compressor)
    assert isinstance(policy.aggregator, Aggregator)
    assert isinstance(policy.schedule, Schedule)
    assert policy.tree in ("star", "regions")


@every
def test_a_run_leaves_its_policy_as_it_was(name):
    """All state is the engine's: a policy object that has played a run plays the same run again."""
    setup = small_setup(name)
    before = pickle.loads(pickle.dumps(setup.policy))
    first, again = play(setup), play(setup)
    assert setup.policy == before
    assert first.outcome.training_digest == again.outcome.training_digest


@every
def test_memory_is_stated_and_grows_with_the_model(name, info):
    policy = build(name, info, {})
    for role, children in (("worker", 0), ("region", 4), ("cloud", 6)):
        small, large = (policy.memory_bytes(role, size, children) for size in (10**6, 10**7))
        assert 4 * 10**6 <= small < large
        assert isinstance(small, int)


@pytest.mark.parametrize(("name", "worker", "cloud"), [
    ("full-sync", 8, 16),            # weights, gradient | model, mean, AdamW's two moments
    ("full-sync-optimised", 8, 20),  # bf16 downlink: and what all workers are known to hold
    ("top-k", 12, 16),               # and the residual
    ("fedavg", 16, 8),               # and the inner AdamW's moments | model, mean
    ("cloud-only", 8, 16), ("local-only", 16, 8), ("uniform-quantised", 12, 16), ("qsgd", 8, 16),
    ("dagc-r", 12, 16), ("dagc-a", 12, 16), ("hard-threshold", 12, 16), ("accordion", 12, 16),  # and the residual
    ("dgc", 16, 8),                  # velocity and what is accumulated | SGD: model, mean
    ("dgs", 12, 32), ("gd-async", 12, 32), ("dgc-async", 16, 32),  # | and what each of six holds
    ("asgd", 8, 8)])
def test_memory_by_hand(name, worker, cloud, info):
    """Bytes a parameter, all in float32."""
    policy = build(name, info, {})
    assert policy.memory_bytes("worker", 1000, 0) == worker * 1000
    assert policy.memory_bytes("cloud", 1000, 6) == cloud * 1000


def test_memory_of_a_lossy_downlink_to_workers_that_part(info):
    """When not all of them hold the same, a server that sends differences remembers what each of six holds."""
    policy = build("full-sync-optimised", info, {})
    apart = replace(policy, schedule=replace(policy.schedule, fraction=0.5))
    assert apart.memory_bytes("cloud", 1000, 6) == (4 + 12 + 6 * 4) * 1000


def test_memory_of_a_region(info):
    """Its model and the mean; with feedback of its own the residual, with groups the measured distortions as well."""
    assert build("full-sync", info, {}).memory_bytes("region", 1000, 4) == 8 * 1000
    assert build("top-k", info, {}).memory_bytes("region", 1000, 4) == 12 * 1000
    ace = build("ace-sync", info, {})
    assert ace.memory_bytes("region", 1000, 4) == 12 * 1000 + 8 * len(info.groups) * len(ace.uplink.inner.menu)
    cached = build("ace-sync/cache", info, {})  # and its own cache, twice; and one for each of four workers, in a byte
    assert cached.memory_bytes("region", 1000, 4) == ace.memory_bytes("region", 1000, 4) + (2 + 4) * 1000


@every
def test_plans_name_rows_of_the_fleet_and_weigh_them(name):
    setup = small_setup(name)
    schedule = setup.policy.schedule
    state = schedule.init(view(6, cloud=2, regions=3), np.random.default_rng(0))
    for round_number in range(4):
        known = view(6, cloud=2, regions=3, round=round_number)
        plan, state = schedule.plan(known, state)
        assert plan.participants.size
        assert set(plan.participants) <= set(np.flatnonzero(schedule.enrolled(known.tier)))
        assert (np.diff(plan.participants) > 0).all()
        assert (plan.local_steps[plan.participants] >= 1).all()
        assert (plan.weights[plan.participants] > 0).all()
        assert plan.local_steps.shape == plan.weights.shape == (6,)
        assert plan.levels is None or len(plan.levels) == 6
        assert plan.region_levels is None or len(plan.region_levels) == 3


# ---- parameters

@every
def test_every_parameter_has_a_default_and_is_documented(name):
    text, parameters = describe(RECIPES[name])
    assert text
    for parameter, default in parameters.items():
        assert default is not inspect.Parameter.empty, parameter
        assert parameter in text, parameter


@every
def test_an_unknown_parameter_is_named_with_what_is_known(name, info):
    with pytest.raises(PolicyError, match=rf"{name}\.no_such: unknown parameter; .*knows: "):
        build(name, info, {"no_such": 1})


@pytest.mark.parametrize(("name", "parameter", "value", "says"), [
    ("top-k", "ratio", 0, r"top-k: .*ratio = 0: must be a number in \(0, 1\]"),
    ("top-k", "ratio", 1.5, r"ratio = 1\.5"),
    ("top-k", "ratio", "a tenth", "ratio = 'a tenth'"),
    ("top-k", "index", "int8", "index = 'int8': must be one of"),
    ("top-k", "fused", "twice", "top-k: fused = 'twice': must be true, layerwise or whole"),
    ("qsgd", "levels", 0, "qsgd: .*levels = 0"),
    ("qsgd", "fused", False, "fused = False: must be true"),
    ("full-sync-optimised", "fused", "half", "fused = 'half'"),
    ("sketch-fusion", "rows", 2, "sketch-fusion: .*rows = 2: must be an odd"),
    ("sketch-fusion", "ratio", 0, r"ratio = 0: must be a number in \(0, 1\]"),
    ("sketch-fusion", "recover", 0, "recover = 0"),
    ("sketch-fusion", "momentum", 1, "momentum = 1: must be in"),
    ("sketch-fusion", "momentum_at", "region", "momentum_at = 'region': must be one of server, worker"),
    ("sketch-fusion", "learning_rate", 0, "learning.rate = 0"),
    ("sketch-fusion", "masking", "none", "masking = 'none'"),
    ("sketch-fusion", "startup_s", -1, "startup_s = -1"),
    ("sketch-fusion", "s_per_byte", -1, "s_per_byte = -1"),
    ("fedavg", "local_steps", 0, r"fedavg: local_steps = 0: must be .*at least 1"),
    ("fedavg", "local_steps", 1.5, r"local_steps = 1\.5"),
    ("fedavg", "fraction", 0, r"fraction = 0: must lie in \(0, 1\]"),
    ("fedavg", "fraction", 1.01, r"fraction = 1\.01"),
    ("fedavg", "inner_learning_rate", 0, "learning.rate = 0"),
    ("local-only", "inner_learning_rate", -1, "learning.rate = -1"),
    ("uniform-quantised", "bits", 3, "bits = 3"),
    ("full-sync-optimised", "bucket_megabytes", 0, "bucket"),
    ("full-sync-optimised", "bucket_megabytes", -25, "bucket"),
    ("ace-sync", "c_min", 0.5, r"ace-sync: c_min = 0\.5, c_max = 10\.0: must satisfy 1 <= c_min <= c_max"),
    ("ace-sync", "c_max", 1.0, "c_min = 2"),
    ("ace-sync", "beta", -1, "beta = -1"),
    ("ace-sync", "gamma", 0, "gamma = 0"),
    ("ace-sync", "gamma", 1.1, r"gamma = 1\.1"),
    ("ace-sync", "top_p", 2, "top_p = 2"),
    ("ace-sync", "deadline_s", 0, "deadline_s = 0"),
    ("ace-sync", "alpha", -0.5, r"alpha = -0\.5"),
    ("ace-sync", "alpha", 3, "alpha = 3"),
    ("ace-sync", "warm_up", -1, "warm_up = -1"),
    ("ace-sync", "tree", "region", "tree = '?region"),
    ("dagc-r", "ratio", 0, r"dagc-r: .*ratio = 0: must be a number in \(0, 1\]"),
    ("dagc-r", "ratio", 1.5, r"ratio = 1\.5"),
    ("dagc-r", "mode", "best", "mode = 'best': must be one of paper, p23, waterfill, uniform"),
    ("dagc-r", "local_steps", 0, "local_steps = 0"),
    ("dagc-r", "local_steps", 2.5, r"local_steps = 2\.5"),
    ("dagc-r", "per_layer", "yes", "per_layer = 'yes': must be true, false or null"),
    ("dagc-r", "inner_learning_rate", 0, "learning.rate = 0"),
    ("dagc-r", "index", "int16", "index = 'int16': must be one of int32, "),
    ("dagc-a", "threshold", 0, "dagc-a: threshold = 0: must be a finite number above 0"),
    ("dagc-a", "threshold", -0.1, r"threshold = -0\.1"),
    ("dagc-a", "mode", "p23", "mode = 'p23': must be one of paper, uniform"),
    ("hard-threshold", "threshold", -1, "hard-threshold: threshold = -1"),
    ("accordion", "change", 0, "change = 0: must be above 0"),
    ("accordion", "window", 0, "window = 0"),
    ("accordion", "ratio", 2, "ratio = 2"),
    ("accordion", "threshold", -1, "threshold = -1"),
    ("accordion", "local_steps", 0, "local_steps = 0"),
    ("dgs", "ratio", 0, "dgs: .*ratio = 0"),
    ("dgs", "momentum", 0, r"momentum = 0: must be in \(0, 1\)"),
    ("dgs", "momentum", 1, r"momentum = 1: must be in \(0, 1\)"),
    ("dgs", "secondary", 0, "secondary = 0"),
    ("dgs", "learning_rate", 0, "learning.rate = 0"),
    ("dgs", "resync_every", 0, "resync_every = 0"),
    ("asgd", "momentum", 1, r"asgd: .*momentum = 1: must be in \[0, 1\)"),
    ("asgd", "momentum", -0.5, r"momentum = -0\.5"),
    ("asgd", "learning_rate", -1, "learning.rate = -1"),
    ("gd-async", "ratio", 1.1, r"ratio = 1\.1"),
    ("dgc-async", "momentum", 1.0, r"momentum = 1\.0: must be in \[0, 1\)"),
    ("dgc", "ratio", 0, "dgc: .*ratio = 0"),
    ("dgc", "momentum", 1, r"momentum = 1: must be in \[0, 1\)"),
    ("dgc", "clip_norm", 0, "clip_norm = 0"),
    ("dgc", "warm_up", "slow", "warm_up = 'slow': must be one of paper, code, none"),
    ("dgc", "warm_up_epochs", -1, "warm_up_epochs = -1"),
    ("dgc", "selection", "random", "selection = 'random': must be one of sampled, exact"),
])
def test_a_bad_value_is_refused_by_name(name, parameter, value, says, info):
    """When the policy is built: nothing has been computed yet, and nothing is silently taken for something else."""
    with pytest.raises(PolicyError, match=says):
        build(name, info, {parameter: value})


def test_an_unknown_policy_is_named_with_the_nearest(info):
    with pytest.raises(PolicyError, match=r"topk: unknown policy; did you mean top-k\? \(knows: accordion, "):
        build("topk", info, {})
    with pytest.raises(PolicyError, match=r"xyz: unknown policy; \(knows: "):
        build("xyz", info, {})


def test_the_scenario_may_set_every_parameter_to_its_default(info):
    for name, recipe in RECIPES.items():
        assert build(name, info, knobs(recipe)) == build(name, info, {})


def test_a_small_scenario_knows_all_recipes():
    scenario = small_scenario(policies=sorted(RECIPES))
    assert [spec.label for spec in scenario.policies] == sorted(RECIPES)
