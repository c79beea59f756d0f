"""Transports: what moves the bytes of transfers, a fluid or TCP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acesim.network.flows import Flows
from acesim.network.routes import Route
from acesim.network.tcp import Tcp
from acesim.network.tcp_flows import TcpFlows
from acesim.network.traces import Capacity


class Transport(Protocol):
    """Transfers under way over a set of links; time only moves forward."""

    def start(self, key: int, nbytes: float, route: Route, time_s: float, rtt_s: float = 0.0, more: bool = False,
              weight: float = 1.0) -> None:
        """Let a transfer begin; `more`: others of the same connection, of the same key, will follow."""

    def cancel(self, key: int, time_s: float) -> float:
        """End a transfer before its time; return the bytes it has moved."""

    def next_finish(self) -> float:
        """Return when to look again: no transfer ends before; inf if none is under way."""

    def advance(self, time_s: float) -> list[int]:
        """Move the clock; return the keys that finished by then, in order of (time, key)."""

    def remaining(self, key: int) -> float:
        """Return the bytes a transfer has still to move."""

    def rate(self, key: int) -> float:
        """Return the present rate of a transfer in bytes per second."""

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Bytes that have crossed each link."""


def carrying(links: Sequence[Capacity], tcp: Tcp | None) -> Transport:
    """Return what carries transfers over links: a fluid, or TCP.

    >>> from acesim.network.traces import constant
    >>> [type(carrying([constant(1.0)], tcp)).__name__ for tcp in (None, Tcp())]
    ['Flows', 'TcpFlows']
    """
    return Flows(links) if tcp is None else TcpFlows(links, tcp)
