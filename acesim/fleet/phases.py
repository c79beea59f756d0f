"""Two states in turn: slow and normal, there and away, sound and broken.

Everything is a function of the seed, the worker and the simulated time: every policy meets the same world.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import TraceError
from acesim.scenario.streams import stream

_DRAWN = 64  # lengths of phases that are drawn at once


class Moment(NamedTuple):
    """A state, and the time at which it will change; inf: never."""

    on: bool
    until_s: float


class Switch(Protocol):
    """Something that is on or off in simulated time."""

    def at(self, time_s: float) -> Moment:
        """Return the state at a time (from which on a change holds), and until when."""


@dataclass(frozen=True)
class Renewal:
    """On and off in turn, with lengths drawn independently; the beginning is a moment of a process that always was.

    on_s, off_s   mean lengths, exponential
    spread        None, or the standard deviation of the logarithm of log-normal lengths of the same means
    seed, purpose, who, block   of the stream; blocks from `block` on are used
    begins_on     None: on with probability on_s / (on_s + off_s), somewhere within a length (length-biased: the
                  log-normal of the same spread whose median is exp(spread^2) times as long, times a uniform share)
    """

    on_s: float
    off_s: float
    seed: int
    purpose: str
    who: int
    block: int
    spread: float | None = None
    begins_on: bool | None = None

    def at(self, time_s: float) -> Moment:
        """Return the state at a time, and until when."""
        count = _DRAWN
        while (changes := _changes(self, count))[-1] <= time_s:
            count *= 2
        past = int(np.searchsorted(changes, time_s, side="right"))
        return Moment(_first(self)[0] != bool(past % 2), float(changes[past]))


def _first(renewal: Renewal) -> tuple[bool, float]:
    """Return the state at the beginning, and how long it still lasts."""
    rng = stream(renewal.seed, renewal.purpose, renewal.who, renewal.block)
    chance, share, normal, exponential = rng.random(), rng.random(), rng.standard_normal(), rng.exponential()
    on = chance < renewal.on_s / (renewal.on_s + renewal.off_s) if renewal.begins_on is None else renewal.begins_on
    mean_s = renewal.on_s if on else renewal.off_s
    if renewal.spread is None:  # without memory
        return on, mean_s * exponential
    biased = renewal.begins_on is None
    length_s = mean_s * math.exp(renewal.spread * normal + renewal.spread**2 * (0.5 if biased else -0.5))
    return on, length_s * share if biased else length_s


@lru_cache(maxsize=1 << 16)
def _changes(renewal: Renewal, count: int) -> NDArray[np.float64]:
    """Return the times of the first `count` changes, or a few more."""
    on, left_s = _first(renewal)
    lengths = [np.array([left_s])]
    for number in range(-(-count // _DRAWN)):
        rng = stream(renewal.seed, renewal.purpose, renewal.who, renewal.block + 1 + number)
        if renewal.spread is None:
            drawn = rng.exponential(size=_DRAWN)
        else:
            drawn = np.exp(renewal.spread * rng.standard_normal(_DRAWN) - renewal.spread**2 / 2)
        means = [renewal.off_s, renewal.on_s] if on else [renewal.on_s, renewal.off_s]
        lengths.append(drawn * np.tile(means, _DRAWN // 2))
    times: NDArray[np.float64] = np.cumsum(np.concatenate(lengths))
    return times


@dataclass(frozen=True)
class Recorded:
    """On and off as a file has it, again and again.

    times_s, states   from each time on the state holds; the first time is 0
    period_s          length of the record
    offset_s          where in it the simulation begins
    """

    times_s: tuple[float, ...]
    states: tuple[bool, ...]
    period_s: float
    offset_s: float = 0.0

    def at(self, time_s: float) -> Moment:
        """Return the state at a time, and until when."""
        rows = len(self.times_s)
        turns, within_s = divmod(time_s + self.offset_s, self.period_s)
        place = int(turns) * rows + int(np.searchsorted(self.times_s, within_s, side="right")) - 1
        while self._begin_s(place + 1) <= time_s:  # divmod may round a moment to the wrong side of a change
            place += 1
        while self._begin_s(place) > time_s:
            place -= 1
        on = self.states[place % rows]
        later = next((step for step in range(1, rows) if self.states[(place + step) % rows] != on), None)
        return Moment(on, math.inf if later is None else self._begin_s(place + later))

    def _begin_s(self, place: int) -> float:
        """Return when a row of the record begins, rows counted on from the first turn's first."""
        turn, row = divmod(place, len(self.times_s))
        return turn * self.period_s + self.times_s[row] - self.offset_s


def read_presence(path: str) -> Recorded:
    """Read a CSV file with the columns t_s and present (0 or 1); the last row says when the record ends.

    raises   TraceError naming file and line
    """
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    header = [word.strip() for word in lines[0].split(",")] if lines else []
    if header != ["t_s", "present"]:
        raise TraceError(path, 1, "must begin with the line t_s,present")
    rows = [_row(path, number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    times = [time_s for time_s, _ in rows]
    if len(rows) < 2 or times[0] != 0 or any(later <= sooner for sooner, later in pairwise(times)):
        raise TraceError(path, None, "needs two rows or more, the first at 0 s, times rising; the last is the end")
    if not any(present for _, present in rows[:-1]):
        raise TraceError(path, None, "is never present; leave such workers out")
    return Recorded(tuple(times[:-1]), tuple(present for _, present in rows[:-1]), times[-1])


def _row(path: str, number: int, line: str) -> tuple[float, bool]:
    words = [word.strip() for word in line.split(",")]
    try:
        time_s = float(words[0])
    except ValueError:
        time_s = math.nan
    if len(words) != 2 or not math.isfinite(time_s) or words[1] not in ("0", "1"):
        raise TraceError(path, number, f"{line.strip()!r}: must be a time in seconds, a comma, and 0 or 1")
    return time_s, words[1] == "1"


def stretched(switch: Switch, factor: float, start_s: float, work_s: Sequence[float]) -> list[float]:
    """Return how long pieces of work take one after another from start_s on, `factor` as long while the switch is on.

    >>> from acesim.fleet.phases import Recorded
    >>> stretched(Recorded((0., 2.), (False, True), 10.), 3.0, 0.0, [1.0, 2.0])
    [1.0, 4.0]
    """
    taken, now_s = [], start_s
    for piece_s in work_s:
        begun_s, left_s = now_s, float(piece_s)
        while True:
            slow, until_s = switch.at(now_s)
            pace = factor if slow else 1.0
            if now_s + left_s * pace <= until_s:
                now_s += left_s * pace
                break
            left_s -= (until_s - now_s) / pace
            now_s = until_s
        taken.append(now_s - begun_s)
    return taken
