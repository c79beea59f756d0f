"""Momentum and error in a sketch: by hand on whole vectors, conservation, and the same as the whole where nothing is
lost."""

import numpy as np
import pytest

from acesim.aggregators import SketchedSGD, weighted_mean
from acesim.compressors import CountSketch, Dense, Fused, TopK
from acesim.learning.optimizers import LearningRate
from acesim.scenario.errors import PolicyError
from acesim.seam import Update

HALF, TENTH = LearningRate("constant", 0.5), LearningRate("constant", 0.1)


def inbox(sketch, *vectors, weights=None):
    return [Update(row, sketch.encode(np.asarray(each, np.float32), None, None, sketch.init(len(each)))[0],
                   1.0 if weights is None else weights[row], 0) for row, each in enumerate(vectors)]


def test_two_steps_by_hand():
    """rate .5, momentum .5, one entry a step.  U = (4, 2), E = (2, 1): the first entry is taken; both forget it.
    U = (0, 1) + (1, 2) = (1, 3); E = (0, 1) + (.5, 1.5) = (.5, 2.5): the second is taken."""
    server = SketchedSGD(Dense(), TopK(0.5), HALF, 0.5)
    model = np.array([10.0, 10.0], np.float32)
    model, state = server.step(model, inbox(Dense(), [4, 2]), Dense(), server.init(model))
    assert model.tolist() == [8, 10]
    assert (state.momentum.tolist(), state.error.tolist()) == ([0, 2], [0, 1])
    model, state = server.step(model, inbox(Dense(), [1, 2]), Dense(), state)
    assert model.tolist() == [8, 7.5]
    assert (state.momentum.tolist(), state.error.tolist()) == ([1, 0], [0.5, 0])
    assert server.update(state).tolist() == [0, 2.5]


def test_what_was_not_taken_is_taken_later():
    """One entry of three a step: (4, 2, 1); (4, 4, 2); (4, 6, 3); (8, 2, 4); (4, 4, 5).  In five steps 16, 6 and 5 were
    taken, and 4, 4 and 0 are left, of 5 x (4, 2, 1)."""
    server, model = SketchedSGD(Dense(), TopK(0.34), LearningRate("constant", 1.0), 0.0), np.zeros(3, np.float32)
    state = server.init(model)
    for _ in range(5):
        model, state = server.step(model, inbox(Dense(), [4, 2, 1]), Dense(), state)
    assert (model.tolist(), state.error.tolist()) == ([-16, -6, -5], [4, 4, 0])


@pytest.mark.parametrize("sketch", [Dense(), CountSketch(3, columns=60, hashing="fold"),
                                    Fused(CountSketch(1, ratio=1.0, hashing="fold"), (20, 60))], ids=repr)
def test_a_long_mean_is_shortened(sketch):
    """Of norm 5 to norm 1: everything is a fifth; one of norm .5 is left as it is."""
    x = np.zeros(60, np.float32)
    x[[3, 40]] = 3, 4
    server = SketchedSGD(sketch, TopK(1.0), LearningRate("constant", 1.0), clip_norm=1.0)
    model = np.zeros(60, np.float32)
    np.testing.assert_allclose(server.step(model, inbox(sketch, x), sketch, server.init(model))[0], -x / 5, atol=1e-6)
    np.testing.assert_allclose(server.step(model, inbox(sketch, x / 10), sketch, server.init(model))[0], -x / 10,
                               atol=1e-6)


def test_subtracting_leaves_the_momentum_alone():
    server = SketchedSGD(Dense(), TopK(0.5), HALF, 0.5, "subtract")
    model = np.array([10.0, 10.0], np.float32)
    _, state = server.step(model, inbox(Dense(), [4, 2]), Dense(), server.init(model))
    assert (state.momentum.tolist(), state.error.tolist()) == ([4, 2], [0, 1])


def run(server, rounds, size, workers=3, seed=0):
    rng, model = np.random.default_rng(seed), np.zeros(size, np.float32)
    state, sent = server.init(model), np.zeros(size)
    for _ in range(rounds):
        vectors = rng.standard_normal((workers, size))
        sent += vectors.mean(0)
        model, state = server.step(model, inbox(server.sketch, *vectors), server.sketch, state)
    return model, state, sent


@pytest.mark.parametrize("sketch", [Dense(), CountSketch(3, ratio=0.4), Fused(CountSketch(3, ratio=0.4), (20, 60))],
                         ids=repr)
def test_nothing_is_lost_by_subtraction(sketch):
    """Without momentum: sketch(sum of steps) + E = sketch(rate x sum of means), to the rounding of float32."""
    server = SketchedSGD(sketch, TopK(0.1), TENTH, 0.0, "subtract")
    model, state, sent = run(server, 6, 60)  # subtraction diverges in the end: see `source`
    expected = server._sketched((0.1 * sent).astype(np.float32))
    np.testing.assert_allclose(server._sketched(-model) + state.error, expected, atol=1e-4)


@pytest.mark.parametrize("masking", ["zero", "subtract"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_sketch_without_collisions_is_the_vector_itself(masking, rows):
    """But for its sign: the last bits of a product and sum depend on where in a row an entry stands."""
    exact = CountSketch(rows, columns=60, hashing="fold")
    found, _, _ = run(SketchedSGD(exact, TopK(0.1), TENTH, 0.9, masking), 20, 60)
    whole, _, _ = run(SketchedSGD(Dense(), TopK(0.1), TENTH, 0.9, masking), 20, 60)
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-6)


def test_payloads_are_added_by_weight_before_decoding():
    sketch = CountSketch(3, columns=7)
    x, y = np.random.default_rng(0).integers(-9, 9, (2, 30)).astype(np.float32)
    mean = weighted_mean(inbox(sketch, x, y, weights=[3.0, 1.0]), sketch, 30)
    body, _ = sketch.encode((3 * x + y) / 4, None, None, ())
    np.testing.assert_allclose(mean, sketch.decode(body.body, 30), atol=1e-5)


@pytest.mark.parametrize(("fields", "says"), [
    ({"sketch": TopK(0.1)}, r"sketch = TopK.*: its bodies cannot be added"),
    ({"momentum": 1.0}, r"momentum = 1\.0: must be in \[0, 1\)"), ({"momentum": -0.1}, "momentum = -0.1"),
    ({"masking": "none"}, "masking = 'none': must be one of zero, subtract")])
def test_bad_values_are_refused(fields, says):
    with pytest.raises(PolicyError, match=says):
        SketchedSGD(**({"sketch": Dense(), "recover": TopK(0.1), "learning_rate": HALF} | fields))


def test_another_compressor_than_its_own_is_refused():
    server, model = SketchedSGD(Dense(), TopK(0.5), HALF), np.zeros(4, np.float32)
    with pytest.raises(PolicyError, match="must be the uplink's compressor, CountSketch"):
        server.step(model, inbox(CountSketch(1, columns=2), model), CountSketch(1, columns=2), server.init(model))
