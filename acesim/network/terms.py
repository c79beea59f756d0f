"""Terms: what one flow may take of its route, and how much it counts where links are shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acesim.network.traces import Capacity, Least, Rates, Stepwise, Trace, constant


@dataclass(frozen=True, slots=True)
class Terms:
    """How a flow takes part.

    weight              links are shared in proportion to it, as far as nothing else limits a flow
    share               part of its route's capacity that it can use when it is alone, in (0, 1]
    most_bytes_per_s    it never takes more
    """

    weight: float = 1.0
    share: float = 1.0
    most_bytes_per_s: float = math.inf

    @property
    def free(self) -> bool:
        """Nothing but its route limits the flow."""
        return self.share == 1.0 and self.most_bytes_per_s == math.inf

    def of(self, bytes_per_s: float) -> float:
        """Return what is left of a rate."""
        return min(self.share * bytes_per_s, self.most_bytes_per_s)


EQUAL = Terms()


def restrict(rates: Rates, terms: Sequence[Terms]) -> Rates:
    """Return what flows can take of what their routes carry, float64 [F, S]; the same array if all are free.

    >>> restrict(np.array([[4.0, 8.0]]), [Terms(share=0.5, most_bytes_per_s=3.0)])
    array([[2., 3.]])
    """
    if all(each.free for each in terms):
        return rates
    shares = np.array([each.share for each in terms])[:, None]
    limits = np.array([each.most_bytes_per_s for each in terms])[:, None]
    restricted: Rates = np.minimum(rates * shares, limits)
    return restricted


def weights_of(terms: Sequence[Terms]) -> Rates | None:
    """Return the weights of flows, None where they are all the same."""
    weights = {each.weight for each in terms}
    return None if len(weights) == 1 else np.array([each.weight for each in terms])


def limited(capacity: Capacity, terms: Terms) -> Capacity:
    """Return what one flow can take of a capacity.

    >>> limited(constant(8.0), Terms(most_bytes_per_s=2.0)).time_to_move(6.0, 0.0)
    3.0
    """
    if terms.free:
        return capacity
    if isinstance(capacity, Trace):
        rates = np.minimum(capacity.bytes_per_s * terms.share, terms.most_bytes_per_s)
        return Trace(capacity.step_s, rates, capacity.end, capacity.source)
    parts: list[Stepwise] = [Scaled(capacity, terms.share)]
    if terms.most_bytes_per_s < math.inf:
        parts.append(constant(terms.most_bytes_per_s))
    return Least(parts)


class Scaled:
    """A rate times a constant factor."""

    def __init__(self, part: Stepwise, factor: float) -> None:
        self._part, self._factor = part, factor
        self.minimum, self.maximum = factor * part.minimum, factor * part.maximum
        self.settled_s = part.settled_s

    def rate(self, time_s: NDArray[np.float64]) -> Rates:
        """Return the rate at each moment."""
        rates: Rates = self._factor * self._part.rate(time_s)
        return rates

    def edges(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Return the moments strictly between two others at which the rate may change."""
        return self._part.edges(start_s, end_s)
