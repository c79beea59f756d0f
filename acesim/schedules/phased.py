"""Levels that change as training goes on: a warm-up of densities, critical regimes, and now and then all of the
model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from acesim.scenario.errors import PolicyError
from acesim.schedules.fixed import Drawing, Fixed
from acesim.seam import Generator, Plan, Vector, View


@dataclass(frozen=True)
class WarmUp(Fixed):
    """One level after the other, each for so many rounds; the last for ever.

    levels   in order, at least one
    rounds   of each, the last apart
    source   Lin et al. 2018, arXiv:1712.01887, section 3.3 (warm-up training)

    >>> WarmUp(levels=(0.25, 0.0625, 0.01), rounds=10).level_of(12)
    0.0625
    """

    levels: tuple[float, ...] = (1.0,)
    rounds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels or not isinstance(self.rounds, int) or self.rounds < 1:
            raise PolicyError(f"WarmUp: levels = {self.levels!r}, rounds = {self.rounds!r}: must be at least one level "
                              "and a whole number of rounds, at least 1")

    def level_of(self, round_number: int) -> float:
        """Return the level of a round."""
        return self.levels[min(round_number // self.rounds, len(self.levels) - 1)]

    def plan(self, view: View, state: Drawing) -> tuple[Plan, Drawing]:
        """Return the plan of the next round."""
        plan, state = super().plan(view, state)
        level = self.level_of(view.round)
        return replace(plan, levels=[level] * view.tier.size, report={"level": level}), state


class AccordionState(NamedTuple):
    """drawing: Fixed's own; sum of the updates of this window [P] or None; norm of the last window's; critical?;
    changes."""

    drawing: Drawing
    total: Vector | None
    norm: float
    critical: bool


@dataclass(frozen=True)
class Accordion(Fixed):
    """Two levels for all workers: `gentle` while gradients change fast (a critical regime), `harsh` while they do not.

    After every window of rounds: critical if | |D'| - |D| | / |D'| >= change, D the sum of the window's aggregated
    updates and D' that of the window before.  Critical at first.

    gentle, harsh   levels; DAGC's comparison takes the extremes of its own assignment
    change          eta, > 0
    window          rounds
    source          Agarwal et al. 2021, arXiv:2010.16248, Algorithm 1.  Differs: one decision for all layers, from
                    what the server received; a decay of the learning rate does not count as critical, for a server's
                    schedule does not know it
    """

    gentle: float = 1.0
    harsh: float = 0.1
    change: float = 0.5
    window: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.change > 0:
            raise PolicyError(f"change = {self.change!r}: must be above 0, for example 0.5")
        if not isinstance(self.window, int) or self.window < 1:
            raise PolicyError(f"window = {self.window!r}: must be a whole number of rounds, at least 1")

    def init(self, view: View, rng: Generator) -> AccordionState:  # type: ignore[override]
        """Return the state before the first round: critical."""
        return AccordionState(super().init(view, rng), None, float("nan"), True)

    def plan(self, view: View, state: AccordionState) -> tuple[Plan, AccordionState]:  # type: ignore[override]
        """Return the plan of the next round."""
        state = self._watch(view, state)
        plan, drawing = super().plan(view, state.drawing)
        level = self.gentle if state.critical else self.harsh
        report = {"critical": float(state.critical)}
        return replace(plan, levels=[level] * view.tier.size, nbytes=4, report=report), state._replace(drawing=drawing)

    def _watch(self, view: View, state: AccordionState) -> AccordionState:
        """Add the last update to the window's; decide at its end."""
        if view.update is None:
            return state
        total = view.update if state.total is None else state.total + view.update
        if view.round % self.window:
            return state._replace(total=total)
        norm = float(np.linalg.norm(total))
        changed = abs(state.norm - norm) / state.norm if state.norm > 0 else np.inf  # NaN before the first: critical
        return AccordionState(state.drawing, None, norm, bool(changed >= self.change))
