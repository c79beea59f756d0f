"""FedAvg on one workload for all: 80 workers, 5 local steps of SGD, an MLP 784-128-10 of 101 770 parameters."""

from __future__ import annotations

import json
import resource
import statistics
import sys
from typing import Any

import numpy as np

WORKERS, STEPS, BATCH, ROUNDS, RATE = 80, 5, 32, 20, 0.1
SIZES = (784, 128, 10)


def examples() -> tuple[Any, Any]:
    """Return inputs float32 [W, steps x batch, 784] and classes int64 [W, steps x batch]."""
    rng = np.random.default_rng(0)
    labels = rng.integers(SIZES[-1], size=(WORKERS, STEPS * BATCH))
    centres = rng.standard_normal((SIZES[-1], SIZES[0]), dtype=np.float32)
    noise = rng.standard_normal((*labels.shape, SIZES[0]), dtype=np.float32)
    return centres[labels] * np.float32(0.1) + noise, labels


def told(spans_s: list[float], nats: float) -> None:
    """Print what a peer measured, for the one that started it: median of the rounds after the first."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"round_s": statistics.median(spans_s[1:]), "first_s": spans_s[0], "nats": nats,
                      "peak_bytes": peak * 1024}), file=sys.stdout)
