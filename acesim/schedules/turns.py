"""Cohorts that take turns: each gathers the gradients of several steps, so that a message is worth as many.

A round of one cohort in h, h batches a worker all taken at the model it was sent, is a step with the same number of
gradients as a round of everybody, at an h-th of the messages each way.  What it costs is time: the other cohorts wait,
unless computing is short beside the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import View

Rows = NDArray[np.int64]


class Cohorts(NamedTuple):
    """numbers: [W] cohort of each worker; turn: that of the next plan, from 0."""

    numbers: Rows
    turn: int


@dataclass(frozen=True)
class Turns:
    """Equal cohorts of workers that are about equally fast, so that a round waits for equals.

    count   h, of cohorts (fewer where there are fewer workers), and of the batches behind each answer; 1: everybody in
            every round, a batch each
    """

    count: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise PolicyError(f"turns = {self.count!r}: must be a whole number of cohorts, at least 1")

    def dealt(self, view: View, nbytes: NDArray[np.float64]) -> Cohorts:
        """Return cohorts by what a turn will take a worker: h steps and a message of nbytes [W]; unknown is slowest."""
        turn_s = self.count * view.compute_s + nbytes / view.bandwidth_bytes_per_s + view.latency_s
        order = np.argsort(np.nan_to_num(turn_s, nan=np.inf), kind="stable")
        numbers = np.empty(order.size, np.int64)
        numbers[order] = np.arange(order.size) * min(self.count, order.size) // order.size
        return Cohorts(numbers, 0)

    def next(self, view: View, cohorts: Cohorts | None) -> tuple[Rows, Rows, Cohorts | None]:
        """Return (who takes part, batches of every worker [W], cohorts); everybody, one, while there are no cohorts.

        Turns count plans, not rounds: where nobody of a cohort is there, the round is planned again, for the next one.
        """
        workers = view.tier.size
        if cohorts is None:
            return np.arange(workers), np.ones(workers, np.int64), None
        count = int(cohorts.numbers.max()) + 1
        rows = np.flatnonzero(cohorts.numbers == cohorts.turn % count)
        return rows, np.full(workers, count), cohorts._replace(turn=cohorts.turn + 1)
