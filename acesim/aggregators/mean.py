"""The weighted mean of an inbox: the one sum that every synchronous server takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import saxpy

from acesim.seam import Compressor, Update, Vector


def weighted_mean(inbox: Sequence[Update], compressor: Compressor, size: int) -> Vector:
    """Return sum_k w_k decode(payload_k) / sum_k w_k as float32 [P].

    G = sum_k omega_k g~_k with omega normalised to 1 (equation 8 of arXiv 2512.18127; FedAvg's n_k / n).
    The inbox is summed in its order, which is by sender, so that runs repeat bit for bit.  Where bodies may be added,
    their sum is decoded once.
    """
    if compressor.linear:
        return compressor.decode(mean_body(inbox), size)
    return _mean((compressor.decode(update.payload.body, size) for update in inbox), inbox, size)


def means_by_variant(inbox: Sequence[Update], compressor: Compressor, size: int,
                     entries: NDArray[np.int64]) -> tuple[Vector, dict[int, tuple[float, Vector]]]:
    """Return the mean of an inbox [P], and by number (weight, mean [P]) of what is said for each variant.

    entries   [p] where variants differ: elsewhere a variant's mean is that of the updates that speak for it
    Every update is decoded once; with a single variant both means are the same, bit for bit.
    """
    totals: dict[int, float] = {}
    for update in inbox:
        for each in update.variants:
            totals[each.number] = totals.get(each.number, 0) + each.weight
    total = sum(update.weight for update in inbox)
    mean: Vector = np.zeros(size, np.float32)
    own = {number: np.zeros(size, np.float32) for number in sorted(totals)}
    for update in inbox:
        vector = compressor.decode(update.payload.body, size)
        mean = saxpy(vector, mean, a=update.weight / total)
        for number, weight, apart in update.variants:
            said = vector
            if apart is not None:
                said = vector.copy()
                said[entries] += apart
            own[number] = saxpy(said, own[number], a=weight / totals[number])
    return mean, {number: (totals[number], vector) for number, vector in own.items()}


def mean_body(inbox: Sequence[Update]) -> Vector:
    """Return sum_k w_k body_k / sum_k w_k of bodies that may be added: float32 arrays of one length."""
    return _mean((update.payload.body for update in inbox), inbox, inbox[0].payload.body.size)


def _mean(vectors: Iterable[Vector], inbox: Sequence[Update], size: int) -> Vector:
    total = sum(update.weight for update in inbox)
    mean: Vector = np.zeros(size, dtype=np.float32)
    for vector, update in zip(vectors, inbox, strict=True):
        mean = saxpy(vector, mean, a=update.weight / total)
    return mean
