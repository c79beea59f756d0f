"""Scenario files as trees of values that know where they stand: reading, inheriting, finding.

Mappings of a scenario that `extends` another merge key by key; a mapping whose `kind` differs replaces the
other's whole, for the keys of one kind mean nothing to another.  Lists replace, save where they are written
`policies: {append: [...]}`.  `name` and `description` are not inherited: two scenarios are two names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode

from acesim.scenario.errors import Problem, ScenarioError

Steps = tuple[str | int, ...]
MOST_VALUES = 100_000
"""No scenario is longer; aliases of aliases that blow up are."""


class Place(NamedTuple):
    """Where a value was written: the file as it is shown, the line, and the folder its paths start from."""

    file: str | None = None
    line: int | None = None
    folder: Path = Path()

    def problem(self, path: Steps, value: object, rule: str) -> Problem:
        """Make a problem of this place."""
        return Problem(path, value, rule, self.file, self.line)


@dataclass(frozen=True)
class Entry:
    """A value and its place.  value: a scalar, a mapping of text to entries, or a tuple of entries."""

    value: Any
    place: Place

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, tuple):
            return [entry.plain() for entry in self.value]
        return self.value

    def child(self, step: str | int) -> Entry | None:
        """Return the entry one step further; None where there is none."""
        if isinstance(self.value, dict):
            return self.value.get(step)
        if isinstance(self.value, tuple) and isinstance(step, int) and 0 <= step < len(self.value):
            entry: Entry = self.value[step]
            return entry
        return None

    def nearest(self, path: Sequence[str | int]) -> Entry:
        """Return the entry at `path`, or the last one on the way there."""
        entry = self
        for step in path:
            further = entry.child(step)
            if further is None:
                break
            entry = further
        return entry

    def with_entry(self, path: Sequence[str | int], entry: Entry) -> Entry:
        """Return a copy with another entry at `path`; mappings that lack on the way are made."""
        if not path:
            return entry
        step, *rest = path
        inner = (self.child(step) or Entry({}, entry.place)).with_entry(rest, entry)
        if isinstance(self.value, tuple) and isinstance(step, int):
            return replace(self, value=(*self.value[:step], inner, *self.value[step + 1:]))
        mapping = self.value if isinstance(self.value, dict) else {}
        return replace(self, value={**mapping, step: inner})


def entry_of(plain: Any, place: Place) -> Entry:
    """Return plain values as entries that all stand at one place."""
    if isinstance(plain, Mapping):
        return Entry({str(key): entry_of(value, place) for key, value in plain.items()}, place)
    if isinstance(plain, list | tuple):
        return Entry(tuple(entry_of(value, place) for value in plain), place)
    return Entry(plain, place)


def read(path: Path, shown: str, looks: str = "a scenario is a mapping (name: ..., task: ...)") -> Entry:
    """Read a file that holds a mapping; ScenarioError names every key that stands twice, or the first error of syntax.

    looks   what such a file is, for messages
    """
    place = Place(shown, None, path.parent)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 text (byte {error.start + 1})"
        raise ScenarioError([place.problem((), None, f"cannot be read: {reason}")]) from error
    entry = read_text(text, place)
    if entry.value is None:
        raise ScenarioError([place.problem((), None, f"the file is empty; {looks}")])
    if not isinstance(entry.value, dict):
        raise ScenarioError([entry.place.problem((), None, f"{looks}, not {_noun(entry.value)}")])
    return entry


def read_text(text: str, place: Place) -> Entry:
    """Read YAML 1.2 text.  Lines count from `place.line` (default 1)."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        return _Reading(yaml, place).whole(root)
    except RecursionError as error:
        raise ScenarioError([place.problem((), None, "lists or mappings nested far too deeply")]) from error
    except YAMLError as error:
        raise ScenarioError([_syntax_problem(error, text, place)]) from error


def _noun(value: object) -> str:
    return "a list" if isinstance(value, tuple) else "a single value"


