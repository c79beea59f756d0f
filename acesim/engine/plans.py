"""Holds a schedule's plan against what a plan must be, before anybody acts on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acesim.scenario.errors import PolicyError
from acesim.seam import Plan

BY_WORKER = ("local_steps", "weights", "levels")
"""What a plan says of every worker; who follows which variant is the business of those who keep some."""
LATE = ("apply", "cancel", "to_residual")


def check_plan(plan: Plan, round_number: int, names: Sequence[str]) -> None:
    """Raise PolicyError, naming the round and the worker, for a plan that cannot be carried out.

    names   [W] of the workers
    """
    where = f"round {round_number}"
    if not isinstance(plan, Plan):
        raise PolicyError(f"{where}: the schedule's plan returned ({plan!r}, state): must be an acesim.seam.Plan")
    for name in BY_WORKER:
        given = getattr(plan, name)
        if given is not None and len(given) != len(names):
            raise PolicyError(f"{where}: {name} of {len(given)} workers: must have an entry for each of {len(names)}, "
                              "participant or not")
    rows = plan.participants
    if not isinstance(rows, np.ndarray) or np.asarray(plan.local_steps).dtype.kind not in "iu":
        raise PolicyError(f"{where}: participants and local_steps must be arrays of whole numbers")
    if not rows.size:
        raise PolicyError(f"{where}: the plan names no participant; a round needs at least one")
    if rows.dtype.kind not in "iu" or rows[0] < 0 or rows[-1] >= len(names) or not (rows[1:] > rows[:-1]).all():
        raise PolicyError(f"{where}: participants = {rows.tolist()}: must be row numbers of workers, ascending, none "
                          f"twice, from 0 to {len(names) - 1}")
    steps, weights = np.asarray(plan.local_steps)[rows], np.asarray(plan.weights)[rows]
    for row in rows[steps < 1].tolist() if steps.min() < 1 else ():
        raise PolicyError(f"{where}: worker {names[row]} was asked for {plan.local_steps[row]} local steps; a "
                          "participant computes at least one")
    positive = weights.min() > 0 and weights.max() < np.inf  # nor NaN, which is the least of all
    for row in () if positive else rows[~(np.isfinite(weights) & (weights > 0))].tolist():
        raise PolicyError(f"{where}: weight of worker {names[row]} = {plan.weights[row]}: must be finite and above "
                          "zero; leave a worker that shall not count out of the participants")
    if not 0 <= plan.quorum <= 1:
        raise PolicyError(f"{where}: quorum = {plan.quorum}: must lie in [0, 1]; 1 is a barrier, 0 is asynchronous")
    if plan.late not in LATE:
        raise PolicyError(f"{where}: late = {plan.late}: must be one of {', '.join(LATE)}")
