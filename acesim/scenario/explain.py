"""Turns what validation found into problems that name a place, a value, a rule and a remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from acesim.scenario.base import Fact
from acesim.scenario.document import Entry, Steps
from acesim.scenario.errors import Problem
from acesim.scenario.reference import Path, facts_of, keys, sections
from acesim.scenario.schema import PolicySpec, Scenario
from acesim.scenario.units import without_unit

_EXAMPLES: Mapping[tuple[str, ...], str] = {
    ("name",): "my-scenario", ("seeds",): "[0, 1, 2]", ("stop",): "{epochs: 50}", ("stop", "epochs"): "50",
    ("task",): "{kind: language-model}", ("workers", "name"): "xavier", ("workers", "count"): "8",
    ("workers", "device"): "rk3588", ("workers", "access"): "{kind: lte}",
    ("workers", "access", "kind"): "lte",
    ("workers",): "{name: xavier, count: 8, device: rk3588, access: {kind: lte}}",
    ("nominal", "tokens_per_step"): "{cloud: 64 x 768, edge: 64 x 768}",
    ("nominal", "checkpointing"): "{cloud: false, edge: true}", ("nominal", "model", "name"): "embedding",
    ("nominal", "model", "shape"): "[1024, 1024]", ("servers", "region"): "{device: n100}",
    ("servers", "cloud"): "{device: a100}", ("servers", "region", "device"): "n100",
    ("servers", "cloud", "device"): "a100", ("policies",): "{name: top-k, ratio: 0.3}, or only full-sync",
    ("policies", "name"): "top-k"}
"""What to write at a path (without its positions), for messages."""


def unknown_keys(document: Entry, whole: type[Fact] = Scenario) -> Iterator[Problem]:
    """Name every key of a document that no section knows, with the nearest one that it does; `whole`: what it holds."""
    yield from _unknown(document, whole, (), whole)


def _unknown(entry: Entry, fact: type[Fact], path: Steps, whole: type[Fact]) -> Iterator[Problem]:
    if isinstance(entry.value, tuple):
        for row, member in enumerate(entry.value):
            yield from _unknown(member, fact, (*path, row), whole)
    if not isinstance(entry.value, dict) or fact is PolicySpec:  # a policy's other keys are its parameters
        return
    inner = {without_unit(name): field.annotation for name, field in fact.model_fields.items()}
    for key, value in entry.value.items():
        if key not in inner:
            yield value.place.problem((*path, key), None, _unknown_rule(key, list(inner), path, whole))
        section = _section(inner.get(key), value)
        if section is not None:
            yield from _unknown(value, section, (*path, key), whole)


def _section(annotation: Any, entry: Entry) -> type[Fact] | None:
    """Return the fact that an annotation holds; where there are several, the one of the entry's kind."""
    facts = list(facts_of(annotation))
    kind = entry.child("kind")
    named = [fact for fact in facts[1:] if kind and fact.model_fields["kind"].default == kind.value]
    return next(iter(named or facts), None)


def _unknown_rule(key: str, known: list[str], path: Steps, whole: type[Fact]) -> str:
    near = [without_unit(key)] if without_unit(key) in known else difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else _elsewhere(key, path, whole)
    return f"unknown key{hint} (knows: {', '.join(sorted(known))})"


def _elsewhere(key: str, path: Steps, whole: type[Fact]) -> str:
    usual: dict[Path, type[Fact]] = {}
    for home, fact in sections(whole):
        usual.setdefault(home, fact)  # the first of several kinds
    homes = [home for home, fact in usual.items() if key in keys(fact)]
    return f"; it belongs in {'.'.join(homes[0])}" if len(homes) == 1 and homes[0] not in ((), path) else ""


def problems_of(error: ValidationError, document: Entry,
                examples: Mapping[tuple[str, ...], str] = _EXAMPLES) -> Iterator[Problem]:
    """Say each error of validation in acesim's words; unknown keys are left to `unknown_keys`.

    examples   what to write at a path (without its positions)
    """
    for found in error.errors(include_url=False):
        absent = found["type"] == "value_error" and not isinstance(found["input"], Mapping)  # else it is a tag
        path = _path(document, found["loc"], keep_last=absent or found["type"] == "missing")
        if found["type"] == "union_tag_invalid":
            path = (*path, "kind")
        entry = document.nearest(path)
        written = document.nearest(path[:-1]).child(path[-1]) if path else entry
        if found["type"] == "extra_forbidden" or (found["type"] == "too_short" and written and written.value):
            continue  # told by unknown_keys; or short only because of members that have errors of their own
        yield entry.place.problem(path, _spelled(written), _rule(found, path, written, examples))


def _spelled(written: Entry | None) -> object:
    """Return a value as it was written, for messages; None for sections and for what is missing."""
    value = written.value if written else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float | str) else None


def _path(document: Entry, location: tuple[str | int, ...], keep_last: bool) -> Steps:
    """Return a location without the steps that only validation knows (tags of unions, `parameters`)."""
    path: list[str | int] = []
    entry: Entry | None = document
    for position, step in enumerate(location):
        further = entry.child(step) if entry else None
        last = position == len(location) - 1
        if further is not None or (last and keep_last and not isinstance(step, int)):
            path.append(step)
            entry = further
    return tuple(path)


def _rule(found: Mapping[str, Any], path: Steps, written: Entry | None, examples: Mapping[tuple[str, ...], str]) -> str:
    context = found.get("ctx", {})
    example = examples.get(tuple(step for step in path if isinstance(step, str)))
    if found["type"] == "missing":
        return _missing(found, example or "...")
    if found["type"] == "value_error":
        return str(context["error"])
    if found["type"] in ("literal_error", "union_tag_invalid"):
        return _one_of(context, written)
    if found["type"] in _MAPPINGS:
        return f"must be a mapping such as {example or '{key: value}'}"
    rule = _RULES.get(found["type"])
    return rule(context) if rule else f"cannot be used here: {found['msg'][:1].lower()}{found['msg'][1:]}"


_MAPPINGS = ("model_type", "model_attributes_type", "dict_type", "union_tag_not_found")


def _missing(found: Mapping[str, Any], example: str) -> str:
    last = found["loc"][-1]
    if isinstance(last, int):
        return f"needs at least {last + 1} entries"
    return f"missing; write for example {last}: {example}"


def _one_of(context: Mapping[str, Any], written: Entry | None) -> str:
    known = re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags")))
    near = difflib.get_close_matches(str(_spelled(written)), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"must be {'one of ' if known[1:] else ''}{', '.join(known)}{hint}"


def _entries(context: Mapping[str, Any]) -> str:
    least = context.get("min_length", 1)
    return "must not be empty" if least == 1 else f"needs at least {least} entries"


_RULES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda context: f"must be > {context['gt']:g}",
    "greater_than_equal": lambda context: f"must be >= {context['ge']:g}",
    "less_than": lambda context: f"must be < {context['lt']:g}",
    "less_than_equal": lambda context: f"must be <= {context['le']:g}",
    "finite_number": lambda _: "must be finite",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false",
    "string_type": lambda _: "must be text; put it in quotes",
    "string_too_short": lambda _: "must not be empty",
    "string_pattern_mismatch": lambda context: f"must look like {_looks(context['pattern'])}",
    "tuple_type": lambda _: "must be a list, for example [a, b]",
    "too_short": _entries,
    "too_long": lambda context: f"must have at most {context['max_length']} entries",
}


def _looks(pattern: str) -> str:
    if pattern == "^[A-Z]{3}$":
        return "USD or EUR: three capital letters"
    return "edge-a: letters, digits, - and _, starting with a letter"
