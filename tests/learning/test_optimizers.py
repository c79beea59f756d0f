from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.learning import optimizers
from acesim.learning.local import stack
from acesim.learning.optimizers import SGD, AdamW, LearningRate, build_learning_rate, build_optimizer

VALIDATION = Path(__file__).resolve().parents[2].parent / "shared" / "validation"
REFERENCE = VALIDATION / "optimizers" / "optim_golden.json"
RULES = [AdamW(), AdamW((0.9, 0.95), weight_decay=0.1), AdamW(amsgrad=True), AdamW(decoupled=False),
         SGD(), SGD(0.9), SGD(0.9, nesterov=True, weight_decay=0.01), SGD(0.9, dampening=0.5),
         AdamW(clip_norm=0.5), SGD(0.9, clip_norm=0.5)]


def rule_of(name, settings):
    """The rule of one golden run; PyTorch's own defaults where a setting is not given."""
    settings = {key: value for key, value in settings.items() if key != "lr"}
    if name.startswith("sgd"):
        return SGD(**settings)
    betas = tuple(settings.pop("betas", (0.9, 0.999)))
    return AdamW(betas, **settings, decoupled=name.startswith("adamw"))


@pytest.mark.reference
def test_every_golden_run_of_pytorch():
    if not REFERENCE.exists():
        pytest.skip(f"reference answers not found beside the project: {REFERENCE}")
    golden = json.loads(REFERENCE.read_text("utf-8"))
    data, wanted = np.array(golden["X"]), np.array(golden["y"])
    first, second = np.array(golden["W1"]), np.array(golden["W2"])
    start = np.concatenate([first.ravel(), second.ravel()])
    for name, run in golden["runs"].items():
        rule = rule_of(name, run["cfg"])
        place, state = start, rule.init(start.size, np.float64)
        for loss, after in zip(run["loss_before_step"], run["params_after_step"], strict=True):
            inner, outer = place[:first.size].reshape(first.shape), place[first.size:].reshape(second.shape)
            hidden = np.tanh(data @ inner)
            error = hidden @ outer - wanted
            assert np.mean(error ** 2) == pytest.approx(loss, rel=1e-12), name
            back = 2 * error / error.size
            slopes = data.T @ (back @ outer.T * (1 - hidden ** 2)), hidden.T @ back
            slope = np.concatenate([part.ravel() for part in slopes])
            place, state = rule.step(place, slope, run["cfg"]["lr"], state)
            flat = np.concatenate([np.ravel(part) for part in after])
            assert np.allclose(place, flat, rtol=1e-12, atol=1e-12), name


def test_adamw_by_hand():
    rule = AdamW((0.5, 0.75), eps=0.0, weight_decay=0.1)
    place, state = rule.step(np.array([2.0]), np.array([4.0]), 0.5, rule.init(1, np.float64))
    assert place[0] == pytest.approx(2 * 0.95 - 0.5)  # m / sqrt(v) = 1 after bias correction
    assert (int(state.steps), state.mean[0], state.square[0]) == (1, 2.0, 4.0)
    place, state = rule.step(place, np.array([0.0]), 0.5, state)
    mean, square = 1 / 0.75, 3 / (1 - 0.75 ** 2)
    assert place[0] == pytest.approx(1.4 * 0.95 - 0.5 * mean / math.sqrt(square))


def test_nesterov_by_hand():
    rule = SGD(momentum=0.5, nesterov=True)
    place, state = rule.step(np.array([1.0]), np.array([2.0]), 0.1, rule.init(1, np.float64))
    assert place[0] == pytest.approx(1 - 0.1 * (2 + 0.5 * 2))
    place, _ = rule.step(place, np.array([1.0]), 0.1, state)
    assert place[0] == pytest.approx(0.7 - 0.1 * (1 + 0.5 * 2))


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_nothing_is_changed_in_place(rule):
    rng = np.random.default_rng(0)
    place, slope = rng.standard_normal((2, 3, 40)).astype(np.float32)
    state = stack([rule.init(40)] * 3)
    _, state = rule.step(place, slope, 0.1, rule.restore(state))
    before = [np.copy(array) for array in (place, slope, *state)]
    after, _ = rule.step(place, slope, 0.1, state)
    assert all(np.array_equal(was, now) for was, now in zip(before, (place, slope, *state), strict=True))
    assert after.dtype == np.float32
    assert not np.shares_memory(after, place)


