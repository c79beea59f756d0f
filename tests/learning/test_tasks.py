from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from acesim import learning
from acesim.learning import corpus, optimizers
from acesim.learning.contract import Draws, Sharded
from acesim.learning.tasks import STEPS_PER_BLOCK, LanguageModel, reference_gradient
from acesim.scenario.errors import ScenarioError

TIERS = ["cloud"] * 2 + ["edge"] * 4


@pytest.fixture(params=["language", "quadratic", "images"])
def task(request, language_task, quadratic_task, image_task):
    spec = {"language": language_task, "quadratic": quadratic_task, "images": image_task}[request.param]()
    return learning.build(spec, TIERS, 3)


def test_batches_depend_on_seed_worker_and_step_alone(task):
    workers, steps = [0, 3, 5], [7, STEPS_PER_BLOCK + 1, 0]
    wanted = task.batches(workers, steps)
    task.batches([5, 0], [STEPS_PER_BLOCK * 3, 1])
    for row, (worker, step) in enumerate(zip(workers, steps, strict=True)):
        again = task.batches([worker], [step])
        assert all(np.array_equal(one[row], two[0]) for one, two in zip(wanted, again, strict=True))
    other = learning.build(task.spec, TIERS, 4).batches(workers, steps)
    assert not np.array_equal(other[-1], wanted[-1])


def test_steps_may_be_asked_for_in_any_order(task):
    steps = [0, 1, 2, 9, STEPS_PER_BLOCK - 1, STEPS_PER_BLOCK]
    wanted = {step: task.batches([2], [step]) for step in steps}
    for step in [*reversed(steps), 1, 9, 9]:
        found = task.batches([2], [step])
        assert all(np.array_equal(one, two) for one, two in zip(found, wanted[step], strict=True))
    copy = pickle.loads(pickle.dumps(task)).batches([2], [2])
    assert all(np.array_equal(one, two) for one, two in zip(copy, wanted[2], strict=True))


def test_no_more_is_drawn_than_is_asked_for():
    """A block of 256 steps of a batch of 100,000 would be 200 MB a worker."""
    drawn = []

    def rows(rng):
        while True:
            drawn.append(1)
            yield rng.random(2)

    draws = Draws(0)
    for step in (0, 1, 3, 3, 2, STEPS_PER_BLOCK + 1):
        draws(7, step, rows)
    assert len(drawn) == 4 + 3 + 2


def test_chunks_equal_the_reference_one_worker_at_a_time(task):
    workers, steps = [0, 1, 2, 4, 5], [3, 0, 8, 2, 2]
    rng = np.random.default_rng(0)
    exact = task.reference()
    for parameters in (task.initial(1).astype(float), rng.standard_normal((5, task.size))):
        gradients, losses = exact.gradient(parameters, exact.batches(workers, steps))
        wanted, expected = reference_gradient(task, parameters, workers, steps)
        assert np.allclose(gradients, wanted, rtol=1e-12, atol=1e-14)
        assert np.allclose(losses, expected, rtol=1e-12)
        single, _ = task.gradient(parameters, task.batches(workers, steps))
        assert single.dtype == np.float32
        assert np.linalg.norm(single - wanted) < 1e-5 * np.linalg.norm(wanted)


def test_a_task_keeps_the_contract(task):
    assert task.size == task.initial(0).size == task.groups[-1].stop
    assert np.array_equal(task.initial(0), task.initial(0))
    assert not np.array_equal(task.initial(0), task.initial(1))
    assert task.initial(0).dtype == np.float32
    assert task.examples.shape == (6,)
    assert task.examples.dtype == np.int64
    assert task.examples.min() > 0
    out = np.empty((2, task.size), np.float32)
    gradients, losses = task.gradient(task.initial(0), task.batches([1, 2], [0, 0]), out)
    assert gradients is out
    assert losses.dtype == np.float64
    scores = task.evaluate(task.initial(0))
    assert scores.perplexity == pytest.approx(math.exp(scores.loss_nats))
    assert scores.scored > 0


def test_equal_models_score_together_what_one_scores(task):
    model = task.initial(0)
    for turn in ({}, {"turn": 2}) if isinstance(task, LanguageModel) else ({},):
        each = task.evaluate_each([model] * 6, **turn)
        assert each == pytest.approx(task.evaluate(model), rel=1e-6, nan_ok=True)
    assert task.evaluate_own([model] * 6) == pytest.approx(task.evaluate(model), rel=1e-6, nan_ok=True)


