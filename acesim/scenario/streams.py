"""One tree of random streams, so that every policy of a study meets the same world.

A stream is keyed by (seed, purpose, who, block): nothing else may influence it, in particular not the policy,
the order of events or the number of processes.  Differences between policies are therefore paired.
"""

from __future__ import annotations

import numpy as np

PURPOSES = ("data", "init", "compressor", "compute", "trace", "transport", "availability", "sampling",
            "clustering", "faults")
"""What randomness is for.  Append only: the position is part of the key."""


def stream(seed: int, purpose: str, who: int = 0, block: int = 0) -> np.random.Generator:
    """Return the generator of one purpose of one worker (or server), independent of all others.

    seed      the run's seed, >= 0
    purpose   one of PURPOSES
    who       row number of the worker; 0 where the purpose belongs to the run as a whole
    block     a counter for streams that are drawn in blocks (batches of later steps, for example)
    raises    ValueError when the purpose is unknown

    >>> stream(0, "data", 3).integers(1000) == stream(0, "data", 3).integers(1000)
    np.True_
    """
    key = (seed, PURPOSES.index(purpose), who, block)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
