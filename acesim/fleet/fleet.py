"""The fleet: how long computing takes on every worker and server, what it draws, and what fits its memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acesim.fleet import calibration
from acesim.fleet.devices import Device, chosen, devices, members
from acesim.fleet.energy import Radio, radio
from acesim.fleet.phases import Renewal, stretched
from acesim.fleet.presence import Presence, of_group
from acesim.scenario.streams import stream
from acesim.seam import Speed, Work

if TYPE_CHECKING:
    from acesim.scenario.schema import Scenario, WorkerGroup

FLOPS_PER_PARAMETER_AND_TOKEN = 6  # forward 2, backward 4: dense language models
RECOMPUTE = 4 / 3  # activation checkpointing runs the forward pass twice: 8 instead of 6
FORWARD_SHARE = 1 / 3  # of a step's time; the backward pass is the rest
_BLOCK = 256
_OF_WORKER, _TAIL, _SLOW = 1 << 24, 1 << 25, 1 << 26  # first blocks of the compute stream, beside those of the jitter


@dataclass(frozen=True)
class Variation:
    """How the times of a worker's steps vary beside their jitter.

    share, tail   this share of steps takes Pareto(tail) times as long, at least 1
    slow, factor  while the one is on, steps take `factor` as long
    """

    share: float = 0.0
    tail: float = 1.5
    slow: Renewal | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Fleet:
    """Workers (rows 0..W-1), then region servers (the data centre's own last), then the cloud server.

    devices       [W + R + 1]
    radios        [W]
    group         [W] name of the worker's group
    step_s        [W] time of one nominal local step, without jitter
    tokens        [W] tokens of one nominal local step
    seed          of the run: it drives the jitter, step by step, alike for every policy
    variations    [W], or () where nothing varies but by jitter
    presence      [W] when each is there, or () where all always are; None: always
    """

    devices: tuple[Device, ...]
    radios: tuple[Radio, ...]
    group: tuple[str, ...]
    step_s: NDArray[np.float64]
    tokens: NDArray[np.int64]
    seed: int
    variations: tuple[Variation, ...] = ()
    presence: tuple[Presence | None, ...] = ()

    def compute_s(self, worker: int, first_step: int, steps: int, start_s: float = 0.0) -> NDArray[np.float64]:
        """Return the times of local steps first_step .. first_step + steps - 1 of a worker that begins at start_s."""
        wanted = range(first_step, first_step + steps)
        jitter = [_jitter(self.seed, worker, step // _BLOCK, self.devices[worker].jitter)[step % _BLOCK]
                  for step in wanted]
        times: NDArray[np.float64] = self.step_s[worker] * np.array(jitter)
        return self._varied(times, worker, wanted, start_s) if self.variations else times

    def spans_s(self, workers: NDArray[np.int64], first_steps: NDArray[np.int64], steps: NDArray[np.int64],
                start_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how long the local steps of many workers take in all, as `compute_s` has them one by one; all [n]."""
        if self.variations:
            return np.array([self.compute_s(*each).cumsum()[-1] for each in zip(
                workers.tolist(), first_steps.tolist(), steps.tolist(), start_s.tolist(), strict=True)])
        spans_s = self.step_s[workers] * self._jitters(workers, first_steps)
        for ahead in range(1, int(steps.max())):
            busy = steps > ahead
            spans_s[busy] += self.step_s[workers[busy]] * self._jitters(workers[busy], first_steps[busy] + ahead)
        return spans_s

    def _jitters(self, workers: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the jitter of one step of each of some workers."""
        blocks, within = np.divmod(steps, _BLOCK)
        known = sorted(set(blocks.tolist()))
        if len(known) == 1:
            return _jitter_table(self.seed, known[0], self._spreads)[workers, within]
        found = np.empty(workers.size)
        for block in known:
            here = blocks == block
            found[here] = _jitter_table(self.seed, block, self._spreads)[workers[here], within[here]]
        return found

    @cached_property
    def _spreads(self) -> tuple[float, ...]:
        return tuple(device.jitter for device in self.devices[: len(self.step_s)])

    def _varied(self, times_s: NDArray[np.float64], worker: int, wanted: Sequence[int],
                start_s: float) -> NDArray[np.float64]:
        variation = self.variations[worker]
        if variation.share:
            share, tail = variation.share, variation.tail
            times_s = times_s * [_tail(self.seed, worker, step // _BLOCK, share, tail)[step % _BLOCK]
                                 for step in wanted]
        if variation.slow is None:
            return times_s
        return np.array(stretched(variation.slow, variation.factor, start_s, times_s.tolist()))

    def work_s(self, who: int, work: Work, entries: int) -> float:
        """Return the time of declared work on `entries` entries: memory and arithmetic one after the other."""
        device = self.devices[who]
        return entries * (work.bytes / device.memory_bytes_per_s + work.flops / device.flops_per_s)

    def launch_s(self, who: int, work: Work) -> float:
        """Return the time that one call of declared work takes beside, however many entries it handles."""
        return work.launches * self.devices[who].launch_s


@lru_cache(maxsize=4096)
def _jitter(seed: int, worker: int, block: int, spread: float) -> NDArray[np.float64]:
    """Log-normal factors of mean 1 for one block of steps."""
    sigma = math.sqrt(math.log1p(spread**2))
    draws = stream(seed, "compute", worker, block).standard_normal(_BLOCK)
    factors: NDArray[np.float64] = np.exp(sigma * draws - sigma**2 / 2)
    return factors


@lru_cache(maxsize=2)
def _jitter_table(seed: int, block: int, spreads: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the factors of one block of steps of all workers, [W, steps]."""
    return np.array([_jitter(seed, worker, block, spread) for worker, spread in enumerate(spreads)])


@lru_cache(maxsize=4096)
def _tail(seed: int, worker: int, block: int, share: float, tail: float) -> NDArray[np.float64]:
    """Factors of one block of steps: 1, or Pareto(tail) for `share` of them."""
    rng = stream(seed, "compute", worker, _TAIL + block)
    hit, drawn = rng.random(_BLOCK) < share, 1.0 + rng.pareto(tail, _BLOCK)
    factors: NDArray[np.float64] = np.where(hit, drawn, 1.0)
    return factors


def build(scenario: Scenario, parameters: int, seed: int) -> Fleet:
    """Return the fleet of a scenario; parameters: P_nominal."""
    groups = [group for group in scenario.workers for _ in range(group.count)]
    firsts = np.cumsum([0, *(group.count for group in scenario.workers)]).tolist()
    measured = {} if scenario.calibration is None else calibration.read(scenario.calibration)
    workers = _workers(scenario, measured)
    servers = [chosen(scenario.servers.region.device)] * scenario.network.regions \
        + [chosen(scenario.servers.cloud.device)] * 2
    tokens = np.array([scenario.nominal.tokens(group) for group in groups], dtype=np.int64)
    step_s = _steps_s(scenario, groups, workers, parameters, measured)
    step_s *= [_straggling(group, row, seed) for row, group in enumerate(groups)]
    varied = any(group.compute.stragglers.share or group.compute.slow_phases for group in scenario.workers)
    present = [each for group, first in zip(scenario.workers, firsts[:-1], strict=True)
               for each in of_group(group, first, seed)]
    return Fleet((*workers, *servers), tuple(radio(group.access.kind) for group in groups),
                 tuple(group.name for group in groups), step_s, tokens, seed,
                 tuple(_variation(group, row, seed) for row, group in enumerate(groups)) if varied else (),
                 tuple(present) if any(each is not None for each in present) else ())


def speeds(scenario: Scenario, parameters: int) -> tuple[Speed, ...]:
    """Return how fast each worker is by its profile or its calibration, without what varies from run to run."""
    groups = [group for group in scenario.workers for _ in range(group.count)]
    measured = {} if scenario.calibration is None else calibration.read(scenario.calibration)
    workers = _workers(scenario, measured)
    steps_s = _steps_s(scenario, groups, workers, parameters, measured).tolist()
    return tuple(Speed(step_s, each.memory_bytes_per_s, each.flops_per_s, each.launch_s)
                 for step_s, each in zip(steps_s, workers, strict=True))


def _workers(scenario: Scenario, measured: Mapping[str, calibration.Measured]) -> list[Device]:
    return [_own(device, group, measured) for group in scenario.workers for device in members(group)]


def _steps_s(scenario: Scenario, groups: Sequence[WorkerGroup], workers: Sequence[Device], parameters: int,
             measured: Mapping[str, calibration.Measured]) -> NDArray[np.float64]:
    """Return the time of one nominal local step of each worker [W], measured or reckoned."""
    tokens = np.array([scenario.nominal.tokens(group) for group in groups], dtype=np.int64)
    recompute = [RECOMPUTE if scenario.nominal.checkpoints(group) else 1.0 for group in groups]
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens * np.array(recompute)
    step_s: NDArray[np.float64] = flops / np.array([each.flops_per_s for each in workers])
    for row, (group, device) in enumerate(zip(groups, workers, strict=True)):
        found = _measured(device, group, measured)
        step_s[row] = step_s[row] if found is None else found
    return step_s


def _own(device: Device, group: WorkerGroup, measured: Mapping[str, calibration.Measured]) -> Device:
    """Return a worker's device with its own jitter: the scenario's, else what was measured, else the profile's."""
    found = measured.get(group.name) or measured.get(device.name)
    jitter = group.compute.jitter if group.compute.jitter is not None else found.jitter if found else None
    return device if jitter is None else replace(device, jitter=jitter)


def _measured(device: Device, group: WorkerGroup, measured: Mapping[str, calibration.Measured]) -> float | None:
    """Return a measured time of a step, for the FLOP/s of a worker that differs from its profile."""
    if group.name in measured:
        return measured[group.name].step_s * chosen(group.device).flops_per_s / device.flops_per_s
    if device.name in measured:
        return measured[device.name].step_s * devices()[device.name].flops_per_s / device.flops_per_s
    return None


def _straggling(group: WorkerGroup, row: int, seed: int) -> float:
    """Return how many times as long as others a worker always takes: log-normal of mean 1."""
    spread = group.compute.stragglers.spread
    normal = stream(seed, "compute", row, _OF_WORKER).standard_normal() if spread else 0.0
    return math.exp(spread * normal - spread**2 / 2)


def _variation(group: WorkerGroup, row: int, seed: int) -> Variation:
    stragglers, slow = group.compute.stragglers, group.compute.slow_phases
    if slow is None:
        return Variation(stragglers.share, stragglers.tail)
    phases = Renewal(slow.last_s, slow.every_s, seed, "compute", row, _SLOW, begins_on=False)
    return Variation(stragglers.share, stragglers.tail, phases, slow.factor)


def dense_round_rho(fleet: Fleet, up_bytes_per_s: Sequence[float], down_bytes_per_s: Sequence[float],
                    dense_bytes: float) -> dict[str, float]:
    """Return rho by worker group: communication over computation of a dense round, at mean rates, alone on the link."""
    ratio = dense_bytes * (1 / np.asarray(up_bytes_per_s) + 1 / np.asarray(down_bytes_per_s)) / fleet.step_s
    names = list(dict.fromkeys(fleet.group))
    return {name: float(np.median(ratio[[group == name for group in fleet.group]])) for name in names}