def test_each_window_is_scored_by_its_owners_model(language_task):
    task = learning.build(language_task(), TIERS, 0)
    models = [task.initial(seed) for seed in (0, 1)]
    chosen = [models[worker % 2] for worker in range(6)]
    nats = [task.model.loss(model, *task.windows)[0] for model in models]
    expected = np.where((task.owners % 2 == 0)[:, None], *nats).mean()
    assert task.evaluate_own(chosen).loss_nats == pytest.approx(expected, rel=1e-6)


def test_windows_belong_to_the_worker_in_whose_shard_their_document_stood(language_task):
    task = learning.build(language_task(), TIERS, 0)
    documents = corpus.read(task.spec.corpus)
    parts = corpus.split(documents, 0.1)
    ends, starts = (np.cumsum([0, *(len(text) for _, text in each)]) for each in (parts.training, parts.held_out))
    stood = [ends[after] for after in parts.after]
    inside = [np.flatnonzero((task.borders[:-1] <= place) & (place < task.borders[1:])) for place in stood]
    for first, owner in zip(task._scored_places[:, 0], task.owners, strict=True):
        document = np.searchsorted(starts, first, side="right") - 1
        near = np.argmin([abs(place - task.borders[owner:owner + 2].mean()) for place in stood])
        assert owner in inside[document] or (near == document and not any(owner in each for each in inside))
    assert set(task.owners) == set(range(6))


def test_a_quadratic_is_scored_by_everybodys_own_bowl(quadratic_task):
    task = learning.build(quadratic_task(), TIERS, 0)
    own = [task.centres[worker] for worker in range(6)]
    away = task.centres - task.optimum()
    expected = -0.5 * np.sum(task.curvature * away * away, axis=1).mean()
    scores = task.evaluate_own(own)
    assert scores.loss_nats == pytest.approx(expected)
    assert task.evaluate(task.optimum()).loss_nats == pytest.approx(0)
    assert isinstance(task, Sharded)


def test_kinds_of_task(quadratic_task):
    known = "language-model, image-classification, quadratic, network-only or plugin"
    with pytest.raises(ValueError, match=rf"task\.kind = chess: must be {known}"):
        learning.build(quadratic_task(kind="chess"), TIERS, 0)


def test_sequences_come_from_the_workers_own_shard(language_task):
    task = learning.build(language_task(), TIERS, 0)
    for worker in range(6):
        shard = task.text[task.borders[worker]:task.borders[worker + 1]].astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(shard, task.spec.model.context + 1)
        known = {row.tobytes() for row in windows}
        for step in range(20):
            batch = task.batches([worker], [step])
            whole = np.concatenate([batch.tokens[0], batch.targets[0, :, -1:]], axis=1)
            assert all(row.tobytes() in known for row in whole)
            assert np.array_equal(batch.tokens[0, :, 1:], batch.targets[0, :, :-1])


def test_held_out_windows_are_even_and_their_tier_is_that_of_their_neighbours(language_task):
    task = learning.build(language_task(), TIERS, 0)
    starts = task._scored_places[:, 0] - 1
    assert len(starts) == math.ceil(1500 / 8)
    assert starts[0] == 0
    assert np.diff(starts).min() >= task.spec.model.context
    assert starts[-1] + task.spec.model.context + 1 == len(task.held_out)
    share = task._cloud.mean()
    assert 0.2 < share < 0.5  # 2 of 6 workers
    scores = task.evaluate(task.initial(0))
    mixed = share * scores.cloud_loss_nats + (1 - share) * scores.edge_loss_nats
    assert mixed == pytest.approx(scores.loss_nats)
    only_edge = learning.build(language_task(), ["edge"] * 6, 0)
    assert np.isnan(only_edge.evaluate(task.initial(0)).cloud_loss_nats)


def test_too_little_held_out_text(language_task):
    with pytest.raises(ScenarioError, match=r"task\.scored_characters = 1000000: must be at most \d+: "):
        learning.build(language_task(scored_characters=1_000_000), TIERS, 0)


def test_a_context_longer_than_the_text(language_task, transformer_spec):
    with pytest.raises(ScenarioError, match=r"task\.corpus = \d+ characters .*: too short .* or a shorter context"):
        learning.build(language_task(model=transformer_spec(context=1_000_000)), TIERS, 0)


