"""One battery for every aggregator: what it makes of an inbox has the model's size and leaves the inbox alone."""

import copy
import pickle

import numpy as np
import pytest

from acesim import aggregators
from acesim.aggregators import EachArrival, Outer, Personal, Replay, SketchedSGD, weighted_mean
from acesim.compressors import CountSketch, Dense, Fused, TopK, Uniform
from acesim.learning.optimizers import SGD, AdamW, LearningRate
from acesim.seam import Aggregator, Update

P = 40
RATE = LearningRate("linear", 0.1, 2, 20)
AGGREGATORS = [Outer(SGD(), RATE), Outer(SGD(momentum=0.9, nesterov=True), RATE), Outer(AdamW(), RATE),
               Outer(SGD(), LearningRate("constant", 1.0)), Replay(AdamW(), RATE), Replay(SGD(), RATE, power=0.0),
               EachArrival(SGD(), LearningRate("constant", 1.0)), EachArrival(SGD(momentum=0.5), RATE),
               Personal(Outer(SGD(), RATE), ((0, 3), (P - 1, P)), P, 3),
               Personal(Replay(SGD(momentum=0.5), RATE), ((0, P),), P, 1)]
SKETCH = CountSketch(3, ratio=0.5)
SKETCHED = [SketchedSGD(Dense(), TopK(0.2), RATE), SketchedSGD(SKETCH, TopK(0.2), RATE),
            SketchedSGD(SKETCH, TopK(0.2), RATE, 0.0, "subtract"),
            SketchedSGD(Fused(SKETCH, (10, P)), TopK(0.2), RATE)]
COMPRESSORS = [Dense(), Dense("bf16"), TopK(0.25), Uniform(4), SKETCH, Fused(SKETCH, (10, P))]
# every compressor with every aggregator that takes it
PAIRS = [(aggregator, compressor) for aggregator in AGGREGATORS for compressor in COMPRESSORS] \
    + [(aggregator, aggregator.sketch) for aggregator in SKETCHED]
AGGREGATORS += SKETCHED
every = pytest.mark.parametrize("aggregator", AGGREGATORS, ids=range(len(AGGREGATORS)))
every_pair = pytest.mark.parametrize(("aggregator", "compressor"), PAIRS, ids=range(len(PAIRS)))
each_compressor = pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda each: type(each).__name__)


def inbox(compressor, count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [Update(row, compressor.encode(rng.standard_normal(P).astype(np.float32), None, rng, compressor.init(P))[0],
                   float(rng.integers(1, 9)), 0) for row in range(count)]


@every_pair
def test_size_type_and_finiteness_are_kept(aggregator, compressor):
    model = np.linspace(-1, 1, P, dtype=np.float32)
    state = aggregator.init(model)
    for seed in range(3):
        model, state = aggregator.step(model, inbox(compressor, seed=seed), compressor, state)
        assert (model.shape, model.dtype) == ((P,), np.float32)
        assert np.isfinite(model).all()
        assert aggregator.update(state).shape == (P,)


@every_pair
def test_nothing_it_is_given_is_changed(aggregator, compressor):
    model, messages = np.linspace(-1, 1, P, dtype=np.float32), inbox(compressor)
    before, copied = model.copy(), copy.deepcopy(messages)
    state = aggregator.init(model)
    kept = pickle.dumps(state)
    aggregator.step(model, messages, compressor, state)
    np.testing.assert_array_equal(model, before)
    assert pickle.dumps(state) == kept
    for message, original in zip(messages, copied, strict=True):
        np.testing.assert_array_equal(compressor.decode(message.payload.body, P),
                                      compressor.decode(original.payload.body, P))


@every
def test_no_update_no_step(aggregator):
    """Zero in, zero out; AdamW's weight decay aside, which shrinks the model by itself."""
    model = np.linspace(-1, 1, P, dtype=np.float32)
    compressor = getattr(aggregator, "sketch", Dense())
    zero = [Update(0, compressor.encode(np.zeros(P, np.float32), None, None, compressor.init(P))[0], 1.0, 0)]
    after, _ = aggregator.step(model, zero, compressor, aggregator.init(model))
    shrunk = 1 - RATE(0) * getattr(getattr(aggregator, "optimizer", None), "weight_decay", 0.0)
    np.testing.assert_allclose(after, model * shrunk, rtol=1e-6)


@every
def test_it_is_plain_data(aggregator):
    assert isinstance(aggregator, Aggregator)
    assert pickle.loads(pickle.dumps(aggregator)) == aggregator
    assert min(aggregator.work()) >= 0
    assert aggregator.memory_bytes(10 * P) > aggregator.memory_bytes(P) > 0


@every
def test_before_the_first_step_there_is_no_update(aggregator):
    assert aggregator.update(aggregator.init(np.zeros(P, np.float32))) is None


@pytest.mark.parametrize("compressor", [Dense(), Dense("bf16"), TopK(0.25), Uniform(4)],
                         ids=lambda each: type(each).__name__)
def test_the_mean_is_that_of_float64(compressor):
    """k roundings of float32: |error| <= (k + 1) eps sum_k w_k |x_k|."""
    messages = inbox(compressor, count=9)
    weights = np.array([message.weight for message in messages])
    rows = np.array([compressor.decode(message.payload.body, P) for message in messages], np.float64)
    share = weights / weights.sum()
    bound = 10 * np.finfo(np.float32).eps * (share @ np.abs(rows)) + 1e-30
    assert (np.abs(weighted_mean(messages, compressor, P) - share @ rows) <= bound).all()


@each_compressor
def test_only_ratios_of_weights_count(compressor):
    messages = inbox(compressor)
    scaled = [message._replace(weight=4.0 * message.weight) for message in messages]
    np.testing.assert_array_equal(weighted_mean(messages, compressor, P), weighted_mean(scaled, compressor, P))


def test_equal_updates_are_their_own_mean():
    payload, _ = Dense().encode(np.full(P, 2.5, np.float32), None, None, ())
    same = [Update(row, payload, 1.0 + row, 0) for row in range(8)]
    np.testing.assert_allclose(weighted_mean(same, Dense(), P), 2.5, rtol=1e-6)


def test_the_battery_misses_nobody():
    members = {value for value in vars(aggregators).values() if isinstance(value, type) and hasattr(value, "step")}
    assert {type(aggregator) for aggregator in AGGREGATORS} == members
