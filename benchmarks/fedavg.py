"""FedAvg, 80 workers x 5 local steps, an MLP of 101 770 parameters, 20 rounds: acesim and those who do the same.

Each way is a process of its own; all in turn, twice; the better of the two medians counts.  Processor time on
one thread; only Flower, which has many processes, goes by the clock, and plays five rounds.
Flower and pfl may live in environments of their own: BENCH_PFL and BENCH_FLOWER name the Python to run them with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from acesim import scenario, study
from benchmarks.peers import workload
from benchmarks.timing import Row, elapsed_s

ROOT = Path(__file__).resolve().parents[1]
PEERS = (("acesim, learning core", "acesim_mlp", "numpy", ""), ("PyTorch loop", "torch_mlp", "torch", "BENCH_TORCH"),
         ("pfl", "fedavg_pfl", "pfl", "BENCH_PFL"), ("Flower on Ray", "fedavg_flower", "flwr", "BENCH_FLOWER"))
TURNS, LIMIT_S = 2, 600


def installed(needs: str, variable: str) -> str | None:
    """Return the Python that can run a peer, if there is one."""
    python = os.environ.get(variable, sys.executable)
    tried = subprocess.run([python, "-c", f"import {needs}"], cwd=ROOT, capture_output=True, check=False)
    return None if tried.returncode else python


def measured(module: str, python: str) -> dict[str, Any]:
    """Return what a peer tells."""
    done = subprocess.run([python, "-m", f"benchmarks.peers.{module}"], cwd=ROOT, capture_output=True, text=True,
                          check=False, timeout=LIMIT_S)
    if done.returncode:
        raise RuntimeError(f"benchmarks.peers.{module}: {done.stderr[-2000:]}")
    last = [line for line in done.stdout.splitlines() if line.startswith('{"round_s"')][-1]
    return dict(json.loads(last))


def engine_s() -> float:
    """Return the seconds a round of a whole run takes: links, messages, events, evaluation and files included."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, labels = workload.examples()
        path = Path(folder) / "examples.npz"
        np.savez(path, X=inputs.reshape(-1, 28, 28), y=labels.reshape(-1))
        task = (f"task={{kind: image-classification, data: {{files: '{path}', held_out: 0.05}}, "
                f"model: {{kind: mlp, hidden: [128]}}, partition: {{kind: iid}}, batch_size: {workload.BATCH}, "
                f"steps_per_epoch: {workload.STEPS}, optimizer: {{name: sgd, learning_rate: {workload.RATE}}}}}")
        policy = f"policies=[{{name: fedavg, local_steps: {workload.STEPS}}}]"
        world = scenario.load("table1", [task, policy, f"stop.epochs={workload.ROUNDS}"])
        return elapsed_s(lambda: study.run(world, seeds=[0], jobs=1, out=folder)) / workload.ROUNDS


def fedavg_rows(rows: list[Row]) -> None:
    """One row a way, the ratio to acesim's learning core, and a row for the whole simulator."""
    pythons = {module: installed(needs, variable) for _, module, needs, variable in PEERS}
    told = [{module: measured(module, python) for module, python in pythons.items() if python} for _ in range(TURNS)]
    base_s = min(turn["acesim_mlp"]["round_s"] for turn in told)
    for name, module, *_ in PEERS:
        if pythons[module] is None:
            rows.append((f"FedAvg round, {name}", "not installed here: not measured"))
            continue
        best = min((turn[module] for turn in told), key=lambda found: found["round_s"])
        rows.append((f"FedAvg round, {name}",
                     f"{best['round_s'] * 1e3:.0f} ms, {best['round_s'] / base_s:.2f} x acesim's, "
                     f"peak {best['peak_bytes'] / 1e6:.0f} MB, ends at {best['nats']:.2f} nats"))
    rows.append(("FedAvg round, acesim, a whole simulated run",
                 f"{engine_s() * 1e3:.0f} ms with set-up, events and files"))
