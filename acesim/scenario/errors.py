"""What can go wrong, as a tree: every error names a place, a value, a rule and a remedy.

    AcesimError
    ├── ScenarioError     a scenario cannot be run: one Problem per mistake, all of them at once
    ├── TraceError        a trace file cannot be used
    ├── PolicyError       a policy, or a part of one, was asked for something it cannot do
    ├── ResultMissing     results that were asked for are not there
    └── LedgerError       the byte ledger does not balance: the run is worthless and stops
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class AcesimError(Exception):
    """Everything acesim raises on purpose; the command line turns it into one message and exit code 2."""


class Problem(NamedTuple):
    """One mistake in a scenario: where it stands, what was written, and what to write instead."""

    path: tuple[str | int, ...]
    value: object
    rule: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        shown = "" if self.value is None else f" = {self.value}"
        subject = f"{dotted(self.path)}{shown}" if self.path or not self.file else ""
        place = f"{self.file}{line}" if self.file else ""
        return ": ".join(part for part in (place, subject, self.rule) if part)


def dotted(path: Sequence[str | int]) -> str:
    """Spell a path as users write it.

    >>> dotted(("workers", 3, "access", "uplink"))
    'workers[3].access.uplink'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "scenario"


class ScenarioError(AcesimError):
    """A scenario that cannot be run; `problems` holds every mistake found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TraceError(AcesimError):
    """A trace file that cannot be used: file, line and rule."""

    def __init__(self, file: str, line: int | None, rule: str) -> None:
        self.file, self.line, self.rule = file, line, rule
        super().__init__(f"{file}{f':{line}' if line else ''}: {rule}")

    @property
    def within(self) -> str:
        """The message without the file, where that is named already."""
        return f"line {self.line}: {self.rule}" if self.line else self.rule


class PolicyError(AcesimError):
    """A policy, or a part of one, was given a value it cannot work with."""


class ResultMissing(AcesimError):
    """Results that were asked for are not there; the message says what would make them."""


class LedgerError(AcesimError):
    """Bytes were lost or invented. Nothing such a run says can be trusted, so it stops."""
