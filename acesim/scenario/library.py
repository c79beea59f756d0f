"""The scenarios that are shipped, by name."""

from __future__ import annotations

import difflib
import os
from importlib.resources import files
from pathlib import Path

from acesim.scenario.errors import Problem, ScenarioError

SUFFIXES = (".yaml", ".yml")


def shipped_scenarios() -> tuple[str, ...]:
    """Return the names of the scenarios that come with acesim, sorted.

    >>> "table1" in shipped_scenarios()
    True
    """
    return tuple(sorted(path.stem for path in _folder().iterdir() if path.suffix in SUFFIXES))


def scenario_path(source: str | Path, beside: Path | None = None) -> Path:
    """Return the file that `source` means: a path, or the name of a shipped scenario.

    beside   a folder that relative paths start from (default: the working directory)
    raises   ScenarioError with the nearest name where there is neither
    """
    path = (beside or Path()) / source
    if path.is_file():
        return path
    names = shipped_scenarios()
    if str(source) in names:
        return _shipped(str(source))
    if path.is_dir():
        raise ScenarioError([Problem((), None, "is a folder; a scenario is a file", str(path))])
    near = difflib.get_close_matches(Path(source).stem, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ScenarioError([Problem((), None, f"there is no such file or scenario; {hint}"
                                           f"(shipped: {', '.join(names)})", str(source))])


def shown(path: Path) -> str:
    """Return a path as messages show it: from the working directory where that is shorter."""
    try:
        return min(str(path), os.path.relpath(path), key=len)
    except ValueError:  # on Windows there is no way from one drive to another
        return str(path)


def _shipped(name: str) -> Path:
    return next(path for path in sorted(_folder().iterdir()) if path.stem == name and path.suffix in SUFFIXES)


def _folder() -> Path:
    """Return the folder of shipped scenarios; in a bare checkout it lies beside the package."""
    checkout = Path(__file__).resolve().parents[2] / "scenarios"
    try:
        return Path(str(files("acesim.scenarios").joinpath("table1.yaml"))).parent
    except ModuleNotFoundError:
        return checkout
