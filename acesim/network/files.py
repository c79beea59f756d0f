"""Recordings, and the two formats of columns: CSV with units, and seconds with Mbit/s as Pensieve has them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.network.traces import End, Rates, Trace, cut, played_on, resample, steps_of, turned
from acesim.scenario.errors import TraceError
from acesim.scenario.units import from_mbps, to_mbps

TIMES: Mapping[str, float] = MappingProxyType({"s": 1.0, "ms": 1e-3})
MBPS: Mapping[str, float] = MappingProxyType({"bps": 1e-6, "kbps": 1e-3, "mbps": 1.0, "gbps": 1e3})
FASTEST_MBPS = 1e6
"""A terabit per second: above it the column is taken to hold another unit."""
LONGEST_S = 1e10
"""Three centuries: a recording that is longer has times in another unit."""


class Recording(NamedTuple):
    """What a trace file holds.

    file      its name; path#name for one of several in a file
    edges_s   float64 [N + 1]; the last row is held as long as the one before it
    down, up  float64 [N] bytes per second; None where the file has no such column: one of them may be missing
    """

    file: str
    edges_s: NDArray[np.float64]
    down: Rates | None
    up: Rates | None

    @property
    def first(self) -> Rates:
        """The downlink, or the only direction there is."""
        rates = self.up if self.down is None else self.down
        if rates is None:
            raise TraceError(self.file, None, "has no rates")
        return rates

    def stepped(self, step_s: float) -> Recording:
        """Return the same bytes on a grid of equal steps, the last of which may be shorter.  Raises TraceError for
        steps without number."""
        length_s = float(self.edges_s[-1])
        check_steps(self.file, length_s, step_s)
        edges_s = np.append(np.arange(steps_of(length_s, step_s), dtype=np.float64) * step_s, length_s)
        down, up = (None if each is None else resample(each, self.edges_s, step_s) for each in (self.down, self.up))
        return Recording(self.file, edges_s, down, up)


MOST_STEPS = 100_000_000


def check_steps(file: str, length_s: float, step_s: float) -> None:
    """Raise TraceError where a recording would be cut into more steps than memory holds."""
    if not length_s / step_s <= MOST_STEPS:
        raise TraceError(file, None, f"is {length_s:g} s long: at steps of {step_s:g} s more than {MOST_STEPS:,} of "
                                     f"them; take longer steps, or cut the file")


def read_csv(file: str | Path) -> Recording:
    """Read a CSV trace file: `parse_csv` of what is in it."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise TraceError(str(file), None, f"cannot be read: {fault}") from fault
    return parse_csv(str(file), text)


def parse_csv(file: str, text: str) -> Recording:
    """Read the columns t_s,down_mbps[,up_mbps] or t_s,up_mbps; t_ms, and rates in bps, kbps or Gbps, are understood
    as well.

    Empty lines and lines that begin with # are skipped.  A rate holds until the next row; times need not be
    even.
    raises   TraceError with file, line and rule: no such file, unknown columns, a wrong number of fields,
             times that do not ascend, rates that are no numbers, negative, or too high for their unit
    """
    lines = [(number, [field.strip() for field in line.split(",")]) for number, line in _lines(text)]
    number, header = lines[0] if lines else (0, [])
    units = _units(header)
    if units is None:
        raise TraceError(file, number or None,
                         f"columns are {','.join(header) or 'missing'}: the first line must be t_s,down_mbps, "
                         f"t_s,up_mbps or t_s,down_mbps,up_mbps (units: {', '.join((*TIMES, *MBPS))})")
    rows = [_row(file, number, fields, header, units) for number, fields in lines[1:]]
    found = _recording(file, rows, [number for number, _ in lines[1:]])
    return found if header[1].startswith("down") else found._replace(down=None, up=found.down)


def parse_pensieve(file: str, text: str) -> Recording:
    """Read two columns, seconds and Mbit/s.  A rate holds until the next row.

    Differs: Pensieve's own player lets a rate hold *up to* its time, which drops the first row.
    raises   TraceError as `parse_csv`
    """
    lines = [(number, line.split()) for number, line in _lines(text)]
    heads = ["t_s", "Mbit/s"]
    rows = [_row(file, number, fields, heads, [1.0, 1.0]) for number, fields in lines]
    return _recording(file, rows, [number for number, _ in lines])


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of every line that says something."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _units(header: Sequence[str]) -> list[float] | None:
    """Return the factor of each column to seconds or Mbit/s; None where the columns are not known.

    >>> _units(["t_ms", "down_kbps"]), _units(["t_s", "up_mbps"]), _units(["time", "rate"])
    ([0.001, 0.001], [1.0, 1.0], None)
    """
    names, units = zip(*(head.partition("_")[::2] for head in header), strict=True) if header else ((), ())
    if names not in (("t", "down"), ("t", "up"), ("t", "down", "up")):
        return None
    factors = [known.get(unit.lower()) for known, unit in zip((TIMES, MBPS, MBPS), units, strict=False)]
    return [each for each in factors if each is not None] if None not in factors else None


