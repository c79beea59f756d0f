"""Decides, from what a server can know, who does how much, at which level, before the next aggregation."""

from acesim.schedules.ace import AceSchedule, AceState
from acesim.schedules.attention import Attention, AttentionState
from acesim.schedules.budgets import Budgets
from acesim.schedules.clusters import Clusters
from acesim.schedules.fixed import Fixed
from acesim.schedules.intervals import Intervals

__all__ = ["AceSchedule", "AceState", "Attention", "AttentionState", "Budgets", "Clusters", "Fixed", "Intervals"]
