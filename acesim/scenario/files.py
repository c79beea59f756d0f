"""The files that a scenario names: are they there, and what is in them?"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from acesim.scenario.document import Steps
from acesim.scenario.errors import Problem
from acesim.scenario.schema import Scenario

_FROM = "no such file; paths start from the scenario's folder"


class Named(NamedTuple):
    """A setting that names files: where it stands, what it says, and what to say where there is none."""

    path: Steps
    value: str
    rule: str

    def found(self) -> list[str]:
        """Return the files it means, sorted: a trace may be a glob or file#name, texts are a glob, all else a file."""
        name = self.value
        if self.path[-1] == "trace":
            names = [name, name.rpartition("#")[0]]
            return next((files for files in map(_matches, names) if files), [])
        if self.path[1:] == ("corpus", "files"):
            return _matches(name)
        return [name] if os.path.isfile(name) else []


def _matches(name: str) -> list[str]:
    if not name or os.path.isfile(name):
        return [name] if name else []
    return sorted(path for path in glob.iglob(name, recursive=True) if os.path.isfile(path))


def named(scenario: Scenario) -> Iterator[Named]:
    """Yield every setting of a scenario that names files."""
    rules = {"corpus": "no file matches; give a glob such as texts/*.txt, relative to the scenario's folder",
             "data": "no such file; give an .npz, relative to the scenario's folder"}
    for section, rule in rules.items():
        files = getattr(getattr(scenario.task, section, None), "files", None)
        if files:
            yield Named(("task", section, "files"), files, rule)
    for row, group in enumerate(scenario.workers):
        for section, trace in (("access", group.access.trace), ("availability", group.availability.trace)):
            if trace:
                yield Named(("workers", row, section, "trace"), trace, _FROM)
    if scenario.calibration:
        yield Named(("calibration",), scenario.calibration, _FROM)


def missing_files(scenario: Scenario) -> Iterator[Problem]:
    """Name the files that a scenario speaks of and that are not there."""
    return (Problem(each.path, each.value, each.rule) for each in named(scenario) if not each.found())


def file_hashes(scenario: Scenario) -> dict[str, str]:
    """Return the sha256 of every file that a scenario names, by path: results of other contents are others."""
    paths = sorted({path for each in named(scenario) for path in each.found()})
    return {path: _sha256(path) for path in paths}


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
