"""The weighted mean of an inbox: the one sum that every synchronous server takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg.blas import saxpy

from acesim.seam import Compressor, Update, Vector


def weighted_mean(inbox: Sequence[Update], compressor: Compressor, size: int) -> Vector:
    """Return sum_k w_k decode(payload_k) / sum_k w_k as float32 [P].

    G = sum_k omega_k g~_k with omega normalised to 1 (equation 8 of arXiv 2512.18127; FedAvg's n_k / n).
    The inbox is summed in its order, which is by sender, so that runs repeat bit for bit.
    """
    total = sum(update.weight for update in inbox)
    mean = np.zeros(size, dtype=np.float32)
    for update in inbox:
        mean = saxpy(compressor.decode(update.payload.body, size), mean, a=update.weight / total)
    return mean
