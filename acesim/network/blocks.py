"""Resamples blocks of a user's own traces: as many different links as workers, from as few files as there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acesim.network.files import Recording, as_trace
from acesim.network.traces import Trace


def resampled(recordings: Sequence[Recording], direction: str, step_s: float, period_s: float, block_s: float,
              rng: np.random.Generator) -> Trace:
    """Return a trace of period_s that is put together from blocks of one of the recordings.

    A worker draws one recording, so that links differ as the recordings do, then blocks of it with random starts
    and geometric lengths of mean block_s: the stationary bootstrap (Politis & Romano 1994), in which every moment
    of the recording is equally likely and dependence is kept up to about block_s.  Two directions drawn with equal
    streams get the same blocks.

    raises   TraceError when the recording lacks the direction, or all that was drawn is zero
    """
    chosen = recordings[int(rng.integers(len(recordings)))]
    source = as_trace(chosen, direction, step_s)
    places = stationary(len(source), max(1, round(period_s / step_s)), block_s / step_s, rng)
    return Trace(step_s, source.bytes_per_s[places], source=f"{source.source}, resampled")


def stationary(length: int, wanted: int, block: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return places [wanted] in a row of `length`: runs that go round, of mean length `block`.

    >>> places = stationary(10, 1000, 5.0, np.random.default_rng(0))
    >>> bool(((np.diff(places) % 10) == 1).mean() > 0.7), sorted(set(places.tolist())) == list(range(10))
    (True, True)
    """
    begins = rng.random(wanted) * block < 1
    begins[0] = True
    starts = rng.integers(length, size=wanted)
    first = np.maximum.accumulate(np.where(begins, np.arange(wanted), 0))
    places: NDArray[np.int64] = (starts[first] + np.arange(wanted) - first) % length
    return places
