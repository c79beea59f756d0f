"""Plug-in files: Python files with policies or tasks of one's own."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from acesim.scenario.errors import PolicyError

SHELVES = ("POLICIES", "TASKS")


def plugin(file: str | Path, shelf: str) -> Mapping[str, Any]:
    """Return what a plug-in file offers under one of SHELVES, by name; {} where it offers only the other.

    raises   PolicyError when the file is not there, fails, or offers nothing at all, or what cannot be called
    """
    module = _module(Path(file))
    found = {name: getattr(module, name, {}) for name in SHELVES}
    if not any(isinstance(each, dict) and each for each in found.values()):
        raise PolicyError(f'--plugin {file}: must define POLICIES = {{"name": recipe}} or TASKS = {{"name": builder}}')
    for name, offered in found.items():
        _check(file, name, offered)
    return found[shelf]


def raised_in(files: Sequence[str | Path], error: Exception) -> str | None:
    """Say where in a plug-in file an exception came from, and what it says; None where it passed none of them."""
    known = {Path(file).resolve(): file for file in files}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = known.get(Path(frame.filename).resolve())
        if file is not None:
            return f"--plugin {file}: line {frame.lineno}: {type(error).__name__}: {error}"
    return None


def _check(file: str | Path, shelf: str, offered: Any) -> None:
    if not isinstance(offered, dict):
        raise PolicyError(f'--plugin {file}: {shelf} = {offered!r}: must be {{"name": function or class}}')
    for name, maker in offered.items():
        if not isinstance(name, str):
            raise PolicyError(f'--plugin {file}: {shelf} has the name {name!r}: must be text; write "{name}"')
        try:
            inspect.signature(maker)
        except (TypeError, ValueError) as error:
            raise PolicyError(f"--plugin {file}: {shelf}[{name!r}] = {maker!r}: must be a function or class whose "
                              f"parameters can be read ({error})") from error


def _module(file: Path) -> ModuleType:
    """Run a plug-in file; whatever it raises is reported as the file's own mistake."""
    spec = importlib.util.spec_from_file_location(f"acesim_plugin_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise PolicyError(f"--plugin {file}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PolicyError(f"--plugin {file}: {type(error).__name__}: {error}") from error
    return module
