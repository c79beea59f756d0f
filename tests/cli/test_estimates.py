"""What a scenario will cost, held against what it did cost."""

import time

import pytest

from acesim import estimates, runner, study
from acesim.records.blocks import Later
from acesim.records.orders import orders_of
from acesim.records.rows import Event

SMALL = ["stop.epochs=3", "task.model.layers=1", "task.model.d_model=16", "task.model.heads=1"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["full-sync", "ace-sync", "fedavg"])
def test_an_estimate_holds_within_a_factor(policy, tmp_path):
    """Half to twice the processor time, memory and disk within a third: a busy machine's caches move the first."""
    scenario = study.read_scenario("quickstart", [*SMALL, f"policies=[{policy}]"])
    found = estimates.estimate(scenario, 1)
    [order] = orders_of(scenario, scenario.policies, None, tmp_path)
    begun_s = time.process_time()
    runner.run_one(order)
    spent_s = time.process_time() - begun_s
    [record] = study.load(tmp_path).records
    disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert spent_s / 2 < found.run_s < 2 * spent_s
    assert found.disk_bytes == pytest.approx(disk, rel=0.33)
    if found.memory_bytes is not None:
        assert found.memory_bytes == pytest.approx(record.manifest["peak_rss_bytes"], rel=0.33)


def test_a_run_that_is_over_at_once_is_known_whole(tmp_path):
    scenario = study.read_scenario("quickstart", [*SMALL, "policies=[full-sync]", "stop.epochs=0.05"])
    found = estimates.estimate(scenario, 4)
    assert (found.runs, found.jobs) == (1, 1)
    assert found.run_s > 0
    assert found.disk_bytes > 10_000


def test_looking_ends_after_a_few_rounds():
    watch = estimates._Watch(look_s=0.0)
    for number in range(2):
        watch.event(Event("plan", number, 5, -1, float(number), float(number)))
    watch.block(Later(list, (), rows=3, steps=6))
    with pytest.raises(estimates._Enough):
        watch.event(Event("plan", 2, 5, -1, 2.0, 2.0))  # two rounds have ended
    assert watch.marks[-1].steps == 6


def test_looking_goes_on_while_no_step_is_done_and_counts_no_round_twice():
    watch = estimates._Watch(look_s=0.0)
    for number in (0, 0, 1, 1, 2, 3):
        watch.event(Event("plan", number, 5, -1, float(number), float(number)))
    assert [mark.simulated_s for mark in watch.marks] == [0, 1, 2, 3]
