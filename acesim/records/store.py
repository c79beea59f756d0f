"""Writes a run to its folder while it happens; memory does not grow with the length of the run.

    manifest.json           last, and in one stroke: where it says "done", the run is whole
    metrics.parquet         a row per evaluation (MetricRow)
    events/part-00000.parquet ...   a row per event (Event), in the order they were emitted
    model.npz               "weights": the cloud server's model at the end
    progress.json           the last metric row, while the run goes on
    failure.txt             the traceback of a run that an unforeseen error ended
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acesim.records.blocks import Later, Mixed
from acesim.records.rows import Event, MetricRow

MANIFEST, METRICS, EVENTS, MODEL = "manifest.json", "metrics.parquet", "events", "model.npz"
PROGRESS, FAILURE, STUDY = "progress.json", "failure.txt", "study.json"
CELLS = "cells"
"""The folder of a sweep's cells in a study's folder: each is a study of its own, not part of the one above."""

_KINDS: Mapping[str, Any] = {"label": str, "policy": dict, "seed": int, "status": str, "scenario": dict}
"""What a manifest holds at least."""
_COLUMN_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.dictionary(pa.int32(), pa.string())}


@cache
def schema_of(row_type: type) -> pa.Schema:
    """Return the Parquet schema of a row type; text columns are dictionaries.

    >>> schema_of(Event).field("values_bytes").type
    DataType(int64)
    """
    return pa.schema([(name, _COLUMN_TYPES[kind]) for name, kind in get_type_hints(row_type).items()])


def write_rows(path: Path, row_type: type, columns: Sequence[Sequence[Any]]) -> None:
    """Write the columns of a row type as one Parquet file, in one stroke."""
    schema = schema_of(row_type)
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    unfinished = path.with_name(path.name + ".part")
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), unfinished, compression="lz4", write_statistics=False,
                   use_dictionary=[field.name for field in schema if pa.types.is_dictionary(field.type)])
    os.replace(unfinished, path)


def _array(column: Sequence[Any] | np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return a column as Arrow holds it; `pa.array` would load pandas only to see that the column is none of its."""
    if not pa.types.is_dictionary(kind):
        return _plain(kind, np.ascontiguousarray(column, kind.to_pandas_dtype()))
    words, known = np.asarray(column, None if len(column) else "U1"), list[bytes]()
    codes, left = np.empty(len(words), np.int32), np.arange(len(words))
    while left.size:  # there are few different ones
        word = words[left[0]]
        same = words[left] == word
        codes[left[same]] = len(known)
        known.append(str(word).encode())
        left = left[~same]
    ends = np.cumsum([0, *map(len, known)], dtype=np.int32)
    spelt = pa.StringArray.from_buffers(len(known), pa.py_buffer(ends), pa.py_buffer(b"".join(known)))
    return pa.DictionaryArray.from_arrays(_plain(pa.int32(), codes), spelt)


def _plain(kind: pa.DataType, values: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file in one stroke: a reader sees the old one or the new one, never half of it.

    raises   ValueError when a number is NaN or infinite: JSON has neither, so the caller says null
    """
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a run's manifest, or None where there is none or it is not whole."""
    page = read_json(folder / MANIFEST)
    whole = page is not None and all(isinstance(page.get(name), kind) for name, kind in _KINDS.items())
    return page if whole else None


def listed(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that a study's page lists, without what is none."""
    runs = study.get("runs")
    return [run for run in runs if isinstance(run, dict) and isinstance(run.get("folder"), str)] \
        if isinstance(runs, list) else []


def unreadable(folder: Path) -> str | None:
    """Say why a finished run's metrics cannot be read; None where they can."""
    if not (folder / METRICS).is_file():
        return f"{METRICS} is missing"
    try:
        pq.read_table(folder / METRICS)
    except (OSError, pa.ArrowException) as error:
        return f"{METRICS} cannot be read: {str(error).splitlines()[0]}"
    return None


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON mapping, or None where there is none or it is broken."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


class RunWriter:
    """Takes the rows of one run and leaves a complete folder behind.

    folder       made if needed; what an earlier, unfinished run left in it is removed
    flush_rows   events kept in memory before a part is written

    Usable as a context: leaving it without `close` leaves no manifest, so nobody takes the run for finished.
    """

    def __init__(self, folder: str | Path, flush_rows: int = 20_000) -> None:
        self.folder = Path(folder)
        self._flush_rows = flush_rows
        self._parts = 0
        self._events: list[Event | Later] = []
        self._waiting = 0
        self.metrics: list[MetricRow] = []
        clear(self.folder)
        (self.folder / EVENTS).mkdir(parents=True)

    def event(self, event: Event) -> None:
        """Take one event."""
        self._events.append(event)
        self._count(1)

    def block(self, block: Later) -> None:
        """Take many events at once."""
        self._events.append(block)
        self._count(block.rows)

    def _count(self, rows: int) -> None:
        self._waiting += rows
        if self._waiting >= self._flush_rows:
            self._flush()

    def metric(self, row: MetricRow) -> None:
        """Take one metric row."""
        self.metrics.append(row)

    def close(self, manifest: Mapping[str, Any], model: np.ndarray | None = None) -> None:
        """Write what is left, then the manifest: plain JSON values, as `Manifest.document` gives them."""
        if self._waiting or not self._parts:
            self._flush()
        columns = [[row[place] for row in self.metrics] for place in range(len(MetricRow._fields))]
        write_rows(self.folder / METRICS, MetricRow, columns)
        if model is not None:
            _write_model(self.folder / MODEL, model)
        write_json(self.folder / MANIFEST, manifest)

    def _flush(self) -> None:
        columns: Sequence[Any] = [[] for _ in Event._fields]
        if self._events:
            whole = Mixed.of(self._events)
            columns = [whole.column(name) for name in Event._fields]
        write_rows(self.folder / EVENTS / f"part-{self._parts:05}.parquet", Event, columns)
        self._parts, self._waiting, self._events = self._parts + 1, 0, []


def clear(folder: Path) -> None:
    """Remove what a run wrote into `folder`, the manifest first, and nothing else."""
    for name in (MANIFEST, METRICS, MODEL, PROGRESS, FAILURE):
        (folder / name).unlink(missing_ok=True)
        (folder / f"{name}.part").unlink(missing_ok=True)
    if (folder / EVENTS).is_dir():
        shutil.rmtree(folder / EVENTS)


def _write_model(path: Path, model: np.ndarray) -> None:
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez(file, weights=model)  # weights are noise to zlib: a tenth smaller, a hundred times slower
    os.replace(unfinished, path)
