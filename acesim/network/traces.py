"""Traces: what a link can carry at each moment, and how long bytes take over it alone.

A trace is piecewise constant on a grid of equal steps.  Moving bytes over one is closed form: a cumulative
sum over a period, whole periods skipped by division, a binary search within one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import TraceError

Rates = NDArray[np.float64]
End = Literal["loop", "hold", "error"]

ROUNDING = 1e-13
"""Relative error allowed to cumulative sums.  Without it a transfer that ends where an outage begins could,
by the last bit of a sum, wait the outage out."""


LEAST_BYTES = 5e-324  # the smallest number above zero: a search for it ends behind steps that carry nothing


class Stepwise(Protocol):
    """A rate that is piecewise constant in time."""

    @property
    def minimum(self) -> float:
        """Lowest rate in bytes per second."""

    @property
    def maximum(self) -> float:
        """Highest rate."""

    @property
    def settled_s(self) -> float:
        """The rate is constant from here on; inf for what repeats."""

    def rate(self, time_s: NDArray[np.float64]) -> Rates:
        """Return the rate at each moment."""

    def edges(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Return the moments strictly between start_s and end_s at which the rate may change."""


class Capacity(Stepwise, Protocol):
    """What a link, or a route, can carry."""

    @property
    def mean(self) -> float:
        """Mean rate; NaN where there is no period to take it over."""

    def moved_bytes(self, start_s: float, end_s: float) -> float:
        """Return the bytes that pass between two moments."""

    def time_to_move(self, nbytes: float, start_s: float, slack_bytes: float = 0.0) -> float:
        """Return when `nbytes` have passed, if they start at start_s; inf for never.

        slack_bytes   that may be missing at the last moment before an outage, so that it is not waited out
        """


