"""Turns a scenario file into a checked `Scenario`, or raises every mistake in it at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from acesim.scenario.base import FROM_YAML
from acesim.scenario.defaults import defaults
from acesim.scenario.document import Entry, Place, Steps, entry_of, merge, read
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.explain import problems_of, unknown_keys
from acesim.scenario.files import missing_files
from acesim.scenario.library import scenario_path, shown
from acesim.scenario.overrides import override
from acesim.scenario.rules import problems as rule_problems
from acesim.scenario.schema import Scenario

Check = Callable[[Scenario], Iterable[Problem]]


def load(source: str | Path, overrides: Sequence[str] = (), checks: Sequence[Check] = ()) -> Scenario:
    """Read a scenario, change it, fill in what it leaves out, and check it.

    source      a file, or the name of a shipped scenario
    overrides   `key.path=value`, in order (see overrides.py)
    checks      what other rooms know: each yields problems, paths in YAML's keys; file and line are added
    raises      ScenarioError with every problem, in the order of the files

    >>> load("table1", ["stop.epochs=2"]).stop.epochs
    2.0
    """
    document = load_document(source)
    problems: list[Problem] = []
    for assignment in overrides:
        try:
            document = override(document, assignment)
        except ScenarioError as error:
            problems += error.problems
    scenario, more = _validated(_absolute(document))
    problems += more
    if scenario is not None:
        problems += (_placed(problem, document) for problem in _checked(scenario, checks))
    if problems or scenario is None:
        raise ScenarioError(_in_file_order(problems, document))
    return scenario


def load_document(source: str | Path) -> Entry:
    """Read a scenario with what it extends, and with the sections it leaves out, before any check.

    >>> load_document("table1").nearest(("workers", 1, "name")).plain()
    'xavier'
    """
    return _with_defaults(_inherited(scenario_path(source), ()))


def _inherited(path: Path, trail: tuple[Path, ...]) -> Entry:
    own = read(path, shown(path))
    base = own.value.get("extends")
    if base is None:
        return own
    trail = (*trail, path.resolve())
    rest = Entry({key: entry for key, entry in own.value.items() if key != "extends"}, own.place)
    parent = _inherited(_base_path(base, trail), trail)
    unnamed = {key: entry for key, entry in parent.value.items() if key not in ("name", "description")}
    return merge(Entry(unnamed, parent.place), rest)


def _base_path(base: Entry, trail: tuple[Path, ...]) -> Path:
    if not isinstance(base.value, str):
        raise _bad_base(base, "must be the name of one scenario, for example table1.yaml")
    try:
        path = scenario_path(base.value, base.place.folder)
    except ScenarioError as error:
        raise _bad_base(base, error.problems[0].rule) from error
    if path.resolve() in trail:
        raise _bad_base(base, f"goes round in a circle: {' -> '.join(step.name for step in (*trail, path))}")
    return path


def _bad_base(base: Entry, rule: str) -> ScenarioError:
    value = base.value if isinstance(base.value, str) else None
    return ScenarioError([base.place.problem(("extends",), value, rule)])


def _with_defaults(document: Entry) -> Entry:
    """Fill in the sections that are absent as a whole, and give `append` the default lists to append to."""
    place = Place(document.place.file, None, document.place.folder)
    sections = dict(document.value)
    for key, plain in defaults().items():
        default = entry_of(plain, place)
        if key not in sections:
            sections[key] = default
        elif isinstance(default.value, tuple):
            sections[key] = merge(default, sections[key], (key,))
    return Entry(sections, document.place)


def _absolute(document: Entry) -> Entry:
    """Make paths absolute: each starts from the folder of the file it is written in."""
    for path in _path_settings(document):
        entry = document.nearest(path)
        if isinstance(entry.value, str):
            absolute = os.path.abspath(entry.place.folder / entry.value)
            document = document.with_entry(path, Entry(absolute, entry.place))
    return document


def _path_settings(document: Entry) -> Iterator[Steps]:
    workers = document.nearest(("workers",)).value
    rows = range(len(workers)) if isinstance(workers, tuple) else ()
    traces = [("workers", row, section, "trace") for row in rows for section in ("access", "availability")]
    for path in (("task", "corpus", "files"), ("task", "data", "files"), ("calibration",), *traces):
        if document.nearest(path[:-1]).child(path[-1]) is document.nearest(path):
            yield path


def _validated(document: Entry) -> tuple[Scenario | None, list[Problem]]:
    problems = list(unknown_keys(document))
    unknown = {problem.path for problem in problems}
    try:
        scenario = Scenario.model_validate(document.plain(), context=dict(FROM_YAML))
    except ValidationError as error:
        found = problems_of(error, document)
        return None, problems + [problem for problem in found if problem.path not in unknown]
    return (None if problems else scenario), problems


def _checked(scenario: Scenario, checks: Sequence[Check]) -> Iterator[Problem]:
    """Yield what the checks find; what one has found wrong, a later one need not tell again."""
    told: set[Steps] = set()
    for check in (rule_problems, missing_files, *checks):
        try:
            found = list(check(scenario))
        except ScenarioError as error:
            found = list(error.problems)
        yield from (problem for problem in found if problem.path not in told)
        told.update(problem.path for problem in found)


def _placed(problem: Problem, document: Entry) -> Problem:
    if problem.file is not None:
        return problem
    place = document.nearest(problem.path).place
    value = str(problem.value).lower() if isinstance(problem.value, bool) else problem.value  # as in YAML
    return problem._replace(value=value, file=place.file, line=place.line)


def _in_file_order(problems: Sequence[Problem], document: Entry) -> list[Problem]:
    own = document.place.file
    return sorted(problems, key=lambda problem: (problem.file != own, str(problem.file).startswith("--set"),
                                                 str(problem.file), problem.line or 0))
