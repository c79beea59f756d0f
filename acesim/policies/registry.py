"""Finds a recipe by name, binds parameters against its signature, and reads plug-ins."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acesim.policies.info import sketch
from acesim.policies.recipes import RECIPES
from acesim.scenario.errors import PolicyError, Problem
from acesim.scenario.plugins import plugin, raised_in
from acesim.seam import ModelInfo, Recipe, TreePolicy

if TYPE_CHECKING:
    from acesim.scenario.schema import PolicySpec, Scenario


def recipes(plugins: Sequence[str | Path] = ()) -> dict[str, Recipe]:
    """Return all recipes by name: acesim's own, those of installed packages (entry-point group `acesim.policies`,
    each a recipe), and those of plug-in files (each a Python file with POLICIES = {"name": recipe})."""
    known: dict[str, Recipe] = dict(RECIPES)
    for point in sorted(entry_points(group="acesim.policies"), key=lambda each: each.name):
        known[point.name] = point.load()
    for file in plugins:
        known.update(plugin(file, "POLICIES"))
    return known


def build(name: str, info: ModelInfo, parameters: Mapping[str, Any], plugins: Sequence[str | Path] = ()) -> TreePolicy:
    """Return the policy; PolicyError naming the parameter when one is unknown or out of range."""
    known = recipes(plugins)
    if name not in known:
        raise PolicyError(f"{name}: {unknown_rule(name, known)}")
    for key in parameters:
        if key not in knobs(known[name]):
            raise PolicyError(f"{name}.{key}: {unknown_rule(key, knobs(known[name]), 'parameter')}")
    odd = "; ".join(_mistyped(known[name], parameters))
    try:
        policy = known[name](info, **parameters)
    except PolicyError as error:
        raise PolicyError(f"{name}: {error}") from error
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
        raise PolicyError(f"{name}: {odd}" if odd else f"{name}({given}): {error}") from error
    except Exception as error:
        place = raised_in(plugins, error)
        if place is None:
            raise
        raise PolicyError(f"{name}: {place}") from error
    if odd:  # the recipe's own word on a value is the better one, so it comes first
        raise PolicyError(f"{name}: {odd}")
    if not isinstance(policy, TreePolicy):
        raise PolicyError(f"{name}: returned {policy!r}; a recipe must return an acesim.seam.TreePolicy")
    return policy


def knobs(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's parameters and their defaults (inspect.Parameter.empty where one must be given)."""
    return {name: each.default for name, each in list(inspect.signature(recipe).parameters.items())[1:]}


KINDS: Mapping[str, tuple[Any, str]] = {
    "bool": (bool, "true or false"), "int": (int, "a whole number"), "float": ((int, float), "a number"),
    "str": (str, "text"), "None": (type(None), "null")}
"""What the annotations of a recipe's parameters take, and how that is said."""


def _mistyped(recipe: Recipe, parameters: Mapping[str, Any]) -> Iterator[str]:
    """Name every value that is not of the kind its parameter is annotated with; other annotations are not looked at."""
    takes = inspect.signature(recipe).parameters
    for name, value in parameters.items():
        annotation = takes[name].annotation
        kinds = [kind.strip() for kind in getattr(annotation, "__name__", str(annotation)).split("|")]
        if set(kinds) <= set(KINDS) and not any(_is(value, kind) for kind in kinds):
            yield f"{name} = {value!r}: must be {' or '.join(KINDS[kind][1] for kind in kinds)}"


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind][0]) and (kind == "bool" or not isinstance(value, bool))


def unknown_rule(name: str, known: Mapping[str, Any], what: str = "policy") -> str:
    """Say which one was probably meant."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {what}; {hint}(knows: {', '.join(sorted(known)) or 'none'})"


def check(scenario: Scenario, plugins: Sequence[str | Path] = ()) -> Iterator[Problem]:
    """Name every policy and parameter of a scenario that does not exist, and every value that a recipe refuses."""
    known, info = recipes(plugins), sketch(scenario)
    for row, spec in enumerate(scenario.policies):
        if spec.name not in known:
            yield Problem(("policies", row), spec.name, unknown_rule(spec.name, known))
            continue
        allowed = knobs(known[spec.name])
        unknown = [key for key in spec.parameters if key not in allowed]
        for key in unknown:
            yield Problem(("policies", row, key), spec.parameters[key], unknown_rule(key, allowed, "parameter"))
        if not unknown:
            yield from _refused(row, spec, info, scenario.stop.epochs, plugins)


def _refused(row: int, spec: PolicySpec, info: ModelInfo, epochs: float | None,
             plugins: Sequence[str | Path]) -> Iterator[Problem]:
    try:
        build(spec.name, info, spec.parameters, plugins).schedule.enrolled(np.array(info.tier))
    except PolicyError as error:
        yield Problem(("policies", row), None, str(error))
    for key in ("local_steps", "h_min"):
        steps = spec.parameters.get(key)
        if isinstance(steps, int) and epochs is not None and steps > info.total_steps:
            rule = f"more than the {info.total_steps} steps of the whole run (stop.epochs = {epochs:g})"
            yield Problem(("policies", row, key), steps, rule)


def describe(recipe: Callable[..., TreePolicy]) -> tuple[str, dict[str, Any]]:
    """Return a recipe's documentation and its parameters with defaults."""
    return inspect.getdoc(recipe) or "", knobs(recipe)
