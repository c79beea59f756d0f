"""Labels of policies, and the names that become folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9](?:[\w .,=%()-]*[\w)%])?", re.ASCII)
_LABEL = re.compile(rf"{_NAME.pattern}(?:/{_NAME.pattern})*", re.ASCII)
_RESERVED = "cells"  # the folder in which a sweep keeps its grid


def labels(policies: Sequence[tuple[str, str | None, Mapping[str, Any]]]) -> list[str]:
    """Return the label of each (name, label or None, parameters).

    A given label stays.  Otherwise it is the name, plus the parameters that differ where a name occurs twice.

    >>> labels([("top-k", None, {"ratio": 0.3}), ("top-k", None, {"ratio": 0.3, "index": "auto"})])
    ['top-k', 'top-k index=auto']
    """
    found = []
    for name, label, parameters in policies:
        twins = [other for twin, _, other in policies if twin == name]
        differing = [key for key, value in parameters.items()
                     if any(other.get(key, _ABSENT) != value for other in twins)]
        found.append(label or " ".join([name, *(f"{key}={_shown(parameters[key])}" for key in differing)]))
    return found


_ABSENT = object()


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_shown(part) for part in value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def folder(label: str) -> str:
    """Return the name of a label's folder.

    >>> folder("ace-sync/flat")
    'ace-sync+flat'
    """
    return label.replace("/", "+")


def name_rule(name: str, pattern: re.Pattern[str] = _NAME) -> str | None:
    """Say what is wrong with a name that becomes a folder; None if nothing is.

    >>> name_rule("table1"), name_rule("../x") is None
    (None, False)
    """
    if name.casefold() == _RESERVED:
        return f"{_RESERVED} is taken: sweeps keep their grid there; choose another"
    if len(name) <= 100 and pattern.fullmatch(name):
        return None
    return ("cannot name a folder: write at most 100 of letters, digits, spaces and _ - . , = % ( ), with a "
            "letter or a digit first, and one of these or _ % ) last")


def label_problems(found: Sequence[str]) -> list[tuple[int, str]]:
    """Return (row, rule) of every label that cannot be used."""
    seen = Counter(folder(label).casefold() for label in found)  # some file systems do not tell A from a
    problems = []
    for row, label in enumerate(found):
        rule = name_rule(label, _LABEL)
        if rule is None and seen[folder(label).casefold()] > 1:
            rule = f"two policies are labelled {label}; give one of them a `label` of its own"
        if rule is not None:
            problems.append((row, rule))
    return problems
