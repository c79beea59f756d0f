"""The two row types everything else is read from, and the fold that turns the one into the other.

The engine emits one `Event` per thing that happened; every cumulative figure is a fold over those rows in the
order they were emitted, never a counter kept on the side, so that a stored run can be counted again.

Rows of the fleet are numbered 0 .. W-1 (workers), W .. W+R-1 (region servers, the data centre's own the last)
and W+R (the cloud server).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KINDS = ("download", "compute", "encode", "upload", "aggregate", "plan", "evaluate", "figure", "join", "leave",
         "crash", "lost")
"""What can happen."""

BYTE_PARTS = ("values_bytes", "index_bytes", "scale_bytes", "control_bytes", "header_bytes")
"""The columns of an event that together are the message."""


class Event(NamedTuple):
    """One thing that happened, from start_s to end_s of simulated time.

    kind          one of KINDS
    round         of the server that plans
    who          fleet row that acted: the receiver of a download, the sender of an upload
    peer          fleet row at the other end: the sender of a download, the receiver of an upload; -1 for none
    steps         local steps done (compute rows)
    *_bytes       of one message at the nominal scale: values, indices, scales, control (what a plan adds to a
                  downlink), header; zero for kinds that send nothing
    retransmitted_bytes   of its packets that random loss makes TCP send again, on average; not part of the message
    links         links the message crossed
    proxy_bytes   of the same payload at the scale that is trained
    wait_s        compute rows: from the end of this worker's previous computation to start_s; NaN at first
    joules        energy spent by what the row says
    staleness     of what arrived, in rounds
    loss          in nats; NaN where the row has none
    name, value   a named figure (figure rows), for example "rank_correlation", .9; of what a worker that went away
                  lost: compute, upload or download, and the bytes that had left by then
    """

    kind: str
    round: int
    who: int
    peer: int
    start_s: float
    end_s: float
    steps: int = 0
    values_bytes: int = 0
    index_bytes: int = 0
    scale_bytes: int = 0
    control_bytes: int = 0
    header_bytes: int = 0
    retransmitted_bytes: int = 0
    links: int = 0
    proxy_bytes: int = 0
    wait_s: float = nan
    joules: float = 0.0
    staleness: int = 0
    loss: float = nan
    name: str = ""
    value: float = nan

    @property
    def message_bytes(self) -> int:
        """All bytes of the message, header and control included.

        >>> Event("upload", 0, 3, 9, 0., 1., values_bytes=400, index_bytes=40, header_bytes=64).message_bytes
        504
        """
        return (self.values_bytes + self.index_bytes + self.scale_bytes + self.control_bytes
                + self.header_bytes)


class Block(NamedTuple):
    """Many events at once, column by column: for each field of an Event an array [rows], or the one value of all.

    >>> block = Block.of("compute", 2, who=np.array([4, 5]), steps=3)
    >>> block.column("who").tolist(), block.column("steps").tolist(), block.column("links").tolist()
    ([4, 5], [3, 3], [0, 0])
    """

    rows: int
    columns: tuple[Any, ...]

    @staticmethod
    def of(kind: str, count: int, **given: Any) -> Block:
        """Return events of one kind; what is not given is as in an Event that does not have it."""
        return Block(count, tuple({**_BARE, "kind": kind, **given}.values()))

    @staticmethod
    def together(blocks: Sequence[Block], order: NDArray[np.int64]) -> Block:
        """Return the events of several blocks, one behind the other and then in this order."""
        counts = [block.rows for block in blocks]
        columns = zip(*(block.columns for block in blocks), strict=True)
        return Block(order.size, tuple(_joined(parts, counts, order) for parts in columns))

    def value(self, name: str) -> Any:
        """Return one field: an array, or the one value of all."""
        return self.columns[_PLACE[name]]

    def column(self, name: str) -> NDArray[Any]:
        """Return one field of all events."""
        return np.broadcast_to(self.value(name), self.rows)

    def total(self, name: str) -> int:
        """Return the sum of a field of whole numbers."""
        value = self.value(name)
        return int(value.sum()) if isinstance(value, np.ndarray) else int(value) * self.rows

    def events(self) -> list[Event]:
        """Return the events one by one."""
        return [Event(*values) for values in zip(*self.lists(), strict=True)]

    def lists(self) -> list[list[Any]]:
        """Return plain values, a list for each field of an Event."""
        return [column.tolist() if isinstance(column, np.ndarray) else [column] * self.rows
                for column in self.columns]


_BARE: dict[str, Any] = {"kind": "", "round": 0, "who": 0, "peer": -1, "start_s": nan, "end_s": nan,
                         **Event._field_defaults}


_PLACE = {name: place for place, name in enumerate(Event._fields)}


def _joined(parts: Sequence[Any], counts: Sequence[int], order: NDArray[np.int64]) -> Any:
    first = parts[0]
    if not isinstance(first, np.ndarray) and all(part is first for part in parts):
        return first
    return np.concatenate([part if isinstance(part, np.ndarray) else np.full(count, part)
                           for part, count in zip(parts, counts, strict=True)])[order]


class MetricRow(NamedTuple):
    """Where a run stands at one evaluation; all counts are since the start of the run, all bytes nominal.

    epoch, progress        of the run's local steps, in epochs and as a share in [0, 1]
    loss_nats .. scored    the scores of the model on held-out documents, by tier of the documents
    local_steps            of all workers together
    bytes_up, bytes_down   the workers' own messages, headers and control included
    region_bytes_*         the region servers' messages
    link_bytes             message bytes times the links they crossed, of all messages
    egress_bytes           what left the cloud for the edge
    sync_delay_s           mean of `wait_s` so far: what a worker idles between two computations
    drift                  the last one reported, NaN before
    worker_*               how evenly workers are served, NaN where a task has no test shards of workers
    retransmitted_bytes    of all messages, beside their own bytes
    """

    epoch: float
    round: int
    time_s: float
    progress: float
    local_steps: int
    loss_nats: float
    top1_percent: float
    perplexity: float
    cloud_loss_nats: float
    edge_loss_nats: float
    cloud_top1_percent: float
    edge_top1_percent: float
    scored: int
    bytes_up: int
    bytes_down: int
    region_bytes_up: int
    region_bytes_down: int
    link_bytes: int
    egress_bytes: int
    energy_joules: float
    sync_delay_s: float
    drift: float
    worker_mean_percent: float = nan
    worker_worst_percent: float = nan
    worker_spread_percent: float = nan
    retransmitted_bytes: int = 0

    @property
    def known(self) -> tuple[float, ...]:
        """The row without the figures of workers where there are none, and without what is sent again where nothing
        is: what a digest is taken of."""
        workers = self[-4:-1] if isfinite(self.worker_mean_percent) else ()
        return (*self[:-4], *workers, *(self[-1:] if self.retransmitted_bytes else ()))


CUMULATIVE = ("local_steps", "bytes_up", "bytes_down", "region_bytes_up", "region_bytes_down", "link_bytes",
              "egress_bytes", "energy_joules", "sync_delay_s", "drift", "retransmitted_bytes")
"""The columns of a MetricRow that come from `Fold.snapshot()`."""

ONLY_IF_ANY = ("retransmitted_bytes",)
"""Totals that leave no mark on a run's digest where they are 0: it is then what it was before they were counted."""


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
        self._lost: dict[str, float] = {}  # empty unless somebody went away: totals then name nothing new

    def add(self, event: Event) -> None:
        """Count one event."""
        self._joules += event.joules
        if event.kind == "compute":
            self._steps += event.steps
            if not isnan(event.wait_s):
                self._waited_s += event.wait_s
                self._waits += 1
        elif event.kind in self._sent:
            self._add_message(event)
        elif event.kind == "figure" and event.name == "drift":
            self._drift = event.value
        elif event.kind == "lost":
            self._add_lost(event)

    def add_all(self, blocks: Sequence[Block], merged: Block) -> None:
        """Count computations, encodings and messages, a block a kind; sums add in the order of `merged`."""
        self._joules = _summed(self._joules, merged.column("joules"))
        waits_s = merged.column("wait_s")
        waits_s = waits_s[~np.isnan(waits_s)]
        self._waited_s, self._waits = _summed(self._waited_s, waits_s), self._waits + waits_s.size
        for block in blocks:
            if (kind := block.columns[0]) in self._sent:
                self._add_messages(kind, block)
            elif kind == "compute":
                self._steps += block.total("steps")

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

    def snapshot(self) -> dict[str, int | float]:
        """Return the columns named in CUMULATIVE as they stand."""
        (up, region_up), (down, region_down) = self._sent["upload"], self._sent["download"]
        delay_s = self._waited_s / self._waits if self._waits else nan
        values = (self._steps, up, down, region_up, region_down, self._link_bytes, self._egress_bytes,
                  self._joules, delay_s, self._drift, self._retransmitted_bytes)
        return dict(zip(CUMULATIVE, values, strict=True))

    def totals(self) -> dict[str, int | float]:
        """Return the ledger: the snapshot, and the messages and bytes of every part in each direction."""
        parts = {f"{kind}_{part}": nbytes for (kind, part), nbytes in self._parts.items()}
        counts = {f"{kind}_messages": count for kind, count in self._messages.items()}
        return self.snapshot() | parts | counts | self._lost


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
