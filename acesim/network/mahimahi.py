"""Mahimahi traces: a line for each packet that may pass, the millisecond it may pass in; the last is the period."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acesim.network.files import Recording, check_steps
from acesim.network.traces import Rates, repeated
from acesim.scenario.errors import TraceError

PACKET_BYTES = 1500
MS_PER_S = 1000
LONGEST = 13
"""Digits: beyond lie more than three centuries."""


def parse_mahimahi(path: str, text: str) -> Recording:
    """Read one direction; it is returned as the downlink.

    A packet at millisecond k passes between k - 1 and k; one at 0 passes in the first.  The trace repeats after the
    last line.
    raises   TraceError where a line is no whole number or less than the one before
    """
    at_ms: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if not (word.isascii() and word.isdigit() and len(word) <= LONGEST):
            raise TraceError(path, number, f"{word[:40]}: every line must be a whole number of milliseconds, of at "
                                           f"most {LONGEST} digits")
        if at_ms and int(word) < at_ms[-1]:
            raise TraceError(path, number, f"{word} after {at_ms[-1]}: times must not fall")
        at_ms.append(int(word))
    if not at_ms or at_ms[-1] == 0:
        raise TraceError(path, None, "has no packets after millisecond 0: the last line is the period, so it must be "
                                     "> 0")
    place, packets = np.unique(np.maximum(np.array(at_ms), 1), return_counts=True)
    edges_ms = np.unique(np.concatenate([[0], place - 1, place]))
    rates = np.zeros(len(edges_ms) - 1)
    rates[np.searchsorted(edges_ms, place - 1)] = packets * (PACKET_BYTES * MS_PER_S)
    return Recording(path, edges_ms / MS_PER_S, rates, None)


def wrapped(path: str, down: Recording, up: Recording) -> Recording:
    """Return both directions of a pair as one recording, as long as the longer: the other one repeats.

    >>> slow = Recording("x.up", np.array([0.0, 2.0]), np.array([5.0]), None)
    >>> fast = Recording("x.down", np.array([0.0, 1.0, 3.0]), np.array([7.0, 9.0]), None)
    >>> [each.tolist() for each in wrapped("x.down", fast, slow)[1:]]
    [[0.0, 1.0, 2.0, 3.0], [7.0, 9.0, 9.0], [5.0, 5.0, 5.0]]
    """
    length_s = max(float(down.edges_s[-1]), float(up.edges_s[-1]))
    edges_s = np.unique(np.concatenate([repeated(each.edges_s, each.first, length_s)[0] for each in (down, up)]))
    middle_s = (edges_s[:-1] + edges_s[1:]) / 2
    ways = [rates[np.searchsorted(edges, middle_s, side="right") - 1]
            for edges, rates in (repeated(each.edges_s, each.first, length_s) for each in (down, up))]
    return Recording(path, edges_s, ways[0], ways[1])


def written_mahimahi(source: str, edges_s: NDArray[np.float64], rates: Rates) -> str:
    """Spell one direction; as many packets as come nearest to its bytes, the last of them at the end of its period.

    raises   TraceError where not even half a packet passes, so that there would be no line

    >>> written_mahimahi("x", np.array([0.0, 0.004]), np.array([750_000.0]))
    '2\\n4\\n'
    """
    check_steps(source, float(edges_s[-1]), 1 / MS_PER_S)
    passed = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges_s))])
    period_ms = max(1, round(float(edges_s[-1]) * MS_PER_S))
    grid_s = np.minimum(np.arange(period_ms + 1) / MS_PER_S, edges_s[-1])
    grid_s[-1] = edges_s[-1]
    packets = np.floor(np.interp(grid_s, edges_s, passed) / PACKET_BYTES * (1 + 1e-12))
    packets[-1] = np.floor(passed[-1] / PACKET_BYTES + 0.5)
    if packets[-1] < 1:
        raise TraceError(source, None, f"carries {passed[-1]:.0f} bytes: less than a packet of {PACKET_BYTES}, so "
                                       f"there is no Mahimahi trace of it")
    counts = np.diff(packets).astype(np.int64)
    if counts[-1] == 0:
        counts[np.flatnonzero(counts)[-1]] -= 1
        counts[-1] = 1
    return "".join(f"{at_ms}\n" for at_ms in np.repeat(np.arange(1, period_ms + 1), counts).tolist())
