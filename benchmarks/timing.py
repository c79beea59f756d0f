"""How things are measured: one core, one thread, side by side, medians."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

REPEATS = 7

Row = tuple[str, str]
"""What was measured, and the figure."""


def elapsed_s(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the time of one call."""
    start = clock()
    action()
    return clock() - start


def interleaved_s(actions: Mapping[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Return the processor times of every action: all in turn, again and again, so that a noisy neighbour strikes all.

    All use one thread, so that this is their time on a quiet machine; on a busy one, waiting for others is not counted.
    """
    for action in actions.values():
        action()
    turns = [{name: elapsed_s(action, time.process_time) for name, action in actions.items()} for _ in range(repeats)]
    return {name: [turn[name] for turn in turns] for name in actions}


def median_s(action: Callable[[], object]) -> float:
    """Return the median time of some repeats after one warm-up."""
    return statistics.median(interleaved_s({"": action})[""])


def ratio(times_s: list[float], base_s: list[float]) -> float:
    """Return the median of what one took over what another took in the same turn."""
    return statistics.median(time_s / base for time_s, base in zip(times_s, base_s, strict=True))


class Square:
    """A large square product: what sgemm reaches on this core."""

    def __init__(self, size: int = 1024) -> None:
        self.flops = 2 * size**3
        self._a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
        self._out = np.empty_like(self._a)

    def __call__(self) -> None:
        """Do it once."""
        np.matmul(self._a, self._a, out=self._out)


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core, where the system can be asked to: libraries that start threads then start one."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def processor() -> str:
    """Return name, family and model of the processor, as far as the system tells: one name may be that of many."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"
