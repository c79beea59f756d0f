"""Trace files: CSV with the columns t_s,down_mbps[,up_mbps], a row where the rates change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.network.traces import End, Rates, Trace, cut, resample, turned
from acesim.scenario.errors import TraceError
from acesim.scenario.units import from_mbps

COLUMNS = ("t_s", "down_mbps", "up_mbps")
FASTEST_MBPS = 1e6
"""A terabit per second: above it the column is taken to hold another unit."""


class Recording(NamedTuple):
    """What a trace file holds.

    file      its name
    edges_s   float64 [N + 1]; the last row is held as long as the one before it
    down, up  float64 [N] bytes per second; up is None where the file has no such column
    """

    file: str
    edges_s: NDArray[np.float64]
    down: Rates
    up: Rates | None


def read_csv(file: str | Path) -> Recording:
    """Read a trace file.

    Empty lines and lines that begin with # are skipped.  A rate holds until the next row; times need not be
    even.
    raises   TraceError with file, line and rule: no such file, unknown columns, a wrong number of fields,
             times that do not ascend, rates that are no numbers, negative, or too high for their unit
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise TraceError(str(file), None, f"cannot be read: {fault}") from fault
    lines = _lines(text)
    number, header = next(lines, (0, []))
    if tuple(header) not in (COLUMNS[:2], COLUMNS):
        raise TraceError(str(file), number or None,
                         f"columns are {','.join(header) or 'missing'}: the first line must be t_s,down_mbps "
                         f"or t_s,down_mbps,up_mbps")
    rows = [_row(str(file), number, fields, len(header)) for number, fields in lines]
    return _recording(str(file), rows, [number for number, _ in _lines(text)][1:])


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every line that says something."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, [field.strip() for field in line.split(",")]


def _row(file: str, line: int, fields: list[str], columns: int) -> list[float]:
    if len(fields) != columns:
        raise TraceError(file, line, f"has {len(fields)} fields: must have {columns}, as the first line")
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise TraceError(file, line, f"{','.join(fields)}: every field must be a number") from None
    for name, value in zip(COLUMNS, values, strict=False):
        if not math.isfinite(value) or (name != "t_s" and value < 0):
            rule = "must be finite" if name == "t_s" else "must be finite and >= 0"
            raise TraceError(file, line, f"{name} = {value:g}: {rule}")
        if name != "t_s" and value > FASTEST_MBPS:
            raise TraceError(file, line, f"{name} = {value:g}: more than {FASTEST_MBPS:g} Mbps; is the "
                                         f"column in bit/s or kbit/s? Divide it by 10^6 or 10^3")
    return values


def _recording(file: str, rows: list[list[float]], lines: list[int]) -> Recording:
    if len(rows) < 2:
        raise TraceError(file, None, f"has {len(rows)} rows: needs 2 or more, so that the last has a length")
    table = np.array(rows)
    gaps = np.diff(table[:, 0])
    if (gaps <= 0).any():
        row = int(np.argmax(gaps <= 0)) + 1
        raise TraceError(file, lines[row],
                         f"t_s = {table[row, 0]:g} after {table[row - 1, 0]:g}: times must ascend")
    edges_s = np.append(table[:, 0], table[-1, 0] + gaps[-1]) - table[0, 0]
    rates = from_mbps(1.0) * table
    return Recording(file, edges_s, rates[:, 1], rates[:, 2] if table.shape[1] == 3 else None)


def as_trace(recording: Recording, direction: str, step_s: float, offset_s: float = 0.0,
             end: End = "loop") -> Trace:
    """Return one direction of a recording on the common grid, with the same bytes.

    direction   "down" or "up"
    offset_s    where in the recording to start; with end "loop" what lies before comes last
    raises      TraceError when the column is missing, the offset lies outside, or the rates are all zero
    """
    rates = recording.down if direction == "down" else recording.up
    if rates is None:
        raise TraceError(recording.file, 1, "has no column up_mbps: add one, or give the access an uplink")
    length_s = float(recording.edges_s[-1])
    if not 0 <= offset_s < length_s:
        raise TraceError(recording.file, None, f"offset = {offset_s:g} s: must lie in the trace, which is "
                                               f"{length_s:g} s long")
    if end == "loop":
        edges_s, rates = turned(recording.edges_s, rates, offset_s)
    else:
        edges_s, rates = cut(recording.edges_s, rates, offset_s)
    return Trace(step_s, resample(rates, edges_s, step_s), end, f"{recording.file} ({direction})")
