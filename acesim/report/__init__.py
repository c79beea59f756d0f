"""Turns rows into tables and figures."""
