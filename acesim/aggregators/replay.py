"""Several optimizer steps with one mean gradient: what a server does with gradients taken along H local steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acesim.aggregators.outer import Outer, OuterState
from acesim.seam import Update, Vector


@dataclass(frozen=True)
class Replay(Outer):
    """theta <- optimizer applied H times to the mean of the inbox, at learning rate x H^-power.

    H is the weighted mean of the local steps behind the inbox, rounded; with H = 1 this is `Outer`.  The learning
    rate's schedule advances by H, so that a run of a given number of local steps ends at its end.

    power    .5: 0.71 x the learning rate at H = 2, 0.5 x at H = 4.  A mean over H batches is less noisy, but H steps
             along one direction reach further than H along H directions.
    """

    power: float = 0.5

    def follow(self, model: Vector, mean: Vector, inbox: Sequence[Update],
               state: OuterState) -> tuple[Vector, OuterState]:
        """Return (the next model, state) for a mean update [P] of this inbox."""
        count, inner = steps_behind(inbox), state.optimizer
        for each in range(count):
            rate = self.learning_rate(state.steps + each) * count ** -self.power
            model, inner = self.optimizer.step(model, mean, rate, inner)
        return model, OuterState(inner, state.steps + count, mean)


def steps_behind(inbox: Sequence[Update]) -> int:
    """Return the weighted mean of the local steps behind an inbox, rounded, at least 1."""
    total = sum(update.weight for update in inbox)
    return max(1, round(sum(update.weight * update.steps for update in inbox) / total))
