"""Small worlds that several test files share."""

import numpy as np

from acesim.seam import Group, View


def view(workers, *, round=0, regions=1, cloud=1, **known):
    """What a server knows before anything was measured; the first `cloud` workers are of the cloud."""
    unknown = np.full(workers, np.nan)
    tier = np.array(["cloud"] * cloud + ["edge"] * (workers - cloud))
    facts = {"round": round, "progress": 0.0, "time_s": 0.0, "bandwidth_bytes_per_s": unknown,
             "region_bandwidth_bytes_per_s": np.full(regions, np.nan), "latency_s": np.zeros(workers),
             "compute_s": unknown, "round_time_s": unknown, "examples": np.arange(10, 10 + workers), "tier": tier,
             "region": np.zeros(workers, np.int64), "participation": np.ones(workers),
             "staleness": np.zeros(workers, np.int64), "drift": unknown}
    return View(**(facts | known))


def groups(*sizes, kinds=("embedding", "attention", "mlp", "norm")):
    """Consecutive groups of these sizes, with kinds and depths that differ."""
    found, start = [], 0
    for row, size in enumerate(sizes):
        found.append(Group(f"g{row}", start, start + size, kinds[row % len(kinds)], row / max(1, len(sizes) - 1), 8))
        start += size
    return tuple(found)
