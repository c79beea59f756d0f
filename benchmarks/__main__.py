"""`make bench`: measure, print, and write benchmarks/results.md.

Ratios within one run count; absolute times belong to the machine they were taken on.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from acesim import scenario, study
from acesim.compressors import Budget, Dense, ErrorFeedback, Grouped, Lattice, TopK, Uniform
from acesim.engine.agenda import Agenda
from acesim.learning import tasks
from acesim.network import topology
from acesim.network.flows import Flows
from benchmarks.memory import memory_rows

REPEATS = 7


def median_s(action: Callable[[], object]) -> float:
    """Return the median time of some repeats after one warm-up."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def sgemm_gflops(size: int = 1024) -> float:
    """Return what a large square product reaches."""
    a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    return 2 * size**3 / median_s(lambda: a @ a) / 1e9


def all_gradients(task: tasks.Task, model: np.ndarray, batches: list) -> None:
    """Take the gradients of all workers, chunk by chunk."""
    for batch in batches:
        task.gradient(model, batch)


def gradient_rows(rows: list[tuple[str, str]]) -> None:
    """Per-worker gradients of both shipped sizes, shared parameters, 80 workers."""
    peak = sgemm_gflops()
    rows.append(("sgemm, 1024 x 1024", f"{peak:.0f} GFLOP/s"))
    for name in ("quickstart", "table1"):
        world = scenario.load(name)
        tiers = [group.tier for group in world.workers for _ in range(group.count)]
        task = tasks.build(world.task, tiers, 0)
        model = task.initial(0)
        batches = [task.batches(range(start, start + 8), [0] * 8) for start in range(0, 80, 8)]
        span_s = median_s(partial(all_gradients, task, model, batches)) / 80
        tokens = world.task.batch_size * world.task.model.context
        share = 6 * task.size * tokens / span_s / 1e9 / peak
        rows.append((f"gradient, {name} ({task.size} parameters), a worker-step", f"{span_s * 1e6:.0f} us, "
                     f"{share:.0%} of sgemm by 6 P tokens"))
        rows.append((f"evaluation, {name}, {world.task.scored_characters} characters",
                     f"{median_s(partial(task.evaluate, model)) * 1e3:.0f} ms"))


def compressor_rows(rows: list[tuple[str, str]]) -> None:
    """One encode with error feedback and one decode, at the size of table1."""
    size = 61_680
    vector = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    blocks = tuple(np.diff(np.linspace(0, size, 121).astype(int)).tolist())
    ones = np.ones(len(blocks), np.float32)
    for name, (compressor, level) in {
            "dense": (Dense(), None), "top-k 30 %": (ErrorFeedback(TopK(0.3)), None),
            "top-k 1 %": (ErrorFeedback(TopK(0.01)), None), "4 bit": (ErrorFeedback(Uniform(4, blocks)), None),
            "knapsack, c = 8": (ErrorFeedback(Grouped(blocks)), Budget(size / 2, ones)),
            "lattice, c = 32": (ErrorFeedback(Lattice(blocks)), Budget(size / 8, ones))}.items():
        payload, state = compressor.encode(vector, level, None, compressor.init(size))
        encode_s = median_s(lambda c=compressor, s=state, b=level: c.encode(vector, b, None, s))
        decode_s = median_s(lambda c=compressor, p=payload: c.decode(p.body, size))
        rows.append((f"{name}, {size} entries", f"encode {encode_s * 1e6:.0f} us, decode {decode_s * 1e6:.0f} us"))


def agenda_row(rows: list[tuple[str, str]]) -> None:
    """Bare events through the explicit agenda."""
    def play() -> None:
        agenda = Agenda(lambda action, arguments: agenda.at(agenda.now_s + 1, "x", arguments[0] - 1)
                        if arguments[0] else None)
        agenda.at(0.0, "x", 20_000)
        agenda.run()
    rows.append(("agenda, bare events", f"{20_000 / median_s(play) / 1e3:.0f} k/s"))


def flow_rows(rows: list[tuple[str, str]]) -> None:
    """A barrier round of 80 dense uploads of the nominal 350M model over shared links."""
    world = scenario.load("table1")
    built = topology.build(world.workers, world.network, 0)

    def play() -> None:
        flows = Flows(built.links)
        for worker in range(80):
            flows.advance(0.1 * worker)
            flows.start(worker, 1.42e9, built.up_route[worker], 0.1 * worker)
        while (due_s := flows.next_finish()) < float("inf"):
            flows.advance(due_s)
    rows.append(("80 uploads of 1.42 GB over shared links, start to last finish", f"{median_s(play) * 1e3:.1f} ms"))


def run_rows(rows: list[tuple[str, str]]) -> None:
    """Whole runs of one epoch, wall time and its ratio to FullSync."""
    base_s = None
    for label in ("full-sync", "top-k ratio=0.3", "fedavg", "ace-sync"):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            found = study.run("table1", seeds=[0], policies=[label.split()[0]], overrides=["stop.epochs=2"], jobs=1,
                              out=folder)
            span_s = time.perf_counter() - start
        base_s = base_s or span_s
        peak = found.records[0].manifest["peak_rss_bytes"]
        rows.append((f"table1, {label}, 48 rounds", f"{span_s:.1f} s, {span_s / base_s:.2f} x full-sync, "
                     f"peak {(peak or 0) / 1e6:.0f} MB"))


def main() -> None:
    """Measure everything and write the table."""
    rows: list[tuple[str, str]] = []
    for part in (gradient_rows, compressor_rows, agenda_row, flow_rows, run_rows, memory_rows):
        part(rows)
    lines = ["# Benchmarks", "", f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores, "
             f"one BLAS thread, medians of {REPEATS}. Written by `make bench`.", "", "| what | measured |", "|---|---|"]
    lines += [f"| {what} | {figure} |" for what, figure in rows]
    text = "\n".join(lines) + "\n"
    Path(__file__).with_name("results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
