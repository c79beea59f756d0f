"""What a run needs of the host's memory, and what it grows with: every run in a process of its own.

Workers and parameters cost memory, rounds none: `growth` says how much more the larger of two runs took.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from acesim import study

POLICIES = ("full-sync", "top-k", "fedavg", "ace-sync")
SMALL = ("task.model.layers=1", "task.model.d_model=16", "task.model.heads=1", "task.model.context=8",
         "task.steps_per_epoch=100")
MANY = ("workers.cloud.count=200", "workers.xavier.count=300", "workers.arm.count=300", "workers.cpu.count=200",
        "task.model.d_model=64", "task.model.heads=4", "task.steps_per_epoch=2", "stop.epochs=2")
"""1 000 workers, 106 816 parameters, 4 rounds."""


def peak_mb(scenario: str, policy: str, overrides: Sequence[str]) -> float:
    """Return the peak resident memory of one run, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        found = study.run(scenario, [policy], [0], overrides, jobs=1, out=folder)
    return float(found.records[0].manifest["peak_rss_bytes"]) / 1e6


def alone(scenario: str, policy: str, overrides: Sequence[str] = ()) -> float:
    """Return `peak_mb` as measured in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak_mb, scenario, policy, overrides).result()


def growth(name: str, policy: str, pairs: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, str]:
    """Return a row: the peak of each of some runs that differ in one thing."""
    peaks = [f"{what} {alone('quickstart', policy, overrides):.0f} MB" for what, overrides in pairs]
    return f"memory by {name}, {policy}", ", ".join(peaks)


def counts(each: int) -> tuple[str, ...]:
    """Return the overrides that set every group's count."""
    return tuple(f"workers.{name}.count={each}" for name in ("cloud", "xavier", "arm", "cpu"))


def memory_rows(rows: list[tuple[str, str]]) -> None:
    """The default runs, the growth, and 1 000 workers."""
    for policy in POLICIES:
        rows.append((f"memory, table1, {policy}, 80 workers", f"{alone('table1', policy, ['stop.epochs=2']):.0f} MB"))
    rows.append(growth("rounds", "full-sync", [(f"{100 * epochs}:", (*SMALL, f"stop.epochs={epochs}"))
                                               for epochs in (1, 2, 4)]))
    few = ("task.steps_per_epoch=5", "stop.epochs=1")
    rows.append(growth("workers", "top-k", [(f"{4 * each}:", (*few, *counts(each))) for each in (10, 20, 40)]))
    rows.append(growth("width", "top-k", [(f"d_model {width}:", (*few, f"task.model.d_model={width}"))
                                          for width in (32, 64, 128)]))
    for policy in ("full-sync", "top-k"):
        rows.append((f"memory, 1 000 workers, 106 816 parameters, {policy}", f"{alone('table1', policy, MANY):.0f} MB"))


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str]] = []
    memory_rows(rows)
    for what, figure in rows:
        print(f"{what:<60} {figure}")


if __name__ == "__main__":
    main()
