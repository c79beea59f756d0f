"""Device profiles: what a device sustains when it trains, what it holds, what it draws."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from acesim.scenario.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from acesim.scenario.hardware import DeviceFacts, DeviceSpec, Override
    from acesim.scenario.schema import Scenario, WorkerGroup

_FIELDS = {"flops_per_s": "flops_per_s", "memory_bytes": "memory_bytes",
           "memory_bandwidth_bytes_per_s": "memory_bytes_per_s", "network_bytes_per_s": "network_bytes_per_s",
           "idle_w": "idle_w", "busy_w": "busy_w", "launch_s": "launch_s"}
"""What a figure of a scenario is called in a profile."""
OWN_JITTER = 0.05  # of a device that is like no profile: what most have


@dataclass(frozen=True)
class Device:
    """One kind of device.  Every figure is what a training loop gets, not a peak.

    flops_per_s          sustained in training (6 x parameters x tokens a step)
    memory_bytes_per_s   sustained memory bandwidth
    memory_bytes         what the model, gradients, states and activations share
    network_bytes_per_s  of its network card
    idle_w, busy_w       power of the whole device
    jitter               standard deviation over mean of the time of a step (log-normal)
    launch_s             to launch a kernel, beside what it does; 0 unless the scenario says otherwise
    flops_low, flops_high   between which flops_per_s may well lie; NaN where unknown
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
    flops_low: float = math.nan
    flops_high: float = math.nan
    launch_s: float = 0.0


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


def chosen(choice: str | DeviceSpec) -> Device:
    """Return the device that a scenario names or describes; ScenarioError where there is no such profile.

    >>> from acesim.scenario.hardware import DeviceSpec
    >>> chosen(DeviceSpec(like="n100", memory="8 GB")).memory_bytes
    8000000000.0
    """
    if isinstance(choice, str):
        return device(choice)
    unknown = math.nan  # until the scenario's figures take its place: all of them are given where it is like nothing
    nothing = Device("own", "of the scenario", unknown, unknown, unknown, unknown, unknown, unknown, OWN_JITTER,
                     "the scenario", "the user's")
    return altered(device(choice.like) if choice.like else nothing, choice)


def altered(base: Device, facts: DeviceFacts) -> Device:
    """Return a device with what a scenario says in place of what the profile says."""
    given = {ours: getattr(facts, theirs) for theirs, ours in _FIELDS.items() if getattr(facts, theirs) is not None}
    return replace(base, **given, source=f"{base.source}; changed by the scenario") if given else base


def members(group: WorkerGroup) -> tuple[Device, ...]:
    """Return every worker's device: overrides take workers of the group in order, the rest have the group's own."""
    base = chosen(group.device)
    found: list[Device] = []
    for override in group.overrides:
        left = group.count - len(found)
        found += [altered(base, override)] * (left if override.count is None else min(override.count, left))
    return (*found, *[base] * (group.count - len(found)))


def unknown_rule(name: str) -> str:
    """Say which device was probably meant."""
    near = difflib.get_close_matches(name, devices(), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown device; {hint}(knows: {', '.join(sorted(devices()))})"


def check(scenario: Scenario) -> Iterator[Problem]:
    """Name every device of a scenario that has no profile, or draws less when it computes than when it rests, and
    overrides of more workers than there are."""
    places: list[tuple[tuple[str | int, ...], str | DeviceSpec]] = [
        (("workers", row, "device"), group.device) for row, group in enumerate(scenario.workers)]
    places += [(("servers", role, "device"), getattr(scenario.servers, role).device) for role in ("region", "cloud")]
    for path, choice in places:
        name = _profile(choice)
        if name is not None and name not in devices():
            yield Problem(path if isinstance(choice, str) else (*path, "like"), name, unknown_rule(name))
        elif not isinstance(choice, str):
            yield from _backwards(path, chosen(choice))
    for row, group in enumerate(scenario.workers):
        place = ("workers", row, "overrides")
        yield from _too_many(place, group.overrides, group.count)
        if _profile(group.device) in (None, *devices()):
            for number, override in enumerate(group.overrides):
                yield from _backwards((*place, number), altered(chosen(group.device), override))


def _profile(choice: str | DeviceSpec) -> str | None:
    return choice if isinstance(choice, str) else choice.like


def _backwards(path: tuple[str | int, ...], device: Device) -> Iterator[Problem]:
    """Name a device whose computing would give energy back."""
    if device.busy_w < device.idle_w:
        yield Problem(path, None, f"draws {device.busy_w:g} W busy, but {device.idle_w:g} W idle: busy must be >= "
                                  f"idle; give both")


def _too_many(path: tuple[str | int, ...], overrides: Sequence[Override], count: int) -> Iterator[Problem]:
    left = count
    for number, override in enumerate(overrides):
        if left <= 0 or (override.count or 0) > left:
            yield Problem((*path, number), None, f"changes {override.count or 'further'} workers, but only {left} of "
                          f"the group's {count} are left; give smaller counts, or a larger group")
        left -= left if override.count is None else override.count
