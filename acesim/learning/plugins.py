"""Tasks of one's own: builders from plug-in files and from installed packages, by name.

A builder is called with (tiers, seed, batch_size, **parameters) and returns a `contract.Task`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acesim.learning.contract import Task
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.plugins import plugin

if TYPE_CHECKING:
    from acesim.scenario.tasks import PluginTask

Builder = Callable[..., Task]
"""builder(tiers, seed, batch_size, **parameters) -> task"""


def builders(files: Sequence[str | Path] = ()) -> dict[str, Builder]:
    """Return the builders of installed packages (entry-point group `acesim.tasks`) and of plug-in files
    (each a Python file that may define TASKS = {"name": builder})."""
    known: dict[str, Builder] = {point.name: point.load()
                                 for point in sorted(entry_points(group="acesim.tasks"), key=lambda each: each.name)}
    for file in files:
        known.update(plugin(file, "TASKS"))
    return known


def build(spec: PluginTask, tiers: Sequence[str], seed: int, files: Sequence[str | Path] = ()) -> Task:
    """Return a task of one's own; ScenarioError when there is no such name or parameter, or its builder refuses."""
    known = builders(files)
    if spec.name not in known:
        remedy = 'give a file with TASKS = {"name": builder} by --plugin'
        raise _wrong("name", spec.name, f"{_unknown('task', spec.name, known)}; {remedy}")
    allowed = list(inspect.signature(known[spec.name]).parameters)[3:]
    for key in spec.parameters:
        if key not in allowed:
            raise _wrong(f"parameters.{key}", spec.parameters[key], _unknown("parameter", key, allowed))
    try:
        return known[spec.name](tiers, seed, spec.batch_size, **spec.parameters)
    except (TypeError, ValueError) as error:
        raise _wrong("parameters", None, f"{spec.name}: {error}") from error


def _unknown(what: str, name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {what}; {hint}(knows: {', '.join(sorted(known)) or 'none'})"


def _wrong(key: str, value: object, rule: str) -> ScenarioError:
    return ScenarioError([Problem(("task", *key.split(".")), value, rule)])
