"""Turns a YAML file into a frozen, fully checked `Scenario` in SI units, or says exactly what is wrong."""
