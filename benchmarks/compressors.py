"""Nanoseconds an entry: what encoders, decoders and optimizers take of the host, at two sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from acesim.compressors import QSGD, Dense, ErrorFeedback, TopK, Uniform
from acesim.compressors.base import CompressorBase
from acesim.learning.optimizers import SGD, AdamW
from benchmarks.timing import Row, median_s

SIZES = (61_680, 1_000_000)


def encoders() -> dict[str, CompressorBase]:
    """Return what is measured, by name."""
    return {"dense": Dense(), "top-k 1 %": TopK(0.01), "top-k 30 %": TopK(0.3), "8 bit": Uniform(8), "4 bit": Uniform(4),
            "QSGD, 7 levels (random)": QSGD(7), "top-k 1 %, error feedback": ErrorFeedback(TopK(0.01)),
            "top-k 30 %, error feedback": ErrorFeedback(TopK(0.3)), "4 bit, error feedback": ErrorFeedback(Uniform(4))}


def each_ns(action: Callable[[], object], size: int) -> float:
    """Return the time of an action for each entry."""
    return median_s(action) / size * 1e9


def compressor_rows(rows: list[Row]) -> None:
    """One encode and one decode of a normal vector."""
    for size in SIZES:
        vector = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        for name, compressor in encoders().items():
            rng, state = np.random.default_rng(0), compressor.init(size)
            payload, _ = compressor.encode(vector, None, rng, state)
            encode_ns = each_ns(partial(compressor.encode, vector, None, rng, state), size)
            decode_ns = each_ns(partial(compressor.decode, payload.body, size), size)
            rows.append((f"{name}, {size} entries", f"encode {encode_ns:.2f}, decode {decode_ns:.2f} ns an entry"))


def optimizer_rows(rows: list[Row]) -> None:
    """One step of one worker."""
    for size in SIZES:
        x, gradient = np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
        for rule in (AdamW(), SGD(), SGD(momentum=0.9)):
            step = partial(rule.step, x, gradient, 0.1, rule.init(size))
            rows.append((f"{rule}, {size} entries".split("(", maxsplit=1)[0] + f"{' with momentum' if getattr(rule, 'momentum', 0) else ''}, "
                         f"{size} entries", f"{each_ns(step, size):.2f} ns an entry"))
