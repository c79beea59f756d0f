"""`make bench`: measure, print, and write benchmarks/results.md.  `python -m benchmarks learning fedavg`: only these.

Ratios within one run count; absolute times belong to the machine they were taken on.  Peers (PyTorch, JAX, pfl, Flower)
are measured where they are installed: `make bench BENCH_PYTHON=python` with a Python that has them and acesim's
requirements.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("OPENBLAS_CORETYPE", None)  # as fast as the processor allows, for numpy as for its peers

import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from acesim import scenario, study
<<<<<<< HEAD
from acesim.compressors import Budget, Dense, ErrorFeedback, Grouped, Lattice, TopK, Uniform
=======
>>>>>>> 7a4e027 (Benchmarks by part, larger proxies, and where the time of a run goes)
from acesim.engine.agenda import Agenda
from acesim.network import topology
from acesim.network.flows import Flows
from benchmarks.compressors import compressor_rows, optimizer_rows
from benchmarks.fedavg import fedavg_rows
from benchmarks.learning import gradient_rows, large_rows, task_rows
from benchmarks.memory import memory_rows
from benchmarks.profile import profile_rows
from benchmarks.timing import REPEATS, Row, median_s, processor


<<<<<<< HEAD
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
=======
def agenda_row(rows: list[Row]) -> None:
>>>>>>> 7a4e027 (Benchmarks by part, larger proxies, and where the time of a run goes)
    """Bare events through the explicit agenda."""
    def play() -> None:
        agenda = Agenda(lambda action, arguments: agenda.at(agenda.now_s + 1, "x", arguments[0] - 1)
                        if arguments[0] else None)
        agenda.at(0.0, "x", 20_000)
        agenda.run()
    rows.append(("agenda, bare events", f"{20_000 / median_s(play) / 1e3:.0f} k/s"))


def flow_rows(rows: list[Row]) -> None:
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


def run_rows(rows: list[Row]) -> None:
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


PARTS = {
    "learning": (gradient_rows, large_rows, task_rows),
    "fedavg": (fedavg_rows,),
    "compressors": (compressor_rows, optimizer_rows),
    "agenda": (agenda_row,),
    "flows": (flow_rows,),
    "runs": (run_rows,),
    "profile": (profile_rows,),
    "memory": (memory_rows,),
}


def machine() -> str:
    """Return the line that says where the figures were taken."""
    return (f"Python {platform.python_version()}, numpy {np.__version__}, {processor()}, {os.cpu_count()} cores, one "
            f"BLAS thread, medians of {REPEATS} (gradients of 5). Written by `make bench`.")


def main(names: list[str]) -> None:
    """Measure some parts and print them; all of them are written down."""
    rows: list[Row] = []
    for name in names or PARTS:
        for part in PARTS[name]:
            part(rows)
    lines = ["# Benchmarks", "", machine(), "", "| what | measured |", "|---|---|"]
    text = "\n".join(lines + [f"| {what} | {figure} |" for what, figure in rows]) + "\n"
    if not names:
        Path(__file__).with_name("results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
