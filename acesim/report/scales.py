"""The unit in which a table or a figure tells times and bytes: the one in which its largest can be read."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """A unit: how it is called as a column, in short, and what it multiplies by."""

    name: str
    short: str
    factor: float


HOURS, MINUTES, SECONDS = Scale("hours", "h", 1 / 3600), Scale("minutes", "min", 1 / 60), Scale("seconds", "s", 1.0)
TERABYTES, GIGABYTES, MEGABYTES = Scale("TB", "TB", 1e-3), Scale("GB", "GB", 1.0), Scale("MB", "MB", 1e3)


def time_scale(longest_s: float) -> Scale:
    """Return the unit for times up to `longest_s`; hours where that is not known.

    >>> [time_scale(each).short for each in (20.0, 1500.0, 7200.0, float("nan"))]
    ['s', 'min', 'h', 'h']
    """
    return SECONDS if longest_s < 120 else MINUTES if longest_s < 7200 else HOURS


def size_scale(most_gb: float, rate: bool = False) -> Scale:
    """Return the unit for sizes up to `most_gb`, by which they are multiplied as GB; TB where that is not known.

    rate   of something that is told a round: never in TB

    >>> [size_scale(each).name for each in (0.2, 85.0, 4e4)], size_scale(4e4, rate=True).name
    (['MB', 'GB', 'TB'], 'GB')
    """
    return MEGABYTES if most_gb < 1 else GIGABYTES if rate or most_gb < 1000 else TERABYTES