@dataclass(frozen=True, eq=False)
class Trace:
    """A piecewise-constant rate on a grid of equal steps.

    step_s        length of a step
    bytes_per_s   float64 [N], rate in each step; the trace starts at time 0 and is period_s = N step_s long
    end           what comes after: "loop" repeats it, "hold" keeps its last rate, "error" allows no transfer
    source        what it is or where it was read, for messages
    raises        TraceError when a rate is negative or not finite, or all are zero

    >>> trace = Trace(1.0, np.array([2., 0., 4.]))
    >>> trace.moved_bytes(0.5, 3.5), trace.time_to_move(5., 0.), trace.mean
    (6.0, 2.75, 2.0)
    """

    step_s: float
    bytes_per_s: Rates
    end: End = "loop"
    source: str = "trace"

    def __post_init__(self) -> None:
        rates = np.array(self.bytes_per_s, dtype=np.float64)
        rates.flags.writeable = False
        object.__setattr__(self, "bytes_per_s", rates)
        if not (self.step_s > 0 and math.isfinite(self.step_s)):
            raise TraceError(self.source, None, f"step_s = {self.step_s}: must be > 0 and finite")
        if rates.ndim != 1 or not rates.size:
            raise TraceError(self.source, None, f"rates have shape {rates.shape}: must be one row, not empty")
        if not np.isfinite(rates).all() or rates.min() < 0:
            raise TraceError(self.source, None, "a rate is negative or not finite: must be >= 0 bytes/s")
        if not rates.any():
            raise TraceError(self.source, None, "the rate is zero everywhere, so no transfer could ever end: "
                                                "give at least one step a rate > 0")

    def __len__(self) -> int:
        return len(self.bytes_per_s)

    def __getstate__(self) -> dict[str, object]:
        """What is pickled: the fields, not what can be computed from them."""
        return {name: self.__dict__[name] for name in ("step_s", "bytes_per_s", "end", "source")}

    @cached_property
    def period_s(self) -> float:
        """Length of the trace."""
        return len(self) * self.step_s

    @cached_property
    def settled_s(self) -> float:
        """From here on the rate is constant; inf for a trace that repeats."""
        if len(self) == 1:
            return 0.0
        return math.inf if self.end == "loop" else self.period_s - self.step_s

    @cached_property
    def mean(self) -> float:
        """Mean rate over the trace."""
        return float(self._total / self.period_s)

    @cached_property
    def minimum(self) -> float:
        """Lowest rate."""
        return float(self.bytes_per_s.min())

    @cached_property
    def maximum(self) -> float:
        """Highest rate."""
        return float(self.bytes_per_s.max())

    @cached_property
    def limit_s(self) -> float:
        """No transfer may be under way after this moment."""
        return self.period_s if self.end == "error" else math.inf

    @cached_property
    def cumulative_bytes(self) -> NDArray[np.float64]:
        """Bytes that pass from the start of the trace to each edge of its grid, float64 [N + 1]."""
        return np.concatenate([[0.0], np.cumsum(self.bytes_per_s * self.step_s)])

    @cached_property
    def _total(self) -> float:
        return float(self.cumulative_bytes[-1])

    def rate(self, time_s: NDArray[np.float64] | float) -> Rates:
        """Return the rate at each moment; at an edge, that of the step which begins there."""
        step = np.floor(np.asarray(time_s) / self.step_s + 1e-9).astype(np.int64)
        last = len(self) - 1
        rates: Rates = self.bytes_per_s[step % (last + 1) if self.end == "loop" else np.minimum(step, last)]
        return rates

    def edges(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Return the edges of the grid strictly between two moments."""
        if len(self) == 1:
            return np.empty(0)
        end_s = min(end_s, self.settled_s + self.step_s / 2)
        numbers = np.arange(math.floor(start_s / self.step_s), math.ceil(end_s / self.step_s) + 1)
        edges: NDArray[np.float64] = numbers.astype(np.float64) * self.step_s
        return edges[(edges > start_s) & (edges < end_s)]

    def moved_bytes(self, start_s: float, end_s: float) -> float:
        """Return the bytes that pass between two moments; past the end of an "error" trace as if it held."""
        first, before = self._place(start_s)
        last, after = self._place(end_s)
        return (last - first) * self._total + (after - before)

    def time_to_move(self, nbytes: float, start_s: float, slack_bytes: float = 0.0) -> float:
        """Return when `nbytes` have passed, if they start at `start_s`; inf where the trace holds zero.

        slack_bytes   that may be missing at the last moment before an outage, so that it is not waited out
        """
        if nbytes <= slack_bytes:
            return start_s
        period, before = self._place(start_s)
        target = before + nbytes
        slack = slack_bytes + ROUNDING * target
        if self.end == "loop":
            whole = max(math.ceil((target - slack) / self._total) - 1, 0)
            within_s = self._time_within(target - whole * self._total, slack)
            return max(start_s, (period + whole) * self.period_s + within_s)
        if target - slack <= self._total:
            return max(start_s, self._time_within(target, slack))
        last = float(self.bytes_per_s[-1])
        return self.period_s + (target - self._total) / last if last else math.inf

    @cached_property
    def _spelt(self) -> tuple[int, memoryview, memoryview]:
        """(last step, rates, bytes before each edge): entries of a view come as plain numbers, and fast."""
        return len(self) - 1, self.bytes_per_s.data, self.cumulative_bytes.data

    def _place(self, time_s: float) -> tuple[int, float]:
        """Return (whole periods before a moment, bytes from the start of its period)."""
        last, rates, before = self._spelt
        period = math.floor(time_s / self.period_s) if self.end == "loop" else 0
        within = time_s - period * self.period_s
        step = int(within / self.step_s)
        step = step if step < last else last
        return period, before[step] + rates[step] * (within - step * self.step_s)

    def _time_within(self, nbytes: float, slack: float) -> float:
        """Return when `nbytes` have passed within a period that carries them, up to the slack."""
        _, rates, before = self._spelt
        wanted = min(max(nbytes - slack, LEAST_BYTES), self._total)
        step = bisect_left(before, wanted) - 1  # so its rate is not zero
        past = (nbytes - before[step]) / rates[step]
        return step * self.step_s + min(max(past, 0.0), self.step_s)


def constant(bytes_per_s: float, source: str = "constant") -> Trace:
    """Return a trace whose rate never changes.

    >>> constant(5.).time_to_move(10., 3.)
    5.0
    """
    return Trace(1.0, np.array([bytes_per_s]), source=source)


def resample(rates: Rates, edges_s: NDArray[np.float64], step_s: float) -> Rates:
    """Return rates on a grid of equal steps that carry the same bytes.

    rates     bytes per second between each two of `edges_s`
    edges_s   ascending, one more than rates; the first is the start of the grid
    returns   as many steps as cover the edges; of one that is covered in part, the rate in that part

    >>> resample(np.array([4., 2.]), np.array([0., .5, 1.5]), 1.)
    array([3., 2.])
    """
    steps = steps_of(float(edges_s[-1] - edges_s[0]), step_s)
    passed = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges_s))])
    grid_s = np.minimum(edges_s[0] + np.arange(steps + 1) * step_s, edges_s[-1])
    grid_s[-1] = edges_s[-1]
    resampled: Rates = np.diff(np.interp(grid_s, edges_s, passed)) / np.diff(grid_s)
    return resampled


def steps_of(span_s: float, step_s: float) -> int:
    """Return how many steps cover a span.

    >>> steps_of(3.0, 1.0), steps_of(3.2, 1.0), steps_of(0.1, 1.0)
    (3, 4, 1)
    """
    return max(1, math.ceil(span_s / step_s * (1 - 1e-9)))


def played_on(edges_s: NDArray[np.float64], rates: Rates, step_s: float) -> tuple[NDArray[np.float64], Rates]:
    """Return (edges, rates) of a repeating rate until its last step is full; within one step, only its mean counts.

    >>> played_on(np.array([0., 1., 1.5]), np.array([5., 7.]), 1.)
    (array([0. , 1. , 1.5, 2. ]), array([5., 7., 5.]))
    >>> played_on(np.array([0., .001, .003]), np.array([7., 1.]), 1.)
    (array([0., 1.]), array([3.]))
    """
    length_s = float(edges_s[-1])
    if length_s < step_s:
        return np.array([0.0, step_s]), np.array([rates @ np.diff(edges_s) / length_s])
    return repeated(edges_s, rates, steps_of(length_s, step_s) * step_s)


def repeated(edges_s: NDArray[np.float64], rates: Rates, length_s: float) -> tuple[NDArray[np.float64], Rates]:
    """Return (edges, rates) of a repeating rate up to a length.

    >>> repeated(np.array([0., 1., 3.]), np.array([5., 7.]), 5.)
    (array([0., 1., 3., 4., 5.]), array([5., 7., 5., 7.]))
    """
    period_s = float(edges_s[-1])
    times = math.ceil(length_s / period_s * (1 - 1e-12))
    starts_s = np.concatenate([edges_s[:-1] + turn * period_s for turn in range(times)])
    kept = starts_s < length_s * (1 - 1e-12)
    return np.append(starts_s[kept], length_s), np.tile(rates, times)[kept]


def cut(edges_s: NDArray[np.float64], rates: Rates, start_s: float) -> tuple[NDArray[np.float64], Rates]:
    """Return (edges, rates) without what lies before `start_s`, which becomes time 0.

    >>> cut(np.array([0., 2., 3.]), np.array([5., 7.]), 1.5)
    (array([0. , 0.5, 1.5]), array([5., 7.]))
    """
    first = int(np.searchsorted(edges_s, start_s, side="right")) - 1
    return np.concatenate([[start_s], edges_s[first + 1:]]) - start_s, rates[first:]


def turned(edges_s: NDArray[np.float64], rates: Rates, start_s: float) -> tuple[NDArray[np.float64], Rates]:
    """Return (edges, rates) of a repeating rate from `start_s` on; what lies before comes last.

    >>> turned(np.array([0., 2., 3.]), np.array([5., 7.]), 1.5)
    (array([0. , 0.5, 1.5, 3. ]), array([5., 7., 5.]))
    """
    after_s, after = cut(edges_s, rates, start_s)
    inside = edges_s[(edges_s > 0) & (edges_s < start_s)]
    before_s = np.concatenate([inside, [start_s]]) if start_s > 0 else inside
    return np.concatenate([after_s, before_s + after_s[-1]]), np.concatenate([after, rates[: len(before_s)]])


LONGEST_STANDSTILL = 1_000_000
"""Steps without a byte after which a combination of capacities is taken to stand still for ever."""


class Least:
    """The lowest of several capacities at each moment, where they share no grid or do not all repeat.

    parts   the capacities; at least one

    >>> Least((Trace(1., np.array([1., 3.])), Trace(.7, np.array([2.])))).time_to_move(4., 0.)
    3.0
    """

    mean = math.nan

    def __init__(self, parts: Sequence[Stepwise]) -> None:
        self.parts = tuple(parts)
        self.minimum = min(part.minimum for part in self.parts)
        self.maximum = min(part.maximum for part in self.parts)
        self.settled_s = max(part.settled_s for part in self.parts)

    def rate(self, time_s: NDArray[np.float64]) -> Rates:
        """Return the lowest rate at each moment."""
        rates: Rates = np.minimum.reduce([part.rate(time_s) for part in self.parts])
        return rates

    def edges(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Return the moments strictly between two others at which any part may change."""
        return np.unique(np.concatenate([part.edges(start_s, end_s) for part in self.parts]))

    def moved_bytes(self, start_s: float, end_s: float) -> float:
        """Return the bytes that pass between two moments."""
        edges, rates = self.steps(start_s, end_s)
        return float(np.diff(edges) @ rates)

    def steps(self, start_s: float, end_s: float) -> tuple[NDArray[np.float64], Rates]:
        """Return (edges [S + 1] from start_s to end_s, the rate between each two [S])."""
        edges = np.concatenate([[start_s], self.edges(start_s, end_s), [end_s]])
        return edges, self.rate((edges[:-1] + edges[1:]) / 2)

    def time_to_move(self, nbytes: float, start_s: float, slack_bytes: float = 0.0) -> float:
        """Return when `nbytes` have passed, if they start at start_s, up to `slack_bytes`; inf for never."""
        span_s = 2 * nbytes / self.maximum if self.maximum else 1.0
        slack = slack_bytes + ROUNDING * nbytes
        while nbytes > slack_bytes:
            edges, rates = self.steps(start_s, start_s + span_s)
            passed = np.concatenate([[0.0], np.cumsum(np.diff(edges) * rates)])
            wanted = max(nbytes - slack, LEAST_BYTES)
            if passed[-1] >= wanted:
                step = int(np.searchsorted(passed, wanted)) - 1
                past = (nbytes - passed[step]) / rates[step]
                return float(edges[step] + min(max(past, 0.0), edges[step + 1] - edges[step]))
            if not rates.any() and (start_s >= self.settled_s or len(rates) > LONGEST_STANDSTILL):
                return math.inf
            nbytes, start_s, span_s = nbytes - float(passed[-1]), float(edges[-1]), 2 * span_s
        return start_s


MAX_STEPS = 65_536
"""Longest common period, in steps, that is spelt out for routes over traces of different periods."""


def least(parts: Sequence[Capacity], source: str = "route") -> Capacity:
    """Return the lowest of several capacities: a trace where they share a grid and repeat, else a `Least`.

    raises   TraceError when at every moment one of them is zero

    >>> least([Trace(1., np.array([1., 5.])), Trace(1., np.array([3., 9., 2.]))]).bytes_per_s
    array([1., 5., 1., 3., 1., 2.])
    """
    narrowest = min(parts, key=lambda part: part.maximum)
    if isinstance(narrowest, Trace) and narrowest.end == "loop" and all(
            part is narrowest or part.minimum >= narrowest.maximum for part in parts):
        return narrowest  # not copied
    if len(parts) == 1:
        return parts[0]
    traces = [part for part in parts if isinstance(part, Trace)]
    step_s = common_step([trace for trace in traces if len(trace) > 1])
    if step_s is None or len(traces) < len(parts):
        return Least(parts)
    steps = math.lcm(*(len(trace) for trace in traces))
    if steps > MAX_STEPS:
        return Least(parts)
    lowest = np.minimum.reduce([np.tile(trace.bytes_per_s, steps // len(trace)) for trace in traces])
    if not lowest.any():
        names = ", ".join(trace.source for trace in traces)
        raise TraceError(source, None, f"at every moment one of its links carries nothing ({names}), so no "
                                       f"transfer could ever end: give them a common step with rates > 0")
    return Trace(step_s, lowest, source=source)


def common_step(traces: Sequence[Trace]) -> float | None:
    """Return the step of traces that all repeat on one grid, None where they do not; 1 s if there is none."""
    steps = {trace.step_s if trace.end == "loop" else None for trace in traces}
    return 1.0 if not steps else steps.pop() if len(steps) == 1 else None
