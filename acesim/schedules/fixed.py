"""The schedule of most of the field: the same work, level and quorum in every round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Plan, View

WEIGHTS = ("examples", "uniform")


class Drawing(NamedTuple):
    """key of a run's draws; same: the plan of every round where nobody is drawn, once it has been made.

    round, tries    the round that was planned last, and how often before: who were drawn may all be away
    """

    key: int
    same: Plan | None = None
    round: int = -1
    tries: int = 0


@dataclass(frozen=True)
class Fixed:
    """Ask the same of everybody, round after round.

    local_steps   H, local steps of every participant
    fraction      C, share of the enrolled workers drawn (without replacement) for each round, in (0, 1]
    quorum        share of the workers under way a server waits for; 1 is a barrier, 0 answers every arrival
    tier          None, or the only tier that takes part ("cloud" or "edge")
    level         of every uplink, or None: the compressor's own
    sync_parent   False: workers go on alone and send nothing
    weights       "examples" (n_k, as FedAvg) or "uniform"
    late          see acesim.seam.Plan
    source        McMahan et al. 2017, arXiv:1602.05629 (H, C, weights by n_k)
    """

    local_steps: int = 1
    fraction: float = 1.0
    quorum: float = 1.0
    tier: str | None = None
    level: Any = None
    sync_parent: bool = True
    weights: str = "examples"
    late: str = "apply"

    def __post_init__(self) -> None:
        if not isinstance(self.local_steps, int | np.integer) or self.local_steps < 1:
            raise PolicyError(f"local_steps = {self.local_steps!r}: must be a whole number, at least 1")
        if not 0 < self.fraction <= 1:
            raise PolicyError(f"fraction = {self.fraction}: must lie in (0, 1]")
        if not 0 <= self.quorum <= 1:
            raise PolicyError(f"quorum = {self.quorum}: must lie in [0, 1]; 1 is a barrier, 0 is asynchronous")
        if self.weights not in WEIGHTS:
            raise PolicyError(f"weights = {self.weights}: must be one of {', '.join(WEIGHTS)}")

    @property
    def copies(self) -> int | None:
        """Everybody holds the same model only if everybody takes part and is waited for."""
        return 1 if self.fraction == 1 and self.quorum == 1 else None

    def init(self, view: View, rng: Generator) -> Drawing:
        """Return the key of this run's draws, and no plan yet."""
        return Drawing(int(rng.integers(2**63)))

    def enrolled(self, tier: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Return who may ever take part; PolicyError where that is nobody."""
        chosen = np.ones(tier.size, dtype=bool) if self.tier is None else tier == self.tier
        if not chosen.any():
            raise PolicyError(f"tier = {self.tier}: no worker of the fleet is of this tier")
        return chosen

    def plan(self, view: View, state: Drawing) -> tuple[Plan, Drawing]:
        """Return the plan of the next round: the very same one where nobody is drawn."""
        if state.same is not None:
            return state.same, state
        workers = view.tier.size
        enrolled = np.flatnonzero(self.enrolled(view.tier))
        tries = state.tries + 1 if view.round == state.round else 0
        plan = Plan(participants=sample(enrolled, self.fraction, (state.key, view.round, tries)),
                    local_steps=np.full(workers, self.local_steps),
                    weights=weigh(view, self.weights),
                    levels=None if self.level is None else [self.level] * workers,
                    quorum=self.quorum, sync_parent=self.sync_parent, late=self.late)
        if self.fraction < 1:
            return plan, state._replace(round=view.round, tries=tries)
        for array in (plan.participants, plan.local_steps, plan.weights):
            array.setflags(write=False)  # later rounds have them too
        return plan, Drawing(state.key, plan)


def weigh(view: View, by: str) -> NDArray[np.float64]:
    """Return each worker's weight [W]: its examples, or one."""
    return view.examples.astype(float) if by == "examples" else np.ones(view.examples.size)


def sample(rows: NDArray[np.int64], fraction: float, key: tuple[int, ...]) -> NDArray[np.int64]:
    """Draw max(1, round(fraction n)) rows without replacement, ascending; the key alone decides which."""
    if fraction == 1:
        return rows
    count = max(1, round(fraction * rows.size))
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    return np.sort(rng.choice(rows, size=count, replace=False))
