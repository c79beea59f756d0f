from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from acesim.learning import layers
from acesim.learning.flat import CHUNK
from acesim.learning.transformer import Transformer
from acesim.seam import size_of

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "validation" / "transformer"
KINDS = [{"norm": norm, "activation": activation, "tied": tied} for norm, activation, tied in (
    ("rms", "relu2", True), ("layer", "gelu", False), ("rms", "gelu-tanh", False), ("layer", "relu2", True),
    ("rms", "relu", True))]


def sample(model, workers, batch=2, length=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = (workers, batch, length or model.spec.context)
    parameters = model.initial(rng).astype(np.float64)
    parameters += 0.1 * rng.standard_normal(parameters.size)
    return parameters, rng.integers(model.vocabulary, size=shape), rng.integers(model.vocabulary, size=shape)


@pytest.mark.reference
@pytest.mark.parametrize(("file", "activation", "tied"), [("gpt_gelu-exact_untied", "gelu", False),
                                                          ("gpt_gelu-tanh_tied", "gelu-tanh", True)])
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_agrees_with_pytorch(transformer_spec, file, activation, tied, dtype, bound):
    path = REFERENCE / f"{file}.npz"
    if not path.exists():
        pytest.skip(f"reference answers not found beside the project: {path}")
    with np.load(path) as answers:
        kind = {"norm": "layer", "activation": activation, "tied": tied}
        spec = transformer_spec(d_model=24, context=16, vocabulary=61, **kind)
        model = Transformer(spec, dtype)
        parameters = np.zeros(model.size)
        views = model.views(parameters[None])
        names = [name.removeprefix("param/") for name in answers.files if name.startswith("param/")]
        assert sorted(names) == sorted(views)
        for name in names:
            views[name][0] = answers[f"param/{name}"]
        losses, gradients = model.gradient(parameters, answers["tokens"][None], answers["targets"][None])
        assert losses[0] == pytest.approx(float(answers["loss"]), rel=bound)
        found = model.views(gradients)
        for name in names:
            wanted = answers[f"grad/{name}"]
            assert np.linalg.norm(found[name][0] - wanted) < bound * np.linalg.norm(wanted), name
        nats, _ = model.loss(parameters, answers["tokens"], answers["targets"])
        assert nats.mean() == pytest.approx(float(answers["loss"]), rel=bound)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_tensor_agrees_with_finite_differences(transformer_spec, kind):
    model = Transformer(transformer_spec(**kind), np.float64)
    parameters, tokens, targets = sample(model, 1)
    gradient = model.gradient(parameters, tokens, targets)[1][0]
    rng = np.random.default_rng(1)
    for tensor in model.tensors:
        direction = np.zeros(model.size)
        direction[tensor.start:tensor.stop] = rng.standard_normal(tensor.stop - tensor.start)
        step = 1e-5 / np.linalg.norm(direction)
        places = (parameters + step * direction, parameters - step * direction)
        up, down = (model.gradient(place, tokens, targets)[0][0] for place in places)
        slope = (up - down) / (2 * step)
        assert slope == pytest.approx(gradient @ direction, rel=2e-6, abs=1e-8), tensor.name


def test_single_entries_agree_with_finite_differences(transformer_spec):
    model = Transformer(transformer_spec(d_model=6, heads=2, vocabulary=5, context=4, layers=1), np.float64)
    parameters, tokens, targets = sample(model, 1)
    gradient = model.gradient(parameters, tokens, targets)[1][0]
    for entry in range(0, model.size, 3):
        step = np.zeros(model.size)
        step[entry] = 1e-6
        up, down = (model.gradient(parameters + sign * step, tokens, targets)[0][0] for sign in (1, -1))
        assert (up - down) / 2e-6 == pytest.approx(gradient[entry], abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [*KINDS[:2], {"d_model": 48, "context": 32, "vocabulary": 96},
                                  {"d_model": 32, "heads": 2, "context": 32}], ids=str)
def test_a_worker_does_not_depend_on_who_shares_its_chunk(transformer_spec, kind, dtype):
    model = Transformer(transformer_spec(**kind), dtype)
    for batch, length in ((1, None), (3, 5)):
        parameters, tokens, targets = sample(model, 2 * CHUNK + 3, batch, length)
        losses, gradients = model.gradient(parameters, tokens, targets)
        for members in ([4], [4, 0], [10, 4, 2], [1, 2, 3, 9, 4, 7]):
            row = members.index(4)
            alone, own = model.gradient(parameters, tokens[members], targets[members])
            assert np.array_equal(own[row], gradients[4])
            assert alone[row] == losses[4]


def test_shared_and_stacked_parameters_take_one_path(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 5)
    shared = model.gradient(parameters, tokens, targets)
    stacked = model.gradient(np.tile(parameters, (5, 1)), tokens, targets)
    assert np.array_equal(shared[1], stacked[1])
    assert np.array_equal(shared[0], stacked[0])


def test_diverged_parameters_equal_one_worker_at_a_time(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 3)
    rows = parameters * np.array([[1.0], [0.5], [2.0]])
    together = model.gradient(rows, tokens, targets)[1]
    for row in range(3):
        alone = model.gradient(rows[row], tokens[row:row + 1], targets[row:row + 1])[1]
        assert np.array_equal(together[row], alone[0])


def test_gradients_are_written_into_out_and_inputs_stay(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 3)
    before = parameters.copy(), tokens.copy(), targets.copy()
    out = np.full((3, model.size), np.nan, np.float32)
    _, gradients = model.gradient(parameters, tokens, targets, out)
    assert gradients is out
    assert np.isfinite(out).all()
    after = parameters, tokens, targets
    assert all(np.array_equal(was, now) for was, now in zip(before, after, strict=True))


@pytest.mark.parametrize("change", [np.asfortranarray, np.float64, lambda out: out[:2]])
def test_an_out_that_would_miss_the_gradients_is_refused(transformer_spec, change):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 3)
    with pytest.raises(ValueError, match=r"out = .*: must be float32 \(3, \d+\) with contiguous rows"):
        model.gradient(parameters, tokens, targets, change(np.zeros((3, model.size), np.float32)))


