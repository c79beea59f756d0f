"""Deterministic rounding to an even grid: which step, and how far.

A grid of b bits holds the multiples -m .. m of its step, m = 2^(b-1) - 1 (b = 2: three values).  Rounding to
nearest with cut-off at m leaves of every entry an error no larger than the entry itself, and of the largest
entry less as long as step < 2 * peak: that is why these grids are contractive where stochastic rounding is
not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.seam import Vector

GRID_BITS = (2, 4, 8)
_SMALLEST = float(np.finfo(np.float32).tiny)


def reach(bits: int) -> int:
    """Return m, the largest multiple of the step.

    >>> [reach(bits) for bits in GRID_BITS]
    [1, 7, 127]
    """
    return (1 << (bits - 1)) - 1


def step(bits: int, rms: NDArray[Any], peak: NDArray[Any]) -> Vector:
    """Return the step of a grid for blocks of these root mean squares and largest magnitudes.

    2 bits: 1.15 rms; 4 bits: max(0.42 rms, peak / 7.5); 8 bits: peak / 127.  The factors are near the least
    squared error for entries between normal and Laplace distributed (distortion about .2, .02 and 3e-4).
    """
    if bits == 2:
        return np.asarray(1.15 * rms, np.float32)
    if bits == 4:
        return np.asarray(np.maximum(0.42 * rms, peak / 7.5), np.float32)
    return np.asarray(peak / 127, np.float32)


def usable(steps: Vector) -> Vector:
    """Return the steps, those below the smallest normal float32 set to 0: such a block is sent as zeros."""
    return np.where(steps >= _SMALLEST, steps, np.float32(0))


def inverse(steps: Vector) -> Vector:
    """Return 1 / step, and 0 where the step is 0."""
    return np.divide(np.float32(1), steps, out=np.zeros_like(steps), where=steps > 0)


def negative_or_positive(vector: Vector) -> NDArray[np.int8]:
    """Return -1 where an entry is below zero, else 1: a single bit cannot say zero."""
    signs = np.less(vector, 0).view(np.int8)
    return np.int8(1) - (signs << np.int8(1))