class _Reading:
    """One pass over the nodes of a file; collects the keys that stand twice."""

    def __init__(self, yaml: YAML, place: Place) -> None:
        self.yaml, self.place = yaml, place
        self.problems: list[Problem] = []
        self.open: list[Node] = []
        self.values = 0

    def whole(self, root: Node | None) -> Entry:
        if root is None:
            return Entry(None, self.place)
        entry = self.entry(root, (), self.at(root))
        if self.problems:
            raise ScenarioError(self.problems)
        return entry

    def at(self, node: Node) -> Place:
        return self.place._replace(line=(self.place.line or 1) + node.start_mark.line)

    def entry(self, node: Node, path: Steps, place: Place) -> Entry:
        self.values += 1
        if self.values > MOST_VALUES or any(node is above for above in self.open):
            raise ScenarioError([place.problem(path, None, "an alias of itself, or far too many values")])
        if isinstance(node, ScalarNode):
            return Entry(self.scalar(node, path), place)
        self.open.append(node)
        value: Any = (self.sequence if isinstance(node, SequenceNode) else self.mapping)(node.value, path)
        self.open.pop()
        return Entry(value, place)

    def scalar(self, node: ScalarNode, path: Steps) -> Any:
        kind = str(node.tag).rpartition(":")[2]
        if kind == "timestamp":  # the name of a scenario may look like a date
            return str(node.value)
        if kind not in ("str", "int", "float", "bool", "null"):
            raise ScenarioError([self.at(node).problem(path, None, f"the tag {node.tag} means nothing here")])
        try:
            return self.yaml.constructor.construct_object(node)
        except ValueError as error:
            rule = f"is not {'true or false' if kind == 'bool' else 'a number'}: {node.value[:40]}"
            raise ScenarioError([self.at(node).problem(path, None, rule)]) from error

    def sequence(self, nodes: list[Node], path: Steps) -> tuple[Entry, ...]:
        return tuple(self.entry(inner, (*path, row), self.at(inner)) for row, inner in enumerate(nodes))

    def mapping(self, nodes: list[tuple[Node, Node]], path: Steps) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for key_node, value_node in nodes:
            key, place = str(key_node.value), self.at(key_node)
            if not isinstance(key_node, ScalarNode):
                self.problems.append(place.problem(path, None, "a key must be a plain word"))
            elif key in found:
                rule = f"this key stands twice, first in line {found[key].place.line}; remove one"
                self.problems.append(place.problem((*path, key), None, rule))
            else:
                found[key] = self.entry(value_node, (*path, key), place)
        return found


def _syntax_problem(error: YAMLError, text: str, place: Place) -> Problem:
    """Say in one line what cannot be read as YAML."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    line = (place.line or 1) + (mark.line if mark else text.count("\n", 0, getattr(error, "position", 0)))
    told = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "unknown error")
    plain = f"not valid YAML: {' '.join(told.split())}"
    rule = next((ours for theirs, ours in _SYNTAX if theirs in told), plain)
    return place._replace(line=line).problem((), None, rule)


_SYNTAX = (
    (r"character '\t'", "not valid YAML: a tab; indent with spaces"),
    ("mapping values are not allowed", "not valid YAML: a second `: ` in one line, or wrong indentation"),
    ("could not find expected ':'", "not valid YAML: a key without `:` after it"),
    ("found another document", "a file holds one document; remove everything from the second `---` on"),
    ("special characters are not allowed", "not valid YAML: a control character"),
)


def merge(inherited: Entry, own: Entry, path: Steps = ()) -> Entry:
    """Lay an entry over the one it inherits; places stay those of whoever wrote a value."""
    if isinstance(own.value, dict) and isinstance(inherited.value, tuple) and "append" in own.value:
        return _appended(inherited, own, path)
    both = isinstance(own.value, dict) and isinstance(inherited.value, dict)
    if not both or _kinds_differ(inherited, own):
        return own
    merged = {**inherited.value}
    for key, entry in own.value.items():
        merged[key] = merge(inherited.value[key], entry, (*path, key)) if key in merged else entry
    return Entry(merged, own.place)


def _kinds_differ(inherited: Entry, own: Entry) -> bool:
    theirs, ours = inherited.child("kind"), own.child("kind")
    return theirs is not None and ours is not None and theirs.value != ours.value


def _appended(inherited: Entry, own: Entry, path: Steps) -> Entry:
    more = own.value["append"]
    if set(own.value) != {"append"} or not isinstance(more.value, tuple):
        raise ScenarioError([own.place.problem(path, None, "write {append: [...]} and nothing beside it")])
    return Entry(inherited.value + more.value, own.place)