@pytest.mark.parametrize("rule", RULES)
def test_steps_in_place_are_the_same_steps(rule, monkeypatch):
    monkeypatch.setattr(optimizers, "BLOCK", 64)
    rng = np.random.default_rng(1)
    size = 1001  # many blocks
    pure = own = rng.standard_normal((2, size), dtype=np.float32)
    state = mine = rule.restore(stack([rule.init(size), rule.init(size)]))
    for step in range(3):
        slope = rng.standard_normal((2, size), dtype=np.float32)
        kept = slope.copy()
        pure, state = rule.step(pure, slope, np.array([0.1, 0.2]), state)
        before = own
        own, mine = rule.step(own, slope, np.array([0.1, 0.2]), mine, in_place=step > 0)
        assert step == 0 or own is before
        assert np.array_equal(slope, kept)
        assert np.array_equal(own, pure)
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(mine, state, strict=True))


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_row_of_a_stack_is_a_worker_of_its_own(rule, monkeypatch):
    monkeypatch.setattr(optimizers, "BLOCK", 16)
    rng = np.random.default_rng(1)
    place = rng.standard_normal((3, 40)).astype(np.float32)
    slopes = rng.standard_normal((4, 3, 40)).astype(np.float32)
    rates = np.array([0.1, 0.02, 0.3])
    alone, states = list(place), [rule.init(40) for _ in range(3)]
    alone[2], states[2] = rule.step(place[2], slopes[3, 2], 0.5, states[2])  # one step more than the others
    together, state = np.stack(alone), rule.restore(stack(states))
    for slope in slopes[:3]:
        together, state = rule.step(together, slope, rates, state)
        for row in range(3):
            alone[row], states[row] = rule.step(alone[row], slope[row], float(rates[row]), states[row])
    assert np.array_equal(together, np.stack(alone))
    assert all(np.array_equal(one, two) for one, two in zip(state, stack(states), strict=True))
    assert state.steps.tolist() == [3, 3, 4]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_finds_the_bottom_of_a_bowl(rule):
    place, state = np.full(5, 3.0), rule.init(5, np.float64)
    for step in range(300):
        place, state = rule.step(place, place - 1, 0.1 * (1 - step / 300), state)
    assert np.allclose(place, 1, atol=0.12)


def test_memory_is_that_of_the_state():
    for rule in RULES:
        floats = [part for part in rule.init(100) if part.ndim]
        assert rule.memory_bytes(100) == sum(part.nbytes for part in floats)


def test_schedules():
    constant = LearningRate("constant", 2.0, 4, 10)
    assert [constant(step) for step in (0, 1, 3, 4, 50)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    cosine = LearningRate("cosine", 1.0, 0, 4)
    assert [round(cosine(step), 6) for step in range(6)] == [1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0]
    step = LearningRate("step", 1.0, 2, 10)
    assert [round(step(at), 9) for at in (0, 1, 2, 5, 6, 7, 8, 50)] == [0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    own = LearningRate("step", 1.0, 0, 10, drops=(0.3,), factor=0.5)
    assert [own(at) for at in (2, 3, 9)] == [1, 0.5, 0.5]
    with pytest.raises(ValueError, match=r"schedule = stairs: must be constant, linear, cosine or step"):
        LearningRate("stairs", 1.0)


def test_clipping_by_hand():
    rule = SGD(clip_norm=2.5)
    place, _ = rule.step(np.zeros((3, 2)), np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]), 1.0, stack_of(rule, 3))
    assert place.tolist() == [[-1.5, -2.0], [0.0, -2.0], [0.0, 0.0]]
    huge = np.full((1, 4), 1e30, np.float32)  # its square is no float32
    assert np.allclose(optimizers.clipped(huge, 1.0), 0.5)
    assert optimizers.clipped(huge, None) is huge
    assert np.isnan(optimizers.clipped(np.array([1.0, np.nan]), 1.0)).all()  # a run that is lost must look so


@given(st.integers(1, 70), st.floats(1e-3, 1e3))
def test_clipping_shortens_to_the_norm_and_never_turns(size, norm):
    gradients = np.random.default_rng(size).standard_normal((3, size)) * np.array([[1e-3], [1.0], [1e3]])
    short = optimizers.clipped(gradients, norm)
    lengths = np.linalg.norm(gradients, axis=1)
    assert np.allclose(np.linalg.norm(short, axis=1), np.minimum(lengths, norm), rtol=1e-12)
    assert np.allclose(short * lengths[:, None], gradients * np.minimum(lengths, norm)[:, None], rtol=1e-12)
    assert all(np.array_equal(optimizers.clipped(row, norm), one) for row, one in zip(gradients, short, strict=True))


def stack_of(rule, rows):
    return rule.restore(stack([rule.init(2, np.float64)] * rows))


@given(st.sampled_from(["constant", "linear", "cosine", "step"]), st.integers(0, 30), st.integers(1, 100))
def test_a_schedule_rises_then_falls(schedule, warm_up, total):
    rate = LearningRate(schedule, 0.5, warm_up, total)
    values = [rate(step) for step in range(150)]
    assert all(0 <= value <= 0.5 for value in values)
    assert all(a < b for a, b in pairwise(values[:warm_up]))
    assert all(a >= b for a, b in pairwise(values[warm_up:]))


def test_building_from_a_scenario():
    spec = SimpleNamespace(name="adamw", learning_rate=0.1, schedule="linear", warm_up_rounds=3,
                           betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01, momentum=0.8, nesterov=True,
                           clip_norm=None, drops=(0.5, 0.75), factor=0.1)
    assert build_optimizer(spec) == AdamW((0.9, 0.95), 1e-8, 0.01)
    assert build_learning_rate(spec, 40) == LearningRate("linear", 0.1, 3, 40)
    spec.name = "sgd"
    assert build_optimizer(spec) == SGD(0.8, True, 0.01)
    spec.clip_norm = 2.0
    assert build_optimizer(spec) == SGD(0.8, True, 0.01, clip_norm=2.0)
    spec.name = "lion"
    with pytest.raises(ValueError, match=r"optimizer\.name = lion: must be adamw or sgd"):
        build_optimizer(spec)
