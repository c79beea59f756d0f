"""The schedule of asynchronous servers: every arrival is answered at once, with the learning rate of the moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.learning.optimizers import LearningRate
from acesim.scenario.errors import PolicyError
from acesim.schedules.fixed import Drawing, Fixed
from acesim.seam import Generator, Plan, Rated, View


class AsynchronousState(NamedTuple):
    """drawing: Fixed's own; whole: the server's round in which each worker last got all of the model [W]."""

    drawing: Drawing
    whole: NDArray[np.int64]


@dataclass(frozen=True)
class Asynchronous(Fixed):
    """Answer every arrival; tell each worker the learning rate of the run's progress, 4 bytes, as its level.

    learning_rate  of workers that multiply by it themselves (compressors.Scaled), by the share of the run that is
                   done: fast workers and slow ones have the same; None: workers are told none
    resync_every   rounds (versions) of the server between two whole answers to the same worker; None: never.  A whole
                   answer goes to those whom the server heard in the round before: they are the ones it answers
    source         rates: the code of Yan et al. 2020 (arXiv:1910.10929) spreads one worker's to all; it resyncs after
                   150 versions, which the paper does not tell
    """

    quorum: float = 0.0
    learning_rate: LearningRate | None = None
    resync_every: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        every = self.resync_every
        if every is not None and (not isinstance(every, int) or every < 1):
            raise PolicyError(f"resync_every = {every!r}: must be a whole number of versions, at least 1, or null")

    def init(self, view: View, rng: Generator) -> AsynchronousState:  # type: ignore[override]
        """Return the state before the first round: all workers know the initial model."""
        return AsynchronousState(super().init(view, rng), np.zeros(view.tier.size, np.int64))

    def plan(self, view: View, state: AsynchronousState) -> tuple[Plan, AsynchronousState]:  # type: ignore[override]
        """Return the plan of the next round."""
        plan, drawing = super().plan(view, state.drawing)
        if self.learning_rate is not None:
            rate = self.learning_rate(view.progress * self.learning_rate.total)
            plan = replace(plan, levels=[Rated(rate)] * view.tier.size, nbytes=4)
        heard = view.staleness <= 1
        if self.resync_every is None or not (heard & (view.round - state.whole >= self.resync_every)).any():
            return plan, state._replace(drawing=drawing)
        whole = np.where(heard, view.round, state.whole)
        return replace(plan, down_level=1.0, report={"resync": 1.0}), AsynchronousState(drawing, whole)
