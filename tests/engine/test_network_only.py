"""Worlds in which nothing is learned: given bytes over given links, in the time that those take."""

import math

import pytest
from tests_support import play, small_setup

from acesim.learning.idle import NetworkOnly
from acesim.scenario.errors import PolicyError
from acesim.scenario.tasks import NetworkOnlyTask

TASK = {"kind": "network-only", "steps_per_epoch": 5}
NOMINAL = {"model": [{"name": "a", "shape": [250_000]}], "tokens_per_step": {"cloud": 64, "edge": 64}}
HEADER = 64


@pytest.mark.parametrize("tree", ["star", "regions"])
def test_every_worker_sends_and_receives_what_was_given(tree):
    played = play(small_setup("given-bytes", {"megabytes_up": 0.3, "megabytes_down": 1.0, "tree": tree}, task=TASK,
                              nominal=NOMINAL, cloud=2, edge=5))
    last = played.metrics[-1]
    assert (last.bytes_up, last.bytes_down) == (10 * 7 * (300_000 + HEADER), 10 * 7 * (1_000_000 + HEADER))
    assert math.isnan(last.loss_nats)
    assert math.isnan(last.top1_percent)
    assert last.scored == 0


def test_rounds_take_as_long_as_those_of_a_policy_that_sends_as_much():
    """Dense float32 of 250 000 entries is a megabyte each way."""
    given = play(small_setup("given-bytes", {"megabytes_up": 1.0, "megabytes_down": 1.0}, task=TASK, nominal=NOMINAL))
    dense = play(small_setup("full-sync", task=TASK | {"kind": "quadratic"}, nominal=NOMINAL))
    assert given.timeline("download", "compute", "upload") == dense.timeline("download", "compute", "upload")


def test_nothing_is_learned():
    task = NetworkOnly(NetworkOnlyTask(), ["cloud", "edge"], 0)
    gradients, _ = task.gradient(task.initial(0), task.batches([0, 1], [3, 3]))
    assert not gradients.any()
    assert task.reference() is task
    assert task.yardsticks() == {}


def test_bytes_below_zero_are_refused():
    with pytest.raises(PolicyError, match=r"given-bytes: megabytes_up = -1\.0: must be >= 0"):
        small_setup("given-bytes", {"megabytes_up": -1.0, "megabytes_down": 1.0}, task=TASK)
