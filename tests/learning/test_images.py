from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest

from acesim.learning import layers2d
from acesim.learning.flat import CHUNK
from acesim.learning.images import Classifier
from acesim.learning.layers import Workspace
from acesim.scenario.errors import ScenarioError
from acesim.scenario.tasks import ConvModel, DenseModel, LinearModel
from acesim.seam import size_of

MODELS = [(LinearModel(), (7,)), (DenseModel(hidden=(6,)), (7,)), (DenseModel(hidden=(6, 5)), (3, 3, 2)),
          (ConvModel(channels=(3, 4)), (5, 4, 2)), (ConvModel(channels=(3,), hidden=(6,)), (4, 4, 1)),
          (ConvModel(channels=(2, 3, 2), hidden=(6, 5)), (4, 5, 1))]
CLASSES = 4


def sample(model, workers, batch=3, seed=0):
    rng = np.random.default_rng(seed)
    parameters = model.initial(rng).astype(np.float64)
    parameters += 0.1 * rng.standard_normal(parameters.size)
    inputs = rng.standard_normal((workers, batch, int(np.prod(model.shape))))
    return parameters, inputs.astype(model._work.dtype), rng.integers(CLASSES, size=(workers, batch))


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_every_tensor_agrees_with_finite_differences(spec, shape):
    model = Classifier(spec, shape, CLASSES, np.float64)
    parameters, inputs, targets = sample(model, 1)
    gradient = model.gradient(parameters, inputs, targets)[1][0]
    rng = np.random.default_rng(1)
    for tensor in model.tensors:
        direction = np.zeros(model.size)
        direction[tensor.start:tensor.stop] = rng.standard_normal(tensor.stop - tensor.start)
        step = 1e-6 / np.linalg.norm(direction)
        places = (parameters + step * direction, parameters - step * direction)
        up, down = (model.gradient(place, inputs, targets)[0][0] for place in places)
        assert (up - down) / (2 * step) == pytest.approx(gradient @ direction, rel=2e-6, abs=1e-8), tensor.name


@pytest.mark.parametrize(("spec", "shape"), [MODELS[1], MODELS[3]], ids=str)
def test_single_entries_agree_with_finite_differences(spec, shape):
    model = Classifier(spec, shape, CLASSES, np.float64)
    parameters, inputs, targets = sample(model, 1)
    gradient = model.gradient(parameters, inputs, targets)[1][0]
    for entry in range(0, model.size, 3):
        step = np.zeros(model.size)
        step[entry] = 1e-6
        up, down = (model.gradient(parameters + sign * step, inputs, targets)[0][0] for sign in (1, -1))
        assert (up - down) / 2e-6 == pytest.approx(gradient[entry], abs=1e-8)


def test_logistic_regression_by_hand():
    model = Classifier(LinearModel(), (2,), 2, np.float64)
    parameters = np.array([1.0, 0.0, 0.0, 2.0, 0.5, 0.0])  # weights of class 0, of class 1, biases
    losses, gradients = model.gradient(parameters, np.array([[[1.0, 0.5]]]), np.array([[1]]))
    margin = 2 * 0.5 - (1 * 1 + 0.5)  # the logit of class 1 over that of class 0
    wrong = 1 / (1 + np.exp(margin))
    assert losses[0] == pytest.approx(np.log1p(np.exp(-margin)))
    assert np.allclose(gradients[0], wrong * np.array([1.0, 0.5, -1.0, -0.5, 1.0, -1.0]))


def test_a_convolution_is_the_sum_of_its_neighbourhood():
    rng = np.random.default_rng(2)
    images, kernel = rng.standard_normal((2, 3, 5, 4, 2)), rng.standard_normal((7, 3, 3, 2))
    found = layers2d.patches(images, "x", Workspace(np.float64)) @ kernel.reshape(7, -1).T
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(5):
        for column in range(4):
            around = framed[:, :, row:row + 3, column:column + 3]
            wanted = np.einsum("cbijk,oijk->cbo", around, kernel)
            assert np.allclose(found.reshape(2, 3, 5, 4, 7)[:, :, row, column], wanted)


def test_going_back_from_patches_is_the_adjoint():
    rng, work = np.random.default_rng(3), Workspace(np.float64)
    for _ in range(2):  # the second time the buffers are used
        images = rng.standard_normal((2, 3, 5, 4, 2))
        away = rng.standard_normal((2, 60, 18))
        there = np.sum(layers2d.patches(images, "x", work) * away)
        back = np.sum(images * layers2d.patches_backward(away, (2, 3, 5, 4), "x", work))
        assert there == pytest.approx(back)


