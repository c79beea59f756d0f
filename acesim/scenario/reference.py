"""What a section of a scenario may hold, in words: its docstring, and of every key kind, unit and default."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from acesim.scenario.base import MOST, Fact
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.schema import PolicySpec, Scenario
from acesim.scenario.units import without_unit

WHOLE = "scenario"
"""What the outermost section is called, which has no key of its own."""

Path = tuple[str, ...]


def facts_of(annotation: Any) -> Iterator[type[Fact]]:
    """Yield the facts that an annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Fact):
        yield annotation
    for argument in get_args(annotation):
        yield from facts_of(argument)


def sections(fact: type[Fact], path: Path = ()) -> Iterator[tuple[Path, type[Fact]]]:
    """Yield every section inside a fact, itself first: its path, and what it holds; a path may hold one of several."""
    yield path, fact
    for name, field in fact.model_fields.items():
        for inner in dict.fromkeys(facts_of(field.annotation)):
            yield from sections(inner, (*path, without_unit(name)))


def keys(fact: type[Fact]) -> list[str]:
    """Return the keys of a section in YAML; those of a policy beside name and label are its parameters."""
    return ["name", "label"] if fact is PolicySpec else [without_unit(name) for name in fact.model_fields]


def reference(section: str) -> str:
    """Tell what a section may hold, several texts where there are several kinds of it.

    section   keys joined by points, as in `--set`, without positions: workers.access; "scenario" is the whole
    raises    ScenarioError for one that there is not, naming the nearest
    """
    known: dict[str, list[type[Fact]]] = {}
    for path, fact in sections(Scenario):
        held = known.setdefault(".".join(path) or WHOLE, [])
        held += [fact] if fact not in held else []
    if section not in known:
        near = difflib.get_close_matches(section, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ScenarioError([Problem((section,), None, f"no section; {hint}(knows: {', '.join(known)})", "schema")])
    return "\n\n".join(_told(section, fact) for fact in known[section])


def _told(section: str, fact: type[Fact]) -> str:
    text = inspect.getdoc(fact) or ""
    about = text[: text.find(">>>")].rstrip() if ">>>" in text else text
    written = fact.model_json_schema(by_alias=True)
    if fact is PolicySpec:
        rows = [("name", "text; `acesim policies` lists them"), ("label", "text; as the name unless given")]
    else:
        own = "" if section == WHOLE else f"{section}."
        rows = [(key, _row(own + key, written["properties"][key], key in written.get("required", ())))
                for key in keys(fact)]
    width = max(len(key) for key, _ in rows)
    return f"{section}: {about}\n\n" + "\n".join(f"  {key:{width}}  {told}" for key, told in rows)


def _row(path: str, written: Mapping[str, Any], required: bool) -> str:
    default = written.get("default")
    if required:
        return f"{_kind(path, written)}; must be given"
    inside = isinstance(default, dict) or (isinstance(default, list) and (not default or isinstance(default[0], dict)))
    if default is None or inside or "const" in written:
        return _kind(path, written)
    return f"{_kind(path, written)}; {_spelt(default)} unless given"


def _kind(path: str, written: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema lets stand at a path."""
    choices = [choice for key in ("anyOf", "oneOf", "allOf") for choice in written.get(key, ())]
    if choices:
        told = [_kind(path, choice) for choice in choices if choice.get("type") != "null"]
        return ", or ".join(dict.fromkeys(told))
    if "$ref" in written:
        return f"a mapping (`acesim schema {path}`)"
    if "const" in written or "enum" in written:
        return ", ".join(map(_spelt, written.get("enum", [written.get("const")])))
    if "description" in written:
        return str(written["description"])
    kind = written.get("type")
    if kind == "array":
        return f"a list of: {_kind(path, written['items'])}" if written.get("items") else "a list"
    bounds = [f"{sign} {written[key]:g}" for key, sign in _BOUNDS.items() if written.get(key, MOST) != MOST]
    return " ".join([_WORDS.get(str(kind), "any value"), ", ".join(bounds)]).rstrip()


_BOUNDS: Mapping[str, str] = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_WORDS: Mapping[str, str] = {"integer": "a whole number", "number": "a number", "string": "text",
                             "boolean": "true or false", "object": "a mapping"}


def _spelt(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value) or "''"
