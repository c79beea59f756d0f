"""Collectives inside the data centre: how long they take, and which bytes cross which worker's card.

The alpha-beta model: a message of m bytes takes alpha + m beta, alpha the latency of a hop in seconds, beta seconds a
byte of the slowest card (1 / bytes_per_s); all workers send and receive at once; sums cost nothing.  Closed forms for
N workers and B bytes:

    ring all-reduce   2 (N - 1) (alpha + B / N beta)       bandwidth-optimal
    tree all-reduce   2 ceil(log2 N) (alpha + B beta)      few hops: for small B
    ring all-gather   (N - 1) (alpha + m beta)             m bytes a worker; with unequal m: the largest of each turn
    tree broadcast    ceil(log2 N) (alpha + B beta)

A collective declares its own link bytes: what every worker's card sends and receives.  No policy uses one yet: one that
does would wait until its cloud workers are ready, add `time_s` to the clock, and emit one row of `link_bytes` and no
messages, for the bytes are the collective's and not those of a link of the topology.  Source: Thakur, Rabenseifner &
Gropp 2005 (IJHPCA 19(1)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError


@dataclass(frozen=True)
class Fabric:
    """The data centre's network as a collective sees it: latency of a hop, and bytes per second of the slowest card."""

    latency_s: float
    bytes_per_s: float

    def __post_init__(self) -> None:
        if not (0 <= self.latency_s < float("inf") and 0 < self.bytes_per_s < float("inf")):
            raise PolicyError(f"{self}: latency_s must be finite and >= 0, bytes_per_s finite and > 0")

    def hop_s(self, nbytes: float) -> float:
        """Return alpha + nbytes beta."""
        return self.latency_s + nbytes / self.bytes_per_s


@dataclass(frozen=True, eq=False)
class Collective:
    """What a collective costs.

    time_s              from its start, all workers ready, to its end
    sent_bytes, received_bytes   [N] of each worker's card
    turns               one after the other
    """

    time_s: float
    sent_bytes: NDArray[np.float64]
    received_bytes: NDArray[np.float64]
    turns: int

    @property
    def link_bytes(self) -> float:
        """All bytes that all cards sent."""
        return float(self.sent_bytes.sum())


def ring_all_reduce(workers: int, nbytes: float, fabric: Fabric) -> Collective:
    """Every worker ends with the sum: a reduce-scatter and an all-gather of B / N pieces.

    >>> ring_all_reduce(4, 400.0, Fabric(0.5, 100.0)).time_s
    9.0
    """
    _check(workers, [nbytes])
    turns, piece = 2 * (workers - 1), nbytes / workers
    each = np.full(workers, turns * piece)
    return Collective(turns * fabric.hop_s(piece), each, each.copy(), turns)


def ring_all_gather(nbytes: Sequence[float], fabric: Fabric) -> Collective:
    """Every worker ends with what each one had, `nbytes` [N]; in every turn all pass a piece to the next.

    In turn t worker i sends the piece of worker i - t: all pieces are under way at once, so that each of the N - 1
    turns lasts as long as the largest piece takes.  Worker i never sends the piece of i + 1, nor receives its own.

    >>> ring_all_gather([100.0, 100.0, 300.0], Fabric(0.5, 100.0)).time_s
    7.0
    """
    pieces = np.asarray(nbytes, dtype=np.float64)
    _check(len(pieces), pieces.tolist())
    turns, whole = len(pieces) - 1, pieces.sum()
    sent = whole - np.roll(pieces, -1) if turns else np.zeros(1)
    received = whole - pieces
    return Collective(turns * fabric.hop_s(float(pieces.max())), sent, received, turns)


def tree_broadcast(workers: int, nbytes: float, fabric: Fabric) -> Collective:
    """Every worker ends with what worker 0 had: in each turn all who have it send it to one who has not.

    >>> tree_broadcast(6, 100.0, Fabric(0.5, 100.0)).time_s
    4.5
    """
    _check(workers, [nbytes])
    sent, turns = _binomial(workers, nbytes)
    received = np.full(workers, float(nbytes))
    received[0] = 0.0
    return Collective(turns * fabric.hop_s(nbytes), sent, received, turns)


def tree_all_reduce(workers: int, nbytes: float, fabric: Fabric) -> Collective:
    """Every worker ends with the sum: a binomial reduction to worker 0, and a broadcast of it.

    >>> tree_all_reduce(6, 100.0, Fabric(0.5, 100.0)).time_s
    9.0
    """
    down = tree_broadcast(workers, nbytes, fabric)
    both = down.sent_bytes + down.received_bytes  # a reduction is a broadcast played backwards
    return Collective(2 * down.time_s, both, both.copy(), 2 * down.turns)


def all_reduce(workers: int, nbytes: float, fabric: Fabric) -> Collective:
    """Return the quicker of ring and tree; of equals the ring."""
    return min(ring_all_reduce(workers, nbytes, fabric), tree_all_reduce(workers, nbytes, fabric),
               key=lambda found: found.time_s)


def _binomial(workers: int, nbytes: float) -> tuple[NDArray[np.float64], int]:
    """Return (bytes sent by each worker, turns): in turn t worker i < 2^t sends to i + 2^t, where there is one."""
    sent, turns = np.zeros(workers), 0
    while (reach := 1 << turns) < workers:
        sent[: min(reach, workers - reach)] += nbytes
        turns += 1
    return sent, turns


def _check(workers: int, nbytes: Sequence[float]) -> None:
    if workers < 1:
        raise PolicyError(f"a collective of {workers} workers: needs at least one")
    for each in nbytes:
        if not 0 <= each < float("inf"):
            raise PolicyError(f"a collective of {each} bytes: must be finite and >= 0")