def test_pooling_by_hand():
    work, image = Workspace(np.float64), np.array([[1.0, 5.0, 2.0], [3.0, 5.0, 2.0], [9.0, 9.0, 9.0]])
    images = image[None, None, :, :, None]
    largest = layers2d.pool(images, "p", work)
    assert largest.tolist() == [[[[[5.0]]]]]  # an odd last row and column are left out
    back = layers2d.pool_backward(images, largest, np.full((1, 1, 1, 1, 1), 2.0), "p", work)
    assert back[0, 0, :, :, 0].tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]  # of two equals the first


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("spec", "shape"), [*MODELS, (DenseModel(), (64,)), (ConvModel(), (8, 8, 1))], ids=str)
def test_a_worker_does_not_depend_on_who_shares_its_chunk(spec, shape, dtype):
    model = Classifier(spec, shape, CLASSES, dtype)
    for batch in (1, 3, 32):
        parameters, inputs, targets = sample(model, 2 * CHUNK + 3, batch)
        losses, gradients = model.gradient(parameters, inputs, targets)
        for members in ([4], [4, 0], [10, 4, 2], [1, 2, 3, 9, 4, 7]):
            row = members.index(4)
            alone, own = model.gradient(parameters, inputs[members], targets[members])
            assert np.array_equal(own[row], gradients[4])
            assert alone[row] == losses[4]


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_shared_and_diverged_parameters_take_one_path(spec, shape):
    model = Classifier(spec, shape, CLASSES)
    parameters, inputs, targets = sample(model, 5)
    shared = model.gradient(parameters, inputs, targets)
    stacked = model.gradient(np.tile(parameters, (5, 1)), inputs, targets)
    assert all(np.array_equal(one, two) for one, two in zip(shared, stacked, strict=True))
    rows = parameters * np.array([[1.0], [0.5], [2.0], [-1.0], [0.1]])
    together = model.gradient(rows, inputs, targets)[1]
    for row in range(5):
        alone = model.gradient(rows[row], inputs[row:row + 1], targets[row:row + 1])[1]
        assert np.array_equal(together[row], alone[0])


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_gradients_are_written_into_out_and_inputs_stay(spec, shape):
    model = Classifier(spec, shape, CLASSES)
    parameters, inputs, targets = sample(model, 3)
    before = parameters.copy(), inputs.copy(), targets.copy()
    out = np.full((3, model.size), np.nan, np.float32)
    _, gradients = model.gradient(parameters, inputs, targets, out)
    assert gradients is out
    assert np.isfinite(out).all()
    assert all(np.array_equal(was, now) for was, now in zip(before, (parameters, inputs, targets), strict=True))


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_scores_are_those_of_the_gradient_whatever_the_slices(spec, shape, monkeypatch):
    model = Classifier(spec, shape, CLASSES, np.float64)
    parameters, inputs, targets = sample(model, 1, batch=9)
    whole, right = model.loss(parameters, inputs[0], targets[0])
    assert whole.mean() == pytest.approx(model.gradient(parameters, inputs, targets)[0][0])
    assert 0 < right.sum() < 9
    monkeypatch.setattr("acesim.learning.flat.SLICE", 2)
    one, same = model.loss(parameters, inputs[0], targets[0])
    assert np.allclose(whole, one, rtol=1e-12)
    assert np.array_equal(right, same)


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_groups_cover_all_parameters_once(spec, shape):
    model = Classifier(spec, shape, CLASSES)
    for block in (None, 1, 50, 10_000):
        groups = model.groups(block)
        assert groups[0].start == 0
        assert groups[-1].stop == model.size == size_of(model.shapes)
        assert all(a.stop == b.start for a, b in pairwise(groups))
        assert all(0 < group.size <= (block or max(64, model.size // 120)) for group in groups)
        assert len({group.name for group in groups}) == len(groups)


def test_tensors_of_a_convolutional_network():
    model = Classifier(ConvModel(channels=(8, 16), hidden=(32,)), (8, 8, 1), 10)
    assert [(t.name, t.shape, t.kind, round(t.depth, 2)) for t in model.tensors] == [
        ("conv.0.weight", (8, 9), "other", 0), ("conv.0.bias", (8,), "other", 0),
        ("conv.1.weight", (16, 72), "other", 0.33), ("conv.1.bias", (16,), "other", 0.33),
        ("fc.0.weight", (32, 256), "mlp", 0.67), ("fc.0.bias", (32,), "other", 0.67),
        ("head.weight", (10, 32), "head", 1), ("head.bias", (10,), "other", 1)]


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_the_scenario_knows_how_often_a_parameter_is_used(spec, shape):
    """Multiply-adds (and biases added) of an example over parameters; a kernel works at every pixel."""
    model = Classifier(spec, shape, CLASSES)
    pixels = int(np.prod(shape[:2])) if len(shape) == 3 else 1
    uses = sum((t.stop - t.start) * (pixels if t.name.startswith("conv") else 1) for t in model.tensors)
    assert spec.reuse(*(*shape, 1, 1)[:3], CLASSES) == pytest.approx(uses / model.size)


@pytest.mark.parametrize(("spec", "shape"), MODELS, ids=str)
def test_initial_parameters_repeat_and_start_near_chance(spec, shape):
    model = Classifier(spec, shape, CLASSES)
    first = model.initial(np.random.default_rng(3))
    assert first.dtype == np.float32
    assert np.array_equal(first, model.initial(np.random.default_rng(3)))
    assert not model.views(first[None])["head.bias"].any()
    _, inputs, targets = sample(model, 1, 200)
    assert np.log(CLASSES) - 0.2 < model.loss(first, inputs[0], targets[0])[0].mean() < np.log(CLASSES) + 1.5


def test_a_model_pickles_without_its_buffers():
    model = Classifier(ConvModel(), (8, 8, 1), CLASSES)
    parameters, inputs, targets = sample(model, 3)
    wanted = model.gradient(parameters, inputs, targets)[1]
    assert len(pickle.dumps(model)) < 10_000
    assert np.array_equal(pickle.loads(pickle.dumps(model)).gradient(parameters, inputs, targets)[1], wanted)


@pytest.mark.parametrize(("shape", "given"), [((64,), "rows of 64 numbers"), ((1, 9, 3), "1 x 9 pixels")])
def test_convolutions_need_images(shape, given):
    with pytest.raises(ScenarioError, match=rf"task\.model\.kind = conv: needs images .* has {given}; write model:"):
        Classifier(ConvModel(), shape, CLASSES)
