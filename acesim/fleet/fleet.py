"""The fleet: how long computing takes on every worker and server, what it draws, and what fits its memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acesim.fleet.devices import Device, device
from acesim.fleet.energy import Radio, radio
from acesim.scenario.streams import stream
from acesim.seam import Work

if TYPE_CHECKING:
    from acesim.scenario.schema import Scenario

FLOPS_PER_PARAMETER_AND_TOKEN = 6  # forward 2, backward 4: dense language models
RECOMPUTE = 4 / 3  # activation checkpointing runs the forward pass twice: 8 instead of 6
FORWARD_SHARE = 1 / 3  # of a step's time; the backward pass is the rest
_BLOCK = 256


@dataclass(frozen=True)
class Fleet:
    """Workers (rows 0..W-1), then region servers (the data centre's own last), then the cloud server.

    devices       [W + R + 1]
    radios        [W]
    group         [W] name of the worker's group
    step_s        [W] time of one nominal local step, without jitter
    tokens        [W] tokens of one nominal local step
    seed          of the run: it drives the jitter, step by step, alike for every policy
    """

    devices: tuple[Device, ...]
    radios: tuple[Radio, ...]
    group: tuple[str, ...]
    step_s: NDArray[np.float64]
    tokens: NDArray[np.int64]
    seed: int

    def compute_s(self, worker: int, first_step: int, steps: int) -> NDArray[np.float64]:
        """Return the times of local steps first_step .. first_step + steps - 1 of a worker [steps]."""
        wanted = range(first_step, first_step + steps)
        jitter = [_jitter(self.seed, worker, step // _BLOCK, self.devices[worker].jitter)[step % _BLOCK]
                  for step in wanted]
        times: NDArray[np.float64] = self.step_s[worker] * np.array(jitter)
        return times

    def work_s(self, who: int, work: Work, entries: int) -> float:
        """Return the time of declared work on `entries` entries: memory and arithmetic one after the other."""
        device = self.devices[who]
        return entries * (work.bytes / device.memory_bytes_per_s + work.flops / device.flops_per_s)


@lru_cache(maxsize=4096)
def _jitter(seed: int, worker: int, block: int, spread: float) -> NDArray[np.float64]:
    """Log-normal factors of mean 1 for one block of steps."""
    sigma = math.sqrt(math.log1p(spread**2))
    draws = stream(seed, "compute", worker, block).standard_normal(_BLOCK)
    factors: NDArray[np.float64] = np.exp(sigma * draws - sigma**2 / 2)
    return factors


def build(scenario: Scenario, parameters: int, seed: int) -> Fleet:
    """Return the fleet of a scenario; parameters: P_nominal."""
    groups = [group for group in scenario.workers for _ in range(group.count)]
    servers = [scenario.servers.region.device] * scenario.network.regions + [scenario.servers.cloud.device] * 2
    devices = tuple(device(name) for name in [group.device for group in groups] + servers)
    tokens = np.array([scenario.nominal.tokens(group) for group in groups], dtype=np.int64)
    recompute = [RECOMPUTE if scenario.nominal.checkpoints(group) else 1.0 for group in groups]
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens * np.array(recompute)
    return Fleet(devices, tuple(radio(group.access.kind) for group in groups), tuple(group.name for group in groups),
                 flops / np.array([each.flops_per_s for each in devices[: len(groups)]]), tokens, seed)


def dense_round_rho(fleet: Fleet, up_bytes_per_s: Sequence[float], down_bytes_per_s: Sequence[float],
                    dense_bytes: float) -> dict[str, float]:
    """Return rho by worker group: communication over computation of a dense round, at mean rates, alone on the link."""
    ratio = dense_bytes * (1 / np.asarray(up_bytes_per_s) + 1 / np.asarray(down_bytes_per_s)) / fleet.step_s
    names = list(dict.fromkeys(fleet.group))
    return {name: float(np.median(ratio[[group == name for group in fleet.group]])) for name in names}