def _row(file: str, line: int, fields: Sequence[str], heads: Sequence[str], units: Sequence[float]) -> list[float]:
    if len(fields) != len(heads):
        raise TraceError(file, line, f"has {len(fields)} fields: must have {len(heads)}, as the first line")
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise TraceError(file, line, f"{','.join(fields)}: every field must be a number") from None
    for place, (name, value, factor) in enumerate(zip(heads, values, units, strict=True)):
        if not math.isfinite(value) or (place and value < 0):
            rule = "must be finite and >= 0" if place else "must be finite"
            raise TraceError(file, line, f"{name} = {value:g}: {rule}")
        if place and value * factor > FASTEST_MBPS:
            raise TraceError(file, line, f"{name} = {value:g}: more than {FASTEST_MBPS:g} Mbps; is the "
                                         f"column in bit/s or kbit/s? Divide it by 10^6 or 10^3")
    return [value * factor for value, factor in zip(values, units, strict=True)]


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
    if edges_s[-1] > LONGEST_S:
        raise TraceError(file, lines[-1], f"t_s = {table[-1, 0]:g} after {table[0, 0]:g} at the beginning: more than "
                                          f"{LONGEST_S:g} s; are the times in ms or ns?")
    rates = from_mbps(1.0) * table
    return Recording(file, edges_s, rates[:, 1], rates[:, 2] if table.shape[1] == 3 else None)


def written_csv(recording: Recording) -> str:
    """Spell a recording as CSV, every digit kept.

    >>> print(written_csv(Recording("x", np.array([0.0, 1.0, 3.0]), np.array([1e6, 2e6]), None)), end="")
    t_s,down_mbps
    0.0,8.0
    1.0,16.0
    2.0,16.0
    """
    known = {"down_mbps": recording.down, "up_mbps": recording.up}
    ways = {name: rates for name, rates in known.items() if rates is not None}
    rows = (",".join(map(repr, row)) for row in _rows(recording, [*ways.values()]))
    return "\n".join([",".join(["t_s", *ways]), *rows]) + "\n"


def written_pensieve(recording: Recording) -> str:
    """Spell the downlink, or the only direction there is, in two columns, seconds and Mbit/s."""
    return "".join(f"{at_s!r} {rate!r}\n" for at_s, rate in _rows(recording, [recording.first]))


def _rows(recording: Recording, ways: Sequence[Rates]) -> Iterator[tuple[float, ...]]:
    """Yield (seconds, Mbit/s, ...).

    The last row is read as long as the one before it; where it is not, it is spelt as two halves.
    """
    starts_s, spans_s = recording.edges_s[:-1], np.diff(recording.edges_s)
    columns = [starts_s, *(to_mbps(1.0) * way for way in ways)]
    if len(spans_s) < 2 or not math.isclose(spans_s[-1], spans_s[-2], rel_tol=1e-9):
        columns = [np.append(column, column[-1]) for column in columns]
        columns[0][-1] = starts_s[-1] + spans_s[-1] / 2
    return zip(*(column.tolist() for column in columns), strict=True)


def as_trace(recording: Recording, direction: str, step_s: float, offset_s: float = 0.0,
             end: End = "loop") -> Trace:
    """Return one direction of a recording on the common grid, with the same bytes; a repeating one is played on until
    its last step is full.

    direction   "down" or "up"
    offset_s    where in the recording to start; with end "loop" what lies before comes last
    raises      TraceError when the column is missing, the offset lies outside, or the rates are all zero
    """
    rates = recording.down if direction == "down" else recording.up
    if rates is None:
        raise TraceError(recording.file, 1, f"has no column {direction}_mbps: add one, or give the access a rate: "
                                            f"{direction}link: 20 Mbps")
    length_s = float(recording.edges_s[-1])
    if not 0 <= offset_s < length_s:
        raise TraceError(recording.file, None, f"offset = {offset_s:g} s: must lie in the trace, which is "
                                               f"{length_s:g} s long")
    check_steps(recording.file, length_s, step_s)
    if end == "loop":
        edges_s, rates = played_on(*turned(recording.edges_s, rates, offset_s), step_s)
    else:
        edges_s, rates = cut(recording.edges_s, rates, offset_s)
    return Trace(step_s, resample(rates, edges_s, step_s), end, f"{recording.file} ({direction})")
