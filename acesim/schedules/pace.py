"""Levels, and local steps, with which a round lasts little longer than its slowest computation.

    deadline = (1 + p) H max_k compute_k;   room_k = deadline - H compute_k - 2 latency_k
    down <= B_down,k room_k / 2 for every k;   up_k <= B_k (room_k - down / B_down,k)

All send as finely as they are allowed to while that fits; a worker on a slow link sends more coarsely, and all receive
more coarsely, until it does; where even the coarsest level does not fit, messages are made worth more steps.  All of it
follows from what was measured in earlier rounds.  This project's: the paper's deadline is a number of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import View

Floats = NDArray[np.float64]


class Paced(NamedTuple):
    """steps: H of everybody; up: bytes of each worker's message [W]; down: of the model's."""

    steps: int
    up: Floats
    down: float


@dataclass(frozen=True)
class Pace:
    """Messages may add a share p to the slowest computation of a round.

    share   p
    """

    share: float

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise PolicyError(f"pace = {self.share}: must be positive, or null for none")

    def paced(self, view: View, steps: Sequence[int], up: tuple[float, Floats], down: tuple[float, float]) -> Paced:
        """Return the first H that fits, and the most bytes that fit with it; what is unknown is no constraint.

        steps   H to choose from, ascending
        up, down   (fewest, most) bytes of a message; most of up [W]
        """
        slowest_s = np.nanmax(view.compute_s, initial=0.0)
        for each in steps:
            room_s = each * ((1 + self.share) * slowest_s - view.compute_s) - 2 * view.latency_s
            sent = float(np.nanmin(0.5 * room_s * view.down_bandwidth_bytes_per_s, initial=down[1]))
            paced = max(down[0], sent)
            fits = view.bandwidth_bytes_per_s * (room_s - paced / view.down_bandwidth_bytes_per_s)
            found = Paced(each, np.fmax(up[0], np.fmin(up[1], fits)), paced)
            if sent >= down[0] and not (fits < up[0]).any():
                break
        return found
