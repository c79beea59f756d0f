"""Decides, from what a server can know, who does how much, at which level, before the next aggregation."""
