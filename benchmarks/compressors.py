"""Nanoseconds an entry: what encoders, decoders and optimizers take of the host, at two sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from acesim.compressors import QSGD, Budget, Dense, ErrorFeedback, Grouped, Lattice, TopK, Uniform
from acesim.compressors.base import CompressorBase
from acesim.learning.optimizers import SGD, AdamW
from benchmarks.timing import Row, median_s

SIZES = (61_680, 1_000_000)


def encoders(size: int) -> dict[str, tuple[CompressorBase, Any]]:
    """Return what is measured, and at which level, by name; groups are 120 equal blocks."""
    blocks = tuple(np.diff(np.linspace(0, size, 121).astype(int)).tolist())
    ones = np.ones(len(blocks), np.float32)
    plain = {"dense": Dense(), "top-k 1 %": TopK(0.01), "top-k 30 %": TopK(0.3), "8 bit": Uniform(8),
             "4 bit": Uniform(4), "QSGD, 7 levels (random)": QSGD(7),
             "top-k 1 %, error feedback": ErrorFeedback(TopK(0.01)),
             "top-k 30 %, error feedback": ErrorFeedback(TopK(0.3)), "4 bit, error feedback": ErrorFeedback(Uniform(4))}
    return {name: (compressor, None) for name, compressor in plain.items()} | {
        "knapsack, c = 8, error feedback": (ErrorFeedback(Grouped(blocks)), Budget(size / 2, ones)),
        "lattice, c = 32, error feedback": (ErrorFeedback(Lattice(blocks)), Budget(size / 8, ones))}


def each_ns(action: Callable[[], object], size: int) -> float:
    """Return the time of an action for each entry."""
    return median_s(action) / size * 1e9


def compressor_rows(rows: list[Row]) -> None:
    """One encode and one decode of a normal vector."""
    for size in SIZES:
        vector = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        for name, (compressor, level) in encoders(size).items():
            rng = np.random.default_rng(0)
            payload, state = compressor.encode(vector, level, rng, compressor.init(size))
            encode_ns = each_ns(partial(compressor.encode, vector, level, rng, state), size)
            decode_ns = each_ns(partial(compressor.decode, payload.body, size), size)
            rows.append((f"{name}, {size} entries", f"encode {encode_ns:.2f}, decode {decode_ns:.2f} ns an entry"))


def optimizer_rows(rows: list[Row]) -> None:
    """One step of one worker."""
    for size in SIZES:
        x, gradient = np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
        for name, rule in {"AdamW": AdamW(), "SGD": SGD(), "SGD, momentum": SGD(momentum=0.9)}.items():
            step = partial(rule.step, x, gradient, 0.1, rule.init(size))
            rows.append((f"{name}, {size} parameters", f"{each_ns(step, size):.2f} ns a parameter"))
