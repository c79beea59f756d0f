"""`make bench`: measure, print, and write benchmarks/results.md.  `python -m benchmarks learning fedavg`: only these.

Ratios within one run count; absolute times belong to the machine they were taken on.  Peers (PyTorch, JAX, pfl, Flower)
are measured where they are installed: `make bench BENCH_PYTHON=python` with a Python that has them and acesim's
requirements.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As fast as the processor allows, for numpy as for its peers; BENCH_CORETYPE=Haswell: as on one with AVX2 and no more.
os.environ.pop("OPENBLAS_CORETYPE", None)
if os.environ.get("BENCH_CORETYPE"):
    os.environ["OPENBLAS_CORETYPE"] = os.environ["BENCH_CORETYPE"]

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from acesim import study
from acesim.engine.agenda import Agenda
from benchmarks import flows
from benchmarks.compressors import compressor_rows, optimizer_rows
from benchmarks.fedavg import fedavg_rows
from benchmarks.learning import gradient_rows, large_rows, task_rows
from benchmarks.memory import memory_rows
from benchmarks.profile import profile_rows
from benchmarks.simulator import simulator_rows
from benchmarks.timing import REPEATS, Row, median_s, processor

AVX2 = "Haswell"
"""What OpenBLAS calls the kernels for processors with AVX2 and no more."""


def agenda_row(rows: list[Row]) -> None:
    """Bare events through the explicit agenda."""
    def play() -> None:
        agenda = Agenda(lambda action, arguments: agenda.at(agenda.now_s + 1, "x", arguments[0] - 1)
                        if arguments[0] else None)
        agenda.at(0.0, "x", 20_000)
        agenda.run()
    rows.append(("agenda, bare events", f"{20_000 / median_s(play) / 1e3:.0f} k/s"))


def run_rows(rows: list[Row]) -> None:
    """Whole runs of one epoch, wall time and its ratio to FullSync."""
    base_s = None
    for label in ("full-sync", "top-k ratio=0.3", "fedavg", "ace-sync"):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            study.run("table1", seeds=[0], policies=[label.split()[0]], overrides=["stop.epochs=2"], jobs=1,
                      out=folder)
            span_s = time.perf_counter() - start
        base_s = base_s or span_s
        rows.append((f"table1, {label}, 48 rounds", f"{span_s:.1f} s, {span_s / base_s:.2f} x full-sync"))


def with_avx2(part: str) -> Callable[[list[Row]], None]:
    """Return what measures a part once more with matrix products of AVX2: beside them all else weighs less."""
    def measure(rows: list[Row]) -> None:
        if os.environ.get("OPENBLAS_CORETYPE") != AVX2:
            command = [sys.executable, "-m", "benchmarks", part]
            done = subprocess.run(command, env={**os.environ, "BENCH_CORETYPE": AVX2},
                                  capture_output=True, text=True, check=True)
            for line in done.stdout.splitlines():
                what, _, figure = line.partition(": ")
                rows.append((f"{what}, products of AVX2", figure))
    return measure


PARTS: dict[str, tuple[Callable[[list[Row]], object], ...]] = {
    "learning": (gradient_rows, large_rows, task_rows),
    "fedavg": (fedavg_rows,),
    "compressors": (compressor_rows, optimizer_rows),
    "agenda": (agenda_row,),
    "flows": (lambda rows: rows.extend(flows.rows()),),
    "runs": (run_rows,),
    "profile": (profile_rows, with_avx2("profile")),
    "simulator": (simulator_rows, with_avx2("simulator")),
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
            told = len(rows)
            part(rows)
            for what, figure in rows[told:]:
                print(f"{what}: {figure}", flush=True)
    lines = ["# Benchmarks", "", machine(), "", "| what | measured |", "|---|---|"]
    text = "\n".join(lines + [f"| {what} | {figure} |" for what, figure in rows]) + "\n"
    if not names:
        Path(__file__).with_name("results.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
