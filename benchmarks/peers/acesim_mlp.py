"""The FedAvg workload in acesim's learning core: chunks of 8 workers, nothing simulated around it."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from acesim.learning.flat import CHUNK
from acesim.learning.images import Classifier
from acesim.learning.local import LocalSteps, stack
from acesim.learning.optimizers import SGD, LearningRate
from benchmarks.peers.workload import BATCH, RATE, ROUNDS, SIZES, STEPS, WORKERS, examples, told


def main() -> None:
    """Play all rounds."""
    inputs, labels = examples()
    spec: Any = SimpleNamespace(hidden=(SIZES[1],))
    model = Classifier(spec, (SIZES[0],), SIZES[2])
    local = LocalSteps(SGD(), LearningRate("constant", RATE))
    anchor = model.initial(np.random.default_rng(0))
    out = np.empty((CHUNK, model.size), np.float32)
    spans_s = []
    for _ in range(ROUNDS):
        start = time.process_time()
        total = np.zeros(model.size, np.float32)
        for first in range(0, WORKERS, CHUNK):
            rows = slice(first, first + CHUNK)
            steps = iter(range(STEPS))

            def gradient(place: Any, rows: slice = rows, steps: Any = steps) -> tuple[Any, Any]:
                at = BATCH * next(steps)
                losses, found = model.gradient(place, inputs[rows, at:at + BATCH], labels[rows, at:at + BATCH], out)
                return found, losses

            update, _ = local.run(anchor, STEPS, gradient, stack([local.init(model.size)] * CHUNK))
            total += update.sum(axis=0)
        anchor = anchor - total / np.float32(WORKERS)
        spans_s.append(time.process_time() - start)
    nats, _ = model.loss(anchor, inputs.reshape(-1, SIZES[0]), labels.reshape(-1))
    told(spans_s, float(nats.mean()))


if __name__ == "__main__":
    main()
