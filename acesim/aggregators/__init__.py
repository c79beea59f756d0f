"""Turns a server's inbox into its next model."""

from acesim.aggregators.mean import weighted_mean
from acesim.aggregators.outer import Outer, OuterState

__all__ = ["Outer", "OuterState", "weighted_mean"]
