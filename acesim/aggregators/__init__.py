"""Turns a server's inbox into its next model."""

from acesim.aggregators.arrivals import EachArrival
from acesim.aggregators.mean import means_by_variant, weighted_mean
from acesim.aggregators.outer import Outer, OuterState
from acesim.aggregators.personal import Personal, PersonalState
from acesim.aggregators.replay import Replay
from acesim.aggregators.sketched import SketchedSGD, SketchedState

__all__ = ["EachArrival", "Outer", "OuterState", "Personal", "PersonalState", "Replay", "SketchedSGD", "SketchedState",
           "means_by_variant", "weighted_mean"]
