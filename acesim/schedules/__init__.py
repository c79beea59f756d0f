"""Decides, from what a server can know, who does how much, at which level, before the next aggregation."""

from acesim.schedules.ace import AceSchedule, AceState
from acesim.schedules.asynchronous import Asynchronous
from acesim.schedules.attention import Attention, AttentionState
from acesim.schedules.budgets import Budgets
from acesim.schedules.clusters import Clusters
from acesim.schedules.dagc import DataAware
from acesim.schedules.fixed import Drawing, Fixed
from acesim.schedules.intervals import Intervals
from acesim.schedules.pace import Pace
from acesim.schedules.phased import Accordion, WarmUp
from acesim.schedules.turns import Turns

__all__ = ["Accordion", "AceSchedule", "AceState", "Asynchronous", "Attention", "AttentionState", "Budgets",
           "Clusters", "DataAware", "Drawing", "Fixed", "Intervals", "Pace", "Turns", "WarmUp"]
