"""Says how long computing takes and what it costs: device profiles, availability, energy, money, memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from acesim.fleet import calibration, money, presence
from acesim.fleet import devices as profiles
from acesim.fleet.devices import Device, device, devices
from acesim.fleet.fleet import FORWARD_SHARE, Fleet, build, dense_round_rho, speeds
from acesim.fleet.memory import Memory, memory
from acesim.fleet.money import PriceList, price_list

if TYPE_CHECKING:
    from acesim.scenario.errors import Problem
    from acesim.scenario.schema import Scenario

__all__ = ["FORWARD_SHARE", "Device", "Fleet", "Memory", "PriceList", "build", "check", "dense_round_rho", "device",
           "devices", "memory", "price_list", "speeds"]


def check(scenario: Scenario) -> Iterator[Problem]:
    """Name what a scenario asks of its fleet that there is not: devices, measurements, traces, price lists."""
    for each in (profiles, calibration, presence, money):
        yield from each.check(scenario)
