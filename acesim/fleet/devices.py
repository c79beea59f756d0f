"""Device profiles: what a device sustains when it trains, what it holds, what it draws."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from acesim.scenario.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from acesim.scenario.schema import Scenario


@dataclass(frozen=True)
class Device:
    """One kind of device.  Every figure is what a training loop gets, not a peak.

    flops_per_s          sustained in training (6 x parameters x tokens a step)
    memory_bytes_per_s   sustained memory bandwidth
    memory_bytes         what the model, gradients, states and activations share
    network_bytes_per_s  of its network card
    idle_w, busy_w       power of the whole device
    jitter               standard deviation over mean of the time of a step (log-normal)
    """

    name: str
    description: str
    flops_per_s: float
    memory_bytes_per_s: float
    memory_bytes: float
    network_bytes_per_s: float
    idle_w: float
    busy_w: float
    jitter: float
    source: str
    confidence: str


@lru_cache(maxsize=1)
def devices() -> Mapping[str, Device]:
    """Return all known profiles by name.

    >>> devices()["rk3588"].flops_per_s
    40000000000.0
    """
    text = files("acesim.fleet").joinpath("devices.json").read_text(encoding="utf-8")
    return {name: Device(name=name, **fields) for name, fields in json.loads(text).items()}


def device(name: str) -> Device:
    """Return one profile; ScenarioError with the nearest name when there is none."""
    if name not in devices():
        raise ScenarioError([Problem(("device",), name, unknown_rule(name))])
    return devices()[name]


def unknown_rule(name: str) -> str:
    """Say which device was probably meant."""
    near = difflib.get_close_matches(name, devices(), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown device; {hint}(knows: {', '.join(sorted(devices()))})"


def check(scenario: Scenario) -> Iterator[Problem]:
    """Name every device of a scenario that has no profile."""
    places: list[tuple[tuple[str | int, ...], str]] = [
        (("workers", row, "device"), group.device) for row, group in enumerate(scenario.workers)]
    places += [(("servers", role, "device"), getattr(scenario.servers, role).device) for role in ("region", "cloud")]
    for path, name in places:
        if name not in devices():
            yield Problem(path, name, unknown_rule(name))
