"""Gives gradients, local updates and scores; knows nothing of time."""

from acesim.learning.tasks import build, check

__all__ = ["build", "check"]
