"""The fold that turns events into cumulative figures."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.records.blocks import Block, Later, Mixed
from acesim.records.rows import BYTE_PARTS, CUMULATIVE, Event

MOST_WAITING = 20_000
"""Rows that came in one go are counted together up to so many."""


class Reported(NamedTuple):
    """A figure that was reported some times."""

    times: int = 0
    total: float = 0.0
    last: float = nan


class Fold:
    """Count events as they come.

    workers   W
    regions   R, the data centre's own region included (the last)
    tier      [W] "cloud" or "edge": cloud workers and the data centre's region cause no egress; None: edge

    >>> fold = Fold(workers=2, regions=1)
    >>> fold.add(Event("upload", 0, 0, 3, 0., 1., values_bytes=100, links=3, joules=2.))
    >>> fold.add(Event("download", 0, 1, 3, 1., 2., values_bytes=50, header_bytes=4, links=3))
    >>> found = fold.snapshot()
    >>> found["bytes_up"], found["bytes_down"], found["link_bytes"], found["egress_bytes"]
    (100, 54, 462, 54)
    """

    def __init__(self, workers: int, regions: int, tier: Sequence[str] | None = None) -> None:
        self.workers, self.regions = workers, regions
        self.cloud = workers + regions
        self._outside = outside(workers, regions, tier)
        self._sent = {"upload": [0, 0], "download": [0, 0]}
        self._parts = {(kind, part): 0 for kind in self._sent for part in (*BYTE_PARTS, "proxy_bytes")}
        self._messages = {"upload": 0, "download": 0}
        self._link_bytes = self._egress_bytes = self._steps = self._waits = 0
        self._retransmitted_bytes = 0
        self._joules = self._waited_s = 0.0
        self._drift = nan
        self._reported: dict[str, Reported] = {}
        self._lost: dict[str, float] = {}  # empty unless somebody went away: totals then name nothing new
        self._waiting: list[Event | Later] = []  # not counted yet
        self._rows = 0

    def add(self, event: Event) -> None:
        """Count one event."""
        if self._waiting:
            self._waiting.append(event)
            return
        self._joules += event.joules
        if event.kind == "compute" and not isnan(event.wait_s):
            self._waited_s += event.wait_s
            self._waits += 1
        self._add(event)

    def _add(self, event: Event) -> None:
        """Count what an event adds to whole numbers, and what is but set."""
        if event.kind == "compute":
            self._steps += event.steps
        elif event.kind in self._sent:
            self._add_message(event)
        elif event.kind == "figure" and event.name == "drift":
            self._drift = event.value
        elif event.kind == "figure" and isfinite(event.value):
            known = self._reported.get(event.name, Reported())
            self._reported[event.name] = Reported(known.times + 1, known.total + event.value, event.value)
        elif event.kind == "lost":
            self._add_lost(event)

    def add_all(self, events: Later) -> None:
        """Count many events: at once with those of other rounds, when somebody asks."""
        self._waiting.append(events)
        self._rows += events.rows
        if self._rows >= MOST_WAITING:
            self._catch_up()

    def _catch_up(self) -> None:
        """Count what waits; sums add in the order in which events came."""
        if not self._waiting:
            return
        singles, whole = [item for item in self._waiting if isinstance(item, Event)], Mixed.of(self._waiting)
        self._joules = _summed(self._joules, whole.column("joules"))
        waits_s = whole.column("wait_s")
        waits_s = waits_s[~np.isnan(waits_s)]
        self._waited_s, self._waits = _summed(self._waited_s, waits_s), self._waits + waits_s.size
        for event in singles:
            self._add(event)
        for block in whole.blocks[1:] if singles else whole.blocks:
            if (kind := block.value("kind")) in self._sent:
                self._add_messages(kind, block)
            elif kind == "compute":
                self._steps += block.total("steps")
        self._waiting, self._rows = [], 0

    def _add_messages(self, kind: str, block: Block) -> None:
        who, nbytes = block.column("who"), np.zeros(block.rows, np.int64)
        for part in BYTE_PARTS:
            nbytes += block.value(part)
            self._parts[kind, part] += block.total(part)
        self._parts[kind, "proxy_bytes"] += block.total("proxy_bytes")
        own = int(nbytes @ (who < self.workers))
        self._sent[kind][0] += own
        self._sent[kind][1] += int(nbytes.sum()) - own
        self._link_bytes += int(nbytes @ block.column("links"))
        self._messages[kind] += block.rows
        self._retransmitted_bytes += block.total("retransmitted_bytes")
        if kind == "download":
            self._egress_bytes += int(nbytes @ (np.asarray(self._outside)[who] & (block.column("peer") == self.cloud)))

    def _add_message(self, event: Event) -> None:
        nbytes = event.message_bytes
        self._sent[event.kind][event.who >= self.workers] += nbytes
        self._link_bytes += nbytes * event.links
        self._retransmitted_bytes += event.retransmitted_bytes
        self._messages[event.kind] += 1
        for part in BYTE_PARTS:
            self._parts[event.kind, part] += getattr(event, part)
        self._parts[event.kind, "proxy_bytes"] += event.proxy_bytes
        if event.kind == "download" and event.peer == self.cloud and self._outside[event.who]:
            self._egress_bytes += nbytes

    def _add_lost(self, event: Event) -> None:
        names = {"compute": ["lost_computations"], "upload": ["lost_bytes_up"], "download": ["lost_bytes_down"]}
        egress = event.name == "download" and event.peer == self.cloud and self._outside[event.who]
        for name in names[event.name] + ["lost_egress_bytes"] * egress:
            self._lost[name] = self._lost.get(name, 0) + (1 if event.name == "compute" else event.value)
        self._egress_bytes += int(event.value) if egress else 0

    def snapshot(self) -> dict[str, int | float]:
        """Return the columns named in CUMULATIVE as they stand."""
        self._catch_up()
        (up, region_up), (down, region_down) = self._sent["upload"], self._sent["download"]
        delay_s = self._waited_s / self._waits if self._waits else nan
        values = (self._steps, up, down, region_up, region_down, self._link_bytes, self._egress_bytes,
                  self._joules, delay_s, self._drift, self._retransmitted_bytes)
        return dict(zip(CUMULATIVE, values, strict=True))

    @property
    def reported(self) -> dict[str, dict[str, float]]:
        """The mean and the last value of every named figure but the drift, which is a column of its own."""
        self._catch_up()
        return {name: {"mean": known.total / known.times, "last": known.last} for name, known in self._reported.items()}

    def totals(self) -> dict[str, int | float]:
        """Return the ledger: the snapshot, and the messages and bytes of every part in each direction."""
        snapshot = self.snapshot()
        parts = {f"{kind}_{part}": nbytes for (kind, part), nbytes in self._parts.items()}
        counts = {f"{kind}_messages": count for kind, count in self._messages.items()}
        return snapshot | parts | counts | self._lost


def _summed(start: float, values: NDArray[np.float64]) -> float:
    """Add numbers one after another, as single events would; np.sum adds in pairs.

    >>> _summed(1.0, np.array([2.0, 3.0]))
    6.0
    """
    return float(np.cumsum(np.concatenate([[start], values]))[-1])


def outside(workers: int, regions: int, tier: Sequence[str] | None) -> tuple[bool, ...]:
    """Say of every fleet row whether it stands outside the data centre.

    >>> outside(2, 2, ("cloud", "edge"))
    (False, True, True, False, False)
    """
    tiers = ("edge",) * workers if tier is None else tuple(tier)
    return (*(name == "edge" for name in tiers), *(region < regions - 1 for region in range(regions)), False)
