"""The grid of a sweep: a study for every combination of values, cached by content, and one tidy table of all.

    OUT/<scenario>/cells/<hash>/...        a cell, laid out like a study; the hash is of its scenario
    OUT/<scenario>/cells.csv, .parquet     a row per cell and label: the values, and what `compare` says
    OUT/<scenario>/sweep.json              which columns of the table were swept
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from acesim.records.orders import Order, arrange, cell_folder, orders_of
from acesim.records.read import RunRecord
from acesim.records.store import read_json, write_json
from acesim.report.layout import short_key, spelt
from acesim.scenario import Scenario
from acesim.scenario.errors import Problem, ResultMissing, ScenarioError
from acesim.study import Runner, Study, Watcher, choose_policies, execute, read_scenario, run_one

SWEEP, TABLE = "sweep.json", "cells"

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\D*?)\s*")


class Axis(NamedTuple):
    """One swept key.

    key       as --set takes it
    values    as --set takes them
    column    of the tidy table: the key, and the unit where the values have one
    numbers   the values without their unit; the values themselves where they are no numbers
    """

    key: str
    values: tuple[str, ...]
    column: str
    numbers: tuple[float | str, ...]


def parse_axis(text: str) -> Axis:
    """Read `key=low:high:log|lin:count` or `key=a,b,c`.

    raises   ScenarioError at `--over text`

    >>> parse_axis("workers.*.access.uplink=5Mbps:20Mbps:log:3").values
    ('5 Mbps', '10 Mbps', '20 Mbps')
    >>> parse_axis("policies.top-k.ratio=0.1,0.3").numbers
    (0.1, 0.3)
    >>> parse_axis("workers.xavier.access.uplink=5-200 Mbps,10-200 Mbps").numbers  # a range is no number
    ('5-200 Mbps', '10-200 Mbps')
    """
    key, equals, right = (part.strip() for part in text.rpartition("=") if part is not None)
    if not (key and equals and right):
        raise _wrong(text, "write key=low:high:log:count, key=low:high:lin:count or key=a,b,c")
    values = _spaced(text, right) if ":" in right else tuple(value.strip() for value in right.split(","))
    if not all(values) or len(set(values)) < len(values):
        raise _wrong(text, "every value must be there, and once only")
    return _axis(key, values)


def _wrong(text: str, rule: str) -> ScenarioError:
    return ScenarioError([Problem((), None, rule, f"--over {text}")])


def _spaced(text: str, right: str) -> tuple[str, ...]:
    parts = right.split(":")
    if len(parts) != 4 or parts[2] not in ("log", "lin") or not parts[3].isdecimal() or int(parts[3]) < 2:
        raise _wrong(text, "write low:high:log:count or low:high:lin:count, with a count of at least 2")
    ends = [_NUMBER.fullmatch(part) for part in parts[:2]]
    if ends[0] is None or ends[1] is None or ends[0][2] != ends[1][2]:
        raise _wrong(text, "both ends must be numbers of the same unit, for example 5Mbps:200Mbps:log:8")
    low, high = float(ends[0][1]), float(ends[1][1])
    if not low < high or (parts[2] == "log" and low <= 0):
        raise _wrong(text, "low must be less than high, and more than 0 for log")
    steps = (np.geomspace if parts[2] == "log" else np.linspace)(low, high, int(parts[3]))
    return tuple(f"{value:.6g} {ends[0][2]}".rstrip() for value in steps)


def _axis(key: str, values: tuple[str, ...]) -> Axis:
    found = [_NUMBER.fullmatch(value) for value in values]
    units = {match[2] if match else None for match in found}
    if len(units) != 1 or None in units:
        return Axis(key, values, key, values)
    unit = units.pop()
    return Axis(key, values, f"{key} ({unit})" if unit else key, tuple(float(match[1]) for match in found if match))


class Cell(NamedTuple):
    """One point of the grid: its scenario, and where its results are."""

    place: dict[str, float | str]
    scenario: Scenario
    folder: Path


Bundle = tuple[Axis, ...]
"""Keys that change together."""


def told(bundle: Bundle) -> Axis:
    """Return what stands for keys that change together: the first, unless its values alone leave points alike.

    >>> told((Axis("a.x", ("1", "1"), "a.x", (1, 1)), Axis("b.x", ("1", "2"), "b.x", (1, 2))))
    Axis(key='a.x, b.x', values=('1', '1 / 2'), column='a.x, b.x', numbers=('1', '1 / 2'))
    """
    if len(set(bundle[0].values)) == len(bundle[0].values):
        return bundle[0]
    name, rows = ", ".join(axis.key for axis in bundle), zip(*(axis.values for axis in bundle), strict=True)
    values = tuple(row[0] if len(set(row)) == 1 else " / ".join(row) for row in rows)
    return Axis(name, values, name, values)


def own_bundles(scenario: Scenario) -> list[Bundle]:
    """Return what a scenario's own `sweep` section varies."""
    return [tuple(_axis(key, tuple(_as_set(value) for value in values)) for key, values in axis.items())
            for axis in scenario.sweep]


