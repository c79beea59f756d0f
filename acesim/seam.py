"""The policy seam: the few types that rooms hand to each other, and the protocols a policy is made of.

A policy is a combination of small parts.  Each part is a frozen dataclass that stores its constructor arguments and
nothing else; its methods are pure; state is explicit, owned by the engine, and always comes last, in and out.
The engine knows no policy, and a policy knows no clock.

Letters of shapes, here and everywhere: W workers, R regions, P parameters, G groups, L levels, B batch, T sequence,
V vocabulary, C workers in one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError

Vector = NDArray[np.float32]
Shapes = tuple[tuple[int, ...], ...]
Generator = np.random.Generator


@lru_cache(maxsize=1024)
def size_of(shapes: Shapes) -> int:
    """Count the entries of all tensors together.

    >>> size_of(((2, 3), (4,)))
    10
    """
    total = 0
    for shape in shapes:
        entries = 1
        for length in shape:
            entries *= length
        total += entries
    return total


class Wire(NamedTuple):
    """The bytes of one payload by what they carry; the message header is the engine's and is added there."""

    values: int = 0
    indices: int = 0
    scales: int = 0

    @property
    def total(self) -> int:
        """All bytes of the payload."""
        return self.values + self.indices + self.scales

    def plus(self, other: Wire) -> Wire:
        """Return the bytes of both, kind by kind."""
        return Wire(self.values + other.values, self.indices + other.indices, self.scales + other.scales)


class Chunk(NamedTuple):
    """A part of a payload that may leave before the backward pass has ended.

    Every chunk is a call of the encoder (and of the decoder) and a transfer of its own: it pays the launches of
    `Work`, a message header, and the start-up of a message.

    share      of the payload's bytes, in (0, 1]; the shares of a payload sum to 1
    ready_at   fraction of the backward pass after which the part can be encoded, in [0, 1]
    entries    share of the vector that it encodes; None: as of the bytes
    """

    share: float
    ready_at: float
    entries: float | None = None


class Payload(NamedTuple):
    """All that crosses a link; nothing else may.

    body      what the receiver needs to decode
    nbytes    == len(compressor.serialise(body)), at the proxy's scale
    chunks    () is one chunk, ready at the end of the backward pass
    measure   what `Compressor.wire` needs to give the size at another scale: the level, or the measured density of
              data-dependent sizes (per group where there are groups)
    """

    body: Any
    nbytes: int
    chunks: tuple[Chunk, ...] = ()
    measure: Any = None


class Work(NamedTuple):
    """Declared work of a part, charged to the simulated device.

    bytes      moved to and from memory per entry of the vector it handles
    flops      floating point operations per entry
    launches   of kernels, however many entries there are; each chunk of a payload has its own
    """

    bytes: float = 0.0
    flops: float = 0.0
    launches: float = 0.0


class Variant(NamedTuple):
    """What an update says for one variant of the model.

    number   of the variant
    weight   of those who follow it, not yet normalised
    apart    [p] their mean of the entries that differ between variants, less the update's; None: it is the update's
    """

    number: int
    weight: float
    apart: Vector | None = None


class Update(NamedTuple):
    """One message in a server's inbox.

    sender    fleet row
    weight    of the sender in the mean, not yet normalised
    version   of the model the sender started from
    steps     local steps behind it; the weighted mean of them where a region has summed
    variants  whom it speaks for; () where all follow the one model
    batches   fingerprint of the data behind it
    """

    sender: int
    payload: Payload
    weight: float
    version: int
    steps: float = 1.0
    variants: tuple[Variant, ...] = ()
    batches: int = 0


class Guide(NamedTuple):
    """What a server's optimizer holds after a step: with it, whoever has the server's updates can foresee the next.

    rule           with init, step and restore (acesim.learning.optimizers)
    state          its state
    learning_rate  of a step, by the number of steps taken before it
    steps          taken so far
    curvature      [P] the running mean of squares its steps are divided by (the root of); None where there is none
    """

    rule: Any
    state: Any
    learning_rate: Callable[[int], float]
    steps: int
    curvature: Vector | None = None


class Budget(NamedTuple):
    """A level for compressors that choose a level for every group by themselves.

    nbytes      nominal bytes the payload may take
    importance  float32 [G], how much each group matters
    keep        the most important share of groups travels in full precision if the budget allows, in [0, 1]
    """

    nbytes: float
    importance: Vector
    keep: float = 0.0


class Rated(NamedTuple):
    """A level for senders that multiply by the learning rate before they accumulate: the server tells it.

    rate    of the steps to come
    level   of what is inside
    """

    rate: float
    level: Any = None


