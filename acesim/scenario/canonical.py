"""Scenarios as plain data: the one form that is hashed and kept, and the form that users write."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from acesim.scenario.base import Fact
from acesim.scenario.schema import PolicySpec, Scenario
from acesim.scenario.units import Range, dimension_of, spell, without_unit

LINE = 120
"""Longest mapping or list, as Python writes it, that stays in one line."""


def dump(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as plain JSON data, in SI, with every default filled in; `restore` reads it back.

    >>> dump(Scenario(name="x"))["network"]["region_uplink_bytes_per_s"]
    62500000.0
    """
    return scenario.model_dump(mode="json")


def restore(plain: Mapping[str, Any]) -> Scenario:
    """Return the scenario that `dump` wrote down."""
    return Scenario.model_validate(plain)


def content_hash(scenario: Scenario, exclude: Sequence[str] = ()) -> str:
    """Return the sha256 (hex) of a scenario with all defaults filled in.

    exclude   dotted paths of `dump` that shall not count, for example ("seeds", "policies", "stop.epochs")
    raises    KeyError when there is no such path

    >>> content_hash(Scenario(name="x"), ["name"]) == content_hash(Scenario(name="y"), ["name"])
    True
    """
    plain = dump(scenario)
    for path in exclude:
        *way, last = path.split(".")
        section = plain
        for step in way:
            section = section[step]
        del section[last]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def to_yaml(scenario: Scenario) -> str:
    """Return a scenario as a file that says everything; `load` makes the same scenario of it."""
    yaml = YAML()
    yaml.width = 4096  # lines are broken by `_laid_out`, never inside a mapping in braces
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_laid_out(_written(scenario)), stream)
    return stream.getvalue()


def _written(value: Any) -> Any:
    if isinstance(value, PolicySpec):
        return _written_policy(value)
    if isinstance(value, Fact):
        given = ((name, getattr(value, name)) for name in type(value).model_fields)
        return {without_unit(name): _written_value(name, inner) for name, inner in given if inner is not None}
    if isinstance(value, Mapping):
        return {key: _written(inner) for key, inner in value.items()}
    return [_written(inner) for inner in value] if isinstance(value, list | tuple) else value


def _written_value(name: str, value: Any) -> Any:
    dimension = dimension_of(name)
    if dimension is not None and isinstance(value, int | float | Range):
        return spell(dimension, value)
    return int(value) if isinstance(value, float) and value.is_integer() else _written(value)


def _written_policy(policy: PolicySpec) -> Any:
    label = {} if policy.label in ("", policy.name) else {"label": policy.label}
    return {"name": policy.name, **label, **policy.parameters} if label or policy.parameters else policy.name


def _laid_out(value: Any) -> Any:
    """Write in one line what fits there, and everything else as a block."""
    if not isinstance(value, Mapping | list):
        return value
    laid_out = (CommentedSeq(_laid_out(inner) for inner in value) if isinstance(value, list) else
                CommentedMap((key, _laid_out(inner)) for key, inner in value.items()))
    is_table = isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value)
    if len(str(value)) <= LINE and not is_table:
        laid_out.fa.set_flow_style()
    return laid_out


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file, for editors."""
    written = Scenario.model_json_schema(by_alias=True)
    written["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    properties = written["properties"]
    properties["extends"] = {"type": "string", "description": "another scenario that this one changes"}
    for key in ("workers", "policies"):
        properties[key] = {"anyOf": [properties[key], _append_schema(properties[key])]}
    return written


def _append_schema(listed: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"append": {"type": "array", "items": listed["items"]}},
            "required": ["append"], "additionalProperties": False}