def test_yardsticks_fall_with_the_order(language_task):
    found = learning.build(language_task(), TIERS, 0).yardsticks()
    assert found["unigram_nats"] > found["bigram_nats"] > found["trigram_nats"] > 0
    assert found["unigram_top1_percent"] < found["trigram_top1_percent"] < 100


def train(task, rounds, workers):
    """Centralised training as FullSync does it: the mean gradient of all workers, one AdamW step a round."""
    rule = optimizers.build_optimizer(task.spec.optimizer)
    rate = optimizers.LearningRate("linear", 2e-2, 4, rounds)
    model = task.initial(0)
    state = rule.init(task.size)
    out = np.empty((workers, task.size), np.float32)
    for step in range(rounds):
        gradients, _ = task.gradient(model, task.batches(range(workers), [step] * workers), out)
        model, state = rule.step(model, gradients.mean(axis=0), rate(step), state)
    return model


def test_thirty_rounds_of_eighty_workers_beat_the_unigram(language_task, transformer_spec):
    model = transformer_spec(d_model=24, heads=2, context=12, vocabulary=40)
    task = learning.build(language_task(model=model, batch_size=1), ["cloud"] * 16 + ["edge"] * 64, 0)
    assert task.evaluate(task.initial(0)).loss_nats > task.yardsticks()["unigram_nats"]
    assert task.evaluate(train(task, 30, 80)).loss_nats < task.yardsticks()["unigram_nats"]


@pytest.mark.slow
def test_the_default_corpus_is_learnt(language_task, transformer_spec):
    model = transformer_spec(d_model=32, heads=2, context=32, vocabulary=96)
    spec = language_task(model=model, batch_size=1, scored_characters=40_000)
    spec.corpus.files = None
    task = learning.build(spec, ["cloud"] * 16 + ["edge"] * 64, 0)
    marks = task.yardsticks()
    assert task.evaluate(train(task, 60, 80)).loss_nats < marks["unigram_nats"] - 0.2
    assert task.evaluate(train(task, 288, 80)).loss_nats < marks["bigram_nats"] - 0.2


def test_the_optimum_of_a_quadratic(quadratic_task):
    task = learning.build(quadratic_task(noise=0.0), TIERS, 0)
    best = task.optimum()
    gradients, _ = task.gradient(best, task.batches(range(6), [0] * 6))
    assert np.allclose(gradients.mean(axis=0), 0, atol=1e-6)
    assert task.evaluate(best).loss_nats == 0
    away = best + 0.5
    assert task.evaluate(away).loss_nats == pytest.approx(0.125 * task.curvature.sum())
    losses = [task.gradient(place, task.batches(range(6), [0] * 6))[1].mean() for place in (away, best)]
    assert losses[0] - losses[1] == pytest.approx(task.evaluate(away).loss_nats)


def test_quadratic_gradients_agree_with_finite_differences_noise_included(quadratic_task):
    task = learning.build(quadratic_task(noise=2.0), TIERS, 0).reference()
    batch, place = task.batches([1], [4]), task.initial(0).astype(float)
    gradient = task.gradient(place, batch)[0][0]
    for entry in (0, 11, 23):
        step = np.zeros(24)
        step[entry] = 1e-5
        up, down = (task.gradient(place + sign * step, batch)[1][0] for sign in (1, -1))
        assert (up - down) / 2e-5 == pytest.approx(gradient[entry], rel=1e-6)


def test_the_noise_of_a_quadratic_has_the_stated_spread(quadratic_task):
    task = learning.build(quadratic_task(noise=2.0, batch_size=4), TIERS, 0)
    noise = np.stack([task.batches([1], [step]).noise[0] for step in range(250)])
    draws = noise.size  # a sample's deviation has itself the deviation sigma / sqrt(2 n), here 0.9 %
    assert noise.std() == pytest.approx(1.0, rel=4 / math.sqrt(2 * draws))
    assert abs(noise.mean()) < 4 / math.sqrt(draws)


def test_heterogeneity_is_the_distance_of_the_optima(quadratic_task):
    task = learning.build(quadratic_task(dimension=1000, heterogeneity=3.0), TIERS, 0)
    assert np.linalg.norm(task.centres, axis=1) == pytest.approx(3.0, rel=0.1)
    assert not learning.build(quadratic_task(heterogeneity=0.0), TIERS, 0).centres.any()
