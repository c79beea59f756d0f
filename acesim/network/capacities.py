"""FedScale's table of device capacities: a pickle, read without running any of it.

A pickle is a program; what it may name, it may call.  The table needs numbers, text, dictionaries and lists alone,
which need no names at all: so every name is refused.
"""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

import numpy as np

from acesim.network.files import Recording
from acesim.scenario.errors import TraceError
from acesim.scenario.units import from_mbps


class _NoNames(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}; a table of capacities has numbers and text alone")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of it")


def capacities_in(path: str, content: bytes) -> list[Recording]:
    """Return a constant downlink for each client of {client: {"communication": kbit/s, "computation": ms}}.

    raises   TraceError when the pickle names anything at all, or is no such table
    """
    try:
        table = _NoNames(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError,
            MemoryError, OverflowError) as fault:
        raise TraceError(path, None, f"is no table of device capacities: {fault}") from fault
    if not isinstance(table, dict) or not table:
        raise TraceError(path, None, 'is no table of device capacities: must be {client: {"communication": kbit/s, '
                                     '"computation": ms}}')
    edges_s = np.array([0.0, 1.0])
    return [Recording(f"{path}#{client}", edges_s, np.array([_rate(path, client, entry)]), None)
            for client, entry in table.items()]


def _rate(path: str, client: object, entry: object) -> float:
    value = entry.get("communication") if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        shown = "beyond all floats" if isinstance(value, int) and abs(value) > sys.float_info.max else value
        raise TraceError(path, None, f"client {client}: communication = {shown}: must be a rate in kbit/s, > 0")
    return from_mbps(value / 1000)
