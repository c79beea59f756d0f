"""Chosen entries in variants: each takes the steps of those who follow it, and all else is as if there were none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.aggregators import Outer, Personal, Replay, means_by_variant
from acesim.compressors import Dense, TopK
from acesim.learning.optimizers import SGD, AdamW, LearningRate
from acesim.scenario.errors import PolicyError
from acesim.seam import Update, Variant

RATE = LearningRate("constant", 0.5)
HALF = Outer(SGD(), RATE)


def update(sender, values, weight, *variants, compressor=None):
    dense = compressor or Dense()
    vector = np.asarray(values, np.float32)
    return Update(sender, dense.encode(vector, None, None, dense.init(vector.size))[0], weight, 0, 1.0, variants)


def test_two_variants_by_hand():
    """Entry 1 is personal: variant 0 goes by 4, variant 1 by the mean of 8 and 2 at weights 1 and 2; all by theirs."""
    personal, model = Personal(HALF, ((1, 2),), 2, 2), np.array([10.0, 20.0], np.float32)
    inbox = [update(0, [1, 4], 1.0, Variant(0, 1.0)), update(1, [2, 8], 1.0, Variant(1, 1.0)),
             update(2, [4, 2], 2.0, Variant(1, 2.0))]
    model, state = personal.step(model, inbox, Dense(), personal.init(model))
    assert {number: each.tolist() for number, each in personal.models(state).items()} == {
        0: [10 - 0.5 * 2.75, 20 - 0.5 * 4], 1: [10 - 0.5 * 2.75, 20 - 0.5 * 4]}
    assert model.tolist() == [8.625, 18.0]
    inbox[0] = update(0, [1, 8], 1.0, Variant(0, 1.0))
    model, state = personal.step(model, inbox, Dense(), state)
    assert personal.models(state)[0].tolist() == [7.25, 14.0]
    assert personal.models(state)[1].tolist() == [7.25, 16.0]
    assert model.tolist() == [7.25, 0.25 * 14 + 0.75 * 16]  # of weights 1 and 3


def test_a_region_speaks_for_several():
    """It sends one mean, and how far each variant's own lies from it."""
    personal, model = Personal(HALF, ((1, 2),), 2, 2), np.zeros(2, np.float32)
    said = (Variant(0, 1.0, np.array([3.0], np.float32)), Variant(1, 3.0, np.array([-1.0], np.float32)))
    model, state = personal.step(model, [update(7, [4, 8], 4.0, *said)], Dense(), personal.init(model))
    assert personal.models(state)[0].tolist() == [-2.0, -0.5 * 11]
    assert personal.models(state)[1].tolist() == [-2.0, -0.5 * 7]
    assert model.tolist() == [-2.0, -4.0]


def test_a_new_variant_begins_as_the_model_is_and_one_unspoken_for_stays():
    personal, model = Personal(Outer(SGD(momentum=0.5), RATE), ((1, 2),), 2, 3), np.zeros(2, np.float32)
    state = personal.init(model)
    inbox = [update(0, [1, 4], 1.0, Variant(0, 1.0)), update(1, [1, 8], 1.0, Variant(1, 1.0))]
    model, state = personal.step(model, inbox, Dense(), state)
    assert model.tolist() == [-0.5, -3.0]
    inbox = [update(0, [1, 0], 1.0, Variant(0, 1.0)), update(1, [1, 2], 1.0, Variant(2, 1.0))]
    model, state = personal.step(model, inbox, Dense(), state)
    found = {number: each.tolist() for number, each in personal.models(state).items()}
    assert found[0] == [-1.25, -2.0 - 0.5 * 2]             # velocity 4 / 2 + 0
    assert found[1] == [-1.25, -4.0]                       # nobody spoke for it, but all else goes on
    assert found[2] == [-1.25, -3.0 - 0.5 * (6 / 2 + 2)]   # as the model was, with its velocity
    assert model.tolist() == [-1.25, (found[0][1] + found[2][1]) / 2]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 70), count=st.integers(1, 6), number=st.integers(0, 3),
       inner=st.sampled_from([Outer(AdamW(), RATE), Outer(SGD(momentum=0.9), RATE), Replay(AdamW(), RATE),
                              Outer(AdamW(clip_norm=0.5), RATE)]))
def test_one_variant_is_none_bit_for_bit(seed, size, count, number, inner):
    rng = np.random.default_rng(seed)
    start = int(rng.integers(size))
    personal = Personal(inner, ((start, int(rng.integers(start + 1, size + 1))),), size, 4)
    one = other = rng.standard_normal(size).astype(np.float32)
    state, own, sparse = inner.init(one), personal.init(other), TopK(0.5)
    for _ in range(3):
        inbox = [update(row, rng.standard_normal(size), weight, Variant(number, weight), compressor=sparse)
                 for row, weight in enumerate(rng.integers(1, 9, count).astype(float).tolist())]
        one, state = inner.step(one, inbox, sparse, state)
        other, own = personal.step(other, inbox, sparse, own)
        assert one.tobytes() == other.tobytes() == personal.models(own)[number].tobytes()
        assert inner.update(state).tobytes() == personal.update(own).tobytes()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 8))
def test_the_variants_means_are_the_mean(seed, count):
    """sum_v w_v mean_v = w mean, whoever speaks for whom: nothing is lost between variants."""
    rng = np.random.default_rng(seed)
    inbox = []
    for row in range(count):
        weights, aparts = rng.integers(1, 9, 3).astype(float), rng.standard_normal((3, 4)).astype(np.float32)
        aparts[2] = -(weights[0] * aparts[0] + weights[1] * aparts[1]) / weights[2]
        inbox.append(update(row, rng.standard_normal(6), weights.sum(),
                            *(Variant(*each) for each in zip(range(3), weights.tolist(), aparts, strict=True))))
    mean, own = means_by_variant(inbox, Dense(), 6, np.arange(2, 6))
    total = sum(weight for weight, _ in own.values())
    together = sum(weight * each.astype(float) for weight, each in own.values()) / total
    assert total == pytest.approx(sum(each.weight for each in inbox))
    np.testing.assert_allclose(together, mean, atol=1e-5)


def test_memory_and_work_by_hand():
    """A quarter of the entries in three variants: each has its model, its mean and AdamW's two moments of them."""
    inner = Outer(AdamW(), RATE)
    personal = Personal(inner, ((0, 1), (3, 4)), 8, 3)
    assert personal.apart(1000) == 250
    assert personal.memory_bytes(1000) == 12 * 1000 + 3 * 16 * 250
    assert personal.work().bytes == inner.work().bytes * 1.75
    alone = Personal(inner, ((0, 1), (3, 4)), 8, 1)
    assert (alone.memory_bytes(1000), alone.work()) == (12 * 1000, inner.work())


@pytest.mark.parametrize(("spans", "most", "rule"), [
    ((), 2, "at least one"), (((2, 2),), 2, "something between"), (((3, 5), (1, 2)), 2, "ascending"),
    (((0, 9),), 2, "of the 8 entries"), (((-1, 2),), 2, "ascending"), (((0, 1),), 0, "most = 0")])
def test_bad_values_are_named(spans, most, rule):
    with pytest.raises(PolicyError, match=rule):
        Personal(HALF, spans, 8, most)
