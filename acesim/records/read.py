"""Finds runs on disk again, and counts their events again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from acesim.records.fold import outside
from acesim.records.rows import BYTE_PARTS, CUMULATIVE
from acesim.records.store import (
    CELLS,
    EVENTS,
    MANIFEST,
    METRICS,
    MODEL,
    PROGRESS,
    STUDY,
    listed,
    read_json,
    read_manifest,
    unreadable,
)
from acesim.scenario.errors import ResultMissing

Places = str | Path | Sequence[str | Path]


class UnusableRun(UserWarning):
    """A run folder that was passed over, and why."""


@dataclass(frozen=True)
class RunRecord:
    """One finished run: its folder and its manifest; the tables are read when asked for."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def label(self) -> str:
        """The policy's label, unique in a study."""
        return str(self.manifest["label"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.manifest["seed"])

    def metrics(self) -> pd.DataFrame:
        """Return a row per evaluation (acesim.records.rows.MetricRow)."""
        return pd.read_parquet(self.folder / METRICS)

    def events(self) -> pd.DataFrame:
        """Return a row per event (acesim.records.rows.Event), in the order they were emitted."""
        parts = sorted((self.folder / EVENTS).glob("part-*.parquet"))
        if not parts:
            raise ResultMissing(f"{self.folder / EVENTS}: no events; run the scenario again with --fresh")
        return pd.concat([pq.read_table(part).to_pandas() for part in parts], ignore_index=True)

    def model(self) -> np.ndarray:
        """Return the cloud server's final weights [P]."""
        with np.load(self.folder / MODEL) as stored:
            return np.asarray(stored["weights"])


class Found(NamedTuple):
    """The finished runs under some folders, and a line for every run that cannot be used."""

    records: list[RunRecord]
    faults: list[str]


def find(places: Places) -> Found:
    """Look for runs in and below folders: a results, study, label or run folder, or several of them.

    Runs come in the order of `places`, then as study.json lists the labels, then by seed.  A run that failed,
    is not finished or cannot be read is a line in `faults`, never an end.
    raises   ResultMissing when a folder is not there
    """
    found = Found([], [])
    seen = set()
    for place in _listed(places):
        for folder in _run_folders(place):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                _sort_in(folder, found)
    return found


def load(places: Places) -> list[RunRecord]:
    """Return the finished runs under some folders; the others are warned of by name (UnusableRun).

    raises   ResultMissing when there is none
    """
    found = find(places)
    for fault in found.faults:
        warnings.warn(fault, UnusableRun, stacklevel=2)
    if not found.records:
        raise ResultMissing(missing(places, found.faults))
    return found.records


def missing(places: Places, faults: Sequence[str]) -> str:
    """Say that nothing usable was found, why, and what would make it."""
    shown = ", ".join(str(place) for place in _listed(places))
    reasons = "".join(f"\n  {fault}" for fault in faults)
    return f"{shown}: no finished run found; `acesim run SCENARIO --out FOLDER` makes them{reasons}"


def _listed(places: Places) -> list[Path]:
    return [Path(places)] if isinstance(places, (str, Path)) else [Path(place) for place in places]


def _run_folders(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        raise ResultMissing(f"{place}: no such folder; `acesim run SCENARIO --out FOLDER` makes results")
    if _is_run(place):
        return iter((place,))
    order = _label_order(place)
    folders = {path.parent for name in (MANIFEST, EVENTS, PROGRESS) for path in place.rglob(name)
               if CELLS not in path.relative_to(place).parts}
    return iter(sorted(folders, key=lambda folder: (order.get(folder.parent, len(order)), str(folder.parent),
                                                    _seed_of(folder), folder.name)))


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (MANIFEST, EVENTS, PROGRESS))


def _seed_of(folder: Path) -> int:
    digits = folder.name.removeprefix("seed-")
    return int(digits) if digits.isdecimal() else -1


def _label_order(place: Path) -> dict[Path, int]:
    """Number the label folders below `place` as the studies' own lists have them."""
    order: dict[Path, int] = {}
    for path in sorted(place.rglob(STUDY)):
        for run in listed(read_json(path) or {}):
            order.setdefault((path.parent / run["folder"]).parent, len(order))
    return order


def _sort_in(folder: Path, found: Found) -> None:
    manifest = read_manifest(folder)
    if manifest is None:
        cause = "its manifest.json cannot be read" if (folder / MANIFEST).exists() else "it was not finished"
        found.faults.append(f"{folder}: passed over: {cause}; run the scenario again to complete it")
    elif manifest["status"] != "done":
        error = f": {manifest['error']}" if manifest.get("error") else ""
        found.faults.append(f"{folder}: passed over: {manifest['status']}{error}")
    elif why := unreadable(folder):
        found.faults.append(f"{folder}: passed over: {why}; run the scenario again to complete it")
    else:
        found.records.append(RunRecord(folder, manifest))


def refold(events: pd.DataFrame, workers: int, regions: int,
           tier: Sequence[str] | None = None) -> pd.DataFrame:
    """Count stored events again: a row per evaluation, with the columns of CUMULATIVE, `round` and `time_s`.

    The same figures, bit for bit, as `Fold` gave while the run went on: sums add in the same order.
    """
    message = events[list(BYTE_PARTS)].sum(axis=1).to_numpy()
    kind, who = events["kind"].to_numpy(str), events["who"].to_numpy()
    own, wait_s = who < workers, events["wait_s"].to_numpy()
    sent = np.isin(kind, ("upload", "download"))
    leaves = events["peer"].to_numpy() == workers + regions
    leaves &= np.asarray(outside(workers, regions, tier))[np.clip(who, 0, workers + regions)]
    cut_short = (kind == "lost") & (events["name"].to_numpy(str) == "download")
    down = np.where(cut_short, events["value"], 0).astype(np.int64) + np.where(kind == "download", message, 0)
    waited = (kind == "compute") & ~np.isnan(wait_s)
    columns = {
        "local_steps": np.where(kind == "compute", events["steps"], 0),
        "bytes_up": np.where((kind == "upload") & own, message, 0),
        "bytes_down": np.where((kind == "download") & own, message, 0),
        "region_bytes_up": np.where((kind == "upload") & ~own, message, 0),
        "region_bytes_down": np.where((kind == "download") & ~own, message, 0),
        "link_bytes": np.where(sent, message * events["links"].to_numpy(), 0),
        "egress_bytes": np.where(leaves, down, 0),
        "energy_joules": events["joules"].to_numpy(),
        "retransmitted_bytes": np.where(sent, events["retransmitted_bytes"], 0),
        "waited_s": np.where(waited, wait_s, 0.0),
        "waits": waited.astype(np.int64),
    }
    counted = pd.DataFrame({name: np.cumsum(column) for name, column in columns.items()})
    counted["sync_delay_s"] = counted.pop("waited_s") / counted.pop("waits").replace(0, np.nan)
    drift = np.where((kind == "figure") & (events["name"].to_numpy(str) == "drift"), events["value"], np.nan)
    counted["drift"] = pd.Series(drift).ffill()
    at = np.flatnonzero(kind == "evaluate")
    rows = counted.iloc[at][list(CUMULATIVE)]
    rows.insert(0, "time_s", events["end_s"].to_numpy()[at])
    rows.insert(0, "round", events["round"].to_numpy()[at])
    return rows.reset_index(drop=True)
