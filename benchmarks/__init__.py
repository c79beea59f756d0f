"""Measurements of speed and memory; never part of the tests, because a clock is no judge on a busy machine."""
