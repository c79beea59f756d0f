"""Plays a policy on a fleet and a network on the SimPy clock and emits event rows."""
