"""How much each worker's update counts in the mean.

    omega_k ~ examples_k x reliability_k x min(1, median round time / own round time)^lambda, sum_k omega_k = 1   [8]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acesim.seam import View

LEAST_RELIABILITY = 0.1  # who has never answered in time may begin to: no weight is ever zero


def trusted(view: View, latency_power: float = 0.0) -> NDArray[np.float64]:
    """Return omega [W], not yet normalised: `aggregators.mean` divides by the sum of those who have answered.

    reliability     share of the rounds it was asked for that it answered in time, relative to the best
    latency_power   lambda; 0: slow workers count in full.  Above 0 the objective itself changes where workers' data
                    differ: the slow ones' shards count for less.
    source          arXiv 2512.18127 equation 8, "device reliability, dataset size, or latency profiles"
    """
    reliability = np.maximum(view.participation, LEAST_RELIABILITY)
    weights: NDArray[np.float64] = view.examples * (reliability / reliability.max())
    if latency_power:
        known = np.isfinite(view.round_time_s)
        median = np.median(view.round_time_s[known]) if known.any() else 1.0
        weights = weights * np.where(known, np.minimum(1.0, median / view.round_time_s), 1.0) ** latency_power
    return weights
