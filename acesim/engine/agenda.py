"""What is due and when, as plain data, played on SimPy's clock.

SimPy generators cannot be pickled, so nothing here is a generator: an entry names an action and its arguments, and the
whole agenda can be written down and taken up again.  SimPy keeps the order of events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import simpy
from simpy.events import Event as SimpyEvent
from simpy.events import EventPriority

from acesim.scenario.errors import PolicyError

NORMAL, LAST = 1, 2  # LAST: after everything else of the same instant
LONGEST_S = 1e10
"""Three centuries.  Beyond, a clock has no digits left for what fast links do, and the ledger would not balance."""


class Entry(NamedTuple):
    """One thing that is due."""

    time_s: float
    priority: int
    action: str
    arguments: tuple[Any, ...]


class Agenda:
    """A clock and its open entries.

    play   called with (action, arguments) when an entry is due

    >>> log = []
    >>> agenda = Agenda(lambda action, arguments: log.append((agenda.now_s, action, *arguments)))
    >>> _ = agenda.at(2.0, "ring", 7)
    >>> ticket = agenda.at(1.0, "never")
    >>> agenda.cancel(ticket)
    >>> agenda.run()
    >>> log
    [(2.0, 'ring', 7)]
    """

    def __init__(self, play: Callable[[str, tuple[Any, ...]], None], start_s: float = 0.0) -> None:
        self._play = play
        self._environment = simpy.Environment(initial_time=start_s)
        self._tickets = 0
        self._stopped = False
        self.entries: dict[int, Entry] = {}
        self.now_s = start_s

    def at(self, time_s: float, action: str, *arguments: Any, priority: int = NORMAL) -> int:
        """Enter an action for a time that is not past; return its ticket."""
        ticket = self._tickets
        self._tickets += 1
        self.entries[ticket] = Entry(time_s, priority, action, arguments)
        event = SimpyEvent(self._environment)
        event._ok, event._value = True, ticket
        event.callbacks.append(self._due)
        delay_s = max(0.0, time_s - self._environment.now)
        self._environment.schedule(event, priority=EventPriority(priority), delay=delay_s)
        return ticket

    def cancel(self, ticket: int) -> None:
        """Strike an entry out; its SimPy event then passes without effect."""
        self.entries.pop(ticket, None)

    def stop(self) -> None:
        """Play nothing more."""
        self._stopped = True

    def run(self) -> None:
        """Play entries in order of time, priority and entry until none is left or `stop` is called.

        raises   PolicyError when the clock passes LONGEST_S
        """
        while self.entries and not self._stopped:
            self._environment.step()

    def _due(self, event: SimpyEvent) -> None:
        entry = self.entries.pop(cast(int, event.value), None)
        if entry is None:
            return
        if entry.time_s > LONGEST_S:
            raise PolicyError(f"the run reaches {entry.time_s:.2g} s of simulated time, more than {LONGEST_S:g} s: a "
                              "link is too slow for what it is to carry, or a device for what it is to compute")
        # SimPy adds delays up; the entry's own time is exact, and never lies before what was played already.
        self.now_s = max(self.now_s, entry.time_s)
        self._play(entry.action, entry.arguments)
