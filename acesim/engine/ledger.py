"""The byte ledger: what was sent must be what the links carried.  A run that breaks this stops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acesim.scenario.errors import LedgerError

TOLERANCE = 1e-6  # relative; links integrate rates in floating point, messages count whole bytes


class Ledger:
    """Bytes that messages have handed to each link, against the bytes the links say they moved.

    links   number of links
    """

    def __init__(self, links: int) -> None:
        self.handed = np.zeros(links)

    def hand(self, nbytes: float, route: Sequence[int]) -> None:
        """Note that a transfer of `nbytes` was started over a route."""
        for link in route:
            self.handed[link] += nbytes

    def hand_all(self, per_link: np.ndarray) -> None:
        """Note the bytes of many transfers, summed by link [links]."""
        self.handed += per_link

    def check(self, moved: np.ndarray, in_flight: np.ndarray, names: Sequence[str]) -> None:
        """Compare, link by link: handed = moved + in flight.

        moved       [links] integral of the rates over time, as the network model has it
        in_flight   [links] bytes of transfers under way that are still to come
        raises      LedgerError naming the link that lost or invented bytes
        """
        gap = np.abs(self.handed - moved - in_flight)
        allowed = TOLERANCE * self.handed + 1.0
        if (gap > allowed).any():
            worst = int(np.argmax(gap - allowed))
            raise LedgerError(f"link {names[worst]}: {self.handed[worst]:.0f} bytes were handed to it, but it moved "
                              f"{moved[worst]:.0f} and {in_flight[worst]:.0f} are in flight; this is a fault of acesim")


def check_payload(sender: str, nbytes: int, proxy_total: int) -> None:
    """A payload's own count must be what its compressor says such a payload takes."""
    if nbytes != proxy_total:
        raise LedgerError(f"{sender}: payload of {nbytes} bytes, but its compressor's formula gives {proxy_total}")
