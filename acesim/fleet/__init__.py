"""Says how long computing takes and what it costs: device profiles, energy, memory."""

from acesim.fleet.devices import Device, check, device, devices
from acesim.fleet.fleet import Fleet, build, dense_round_rho
from acesim.fleet.memory import Memory, memory

__all__ = ["Device", "Fleet", "Memory", "build", "check", "dense_round_rho", "device", "devices", "memory"]
