"""Every group of parameters at its own level, chosen by a knapsack: ACE-Sync's compressor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Payload, Shapes, Vector, Wire, Work, size_of

from .base import CompressorBase, squares
from .knapsack import solve_greedy
from .layout import Layout
from .menu import DEFAULT_MENU, Operator, operators
from .rounding import GroupedBody, Moments, joined, moments, rounded, spelled, read

Picks = NDArray[Any]


class Budget(NamedTuple):
    """A level for Grouped that leaves the choice to it.

    nbytes_nominal   bytes the payload may have at nominal scale
    importance       float [G], >= 0
    keep             fraction of the groups, the most important first, that go in fp32 as far as the budget allows
    """

    nbytes_nominal: float
    importance: NDArray[Any]
    keep: float = 0.0


class GroupedState(NamedTuple):
    """distortion: float64 [G, L] as last measured; encodes: how many since then, 0 before the first."""

    distortion: NDArray[np.float64]
    encodes: int


