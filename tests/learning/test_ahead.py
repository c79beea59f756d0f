"""Gradients taken ahead of the model, and the server that replays them."""

import numpy as np
import pytest

from acesim.aggregators import Outer, Replay
from acesim.aggregators.replay import steps_behind
from acesim.compressors import Dense
from acesim.learning.ahead import LastStep, LookAhead
from acesim.learning.local import GradientStep, stack
from acesim.learning.optimizers import SGD, AdamW, LearningRate
from acesim.seam import Guide, Update

P, C = 5, 3
RATE = LearningRate("constant", 0.1)


def bowl(centres):
    """Workers' gradients x - centre_k, and the places they were asked at."""
    asked = []

    def gradient(place):
        slopes = np.asarray(place, np.float32) - centres
        asked.append(np.broadcast_to(place, slopes.shape).copy())
        return slopes, np.zeros(len(slopes))
    return gradient, asked


def centres():
    return np.random.default_rng(0).standard_normal((C, P)).astype(np.float32)


def states(local):
    return stack([local.init(P) for _ in range(C)])


@pytest.mark.parametrize("local", [LookAhead(), LastStep()])
def test_one_step_is_a_gradient(local):
    anchor = np.ones(P, np.float32)
    found, state = local.run(anchor, 1, bowl(centres())[0], states(local))
    np.testing.assert_array_equal(found, GradientStep().run(anchor, 1, bowl(centres())[0], ())[0])
    assert not np.any(local.walked(state))


def test_a_lone_worker_foresees_the_server_exactly():
    """With one worker its second gradient is taken where the server's own first step would go."""
    rule, anchor, only = AdamW(), np.ones(P, np.float32), centres()[:1]
    slopes = np.full(P, 0.5, np.float32)
    model, inner = rule.step(anchor, slopes, 0.1, rule.init(P))
    gradient, asked = bowl(only)
    local = LookAhead(power=0.0).along(Guide(rule, inner, RATE, 1))
    update, state = local.run(model, 3, gradient, (np.zeros(1),))
    place, following = model, inner
    for step in range(3):
        np.testing.assert_allclose(asked[step][0], place, rtol=1e-6)
        place, following = rule.step(place, place - only[0], 0.1, following)
    np.testing.assert_allclose(update[0], np.mean([each[0] for each in asked], axis=0) - only[0], rtol=1e-5)
    np.testing.assert_allclose(local.walked(state), np.linalg.norm(place - model), rtol=1e-5)


def test_the_walk_is_as_slow_as_the_replay():
    gradient, asked = bowl(centres())
    guide = Guide(SGD(), SGD().init(P), RATE, 0)
    LookAhead().along(guide).run(np.zeros(P, np.float32), 4, gradient, (np.zeros(C),))
    np.testing.assert_allclose(asked[1], 0.1 * 4**-0.5 * centres(), rtol=1e-6)


def test_without_a_guide_all_gradients_are_taken_at_the_anchor():
    gradient, asked = bowl(centres())
    update, state = LookAhead().run(np.ones(P, np.float32), 3, gradient, (np.zeros(C),))
    assert all((place == 1).all() for place in asked)
    np.testing.assert_allclose(update, 1 - centres(), rtol=1e-6)
    assert not state[0].any()


def test_the_last_step_is_expected_again():
    """First nothing is known; then the anchor has moved by one, and half of that is expected at half time."""
    local = LastStep()
    first, second = bowl(centres()), bowl(centres())
    _, state = local.run(np.zeros(P, np.float32), 2, first[0], states(local))
    assert [place.max() for place in first[1]] == [0, 0]
    _, state = local.run(np.ones(P, np.float32), 2, second[0], state)
    assert [place.max() for place in second[1]] == [1.0, 1.5]
    assert state[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("local", [LookAhead(), LastStep()])
def test_memory(local):
    assert local.memory_bytes(1000) in (16_000, 20_000)


# ---- the server

def inbox(*steps, weights=None):
    rng = np.random.default_rng(1)
    return [Update(row, Dense().encode(rng.standard_normal(P).astype(np.float32), None, None, ())[0],
                   1.0 if weights is None else weights[row], 0, count) for row, count in enumerate(steps)]


def test_replaying_one_step_is_outer():
    rate = LearningRate("linear", 0.1, 2, 9)
    one, other, model = Outer(AdamW(), rate), Replay(AdamW(), rate), np.ones(P, np.float32)
    a, b = (each.step(model, inbox(1, 1), Dense(), each.init(model)) for each in (one, other))
    np.testing.assert_array_equal(a[0], b[0])
    assert a[1].steps == b[1].steps == 1


def test_h_steps_of_sgd_reach_the_root_of_h_as_far():
    server, model = Replay(SGD(), RATE), np.zeros(P, np.float32)
    one, _ = server.step(model, inbox(1), Dense(), server.init(model))
    four, state = server.step(model, inbox(4), Dense(), server.init(model))
    np.testing.assert_allclose(four, 2 * one, rtol=1e-6)
    assert state.steps == 4


def test_the_interval_is_the_weighted_mean():
    assert steps_behind(inbox(1, 4, weights=(1.0, 2.0))) == 3
    assert steps_behind(inbox(1, 4, weights=(9.0, 1.0))) == 1


def test_a_server_shows_its_optimizer():
    server, model = Outer(AdamW(), RATE), np.zeros(P, np.float32)
    state = server.init(model)
    _, state = server.step(model, inbox(1), Dense(), state)
    guide = server.guide(state)
    assert guide.steps == 1
    np.testing.assert_array_equal(guide.curvature, state.optimizer.square)
    assert Outer(SGD(), RATE).guide(Outer(SGD(), RATE).init(model)).curvature is None
