from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from acesim import learning
from acesim.learning import optimizers
from acesim.learning.contract import STEPS_PER_BLOCK, over_workers
from acesim.scenario.tasks import ConvModel, DenseModel, DirichletPartition, ImageTask, LinearModel

TIERS = ["cloud"] * 2 + ["edge"] * 4


def test_a_step_draws_from_the_workers_own_shard_and_goes_through_all_of_it(image_task):
    task = learning.build(image_task(), TIERS, 0)
    for worker in range(6):
        shard = task.training.inputs[task.shards[worker]]
        turn = -(-len(shard) // 4)
        seen = np.concatenate([task.batches([worker], [step]).inputs[0] for step in range(turn)])
        assert {row.tobytes() for row in seen[:len(shard)]} == {row.tobytes() for row in shard}
    assert task.batches([0, 1], [0, STEPS_PER_BLOCK]).inputs.shape == (2, 4, 16)


def test_every_held_out_example_is_in_one_test_shard_of_its_workers_mixture(image_task):
    task = learning.build(image_task(), TIERS, 0)
    assert sorted(np.concatenate(task.tests).tolist()) == list(range(60))
    assert sorted(np.concatenate(task.shards).tolist()) == list(range(240))
    for shard, test in zip(task.shards, task.tests, strict=True):
        train = np.bincount(task.training.labels[shard], minlength=3) / 4  # 240 are trained on, 60 are held out
        assert np.abs(np.bincount(task.held_out.labels[test], minlength=3) - train).max() <= 2
        assert abs(len(test) - len(shard) / 4) <= 2


def test_scores_of_tiers_are_those_of_their_test_shards(image_task):
    task = learning.build(image_task(), TIERS, 0)
    model = task.initial(0)
    scores = task.evaluate(model)
    cloud = sum(len(test) for test in task.tests[:2]) / 60
    top1 = cloud * scores.cloud_top1_percent + (1 - cloud) * scores.edge_top1_percent
    assert top1 == pytest.approx(scores.top1_percent)
    assert cloud * scores.cloud_loss_nats + (1 - cloud) * scores.edge_loss_nats == pytest.approx(scores.loss_nats)
    assert np.isnan(learning.build(image_task(), ["edge"] * 6, 0).evaluate(model).cloud_loss_nats)


def test_each_model_is_scored_on_its_own_test_shard(image_task):
    task = learning.build(image_task(), TIERS, 0)
    models = [task.initial(seed) for seed in range(6)]
    own = [task.top1_by_worker(model)[worker] for worker, model in enumerate(models)]
    sizes = [len(test) for test in task.tests]
    assert task.evaluate_each(models).top1_percent == pytest.approx(np.average(own, weights=sizes))
    with pytest.raises(ValueError, match="longer"):
        task.evaluate_each(models[:3])


def test_fairness_by_hand():
    """Over those that have a test shard: mean 64, worst tenth (at least one) 0, deviation sqrt(1304)."""
    mean, worst, spread = over_workers(np.array([100.0, 50.0, np.nan, 0.0, 80.0, 90.0]))
    assert (mean, worst) == (64.0, 0.0)
    assert spread == pytest.approx(1304 ** 0.5)
    assert over_workers(np.arange(20.0))[1] == 0.5  # the mean of the worst two
    assert np.isnan(over_workers(np.array([np.nan]))).all()


def test_fairness_is_that_of_the_workers_own_test_shards(image_task):
    task = learning.build(image_task(), TIERS, 0)
    model = task.initial(3)
    found = task.evaluate(model)
    assert found[-3:] == over_workers(task.top1_by_worker(model))
    each = task.evaluate_each([model] * len(TIERS))
    assert each[-3:] == pytest.approx(found[-3:])


def test_inputs_are_normalised_by_the_training_data_alone(image_task):
    task = learning.build(image_task(), TIERS, 0)
    assert task.training.inputs.mean() == pytest.approx(0, abs=1e-6)
    assert task.training.inputs.std() == pytest.approx(1, rel=1e-6)
    assert task.held_out.inputs.mean() != pytest.approx(0, abs=1e-6)


def test_rows_are_normalised_by_feature_and_what_never_varies_is_centred(tmp_path, image_task):
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(5, 3, 120), np.full(120, 0.1), rng.normal(-1, 0.01, 120)], axis=1)
    np.savez(tmp_path / "rows.npz", X=rows, y=np.arange(120) % 2)
    data = SimpleNamespace(source=None, files=str(tmp_path / "rows.npz"), held_out=0.2)
    task = learning.build(image_task(data=data, model=LinearModel()), TIERS, 0)
    assert np.allclose(task.training.inputs.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(task.training.inputs.std(axis=0), [1, 0, 1], atol=1e-5)


def test_yardsticks_by_hand(tmp_path, image_task):
    rows, labels = np.array([[0.0], [1.0], [2.0], [10.0], [4.0], [9.0]]), np.array([0, 0, 0, 1, 0, 1])
    np.savez(tmp_path / "rows.npz", X=np.tile(rows[:4], (10, 1)), y=np.tile(labels[:4], 10), X_test=rows, y_test=labels)
    data = SimpleNamespace(source=None, files=str(tmp_path / "rows.npz"), held_out=None)
    marks = learning.build(image_task(data=data, model=LinearModel()), TIERS, 0).yardsticks()
    assert marks["majority_top1_percent"] == pytest.approx(100 * 4 / 6)
    assert marks["majority_nats"] == pytest.approx(-(4 * np.log(0.75) + 2 * np.log(0.25)) / 6)
    assert marks["nearest_mean_top1_percent"] == 100.0


def train(task, rounds, workers):
    """Centralised training as FullSync does it: the mean gradient of all workers, one AdamW step a round."""
    rule, model = optimizers.AdamW((0.9, 0.95)), task.initial(0)
    rate, state = optimizers.LearningRate("linear", 1e-2, 4, rounds), rule.init(task.size)
    out = np.empty((workers, task.size), np.float32)
    for step in range(rounds):
        gradients, _ = task.gradient(model, task.batches(range(workers), [step] * workers), out)
        model, state = rule.step(model, gradients.mean(axis=0), rate(step), state)
    return model


@pytest.mark.parametrize("model", [LinearModel(), DenseModel(hidden=(32,)), ConvModel(channels=(4, 8))], ids=str)
def test_digits_are_learnt(model):
    pytest.importorskip("sklearn", reason="scikit-learn is an extra: pip install acesim[images]")
    spec = ImageTask(model=model, partition=DirichletPartition(alpha=0.3), batch_size=16)
    task = learning.build(spec, ["cloud"] * 2 + ["edge"] * 8, 0)
    assert task.evaluate(train(task, 60, 10)).top1_percent > task.yardsticks()["nearest_mean_top1_percent"]
