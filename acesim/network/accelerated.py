"""The compiled twin of `Nested`'s arithmetic: the same sums in the same order, so the same bits, only sooner.

It is compiled by numba where that is installed (`pip install "acesim[fast]"`).  ACESIM_ACCELERATOR in the environment
says when: "auto" (default) once a network has needed so many solutions, and so large ones, that loading it pays, "on"
from the first solution, "off" never.  As results do not depend on it, nothing records which way was gone.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
from collections.abc import Callable
from functools import cache
from typing import cast

from acesim.scenario.errors import PolicyError

Walk = Callable[..., float]

VARIABLE = "ACESIM_ACCELERATOR"
CHOICES = ("auto", "on", "off")
PAYS = 1_000_000
"""Flows solved for, those of every solution, after which loading the compiled twin pays, with "auto": it takes a
second, where nothing is cached ten, and 100 MB of memory for good."""

FOR_EVER = 2.0**52
"""Steps that no group goes on for without a completion: what is slower stands still."""


def compiled(solved: int, setting: str | None) -> Walk | None:
    """Return the compiled `walk`, None where the plain way is to be gone.

    solved      flows that this network has solved for so far
    setting     "auto", "on" or "off"; None: as the environment says
    raises      PolicyError for a setting that is none, or "on" where numba is not installed or cannot compile
    """
    setting = setting or _environment()
    if solved < _least(setting):
        return None
    walk, problem = _walk()
    if problem and setting == "on":
        raise PolicyError(f"{VARIABLE} = 'on', but numba cannot compile here ({problem}): set NUMBA_CACHE_DIR to a "
                          f"folder that can be written to, or {VARIABLE} to auto")
    return walk


@cache
def _environment() -> str:
    return os.environ.get(VARIABLE, "auto")


@cache
def _least(setting: str) -> float:
    """Return how many flows are solved for the plain way before the compiled twin is taken."""
    if setting not in CHOICES:
        raise PolicyError(f"{VARIABLE} = {setting!r}: must be one of {', '.join(CHOICES)}")
    there = importlib.util.find_spec("numba") is not None
    if setting == "on" and not there:
        raise PolicyError(f"{VARIABLE} = 'on', but numba is not installed: pip install 'acesim[fast]', "
                          f"or set it to auto")
    return {"on": 0, "auto": PAYS if there else math.inf, "off": math.inf}[setting]


@cache
def _walk() -> tuple[Walk | None, str]:
    """Return (the compiled twin, why there is none): numba wants a folder to keep what it has compiled."""
    try:
        module = importlib.import_module("acesim.network.compiled")
    except (RuntimeError, ImportError) as problem:  # a numba that does not go with this numpy says so on import
        return None, str(problem)
    return cast(Walk, module.walk), ""
