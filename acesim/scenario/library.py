"""The scenarios and the claims of papers that are shipped, by name."""

from __future__ import annotations

import difflib
import os
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from acesim.scenario.errors import Problem, ScenarioError

SUFFIXES = (".yaml", ".yml")


class Shelf(NamedTuple):
    """A folder of files that are shipped.

    package   acesim.<package> once installed; in a checkout the folder of this name beside the package
    noun      what a file of it is called
    """

    package: str
    noun: str


SCENARIOS, CLAIMS = Shelf("scenarios", "scenario"), Shelf("claims", "claims file")


def shipped_scenarios() -> tuple[str, ...]:
    """Return the names of the scenarios that come with acesim, sorted.

    >>> "table1" in shipped_scenarios()
    True
    """
    return _names(SCENARIOS)


def shipped_claims() -> tuple[str, ...]:
    """Return the names of the claims files that come with acesim, sorted.

    >>> "ace-sync" in shipped_claims()
    True
    """
    return _names(CLAIMS)


def scenario_path(source: str | Path, beside: Path | None = None) -> Path:
    """Return the file that `source` means: a path, or the name of a shipped scenario.

    beside   a folder that relative paths start from (default: the working directory)
    raises   ScenarioError with the nearest name where there is neither
    """
    return _path(SCENARIOS, source, beside)


def claims_path(source: str | Path) -> Path:
    """Return the claims file that `source` means: a path, or the name of a shipped one; ScenarioError for neither."""
    return _path(CLAIMS, source, None)


def _path(shelf: Shelf, source: str | Path, beside: Path | None) -> Path:
    path = (beside or Path()) / source
    if path.is_file():
        return path
    names = _names(shelf)
    if str(source) in names:
        return next(path for path in _files(shelf) if path.stem == str(source))
    if path.is_dir():
        raise ScenarioError([Problem((), None, f"is a folder; a {shelf.noun} is a file", str(path))])
    near = difflib.get_close_matches(Path(source).stem, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ScenarioError([Problem((), None, f"there is no such file or {shelf.noun}; {hint}"
                                           f"(shipped: {', '.join(names)})", str(source))])


def shown(path: Path) -> str:
    """Return a path as messages show it: from the working directory where that is shorter."""
    try:
        return min(str(path), os.path.relpath(path), key=len)
    except ValueError:  # on Windows there is no way from one drive to another
        return str(path)


def _names(shelf: Shelf) -> tuple[str, ...]:
    return tuple(path.stem for path in _files(shelf))


def _files(shelf: Shelf) -> list[Path]:
    """Return the shipped files, by name; in a bare checkout they lie beside the package."""
    try:
        folder = Path(str(files(f"acesim.{shelf.package}").joinpath("x.yaml"))).parent
    except ModuleNotFoundError:
        folder = Path(__file__).resolve().parents[2] / shelf.package
    return sorted((path for path in folder.iterdir() if path.suffix in SUFFIXES), key=lambda path: path.stem)
