from __future__ import annotations

import numpy as np
import pytest

from acesim import seam
from acesim.learning.local import GradientStep, LocalSteps, MomentumStep, stack, unstack
from acesim.learning.optimizers import SGD, AdamW, LearningRate
from acesim.scenario.errors import PolicyError

CONSTANT = LearningRate("constant", 0.1)
PARTS = [GradientStep(), LocalSteps(SGD(), CONSTANT), LocalSteps(SGD(0.9), CONSTANT),
         LocalSteps(AdamW(), LearningRate("linear", 0.1, 2, 20)),
         LocalSteps(AdamW(), CONSTANT, keep_state=False),
         LocalSteps(SGD(), CONSTANT, proximal=0.5)]


class Bowl:
    """Worker k pulls towards its own centre; one buffer is handed out again and again, as the engine does."""

    def __init__(self, rows, size=7):
        self.centres = np.random.default_rng(2).standard_normal((20, size)).astype(np.float32)[list(rows)]
        self.buffer = np.empty_like(self.centres)
        self.calls = 0

    def __call__(self, parameters):
        self.calls += 1
        np.subtract(parameters, self.centres / self.calls, out=self.buffer)
        return self.buffer, np.zeros(len(self.buffer))


@pytest.mark.parametrize("part", PARTS, ids=repr)
@pytest.mark.parametrize("diverged", [False, True])
def test_workers_together_equal_workers_alone(part, diverged):
    rows, size = [3, 8, 5], 7
    anchor = np.random.default_rng(3).standard_normal((3, size)).astype(np.float32)
    anchor = anchor if diverged else anchor[0]
    together, state = part.run(anchor, 3, Bowl(rows), stack([part.init(size)] * 3))
    together, state = part.run(anchor, 2, Bowl(rows), state)
    kept = []
    for row, worker in enumerate(rows):
        own = anchor[row:row + 1] if diverged else anchor
        _, lone = part.run(own, 3, Bowl([worker]), stack([part.init(size)]))
        update, lone = part.run(own, 2, Bowl([worker]), lone)
        assert np.array_equal(update[0], together[row])
        kept += unstack(lone, 1)
    assert all(np.array_equal(one, two) for one, two in zip(state, stack(kept), strict=True))


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_parts_keep_the_contract(part):
    assert isinstance(part, seam.LocalTraining)
    assert eval(repr(part)) == part
    anchor = np.ones(7, np.float32)
    state = stack([part.init(7)] * 2)
    before = [np.copy(array) for array in state]
    update, _ = part.run(anchor, 2, Bowl([0, 1]), state)
    assert update.shape == (2, 7)
    assert update.dtype == np.float32
    assert (anchor == 1).all()
    assert all(np.array_equal(was, now) for was, now in zip(before, state, strict=True))
    with pytest.raises(PolicyError, match="local_steps = 0: must be at least 1"):
        part.run(anchor, 0, Bowl([0, 1]), state)


def test_gradient_step_sends_the_mean_gradient_at_the_anchor():
    anchor = np.zeros(7, np.float32)
    update, state = GradientStep().run(anchor, 2, Bowl([4]), ())
    assert state == ()
    assert np.allclose(update, -Bowl([4]).centres * (1 + 1 / 2) / 2)


def test_local_steps_by_hand():
    part = LocalSteps(SGD(), LearningRate("linear", 0.5, 0, 2))
    update, state = part.run(np.zeros(7, np.float32), 2, lambda x: (np.ones((1, 7), np.float32), np.zeros(1)),
                             stack([part.init(7)]))
    assert np.allclose(update, 0.5 + 0.25)
    assert state[0].tolist() == [2]


def test_one_plain_step_is_the_gradient_times_the_rate():
    part = LocalSteps(SGD(), CONSTANT)
    anchor = np.ones(7, np.float32)
    update, _ = part.run(anchor, 1, Bowl([1, 2]), stack([part.init(7)] * 2))
    assert np.allclose(update, 0.1 * Bowl([1, 2])(anchor)[0], atol=1e-6)


def test_the_proximal_term_holds_a_worker_back():
    free, held = (LocalSteps(SGD(), CONSTANT, proximal=mu) for mu in (0.0, 2.0))
    anchor = np.ones(7, np.float32)
    state = stack([free.init(7)])
    first, second = (part.run(anchor, 1, Bowl([1]), state)[0] for part in (free, held))
    assert np.array_equal(first, second)  # at the anchor the term is zero
    far, near = (np.linalg.norm(part.run(anchor, 30, Bowl([1]), state)[0]) for part in (free, held))
    assert near < 0.6 * far


def test_momenta_may_be_dropped_but_steps_are_counted():
    part = LocalSteps(SGD(0.9), LearningRate("linear", 0.1, 0, 10), keep_state=False)
    anchor = np.ones(7, np.float32)
    state = stack([part.init(7)])
    _, state = part.run(anchor, 3, Bowl([1]), state)
    assert state[0].tolist() == [3]
    second, _ = part.run(anchor, 1, Bowl([1]), state)
    assert np.allclose(second, 0.1 * (1 - 3 / 10) * Bowl([1])(anchor)[0], atol=1e-6)


def test_memory():
    assert GradientStep().memory_bytes(10) == 80
    assert [part.memory_bytes(10) for part in PARTS[1:4]] == [80, 120, 160]


def test_stacking_is_undone():
    states = [(np.int64(i), np.full(3, i, np.float32), np.zeros(0, np.float32)) for i in range(4)]
    again = unstack(stack(states), 4)
    for one, two in zip(states, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert stack([(), ()]) == ()
    assert unstack((), 2) == [(), ()]


def test_momentum_is_summed_and_masked_where_the_model_has_changed():
    """u = g; u = .5 u + g; then the server has moved the first entry: its momentum begins anew."""
    local, slope = MomentumStep(0.5), np.array([[4.0, 2.0]], np.float32)
    state = tuple(part[None] for part in local.init(2))
    still, moved = np.zeros(2, np.float32), np.array([1.0, 0.0], np.float32)
    sent = []
    for anchor in (still, still, moved):
        update, state = local.run(anchor, 1, lambda place: (slope, np.zeros(1)), state)
        sent.append(update[0].tolist())
    assert sent == [[4, 2], [6, 3], [4, 3.5]]
    assert MomentumStep(0.5, masking=False).memory_bytes(10) == 160
    with pytest.raises(PolicyError, match=r"momentum = 1: must be in \[0, 1\)"):
        MomentumStep(1)
