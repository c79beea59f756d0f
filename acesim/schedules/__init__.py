"""Decides, from what a server can know, who does how much, at which level, before the next aggregation."""

from acesim.schedules.ace import AceSchedule, AceState
from acesim.schedules.attention import Attention, AttentionState
from acesim.schedules.fixed import Fixed

__all__ = ["AceSchedule", "AceState", "Attention", "AttentionState", "Fixed"]
