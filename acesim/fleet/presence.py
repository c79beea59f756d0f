"""When workers are there: availability, joining and leaving, and crashes, as functions of simulated time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from acesim.fleet.phases import Moment, Renewal, Switch, read_presence
from acesim.scenario.errors import AcesimError, Problem, TraceError
from acesim.scenario.streams import stream
from acesim.scenario.units import Range

if TYPE_CHECKING:
    from acesim.scenario.schema import Scenario, WorkerGroup


class State(NamedTuple):
    """there: takes part; broken: it crashed, and has lost what it was doing; until_s: when that changes."""

    there: bool
    broken: bool
    until_s: float


@dataclass(frozen=True)
class Presence:
    """One worker's.

    switch          on while it is available; None: always
    faults          on while it is sound; None: always
    join_s, leave_s   it is there from the one to the other
    finishes        it ends what it was doing before it goes; a crash never asks
    """

    switch: Switch | None = None
    faults: Switch | None = None
    join_s: float = 0.0
    leave_s: float = math.inf
    finishes: bool = False

    def at(self, time_s: float) -> State:
        """Return the state at a time, and until when.

        >>> Presence(join_s=5.0, leave_s=8.0).at(0.0), Presence(join_s=5.0, leave_s=8.0).at(8.0)
        (State(there=False, broken=False, until_s=5.0), State(there=False, broken=False, until_s=inf))
        """
        if time_s >= self.leave_s:
            return State(False, False, math.inf)
        if time_s < self.join_s:
            return State(False, False, self.join_s)
        always = Moment(True, math.inf)
        available, sound = (each.at(time_s) if each else always for each in (self.switch, self.faults))
        return State(available.on and sound.on, not sound.on,
                     min(available.until_s, sound.until_s, self.leave_s))


def of_group(group: WorkerGroup, first_row: int, seed: int) -> list[Presence | None]:
    """Return the presence of every worker of a group; None for those that are always there."""
    facts, faults = group.availability, group.faults
    if faults.every_s is None and facts == type(facts)(on_leave=facts.on_leave):
        return [None] * group.count
    recorded = read_presence(facts.trace) if facts.trace else None
    found: list[Presence | None] = []
    for row in range(first_row, first_row + group.count):
        place, joining, leaving = stream(seed, "availability", row).random(3)
        switch: Switch | None = None
        if recorded is not None:
            switch = replace(recorded, offset_s=place * recorded.period_s)
        elif facts.present_s is not None and facts.absent_s is not None:
            switch = Renewal(facts.present_s, facts.absent_s, seed, "availability", row, 1, facts.spread)
        broken = None if faults.every_s is None else \
            Renewal(faults.every_s, faults.repair_s, seed, "faults", row, 0, begins_on=True)
        found.append(Presence(switch, broken, _within(facts.join_s, joining, 0.0),
                              _within(facts.leave_s, leaving, math.inf), facts.on_leave == "finish"))
    return found


def _within(drawn: Range | None, share: float, usual: float) -> float:
    return usual if drawn is None else drawn.low + share * (drawn.high - drawn.low)


def check(scenario: Scenario) -> Iterator[Problem]:
    """Name traces of availability that cannot be used, and workers that leave before they join."""
    for row, group in enumerate(scenario.workers):
        facts, path = group.availability, ("workers", row, "availability")
        if facts.join_s is not None and facts.leave_s is not None and facts.leave_s.low <= facts.join_s.high:
            yield Problem((*path, "leave"), None, "must be after join for every worker; the ranges overlap")
        if facts.trace and Path(facts.trace).is_file():
            try:
                read_presence(facts.trace)
            except (AcesimError, UnicodeDecodeError) as error:
                rule = error.within if isinstance(error, TraceError) else str(error)
                yield Problem((*path, "trace"), facts.trace, rule)
