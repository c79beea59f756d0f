"""`--set key.path=value`: changing a scenario by names, before it is checked.

A key is a path with dots.  Members of a list go by name (workers), by name or label (policies), by position
from 0, or all at once by `*`; a part that holds dots or `=` itself stands in double quotes:

    workers.xavier.access.uplink=20 Mbps      workers.*.access.rtt=50 ms        policies.top-k.ratio=0.1
    task.optimizer.learning_rate=0.01         policies."top-k index=auto".ratio=0.1      seeds=[0, 1]
"""

from __future__ import annotations

import difflib
import re

from acesim.scenario.document import Entry, Place, Steps, read_text
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.labels import labels

_NAME = r'(?:"[^"]*"|[^.="\[\]]+)'
_STEP = rf"{_NAME}|\[\d+\]"
_ASSIGNMENT = re.compile(rf"(?P<key>{_NAME}(?:\.{_NAME}|\[\d+\])*)=(?P<value>.*)", re.DOTALL)


def override(document: Entry, assignment: str) -> Entry:
    """Return the document with one `key.path=value` carried out.

    Values are YAML.  A policy written as a bare name becomes a mapping when a parameter of it is set.
    raises   ScenarioError at `--set key.path` when it is no assignment, or names a member that no list has
    """
    key, text = split(assignment)
    place = Place(f"--set {key}")
    try:
        value = read_text(text, place)
    except ScenarioError as error:
        raise ScenarioError([problem._replace(line=None) for problem in error.problems]) from error
    for path in override_keys(document, key):
        document = _opened(document, path).with_entry(path, _placed(value, place))
    return document


def split(assignment: str) -> tuple[str, str]:
    """Split `key.path=value`.

    >>> split("workers.*.access.rtt = 50 ms")
    ('workers.*.access.rtt', '50 ms')
    """
    match = _ASSIGNMENT.fullmatch(assignment)
    if match is None:
        rule = "write key.path=value, for example workers.xavier.access.uplink=20 Mbps"
        raise ScenarioError([Problem((), None, rule, f"--set {assignment}")])
    return match["key"].strip(), match["value"].strip()


def override_keys(document: Entry, key: str) -> tuple[Steps, ...]:
    """Return every path of a document that a key means; ScenarioError where it names what no list has.

    The last steps may be new: whether a section has such a key is checked with the rest of the scenario.
    """
    steps = [step.strip('"[]') for step in re.findall(_STEP, key)]
    place = Place(f"--set {key}")
    return tuple(_paths(document, steps, (), place))


def _paths(entry: Entry | None, steps: list[str], done: Steps, place: Place) -> list[Steps]:
    if not steps:
        return [done]
    if entry is not None and isinstance(entry.value, tuple):
        rows = _rows(entry, steps[0], done, place)
        return [path for row in rows for path in _paths(entry.value[row], steps[1:], (*done, row), place)]
    bare_policy = done[:1] == ("policies",) and len(done) == 2
    if entry is not None and not bare_policy and not isinstance(entry.value, dict | None):
        raise ScenarioError([place.problem(done, entry.value, f"is a value, not a section: no {steps[0]}")])
    return _paths(entry.child(steps[0]) if entry else None, steps[1:], (*done, steps[0]), place)


def _rows(members: Entry, step: str, done: Steps, place: Place) -> list[int]:
    everyone = range(len(members.value))
    if step == "*":
        return list(everyone)
    if step.isdecimal() and int(step) in everyone:
        return [int(step)]
    names, found = _names(members), _labels(members)
    rows = [row for row in everyone if found[row] == step] or [row for row in everyone if names[row] == step]
    if not rows:
        known = list(dict.fromkeys(name for name in [*names, *found] if name))
        near = difflib.get_close_matches(step, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        rule = f"has no member {step}; {hint}(knows: {', '.join([*known, 'positions from 0', '*'])})"
        raise ScenarioError([place.problem(done, None, rule)])
    return rows


def _names(members: Entry) -> list[str]:
    bare = [entry.value if isinstance(entry.value, str) else None for entry in members.value]
    named = [entry.child("name") for entry in members.value]
    return [name or (str(entry.value) if entry else "") for name, entry in zip(bare, named, strict=True)]


def _labels(members: Entry) -> list[str]:
    own = [entry.plain() if isinstance(entry.value, dict) else {} for entry in members.value]
    given = [plain.pop("label", None) for plain in own]
    for plain in own:
        plain.pop("name", None)
    return labels(list(zip(_names(members), given, own, strict=True)))


def _opened(document: Entry, path: Steps) -> Entry:
    """Turn a bare policy on the way into a mapping."""
    head = path[:2]
    policy = document.nearest(head)
    if path[0] != "policies" or len(path) < 3 or not isinstance(policy.value, str):
        return document
    return document.with_entry(head, Entry({"name": policy}, policy.place))


def _placed(entry: Entry, place: Place) -> Entry:
    """Everything set on the command line stands at its key, whatever its line there."""
    if isinstance(entry.value, dict):
        return Entry({key: _placed(inner, place) for key, inner in entry.value.items()}, place)
    if isinstance(entry.value, tuple):
        return Entry(tuple(_placed(inner, place) for inner in entry.value), place)
    return Entry(entry.value, place)