def _as_set(value: object) -> str:
    """Spell a value as --set takes it.

    >>> _as_set(True), _as_set(0.001), _as_set("5 Mbps")
    ('true', '0.001', '5 Mbps')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def cells(scenario: str | Path, bundles: Sequence[Bundle], overrides: Sequence[str], out: str | Path,
          plugins: Sequence[str | Path] = ()) -> Iterator[Cell]:
    """Give every combination of values, the last bundle fastest."""
    for rows in product(*(range(len(bundle[0].values)) for bundle in bundles)):
        chosen = [(axis, row) for bundle, row in zip(bundles, rows, strict=True) for axis in bundle]
        settings = [f"{axis.key}={axis.values[row]}" for axis, row in chosen]
        loaded = read_scenario(scenario, [*overrides, *settings], plugins).model_copy(update={"sweep": ()})
        heads = [(told(bundle), row) for bundle, row in zip(bundles, rows, strict=True)]
        place = {axis.column: axis.numbers[row] for axis, row in [*heads, *chosen]}
        yield Cell(place, loaded, cell_folder(Path(out) / loaded.name, loaded))


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    path     the folder of its scenario
    keys     columns of the table that were swept
    table    a row per cell and label: the values swept, the cell's folder, and the columns of `compare`
    faults   a line for every run that failed or is not finished
    records  the runs; () where the table was read back
    scenario   that of the first cell, as its manifest has it
    """

    path: Path
    keys: tuple[str, ...]
    table: pd.DataFrame
    faults: tuple[str, ...] = ()
    records: tuple[RunRecord, ...] = ()
    scenario: Mapping[str, Any] | None = None

    def plot(self, out: str | Path, policies: Sequence[str] = ()) -> Path:
        """Draw the curves into a file (.svg, .png, .pdf); for one or two swept keys; of these policies alone."""
        from acesim.report import figures  # matplotlib takes half a second, which runs need not wait for
        labels = figures.chosen(self.table["label"].tolist(), policies)
        return figures.draw_sweep(self.table[self.table["label"].isin(labels)], self.keys, out, self.scenario)


def sweep(scenario: str | Path, over: Sequence[str] = (), policies: Sequence[str] | None = None,
          seeds: Sequence[int] | None = None, overrides: Sequence[str] = (), jobs: int | None = None,
          out: str | Path = "results", fresh: bool = False, plugins: Sequence[str | Path] = (),
          on_progress: Watcher | None = None, runner: Runner = run_one) -> Sweep:
    """Run a scenario for every combination of the values in `over`; cells that are done already are reused.

    over     see `parse_axis`; none: the scenario's own `sweep`.  The other arguments are those of `acesim.study.run`
    raises   ResultMissing when no run of any cell was finished
    """
    bundles = [(parse_axis(text),) for text in over] or own_bundles(read_scenario(scenario, overrides, plugins))
    keys = [axis.key for bundle in bundles for axis in bundle]
    if not keys or len(set(keys)) < len(keys):
        raise _wrong(", ".join(over), "name at least one key, and each key once; or write a `sweep` section")
    grid = list(cells(scenario, bundles, overrides, out, plugins))
    if len({cell.folder for cell in grid}) < len(grid):
        raise _wrong(", ".join(over), "two of the values mean the same scenario; name each once")
    todo: list[Order] = []
    for cell in grid:
        chosen = choose_policies(cell.scenario, policies, plugins)
        where = ", ".join(f"{short_key(column)} {spelt(cell.place[column])}" for column in _columns(bundles))
        orders = [order._replace(where=where)
                  for order in orders_of(cell.scenario, chosen, seeds, cell.folder, plugins)]
        todo += arrange(orders, cell.folder, fresh)
    execute(todo, jobs, on_progress, runner)
    return _gathered(Path(out) / grid[0].scenario.name, bundles, grid)


def _columns(bundles: Sequence[Bundle]) -> tuple[str, ...]:
    return tuple(told(bundle).column for bundle in bundles)


def _gathered(path: Path, bundles: Sequence[Bundle], grid: Sequence[Cell]) -> Sweep:
    tables, faults, records = [], [], []
    for cell in grid:
        study = Study(cell.folder)
        faults += study.faults
        records += study.records
        if study.records:
            table = study.compare()
            for name in reversed([*cell.place, "cell"]):
                table.insert(0, name, (cell.place | {"cell": cell.folder.name})[name])
            tables.append(table)
    if not tables:
        raise ResultMissing("\n".join([f"{path}: no run of the sweep was finished", *faults]))
    whole = pd.concat(tables, ignore_index=True)
    whole.attrs = {}
    keys = _columns(bundles)
    over = {axis.key: list(axis.values) for bundle in bundles for axis in bundle}
    scenario = records[0].manifest["scenario"]
    write_json(path / SWEEP, {"keys": list(keys), "over": over, "scenario": scenario})
    whole.to_csv(path / f"{TABLE}.csv", index=False)
    whole.to_parquet(path / f"{TABLE}.parquet", index=False)
    return Sweep(path, keys, whole, tuple(faults), tuple(records), scenario)


def load_sweep(path: str | Path) -> Sweep:
    """Return a sweep from its scenario's folder; ResultMissing where there is none."""
    folder = Path(path)
    known = read_json(folder / SWEEP)
    if known is None or not (folder / f"{TABLE}.parquet").is_file():
        raise ResultMissing(f"{folder}: no sweep here; `acesim sweep SCENARIO --over key=low:high:log:count` makes one")
    return Sweep(folder, tuple(known["keys"]), pd.read_parquet(folder / f"{TABLE}.parquet"),
                 scenario=known.get("scenario"))
