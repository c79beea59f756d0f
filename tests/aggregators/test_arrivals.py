import numpy as np

from acesim.aggregators import EachArrival, Outer
from acesim.compressors import Dense
from acesim.learning.optimizers import SGD, LearningRate
from acesim.seam import Update


def inbox(*values):
    return [Update(row, Dense().encode(np.full(2, value, np.float32), None, None, ())[0], 3.0, 0)
            for row, value in enumerate(values)]


def test_every_update_is_applied_whole_and_unweighed():
    """What came while the server was busy is summed: 1 - 2 - 4; Outer would take the mean."""
    each, model = EachArrival(SGD(), LearningRate("constant", 1.0)), np.ones(2, np.float32)
    after, state = each.step(model, inbox(2, 4), Dense(), each.init(model))
    assert after.tolist() == [-5, -5]
    assert each.update(state).tolist() == [6, 6]
    outer = Outer(SGD(), LearningRate("constant", 1.0))
    assert outer.step(model, inbox(2, 4), Dense(), outer.init(model))[0].tolist() == [-2, -2]


def test_an_inbox_of_two_is_two_inboxes_of_one():
    """Momentum and the learning rate go on from one update to the next."""
    each, model = EachArrival(SGD(momentum=0.5), LearningRate("linear", 0.5, 0, 4)), np.ones(2, np.float32)
    together, state = each.step(model, inbox(2, 4), Dense(), each.init(model))
    first, between = each.step(model, inbox(2), Dense(), each.init(model))
    apart, last = each.step(first, inbox(4), Dense(), between)
    np.testing.assert_array_equal(together, apart)
    assert state.steps == last.steps == 2
