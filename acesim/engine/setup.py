"""What a run is made of, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from acesim.fleet.fleet import Fleet
from acesim.network.tcp import Tcp
from acesim.network.topology import Topology
from acesim.records.blocks import Later
from acesim.records.rows import Event, MetricRow
from acesim.seam import ModelInfo, TreePolicy, Vector

if TYPE_CHECKING:
    from acesim.scenario.schema import Stop


class Sink(Protocol):
    """Takes the rows of a run (acesim.records.store.RunWriter does)."""

    def event(self, event: Event) -> None:
        """Take one event."""

    def block(self, block: Later) -> None:
        """Take many events at once."""

    def metric(self, row: MetricRow) -> None:
        """Take one metric row."""


@dataclass(frozen=True)
class Setup:
    """Everything one run depends on.

    policy, info   what is compared, and what its recipe was told
    task           what is learned (acesim.learning.tasks)
    topology, fleet   in which world
    stop           when it ends (acesim.scenario.schema.Stop)
    seed           of all randomness
    chunk          workers whose gradients are taken together; changes nothing but speed; None: as many as is fast
    one_by_one     play every message as an event of its own, even where nothing could come between (see Lockstep)
    rounds         end after so many rounds of the cloud, whatever `stop` says; None: no such limit
    tcp            how bytes are moved; None: as a fluid
    evaluate_every_rounds   score the model after so many rounds of the cloud; None: at every epoch
    timeout_s      how long a server waits for its quorum before it goes on with what it has; None: for ever
    """

    policy: TreePolicy
    info: ModelInfo
    task: Any
    topology: Topology
    fleet: Fleet
    stop: Stop
    seed: int
    chunk: int | None = None
    rounds: int | None = None
    tcp: Tcp | None = None
    timeout_s: float | None = None
    one_by_one: bool = False
    evaluate_every_rounds: int | None = None


class Outcome(NamedTuple):
    """What came of a run.

    model      the cloud's last
    totals     the ledger
    ideal_s    time if communication took none
    rounds     of the cloud
    reported   by name, the mean and the last of the figures in its event rows
    """

    model: Vector
    totals: dict[str, int | float]
    training_digest: str
    ideal_s: float
    rounds: int
    reported: dict[str, dict[str, float]]
