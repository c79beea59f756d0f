"""The state of every worker and server, explicit: what phase it is in, what it holds, what it waits for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.engine.messages import Message
from acesim.scenario.errors import PolicyError
from acesim.seam import Generator, Plan, TreePolicy, Vector

MEMORY = 0.7  # weight of the past in measured bandwidths and times
Known = tuple[int, int]
PHASES = ("idle", "receiving", "computing", "sending", "waiting")  # waiting: its answer lies in an inbox


@dataclass(slots=True)
class Worker:
    """One row of the fleet that trains.

    policy    whose parts give its states when they are first asked for: many workers may never be
    model     what it holds, which is what its server knows it to hold; before: what it held until then, where the
              downlink predicts
    rng       its encoder's random stream
    local, encoder   states of local training and of its encoder
    steps     local steps done: its place in its data and in its compute stream
    version   of the model it holds
    plan      of the round it was last asked in
    there     is it there, or away?
    ticket    of the agenda's entry for what it does; message: key of the last one to it or from it
    """

    policy: TreePolicy
    model: Vector
    rng: Generator
    phase: str = "idle"
    steps: int = 0
    version: int = 0
    round: int = -1
    plan: Plan | None = None
    started_s: float = float("nan")
    ended_s: float = float("nan")
    asked_s: float = float("nan")
    there: bool = True
    ticket: int = -1
    message: int = -1
    states: dict[str, Any] = field(default_factory=dict)
    before: Vector | None = None

    @property
    def local(self) -> Any:
        """The state of local training."""
        return self.begun["local"]

    @local.setter
    def local(self, state: Any) -> None:
        self.begun["local"] = state

    @property
    def encoder(self) -> Any:
        """The state of the encoder: its residual, for example."""
        return self.begun["encoder"]

    @encoder.setter
    def encoder(self, state: Any) -> None:
        self.begun["encoder"] = state

    @property
    def begun(self) -> dict[str, Any]:
        """Both states, made when the first of them is asked for."""
        states = self.states
        if not states:
            size = self.model.size
            states["local"], states["encoder"] = self.policy.local.init(size), self.policy.uplink.init(size)
        return states

    @property
    def free(self) -> bool:
        """Can it be asked?"""
        return self.there and self.phase == "idle"


@dataclass
class Server:
    """A region server or the cloud.

    model        a region's: what it holds and the cloud knows it to hold; the cloud's: the model
    before       a region's: what it held until then, where the downlink predicts
    children     fleet rows that talk to it
    under_way    children that were sent a model and have not answered yet
    inbox        messages whose content is decoded, waiting for the quorum
    awaited      those of them its quorum is a share of, and those of these that have answered
    need         answers it waits for in the present round; 0 while it waits for nothing
    busy_until_s when it has worked off what it was given
    plan         under which it last asked its children
    memories     what it remembers of each child's messages, where the uplink says so
    models       the variants of the model that its children follow, by number
    """

    row: int
    model: Vector
    children: tuple[int, ...]
    encoder: Any = None
    rng: Generator | None = None
    under_way: set[int] = field(default_factory=set)
    awaited: set[int] = field(default_factory=set)
    inbox: list[Message] = field(default_factory=list)
    need: int = 0
    round: int = -1
    version: int = 0
    busy_until_s: float = 0.0
    plan: Plan | None = None
    memories: dict[int, Any] = field(default_factory=dict)
    models: Mapping[int, Vector] = field(default_factory=dict)
    before: Vector | None = None

    def followed(self, variant: int | None) -> Vector:
        """Return a variant of the model; the model itself where there is none of that number."""
        return self.model if variant is None else self.models.get(variant, self.model)

    def occupy(self, now_s: float, work_s: float) -> float:
        """Queue work behind what the server is doing; return when it is done."""
        self.busy_until_s = max(now_s, self.busy_until_s) + work_s
        return self.busy_until_s


@dataclass
class Measured:
    """What the cloud has measured of its workers [W] and regions [R]; NaN before the first time."""

    bandwidth_bytes_per_s: NDArray[np.float64]
    down_bandwidth_bytes_per_s: NDArray[np.float64]
    region_bandwidth_bytes_per_s: NDArray[np.float64]
    compute_s: NDArray[np.float64]
    round_time_s: NDArray[np.float64]
    drift: NDArray[np.float64]
    heard: NDArray[np.int64]
    asked: NDArray[np.int64]
    answered: NDArray[np.int64]
    sketch: NDArray[np.float64] | None = None

    @staticmethod
    def of(workers: int, regions: int) -> Measured:
        """Return the state before anything was measured."""
        def unknown(rows: int) -> NDArray[np.float64]:
            return np.full(rows, np.nan)
        heard, asked, answered = np.zeros((3, workers), dtype=np.int64)
        return Measured(unknown(workers), unknown(workers), unknown(regions), unknown(workers), unknown(workers),
                        unknown(workers), heard, asked, answered)


def needed(quorum: float, awaited: int) -> int:
    """Return how many answers are a quorum, at least one.

    >>> needed(0.8, 5), needed(0.0, 5), needed(1.0, 3)
    (4, 1, 3)
    """
    return max(1, math.ceil(quorum * awaited - 1e-9))


def planned(asked: Worker | Server) -> Plan:
    """Return the plan under which a worker or server was asked; a later one is not its business."""
    if asked.plan is None:
        raise PolicyError("nobody has asked this worker or server for anything yet")
    return asked.plan


def known(owner: Worker | Server) -> Known:
    """Return what tells apart who holds what: which model, and which one before."""
    return id(owner.model), id(owner.before)


def average(past: float, new: float) -> float:
    """Return the exponentially weighted mean; the first value stands for the past.

    >>> average(float("nan"), 2.0)
    2.0
    """
    return new if np.isnan(past) else MEMORY * past + (1 - MEMORY) * new


def averages(past: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `average` of many.

    >>> averages(np.array([np.nan, 2.0]), np.array([2.0, 2.0]))
    array([2., 2.])
    """
    return np.where(np.isnan(past), new, MEMORY * past + (1 - MEMORY) * new)


def sketched(vector: Vector, count: int) -> NDArray[np.float64]:
    """Return the direction of a vector [P] in `count` numbers: each the sum of one stretch of it, with fixed signs.

    A count sketch: inner products of two sketches have the mean of those of the vectors.  The signs are those of the
    golden ratio's multiples, the same for everybody.  Charikar et al. 2002.
    """
    signs = np.where(np.arange(vector.size) * 0.6180339887498949 % 1 < 0.5, np.float32(-1), np.float32(1))
    stretches = np.array_split(vector * signs, count)
    sums = np.array([stretch.sum(dtype=np.float64) for stretch in stretches])
    length = float(np.linalg.norm(vector))
    return sums / length if length > 0 else sums


@dataclass
class Progress:
    """How far the run is.

    steps     local steps done by all enrolled workers together
    enrolled  how many workers those are
    slowest_s longest computation in the round under way; ideal_s: sum of these over rounds
    """

    enrolled: int
    total_steps: int
    steps_per_epoch: int
    steps: int = 0
    slowest_s: float = 0.0
    ideal_s: float = 0.0
    plan: Plan | None = None
    update: Vector | None = None
    step: Vector | None = None

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.steps / (self.enrolled * self.steps_per_epoch)

    @property
    def share(self) -> float:
        """Share of the run's local steps done, in [0, 1]."""
        return min(1.0, self.steps / (self.enrolled * self.total_steps))
