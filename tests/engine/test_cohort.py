from types import SimpleNamespace

import numpy as np
import pytest

from acesim.engine.cohort import Cohort, Job
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.learning.tasks import build

SPEC = SimpleNamespace(kind="quadratic", dimension=12, condition=5.0, heterogeneity=1.0, noise=0.2, batch_size=1,
                       steps_per_epoch=4)


@pytest.fixture
def task():
    return build(SPEC, ["cloud"] * 2 + ["edge"] * 9, 0)


class Counting:
    """A task that notes which workers are evaluated together."""

    def __init__(self, task):
        self.task, self.calls = task, []

    def batches(self, workers, steps):
        self.calls.append(tuple(workers))
        return self.task.batches(workers, steps)

    def gradient(self, parameters, batch, out=None):
        return self.task.gradient(parameters, batch, out)


def started(task, local, chunk, steps=1, anchors=None):
    cohort = Cohort(task, local, chunk)
    shared = np.zeros(12, np.float32)
    for worker in range(11):
        anchor = shared if anchors is None else anchors[worker]
        cohort.start(Job(worker, anchor, 0, steps, local.init(12)))
    return cohort


@pytest.mark.parametrize("local", [GradientStep(), LocalSteps(SGD(), LearningRate("constant", 0.1, 0, 1))])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_chunk_gives_what_one_worker_at_a_time_gives(task, local, steps):
    together, alone = started(task, local, 8, steps), started(task, local, 1, steps)
    for worker in (4, 0, 10, 1):
        a, b = together.fetch(worker), alone.fetch(worker)
        np.testing.assert_array_equal(a.update, b.update)
        assert a.loss == b.loss
        assert a.batches == b.batches


def test_nothing_is_computed_before_it_is_due_and_then_a_whole_chunk(task):
    counting = Counting(task)
    cohort = started(counting, GradientStep(), 4)
    assert counting.calls == []
    cohort.fetch(5)
    assert counting.calls == [(5, 0, 1, 2)]
    cohort.fetch(1)
    assert counting.calls == [(5, 0, 1, 2)]
    assert sorted(cohort.results) == [0, 2]


def test_only_equal_numbers_of_steps_share_a_chunk(task):
    counting = Counting(task)
    cohort = Cohort(counting, GradientStep(), 8)
    anchor = np.zeros(12, np.float32)
    for worker in range(4):
        cohort.start(Job(worker, anchor, 0, 1 + worker % 2, ()))
    cohort.fetch(0)
    assert counting.calls == [(0, 2)]


def test_workers_with_their_own_anchors_are_stacked(task):
    anchors = [np.full(12, k, np.float32) for k in range(11)]
    counting = Counting(task)
    cohort = started(counting, GradientStep(), 4, anchors=anchors)
    result = cohort.fetch(3)
    assert counting.calls == [(3, 0, 1, 2)]
    lone = started(task, GradientStep(), 1, anchors=anchors).fetch(3)
    np.testing.assert_array_equal(result.update, lone.update)


def test_a_result_is_handed_out_once(task):
    cohort = started(task, GradientStep(), 4)
    cohort.fetch(0)
    with pytest.raises(KeyError):
        cohort.fetch(0)
