"""The two row types everything else is read from.

The engine emits one `Event` per thing that happened; every cumulative figure is a fold over those rows (`fold`) in the
order they were emitted, never a counter kept on the side, so that a stored run can be counted again.

Rows of the fleet are numbered 0 .. W-1 (workers), W .. W+R-1 (region servers, the data centre's own the last)
and W+R (the cloud server).
"""

from __future__ import annotations

from math import isfinite, nan
from typing import NamedTuple

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


class MetricRow(NamedTuple):
    """Where a run stands at one evaluation; all counts are since the start of the run, all bytes nominal.

    epoch, progress        of the run's local steps, in epochs and as a share in [0, 1]
    loss_nats .. scored    the scores of the model on held-out documents, by tier of the documents
    local_steps            of all workers together
    bytes_up, bytes_down   the workers' own messages, headers and control included
    region_bytes_*         the region servers' messages
    link_bytes             message bytes times the links they crossed, of all messages
    egress_bytes           what left the cloud for the edge, of downloads that were cut short too
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
