"""Transfers under way, and when the next of them are due to end."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acesim.network.routes import Route
from acesim.network.terms import Terms
from acesim.network.traces import Capacity

if TYPE_CHECKING:
    from acesim.network.groups import Group


@dataclass(slots=True, eq=False)
class Flow:
    """A transfer.

    left      bytes to move at since_s; in a group, when it was formed
    links     that couple it to others
    alone     what it moves over while it is coupled to nobody
    ticket    of its entry among the completions that are due
    """

    key: int
    nbytes: float
    route: Route
    row: int
    terms: Terms
    left: float
    since_s: float
    links: tuple[int, ...] = ()
    alone: Capacity | None = None
    group: Group | None = None
    ticket: int = -1

    @property
    def done(self) -> Sequence[int]:
        """The keys that finish when it does."""
        return (self.key,)

    def moved(self, time_s: float) -> float:
        """Return what it has moved over its own capacity."""
        return self.alone.moved_bytes(self.since_s, time_s) if self.alone else 0.0


class Ends:
    """Completions that are due: a heap; what is no longer true goes when it comes up.

    An entry is true as long as its owner, a flow that is alone or a group, holds its ticket.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flow | Group]] = []
        self._tickets = 0

    def enter(self, finish_s: float, what: Flow | Group) -> None:
        """Enter a completion."""
        what.ticket = self._tickets
        heapq.heappush(self._heap, (finish_s, self._tickets, what))
        self._tickets += 1

    def next_s(self) -> float:
        """Return when the next completion that is known is due."""
        heap = self._heap
        while heap and heap[0][2].ticket != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def pop(self) -> Flow | Group:
        """Take the next completion out."""
        return heapq.heappop(self._heap)[2]

    def take_alone(self) -> list[tuple[float, Flow]]:
        """Take out all flows that are alone, and when they end."""
        alone = [(finish_s, what) for finish_s, ticket, what in self._heap
                 if isinstance(what, Flow) and what.ticket == ticket]
        for _, flow in alone:
            flow.ticket = -1
        return alone

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
