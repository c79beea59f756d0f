"""Tables of the FCC's Measuring Broadband America: many lines in one file, in samples of 5 s."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping

import numpy as np

from acesim.network.files import FASTEST_MBPS, Recording
from acesim.scenario.errors import TraceError
from acesim.scenario.units import from_mbps, to_mbps

SAMPLE_S = 5.0
_SURPLUS = "\n"  # the name of no column
RAW = ("bytes_sec_interval", "bytes_sec")
"""Columns of the raw tables (bytes per second), the better one first: the other is the mean since the test began."""


def parse_fcc(path: str, text: str) -> list[Recording]:
    """Read every line of a table.

    Raw tables (curr_httpgetmt.csv, curr_webget.csv) have a row for each sample of 5 s, and a recording for each
    unit_id and target; the compact form has a row for each line: name,v0_mbps,v1_mbps,...
    raises   TraceError for a missing column, a row of more fields than columns, or a rate that is none
    """
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True, restkey=_SURPLUS)
    heads = reader.fieldnames = [head.strip() for head in reader.fieldnames or []]
    if heads and heads[0] == "name" and all(head.endswith("_mbps") for head in heads[1:]):
        return [_recording(path, name, rates) for name, rates in _compact(path, reader)]
    column = next((name for name in RAW if name in heads), None)
    if column is None:
        raise TraceError(path, 1, f"columns are {','.join(heads)[:60] or 'missing'}: an FCC table has bytes_sec, or "
                                  f"name,v0_mbps,v1_mbps,...")
    lines: dict[str, list[float]] = {}
    for number, row in _rows(path, reader):
        name = "@".join(str(row[key]) for key in ("unit_id", "target") if row.get(key))
        lines.setdefault(name or "all", []).append(_rate(path, number, row[column], to_mbps(1.0)))
    if not lines:
        raise TraceError(path, None, "has no rows")
    return [_recording(path, name, rates) for name, rates in lines.items()]


def _rows(path: str, reader: csv.DictReader[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield (line number, fields by column)."""
    for row in reader:
        if _SURPLUS in row:
            raise TraceError(path, reader.line_num, f"has {len(row[_SURPLUS])} fields more than the first line has "
                                                    f"columns")
        yield reader.line_num, row


def _compact(path: str, reader: csv.DictReader[str]) -> Iterator[tuple[str, list[float]]]:
    """Yield (name, rates) of each row; empty fields at its end are those of a line that ends sooner than others."""
    seen: dict[str, int] = {}
    for number, fields in _rows(path, reader):
        values = [(value or "").strip() for name, value in fields.items() if name != "name"]
        while values and not values[-1]:
            values.pop()
        if not values:
            raise TraceError(path, number, "has no rates")
        if fields["name"] in seen:
            raise TraceError(path, number, f"name = {fields['name']}: is that of line {seen[fields['name']]}, too; "
                                           f"each needs its own")
        seen[fields["name"]] = number
        yield fields["name"], [from_mbps(_rate(path, number, value)) for value in values]


def _rate(path: str, line: int, text: str | None, mbps: float = 1.0) -> float:
    """Read a rate; mbps: what its unit is in Mbit/s."""
    try:
        value = float(text or "")
    except ValueError:
        raise TraceError(path, line, f"{text or 'an empty field'}: every rate must be a number") from None
    if not (math.isfinite(value) and value >= 0):
        raise TraceError(path, line, f"{text}: a rate must be finite and >= 0")
    if value * mbps > FASTEST_MBPS:
        raise TraceError(path, line, f"{text}: more than {FASTEST_MBPS:g} Mbps; is the column in another unit?")
    return value


def _recording(path: str, name: str, rates: list[float]) -> Recording:
    edges_s = np.arange(len(rates) + 1, dtype=np.float64) * SAMPLE_S
    return Recording(f"{path}#{name}", edges_s, np.array(rates), None)