@runtime_checkable
class Compressor(Protocol):
    """WHAT travels: turns a vector into a payload with an honest byte count, and back."""

    @property
    def linear(self) -> bool:
        """May bodies be added before decoding?"""

    @property
    def lossless(self) -> bool:
        """Does decode(encode(x)) carry x whole?  The engine then hands the receiver the very model."""

    @property
    def incremental(self) -> bool:
        """Does its size depend on what the receiver holds, though nothing is lost?  A server then remembers that."""

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The parts that its payloads leave in; () is one part, ready at the end of the backward pass."""

    @property
    def contractive(self) -> bool:
        """Does |x - decode(encode(x))|^2 never exceed |x|^2?  ErrorFeedback refuses what is not."""

    def init(self, size: int) -> Any:
        """Return the state for vectors of `size` entries."""

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Turn a float32 [P] vector into a payload; never changes `vector` or `state` in place."""

    def decode(self, body: Any, size: int) -> Vector:
        """Turn a body back into a float32 [P] vector."""

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the exact bytes of a payload of tensors of these shapes, at any scale."""

    def nbytes(self, shapes: Shapes, measure: Any) -> int:
        """`wire(...).total`."""

    def serialise(self, body: Any) -> bytes:
        """Spell a body as the bytes that would travel."""

    def work(self, direction: str) -> Work:
        """Return the declared work of "encode" or "decode"."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory its state takes for `size` entries."""


@runtime_checkable
class Remembering(Protocol):
    """A compressor whose receiver remembers what each sender sent: beside what a `Compressor` has."""

    def receive(self, body: Any, size: int, memory: Any) -> tuple[Vector, Any]:
        """Return (what the receiver uses [P], its memory of this sender); memory is None before the first."""

    def receiver_bytes(self, size: int) -> int:
        """Return the memory that a receiver needs for each sender."""


GradientFunction = Callable[[Vector], tuple[Vector, NDArray[np.float64]]]
"""parameters [P] or [C, P] -> (gradients [C, P], losses [C]) of the next batch of every worker in the chunk."""


@runtime_checkable
class LocalTraining(Protocol):
    """WHAT a worker does alone.  All arrays are stacked, a row a worker; elementwise rules need not care."""

    def init(self, size: int) -> Any:
        """Return the state of one worker: a (possibly empty) tuple of float32 [P] arrays and numbers."""

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction, state: Any) -> tuple[Vector, Any]:
        """Return (anchor - result [C, P], state).  anchor is [P] (shared) or [C, P]; state is stacked likewise."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory of weights, gradient and optimizer for `size` parameters."""


@runtime_checkable
class Foreseeing(Protocol):
    """A local training that walks where the server will: beside what a `LocalTraining` has."""

    def along(self, guide: Guide) -> LocalTraining:
        """Return the training of workers that know what the server's optimizer holds."""


@runtime_checkable
class Walking(Protocol):
    """A local training whose update is no displacement: beside what a `LocalTraining` has."""

    def walked(self, state: Any) -> NDArray[np.float64]:
        """Return |theta_k - anchor|_2 at the end of the last run [C]."""


@runtime_checkable
class Aggregator(Protocol):
    """WHAT a server does with its inbox.

    One whose optimizer may be seen has `guide(state) -> Guide` as well (`Guided`).
    """

    def init(self, model: Vector) -> Any:
        """Return the state that goes with an initial model."""

    def step(self, model: Vector, inbox: Sequence[Update], compressor: Compressor, state: Any) -> tuple[Vector, Any]:
        """Return (the next model, state); inbox is sorted by sender and never empty."""

    def update(self, state: Any) -> Vector | None:
        """Return the last aggregated update [P], where there is one: schedules may learn from it."""

    def work(self) -> Work:
        """Return the declared work of one step, apart from decoding the inbox."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory its state takes."""


@runtime_checkable
class Guided(Protocol):
    """An aggregator that tells what its optimizer holds."""

    def guide(self, state: Any) -> Guide:
        """Return it."""


@runtime_checkable
class Varying(Protocol):
    """An aggregator that keeps variants of the model, which differ in some entries: beside what an `Aggregator` has."""

    @property
    def entries(self) -> NDArray[np.int64]:
        """Which entries of the proxy differ [p], ascending."""

    @property
    def most(self) -> int:
        """How many variants there can be; their numbers begin at 0."""

    def apart(self, size: int) -> int:
        """Return how many of `size` parameters differ."""

    def models(self, state: Any) -> Mapping[int, Vector]:
        """Return the variants there are [P], by number; who follows another is given the model itself."""


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
    update                    [P] the last aggregated update; None before the first
    step                      [P] what it did to the model; None before the first
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
        """Return the plan of the next round."""


KINDS = ("embedding", "attention", "mlp", "norm", "head", "other")


