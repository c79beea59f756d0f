"""Turns a vector into a payload with an honest byte count, and back."""
