import numpy as np

from acesim.aggregators import Outer, weighted_mean
from acesim.compressors import Dense
from acesim.learning.optimizers import SGD, AdamW, LearningRate
from acesim.seam import Update


def inbox(*rows, weights=None):
    dense = Dense()
    return [Update(k, dense.encode(np.array(row, np.float32), None, None, ())[0], w, 0)
            for k, (row, w) in enumerate(zip(rows, weights or [1.0] * len(rows), strict=True))]


def test_the_mean_is_weighted_by_hand():
    mean = weighted_mean(inbox([1, 2], [4, 8], weights=[3.0, 1.0]), Dense(), 2)
    np.testing.assert_allclose(mean, [1.75, 3.5])
    assert mean.dtype == np.float32


def test_one_update_alone_counts_whole():
    np.testing.assert_array_equal(weighted_mean(inbox([1, -2], weights=[0.1]), Dense(), 2), [1, -2])


def test_plain_average_subtracts_the_mean_update():
    outer = Outer(SGD(), LearningRate("constant", 1.0, 0, 1))
    model = np.array([10.0, 10.0], np.float32)
    new, state = outer.step(model, inbox([1, 2], [3, 4]), Dense(), outer.init(model))
    np.testing.assert_allclose(new, [8, 7])
    np.testing.assert_allclose(outer.update(state), [2, 3])
    np.testing.assert_array_equal(model, [10, 10])
    assert state.steps == 1


def test_the_learning_rate_follows_the_steps_of_the_server():
    outer = Outer(SGD(), LearningRate("linear", 1.0, 0, 2))
    model, state = np.zeros(1, np.float32), outer.init(np.zeros(1, np.float32))
    seen = []
    for _ in range(2):
        before = model
        model, state = outer.step(model, inbox([1]), Dense(), state)
        seen.append(float((before - model)[0]))
    assert seen[0] > seen[1] >= 0


def test_memory_is_that_of_the_optimizer_and_the_mean():
    outer = Outer(AdamW(), LearningRate("constant", 1.0, 0, 1))
    assert outer.memory_bytes(100) == 1200
