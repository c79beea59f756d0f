"""What a run holds: nothing that grows with its length, and no state of those who never take part."""

import gc
import tracemalloc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from tests_support import Rows, small_setup

from acesim.engine import Simulation, simulate
from acesim.records.resident import forget_peak
from acesim.records.rows import MetricRow
from acesim.records.store import RunWriter


@pytest.mark.parametrize("policy", ["full-sync", "ace-sync"])
def test_memory_does_not_grow_with_rounds(policy, tmp_path):
    """Held every 36 rounds, just after a part of rows was written; a metric row an epoch is all that stays.

    The middle one of three growths counts: a table of the interpreter's own may double between two moments.
    """
    writer, held = RunWriter(tmp_path, flush_rows=10), []

    def look(row):
        if row.round and row.round % 36 == 0:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    setup = replace(small_setup(policy, epochs=24), rounds=144)  # 6 rounds an epoch
    tracemalloc.start()
    simulate(setup, writer, look)
    tracemalloc.stop()
    kept = 36 / 6 * 40 * len(MetricRow._fields)  # bytes of metric rows: a number and a pointer a column
    assert len(held) == 4
    assert np.median(np.diff(held)) < kept + 10_000


def test_who_is_never_asked_has_no_state():
    setup = small_setup("fedavg", {"fraction": 0.2}, cloud=2, edge=8, stop={"epochs": 1})
    simulation = Simulation(replace(setup, rounds=1), Rows())
    assert not any(worker.states for worker in simulation.world.workers)
    simulation.run()
    used = [bool(worker.states) for worker in simulation.world.workers]
    assert 0 < np.sum(used) <= 2


def test_a_knot_of_objects_is_freed_before_the_next_run():
    simulation = Simulation(small_setup(), Rows())
    simulation.run()
    gone = weakref.ref(simulation)
    del simulation
    forget_peak()
    assert gone() is None


def test_a_barrier_holds_one_copy_of_its_workers_updates():
    """What was sent, and at most a few chunks of what was found: never both of everybody, never two rounds'."""
    pytest.importorskip("sklearn")
    task = {"kind": "image-classification", "model": {"hidden": [1000]}, "batch_size": 1, "steps_per_epoch": 4,
            "partition": {"min_partition_size": 1}}
    setup = replace(small_setup(task=task, cloud=20, edge=60), rounds=3)
    copy = 80 * 4 * setup.task.size
    simulation = Simulation(setup, Rows())
    gc.collect()
    tracemalloc.start()
    simulation.run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert copy < peak < 1.8 * copy
