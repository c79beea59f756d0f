"""acesim: really trains a model on many simulated workers while policies decide what crosses the network.

    >>> import acesim
    >>> sorted(name for name in dir(acesim) if not name.startswith("_"))[:3]
    ['Scenario', 'Study', 'audit']

`acesim.run(...)` runs a scenario and returns a Study, `acesim.load(...)` returns one from disk, `acesim.audit(...)`
examines a paper's claims.  The names are loaded when they are first used, so that importing acesim is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acesim.audits import audit
    from acesim.records.manifest import acesim_version
    from acesim.scenario import Scenario
    from acesim.study import Study, load, run
    from acesim.sweeps import sweep

    __version__ = acesim_version()

__all__ = ["Scenario", "Study", "__version__", "audit", "load", "run", "sweep"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("acesim.records.manifest").acesim_version()
    rooms = {"Scenario": "scenario", "Study": "study", "audit": "audits", "load": "study", "run": "study",
             "sweep": "sweeps"}
    if name not in rooms:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{rooms[name]}"), name)


def __dir__() -> list[str]:
    return __all__
