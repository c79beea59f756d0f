"""Measured times of a local step, in place of those reckoned from nominal FLOPs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acesim.fleet.devices import devices, unknown_rule
from acesim.scenario.errors import Problem, TraceError
from acesim.scenario.strict import read_json

if TYPE_CHECKING:
    from acesim.scenario.schema import Scenario

ENOUGH = 5  # measurements from which their spread is taken for the device's jitter
COLUMNS = ("device", "seconds_per_step")


class Measured(NamedTuple):
    """Mean time of a step, and standard deviation over mean; None: too few measurements to tell."""

    step_s: float
    jitter: float | None


def read(path: str) -> dict[str, Measured]:
    """Read measured times of a nominal local step, by device (the name of a profile) or by worker group.

    A CSV file with the columns device and seconds_per_step, a row a measurement; or a JSON file such as
    {"rk3588": 1.7, "n100": [1.5, 1.6, 1.4]}.  Several measurements give their mean; five or more their spread, too,
    which then is the jitter.
    raises   TraceError naming file, line and rule
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(path, None, f"cannot be read: {error}") from error
    found = dict(_from_json(path, text) if path.lower().endswith(".json") else _from_csv(path, text))
    if not found:
        raise TraceError(path, None, "no measurement; write for example device,seconds_per_step and then rk3588,1.7")
    return {name: _measured(times) for name, times in found.items()}


def _measured(times_s: Sequence[float]) -> Measured:
    mean_s = float(np.mean(times_s))
    return Measured(mean_s, float(np.std(times_s, ddof=1)) / mean_s if len(times_s) >= ENOUGH else None)


def _from_csv(path: str, text: str) -> Mapping[str, list[float]]:
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or tuple(word.strip() for word in rows[0]) != COLUMNS:
        raise TraceError(path, 1, f"must begin with the line {','.join(COLUMNS)}")
    found: dict[str, list[float]] = {}
    for line, row in enumerate(rows[1:], start=2):
        if row:
            if len(row) != len(COLUMNS):
                raise TraceError(path, line, f"{len(row)} values; a row has a device and its seconds_per_step")
            found.setdefault(row[0].strip(), []).append(_seconds(path, line, row[1]))
    return found


def _from_json(path: str, text: str) -> Iterator[tuple[str, list[float]]]:
    try:
        page = read_json(text)
    except json.JSONDecodeError as error:
        raise TraceError(path, error.lineno, f"not valid JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise TraceError(path, None, f"not valid JSON: {error}") from error
    if not isinstance(page, dict):
        raise TraceError(path, None, 'must be a mapping such as {"rk3588": 1.7}')
    for name, value in page.items():
        times = value if isinstance(value, list) else [value]
        if not times:
            raise TraceError(path, None, f"{name}: no measurement in the list")
        yield name, [_seconds(path, None, each, f"{name}: ") for each in times]


def _seconds(path: str, line: int | None, value: Any, subject: str = "") -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise TraceError(path, line, f"{subject}{value!r}: must be seconds, finite and > 0")
    return seconds


def check(scenario: Scenario) -> Iterator[Problem]:
    """Name what a scenario's calibration speaks of that is not there; a device it leaves out is reckoned."""
    path = scenario.calibration
    if path is None:
        return
    try:
        measured = read(path)
    except TraceError as error:
        yield Problem(("calibration",), path, error.within)
        return
    groups = [group.name for group in scenario.workers]
    for name in measured:
        if name not in devices() and name not in groups:
            yield Problem(("calibration",), path, f"{name}: neither a device nor a worker group: {unknown_rule(name)}")
    used = {*groups, *(group.device if isinstance(group.device, str) else group.device.like
                       for group in scenario.workers)}
    if not used & set(measured):
        yield Problem(("calibration",), path, f"measures {', '.join(measured)}, but no worker is one of these")
