"""What a rate is like: its mean, spread and memory, and how long bytes take over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.network.traces import Rates
from acesim.scenario.units import from_mbps

LAGS_S = (1.0, 10.0, 60.0)
NEAR_ZERO_BYTES_PER_S = from_mbps(0.1)
ROUNDING = 1e-12
"""Relative: a rate that swings by less never changes."""


class Summary(NamedTuple):
    """One direction of a trace in numbers.

    mean, p5, p50, p95      bytes per second
    cv                      standard deviation over mean
    acf1, acf10, acf60      autocorrelation after so many seconds; NaN where the trace is shorter than twice that,
                            or coarser than it
    near0                   share of the time below 0.1 Mbps
    """

    mean: float
    cv: float
    p5: float
    p50: float
    p95: float
    acf1: float
    acf10: float
    acf60: float
    near0: float


def summary(rates: Rates, step_s: float) -> Summary:
    """Return what equally spaced rates are like.

    >>> found = summary(np.array([1e6, 3e6] * 40), 1.0)
    >>> found.mean, found.cv, round(found.acf1, 2), round(found.acf10, 2), found.near0
    (2000000.0, 0.5, -0.99, 0.88, 0.0)
    """
    mean = float(rates.mean())
    p5, p50, p95 = np.percentile(rates, [5, 50, 95]).tolist()
    memory: list[float] = []
    for lag_s in LAGS_S:
        lag = round(lag_s / step_s)
        enough = lag >= 1 and abs(lag * step_s - lag_s) < 1e-9 and len(rates) >= 2 * lag
        memory.append(float(autocorrelation(rates, np.array([lag]))[0]) if enough else np.nan)
    return Summary(mean, float(rates.std() / mean) if mean else np.nan, p5, p50, p95, memory[0], memory[1],
                   memory[2], float((rates < NEAR_ZERO_BYTES_PER_S).mean()))


def autocorrelation(rates: Rates, lags: NDArray[np.int64] | Sequence[int]) -> NDArray[np.float64]:
    """Return the usual (biased) estimate at each lag in samples; 0 for a rate that never changes.

    r_k = sum_t (x_t - m) (x_{t+k} - m) / sum_t (x_t - m)^2
    """
    spread = rates - rates.mean()
    power = float(spread @ spread)
    if power <= len(rates) * (ROUNDING * float(np.abs(rates).max())) ** 2:
        return np.zeros(len(lags))
    return np.array([float(spread[: len(rates) - lag] @ spread[lag:]) / power for lag in map(int, lags)])


def times_to_move(rates: Rates, step_s: float, amount_s: float, starts_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how long amount_s worth of mean-rate data take from each start, over a rate that repeats.

    >>> times_to_move(np.array([2.0, 0.0]), 1.0, 1.0, np.array([0.0, 0.5, 1.0]))
    array([0.5, 0.5, 1.5])
    """
    passed = np.concatenate([[0.0], np.cumsum(rates)]) * step_s
    period_s, total = len(rates) * step_s, passed[-1]
    target = np.interp(starts_s, np.arange(len(passed)) * step_s, passed) + amount_s * total / period_s
    whole = np.maximum(np.ceil(target / total * (1 - 1e-13)) - 1, 0)  # what ends with a period waits for no other
    rest = target - whole * total
    step = np.clip(np.searchsorted(passed, rest, side="left") - 1, 0, len(rates) - 1)
    past = (rest - passed[step]) / np.where(rates[step] > 0, rates[step], 1.0)
    taken: NDArray[np.float64] = whole * period_s + step * step_s + np.clip(past, 0, step_s) - starts_s
    return taken
