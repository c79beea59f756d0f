"""What a server can know, what it decides, and the protocol of who decides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from acesim.seam.values import Generator, Vector


@dataclass(frozen=True)
class View:
    """What a server can really know when it plans a round; the traces themselves are never in it.

    round                     of the cloud server, from 0
    progress                  share of the run's local steps done, in [0, 1]
    time_s                    simulated time
    bandwidth_bytes_per_s     [W] measured uplink bandwidth: mean over this worker's finished flows, exponentially
                              weighted; NaN before the first
    down_bandwidth_bytes_per_s    [W] the same of finished flows to the worker
    region_bandwidth_bytes_per_s  [R] uplink bandwidth of region servers
    latency_s                 [W] measured one-way latency (connection set-up tells it)
    compute_s                 [W] measured time of a local step; NaN before the first
    round_time_s              [W] from sending the model to receiving the answer; NaN before the first
    examples                  [W] examples in each worker's shard
    tier, region              [W] "cloud" or "edge"; row number of the region
    participation             [W] share of the rounds asked for that were answered in time
    staleness                 [W] rounds since the server last heard of the worker
    drift                     [W] |theta_k - theta|_2 as workers report it; NaN where unknown
    update                    [P] the last aggregated update; None before the first, and where a round that reached
                              nobody is planned again
    step                      [P] what it did to the model; None where update is
    curvature                 [P] running mean of squares of the server's optimizer, where it has one
    sketch                    [W, S] direction of each worker's last update as a count sketch of length 1, where a plan
                              has asked for it; NaN where unknown
    """

    round: int
    progress: float
    time_s: float
    bandwidth_bytes_per_s: NDArray[np.float64]
    down_bandwidth_bytes_per_s: NDArray[np.float64]
    region_bandwidth_bytes_per_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    compute_s: NDArray[np.float64]
    round_time_s: NDArray[np.float64]
    examples: NDArray[np.int64]
    tier: NDArray[np.str_]
    region: NDArray[np.int64]
    participation: NDArray[np.float64]
    staleness: NDArray[np.int64]
    drift: NDArray[np.float64]
    update: Vector | None = None
    step: Vector | None = None
    curvature: Vector | None = None
    sketch: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Plan:
    """Who does how much, at which level, before the next aggregation.

    participants    row numbers, ascending
    local_steps     [W] local steps of each worker (only those of participants count)
    levels          [W] a level for each worker's uplink, or None: the compressor's own
    region_levels   [R] a level for each region server's uplink, or None
    down_level      the level of the downlink, or None
    weights         [W] weight of each worker in the mean, not yet normalised
    quorum          share of the participants a server waits for: 1 a barrier, 0 every arrival at once
    sync_parent     False: participants go on alone and send nothing
    late            what becomes of an update that comes after its round was closed: "apply" with its staleness,
                    "cancel", or "to_residual" (given back to the sender's error feedback)
    nbytes          bytes of control that ride on each downlink message (budgets, importance)
    report          named figures for the event rows, for example {"rank_correlation": .9}
    sketch          numbers (of 4 bytes) of a sketch of its update's direction that each participant sends with it
    variants        [W] number of the variant of the model that each worker follows, where the aggregator keeps some
                    (`Varying`); None: there is one model
    """

    participants: NDArray[np.int64]
    local_steps: NDArray[np.int64]
    weights: NDArray[np.float64]
    levels: Sequence[Any] | None = None
    region_levels: Sequence[Any] | None = None
    down_level: Any = None
    quorum: float = 1.0
    sync_parent: bool = True
    late: str = "apply"
    nbytes: int = 0
    report: dict[str, float] = field(default_factory=dict)
    sketch: int = 0
    variants: NDArray[np.int64] | None = None


@runtime_checkable
class Schedule(Protocol):
    """WHO, WHEN, HOW MUCH, AT WHICH LEVEL: decides from what a server can know."""

    @property
    def copies(self) -> int | None:
        """How many different models workers may hold between rounds: 1, all the same; None, each its own.  A server
        remembers as many."""

    def init(self, view: View, rng: Generator) -> Any:
        """Return the state before the first round; `rng` is the run's stream for what `randomness` names (a purpose of
        `acesim.scenario.streams`; "sampling" where there is no such attribute)."""

    def enrolled(self, tier: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Return which workers may ever take part [W]; an epoch is steps_per_epoch local steps of each of them."""

    def plan(self, view: View, state: Any) -> tuple[Plan, Any]:
        """Return the plan of the next round; one that is returned again is not checked again, so never change one."""
