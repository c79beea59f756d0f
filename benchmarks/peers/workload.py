"""FedAvg on one workload for all: 80 workers, 5 local steps of SGD, an MLP 784-128-10 of 101 770 parameters."""

from __future__ import annotations

import json
import resource
import statistics
import sys
from pathlib import Path
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


def peak_bytes() -> int:
    """Return the largest resident memory of this process, or of a child if that had more.

    On Linux a new process inherits in `getrusage` what its parent had held; /proc tells its own.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    own = own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
    return max(*own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


def told(spans_s: list[float], nats: float) -> None:
    """Print what a peer measured, for the one that started it: median of the rounds after the first."""
    print(json.dumps({"round_s": statistics.median(spans_s[1:]), "first_s": spans_s[0], "nats": nats,
                      "peak_bytes": peak_bytes()}), file=sys.stdout)