@dataclass(frozen=True)
class Group:
    """A block of consecutive parameters that is treated as one by grouped policies.

    name      of the tensor, with the block's number where a tensor is cut
    start, stop  its entries in the flat vector
    kind      one of KINDS
    depth     0 (input) .. 1 (output)
    fan_in    entries that feed one output
    """

    name: str
    start: int
    stop: int
    kind: str = "other"
    depth: float = 0.0
    fan_in: int = 1

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.stop - self.start


class Speed(NamedTuple):
    """How fast a worker is, as a profile before training tells: a nominal local step, and what its device sustains.

    launch_s   to launch a kernel
    """

    step_s: float
    memory_bytes_per_s: float
    flops_per_s: float
    launch_s: float = 0.0

    def work_s(self, work: Work, entries: int) -> float:
        """Return the time of declared work on `entries` entries, launches apart."""
        return entries * (work.bytes / self.memory_bytes_per_s + work.flops / self.flops_per_s)


@dataclass(frozen=True)
class ModelInfo:
    """All that a recipe may know: of the model, of the run, of the workers.  Never the network.

    shapes, nominal_shapes   of the tensors of the proxy and of the nominal model
    groups                   [G] the proxy's groups, in order, without gaps
    nominal_block            entries of a nominal group that share a scale and a level
    tier                     [W] "cloud" or "edge"
    examples                 [W]
    regions                  R, the data centre's own region included (the last)
    total_steps              local steps of each worker over the whole run
    steps_per_epoch          local steps of an epoch
    optimizer                the server's rule, from the scenario (see acesim.learning.optimizers)
    speeds                   [W] of the workers, () where they are not known
    sketched                 shapes and groups are a stand-in: the model's own are known only when its data is read
    """

    shapes: Shapes
    nominal_shapes: Shapes
    groups: tuple[Group, ...]
    nominal_block: int
    tier: tuple[str, ...]
    examples: tuple[int, ...]
    regions: int
    total_steps: int
    steps_per_epoch: int
    optimizer: Any
    speeds: tuple[Speed, ...] = ()
    sketched: bool = False

    @property
    def size(self) -> int:
        """P, the parameters of the proxy."""
        return size_of(self.shapes)

    @property
    def nominal_size(self) -> int:
        """P_nominal."""
        return size_of(self.nominal_shapes)


TREES = ("star", "regions")


@dataclass(frozen=True)
class TreePolicy:
    """A policy on a tree of servers.

    tree   "star": every message goes over the worker's whole route to the cloud;
           "regions": a region server decodes, sums and encodes again upward
    remarks   what the recipe has to say of what it made of its parameters; printed below the table
    """

    local: LocalTraining
    uplink: Compressor
    aggregator: Aggregator
    downlink: Compressor
    schedule: Schedule
    tree: str = "star"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tree not in TREES:
            raise PolicyError(f"tree = {self.tree!r}: must be one of {', '.join(TREES)}")
        if isinstance(self.local, Foreseeing) and not (self.downlink.lossless and self.schedule.copies == 1
                                                       and isinstance(self.aggregator, Guided)):
            raise PolicyError("local training that walks along the server's optimizer needs a lossless downlink, a "
                              "server that shows its optimizer, and a barrier: else a worker cannot know its state; "
                              "take down: dense, or ahead: last-step")
        if isinstance(self.aggregator, Varying) and self.tree == "regions" and not self.downlink.lossless:
            raise PolicyError("variants of the model go through regions by a lossless downlink only: a region hands a "
                              "lossy difference on as it came, and it has come for one of them; take down: dense, or "
                              "tree: star")

    def memory_bytes(self, role: str, size: int, children: int) -> int:
        """Return what the policy holds for a model of `size` parameters, activations apart.

        role       "worker", "region" or "cloud"
        children   of the server; 0 for a worker
        A worker holds what its local training needs and the state of its encoder.  A server holds its model, the mean
        it is summing, a region also the state of its encoder, the cloud the state of its aggregator; and what it knows
        its children to hold: nothing extra when the downlink sends the model, else as many copies as its schedule says
        that they may differ in, at most a copy a child; and what it remembers of each child's messages, where the
        uplink says so.  A region whose children follow variants of the model has the entries that differ, and their
        mean, once for each but one.
        """
        if role == "worker":
            return self.local.memory_bytes(size) + self.uplink.memory_bytes(size)
        own = self.aggregator.memory_bytes(size) if role == "cloud" else 4 * size + self.uplink.memory_bytes(size)
        whole = self.downlink.lossless and not self.downlink.incremental
        copies = 0 if whole else min(children, self.schedule.copies or children)
        remembered = children * self.uplink.receiver_bytes(size) if isinstance(self.uplink, Remembering) else 0
        if role == "region" and isinstance(self.aggregator, Varying):
            own += 8 * self.aggregator.apart(size) * max(0, min(self.aggregator.most, children) - 1)
        return own + 4 * size * (1 + copies) + remembered


Recipe = Callable[..., TreePolicy]
"""recipe(model_info, **parameters) -> policy"""
