"""Plays a policy on a fleet and a network on the SimPy clock and emits event rows."""

from __future__ import annotations

from collections.abc import Callable

from acesim.engine.setup import Outcome, Setup, Sink
from acesim.engine.simulation import Simulation
from acesim.records.rows import MetricRow

__all__ = ["Outcome", "Setup", "Simulation", "Sink", "simulate"]


def simulate(setup: Setup, sink: Sink, on_progress: Callable[[MetricRow], None] | None = None) -> Outcome:
    """Play one run to its end; rows go to `sink` as they happen, every metric row also to `on_progress`."""
    return Simulation(setup, sink, on_progress).run()