def test_a_position_knows_only_the_past(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 1)
    changed = tokens[0].copy()
    changed[:, 5] = (changed[:, 5] + 1) % model.vocabulary
    first, _ = model.loss(parameters, tokens[0], targets[0])
    second, _ = model.loss(parameters, changed, targets[0])
    assert np.array_equal(first[:, :5], second[:, :5])
    assert not np.allclose(first[:, 5:], second[:, 5:])


def test_unused_positions_get_a_zero_gradient(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 2, length=5)
    out = np.ones((2, model.size), np.float32)
    places = model.views(model.gradient(parameters, tokens, targets, out)[1])["wpe.weight"]
    assert not places[:, 5:].any()
    assert places[:, :5].any()


def test_scores_do_not_depend_on_slices(transformer_spec, monkeypatch):
    model = Transformer(transformer_spec(), np.float64)
    parameters, tokens, targets = sample(model, 1, batch=9)
    whole, right = model.loss(parameters, tokens[0], targets[0])
    monkeypatch.setattr("acesim.learning.flat.SLICE", 1)
    one, same = model.loss(parameters, tokens[0], targets[0])
    assert np.allclose(whole, one, rtol=1e-12)
    assert np.array_equal(right, same)
    assert whole.mean() == pytest.approx(model.gradient(parameters, tokens, targets)[0][0])


def test_equal_logits_cost_log_of_vocabulary(transformer_spec):
    model = Transformer(transformer_spec())
    nats, right = model.loss(np.zeros(model.size), np.zeros((2, 8), int), np.ones((2, 8), int))
    assert np.allclose(nats, np.log(17))
    assert not right.any()


def test_huge_logits_stay_finite(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 2)
    losses, gradients = model.gradient(1e3 * parameters, tokens, targets)
    assert np.isfinite(losses).all()
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_groups_cover_all_parameters_once(transformer_spec, kind):
    model = Transformer(transformer_spec(**kind))
    for block in (None, 1, 50, 10_000):
        groups = model.groups(block)
        assert groups[0].start == 0
        assert groups[-1].stop == model.size == size_of(model.shapes)
        assert all(a.stop == b.start for a, b in pairwise(groups))
        assert all(0 < group.size <= (block or max(64, model.size // 120)) for group in groups)
        assert len({group.name for group in groups}) == len(groups)


def test_vectors_of_a_layer_are_one_group(transformer_spec):
    model = Transformer(transformer_spec(norm="layer", tied=False))
    found = [(g.name, g.kind, round(g.depth, 3), g.fan_in, g.size) for g in model.groups(10_000)]
    assert found == [
        ("wte.weight", "embedding", 0, 1, 204), ("wpe.weight", "embedding", 0, 1, 96),
        ("h.0.vectors", "norm", 0.333, 1, 156), ("h.0.attn_qkv.weight", "attention", 0.333, 12, 432),
        ("h.0.attn_proj.weight", "attention", 0.333, 12, 144), ("h.0.mlp_fc.weight", "mlp", 0.333, 12, 576),
        ("h.0.mlp_proj.weight", "mlp", 0.333, 48, 576),
        ("h.1.vectors", "norm", 0.667, 1, 156), ("h.1.attn_qkv.weight", "attention", 0.667, 12, 432),
        ("h.1.attn_proj.weight", "attention", 0.667, 12, 144), ("h.1.mlp_fc.weight", "mlp", 0.667, 12, 576),
        ("h.1.mlp_proj.weight", "mlp", 0.667, 48, 576),
        ("vectors", "norm", 1, 1, 24), ("lm_head.weight", "head", 1, 12, 204)]


def test_initial_parameters_repeat_and_start_near_chance(transformer_spec):
    model = Transformer(transformer_spec(d_model=48, vocabulary=96, context=32))
    first = model.initial(np.random.default_rng(3))
    assert first.dtype == np.float32
    assert np.array_equal(first, model.initial(np.random.default_rng(3)))
    gains = model.views(first[None])["h.0.ln_1.weight"]
    assert (gains == 1).all()
    rng = np.random.default_rng(0)
    nats, _ = model.loss(first, rng.integers(96, size=(20, 32)), rng.integers(96, size=(20, 32)))
    assert np.log(96) - 0.1 < nats.mean() < np.log(96) + 1


def test_a_model_pickles_without_its_buffers(transformer_spec):
    model = Transformer(transformer_spec())
    parameters, tokens, targets = sample(model, 3)
    wanted = model.gradient(parameters, tokens, targets)[1]
    assert len(pickle.dumps(model)) < 10_000
    assert np.array_equal(pickle.loads(pickle.dumps(model)).gradient(parameters, tokens, targets)[1], wanted)


@pytest.mark.parametrize("name", ["relu2", "relu", "gelu", "gelu-tanh"])
def test_slopes_are_derivatives(name):
    work, bend = layers.Workspace(np.float64), layers.activation(name)
    points = np.linspace(-4, 4, 41) + 1e-3
    slope = np.empty_like(points)
    bend(points.copy(), slope, work)
    up, down = points + 1e-6, points - 1e-6
    bend(up, np.empty_like(points), work)
    bend(down, np.empty_like(points), work)
    assert np.allclose((up - down) / 2e-6, slope, atol=1e-8)
