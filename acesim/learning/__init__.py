"""Gives gradients, local updates and scores; knows nothing of time."""

from acesim.learning.tasks import build

__all__ = ["build"]
