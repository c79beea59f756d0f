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
from acesim.scenario.errors import PolicyError, Problem, ScenarioError
from acesim.scenario.plugins import plugin, raised_in
from acesim.seam import Group, size_of

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
    """Return a task of one's own.

    raises   ScenarioError when there is no such name or parameter, or its builder refuses; PolicyError when what it
             builds is no task
    """
    known = builders(files)
    if spec.name not in known:
        remedy = 'give a file with TASKS = {"name": builder} by --plugin'
        raise _wrong("name", spec.name, f"{_unknown('task', spec.name, known)}; {remedy}")
    allowed = list(inspect.signature(known[spec.name]).parameters)[3:]
    for key in spec.parameters:
        if key not in allowed:
            raise _wrong(f"parameters.{key}", spec.parameters[key], _unknown("parameter", key, allowed))
    try:
        task = known[spec.name](tiers, seed, spec.batch_size, **spec.parameters)
    except (TypeError, ValueError) as error:
        raise _wrong("parameters", None, f"{spec.name}: {error}") from error
    except Exception as error:
        place = raised_in(files, error)
        if place is None:
            raise
        raise PolicyError(f"task {spec.name}: {place}") from error
    fault = _fault(task)
    if fault:
        places = [f"--plugin {file}: " for file in files if spec.name in plugin(file, "TASKS")]
        raise PolicyError(f"{''.join(places[-1:])}task {spec.name}: {fault}")
    return task


MEMBERS = (*Task.__annotations__, *(name for name in vars(Task) if not name.startswith("_")))
"""What every task must have."""


def _fault(task: Any) -> str | None:
    """Say where a task breaks the contract, as far as that is seen without running it."""
    missing = [name for name in MEMBERS if not hasattr(task, name)]
    if missing:
        return f"has no {', '.join(missing)}; must have {', '.join(MEMBERS)} (acesim.learning.contract.Task)"
    if not all(isinstance(group, Group) for group in task.groups):
        return f"groups = {task.groups}: each must be an acesim.seam.Group"
    stops = [group.stop for group in task.groups]
    if [group.start for group in task.groups] != [0, *stops[:-1]] or stops[-1:] != [task.size]:
        spans = ", ".join(f"{group.name} {group.start}:{group.stop}" for group in task.groups)
        return f"groups = {spans or 'none'}: must follow each other without gaps, from 0 to size = {task.size}"
    if size_of(task.shapes) != task.size:
        return f"shapes = {task.shapes}: hold {size_of(task.shapes)} parameters; must hold size = {task.size}"
    return None


def _unknown(what: str, name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {what}; {hint}(knows: {', '.join(sorted(known)) or 'none'})"


def _wrong(key: str, value: object, rule: str) -> ScenarioError:
    return ScenarioError([Problem(("task", *key.split(".")), value, rule)])
