"""Gives gradients, local updates and scores; knows nothing of time."""
