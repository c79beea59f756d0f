"""Everybody in a run and what they hold: workers, region servers, the cloud, and what it has measured of them.

Fleet rows: workers 0..W-1, region servers W..W+R-1 (the data centre's own the last), the cloud server W+R.
"""

from __future__ import annotations

import numpy as np

from acesim.engine.cohort import Result
from acesim.engine.setup import Setup
from acesim.engine.state import Measured, Server, Worker, sketched
from acesim.scenario.streams import stream
from acesim.seam import Guide, Plan, Predicting, Vector, View


class World:
    """The state of all workers and servers of one run.

    setup   what the run is made of
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.policy, self.topology, self.fleet = setup, setup.policy, setup.topology, setup.fleet
        self.workers_count, self.regions_count = len(setup.info.tier), setup.info.regions
        self.cloud_row = self.workers_count + self.regions_count
        self.in_regions = setup.policy.tree == "regions"
        self.tier, self.examples = np.array(setup.info.tier), np.array(setup.info.examples)
        self.measured = Measured.of(self.workers_count, self.regions_count)
        model = setup.task.initial(setup.seed)
        downlink = self.policy.downlink  # asked once: protocols answer slowly
        self.predicting = downlink if isinstance(downlink, Predicting) else None
        self.workers = [Worker(self.policy, model, stream(setup.seed, "compressor", row))
                        for row in range(self.workers_count)]
        regions = [self._region(region, model) for region in range(self.regions_count)] if self.in_regions else []
        children = tuple(server.row for server in regions if server.children) or tuple(range(self.workers_count))
        self.cloud = Server(self.cloud_row, model, children, rng=stream(setup.seed, "compressor", self.cloud_row))
        self.servers = {server.row: server for server in [*regions, self.cloud]}
        self.guide: Guide | None = None  # what the cloud's optimizer holds, where its aggregator shows it

    def _region(self, region: int, model: Vector) -> Server:
        row = self.workers_count + region
        children = tuple(int(each) for each in np.flatnonzero(self.topology.region_of == region))
        return Server(row, model, children, self.policy.uplink.init(model.size),
                      stream(self.setup.seed, "compressor", row))

    def is_worker(self, row: int) -> bool:
        """Say whether a fleet row trains."""
        return row < self.workers_count

    def name(self, row: int) -> str:
        """Return what a fleet row is called."""
        if self.is_worker(row):
            return str(self.topology.worker_names[row])
        return "cloud" if row == self.cloud_row else f"region-{row - self.workers_count}"

    def parent(self, worker: int) -> int:
        """Return the server a worker talks to."""
        return self.workers_count + int(self.topology.region_of[worker]) if self.in_regions else self.cloud_row

    def route_up(self, sender: int) -> tuple[tuple[int, ...], float]:
        """Return (links, one-way latency) from a worker or region to its server."""
        topology = self.topology
        if not self.is_worker(sender):
            region = sender - self.workers_count
            return topology.region_up[region], float(topology.region_up_latency_s[region])
        if self.in_regions:
            return topology.up_to_region[sender], float(topology.up_to_region_latency_s[sender])
        return topology.up_route[sender], float(topology.up_latency_s[sender])

    def route_down(self, receiver: int) -> tuple[tuple[int, ...], float]:
        """Return (links, one-way latency) from its server to a worker or region."""
        topology = self.topology
        if not self.is_worker(receiver):
            region = receiver - self.workers_count
            return topology.region_down[region], float(topology.region_down_latency_s[region])
        if self.in_regions:
            return topology.down_from_region[receiver], float(topology.down_from_region_latency_s[receiver])
        return topology.down_route[receiver], float(topology.down_latency_s[receiver])

    def hand(self, owner: Worker | Server, model: Vector) -> None:
        """Let a worker or region hold a model."""
        if self.predicting is not None:
            owner.before = owner.model
        owner.model = model

    def expected(self, owner: Worker | Server, plan: Plan) -> Vector:
        """Return what a worker or region is known to expect: the model that it holds, unless the downlink predicts."""
        if self.predicting is None:
            return owner.model
        return self.predicting.predict(owner.model, owner.before, plan.down_level)

    def owner(self, row: int) -> Worker | Server:
        """Return the state of a fleet row."""
        return self.workers[row] if self.is_worker(row) else self.servers[row]

    def note_update(self, row: int, steps: int, result: Result, sketch: int) -> None:
        """Keep what a worker tells of its update: how far it has walked, and its direction in `sketch` numbers."""
        self.measured.drift[row] = walk(result, steps)
        if sketch:
            self.note_direction(row, result.update, sketch)

    def note_direction(self, row: int, update: Vector, sketch: int) -> None:
        """Keep the direction of a worker's update in `sketch` numbers."""
        measured = self.measured
        if measured.sketch is None or measured.sketch.shape[1] != sketch:
            measured.sketch = np.full((self.workers_count, sketch), np.nan)
        measured.sketch[row] = sketched(update, sketch)

    def view(self, now_s: float, progress: float, update: Vector | None, step: Vector | None,
             curvature: Vector | None = None) -> View:
        """Return what the cloud knows when it plans."""
        measured = self.measured
        return View(round=max(self.cloud.round, 0), progress=progress, time_s=now_s,
                    bandwidth_bytes_per_s=measured.bandwidth_bytes_per_s.copy(),
                    down_bandwidth_bytes_per_s=measured.down_bandwidth_bytes_per_s.copy(),
                    region_bandwidth_bytes_per_s=measured.region_bandwidth_bytes_per_s.copy(),
                    latency_s=np.asarray(self.topology.up_latency_s), compute_s=measured.compute_s.copy(),
                    round_time_s=measured.round_time_s.copy(), examples=self.examples, tier=self.tier,
                    region=np.asarray(self.topology.region_of),
                    participation=np.where(measured.asked > 0, measured.answered / np.maximum(measured.asked, 1), 1.0),
                    staleness=np.maximum(self.cloud.round - measured.heard, 0), drift=measured.drift.copy(),
                    update=update, step=step, curvature=curvature,
                    sketch=None if measured.sketch is None else measured.sketch.copy())


def walk(result: Result, steps: int) -> float:
    """Return how far a worker has walked in its local steps; its update tells, but for a single gradient."""
    if result.walked is not None:
        return result.walked
    return float(np.linalg.norm(result.update)) if steps > 1 else 0.0
