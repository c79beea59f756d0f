"""`python -m benchmarks.flows`: what the flow engine does in a second, on trees of 80 to 100 000 workers.

An event is an arrival or a departure.  The tree has two levels both ways: a worker's own link, its region's, the
cloud's; workers' links fluctuate as acesim's generator makes them, four kinds of access in turn.  Trees of 80 workers
go on for 20 000 events: of fewer, those in which routes are met for the first time would be a good part.
"""

from __future__ import annotations

import heapq
import importlib.util
import math
import statistics
import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from acesim import scenario
from acesim.network import topology
from acesim.network.flows import Flows
from acesim.network.generator import lines
from acesim.network.traces import Capacity, constant
from acesim.scenario.schema import Access

KINDS = ("lte", "5g", "fixed", "wifi")
DISTINCT = 1000
"""Lines that are drawn; more workers take them in turn."""
REGIONS = 4
MEGABYTE = 1e6
TURNS = 5
NOMINAL_BYTES = 4 * 354_823_168.0
"""A dense message of table1."""


class Tree(NamedTuple):
    """Links and the workers' routes over them."""

    links: list[Capacity]
    up: list[tuple[int, ...]]
    down: list[tuple[int, ...]]

    @property
    def workers(self) -> int:
        """W."""
        return len(self.up)


def tree(workers: int, region_share: float, cloud_share: float = 4.0, regions: int = REGIONS) -> Tree:
    """Return a tree whose region links carry a share of what all of their workers' links carry in the mean.

    cloud_share   capacity of the cloud's links over that of all regions together
    """
    accesses = [Access(kind=KINDS[worker % len(KINDS)], downlink_bytes_per_s=25 * MEGABYTE / 8)
                for worker in range(min(workers, DISTINCT))]
    drawn = lines(accesses, 1.0, 128.0, 0)
    own = [drawn[worker % DISTINCT] for worker in range(workers)]
    links: list[Capacity] = [trace for line in own for trace in (line.up, line.down)]
    wanted = [sum(getattr(line, way).mean for line in own) for way in ("up", "down")]
    first = len(links)
    links += [constant(region_share * total / regions) for total in wanted for _ in range(regions)]
    links += [constant(cloud_share * region_share * total) for total in wanted]
    cloud = first + 2 * regions
    return Tree(links, [(2 * worker, first + worker % regions, cloud) for worker in range(workers)],
                [(cloud + 1, first + regions + worker % regions, 2 * worker + 1) for worker in range(workers)])


def sizes(workers: int) -> Iterator[float]:
    """Yield bytes of one transfer after the other, spread so that ends do not fall together."""
    rng = np.random.default_rng(1)
    while True:
        yield from (MEGABYTE * (5 + 45 * rng.random(max(workers, 1000)))).tolist()


def closed_loop(flows: Flows, built: Tree, events: int) -> float:
    """Return events per second where every worker goes on with the next transfer, the other way, at once."""
    size, down = sizes(built.workers), [worker % 2 for worker in range(built.workers)]
    routes = (built.up, built.down)
    for worker in range(built.workers):  # so that all routes are known
        flows.start(worker, 0.0, routes[1 - down[worker]][worker], 0.0)
    flows.advance(0.0)
    for worker in range(built.workers):
        flows.start(worker, next(size), routes[down[worker]][worker], 0.0)
    for _ in range(min(built.workers // 2, events // 10) + 10):  # let the ends spread
        _turn(flows, routes, down, size)
    done, start = 0, time.process_time()
    while done < events:
        done += 2 * _turn(flows, routes, down, size)
    return done / (time.process_time() - start)


def _turn(flows: Flows, routes: tuple[list, list], down: list[int], size: Iterator[float]) -> int:
    end_s = flows.next_finish()
    ended = flows.advance(end_s)
    for worker in ended:
        down[worker] = 1 - down[worker]
        flows.start(worker, next(size), routes[down[worker]][worker], end_s)
    return len(ended)


def rounds(flows: Flows, built: Tree, count: int) -> float:
    """Return events per second of barrier rounds: all download, then all upload, nobody waits for less."""
    size, start, now_s = sizes(built.workers), 0.0, 0.0
    for number in range(2 * count + 2):
        start = time.process_time() if number == 2 else start  # the first round makes the routes known
        routes, nbytes = built.up if number % 2 else built.down, [next(size) for _ in built.up]
        flows.start_many(range(built.workers), nbytes, routes, now_s)
        while (end_s := flows.next_finish()) < math.inf:
            flows.advance(end_s)
            now_s = end_s
    return 4 * count * built.workers / (time.process_time() - start)


def table1_rounds(accelerator: str, count: int = 4) -> float:
    """Return events per second of FullSync's rounds of table1: an upload starts when its worker has computed."""
    world = scenario.load("table1")
    built = topology.build(world.workers, world.network, 0)
    flows, spent_s, start_s = Flows(built.links, accelerator), 0.0, 0.0
    for number in range(count):
        start = time.process_time()
        start_s = _round(flows, built, start_s)
        spent_s += time.process_time() - start if number else 0.0  # the first makes the routes known
    return 4 * (count - 1) * built.workers / spent_s


def _round(flows: Flows, built: topology.Topology, start_s: float) -> float:
    """Play a round from a moment on; return when it has ended."""
    now_s, computing = start_s, []
    flows.start_many(range(built.workers), [NOMINAL_BYTES] * built.workers, built.down_route, start_s)
    while len(flows) or computing:
        end_s = flows.next_finish()
        if computing and computing[0][0] <= end_s:
            now_s, worker = heapq.heappop(computing)
            flows.start(built.workers + worker, NOMINAL_BYTES, built.up_route[worker], now_s)
            continue
        now_s = end_s
        for key in flows.advance(end_s):
            if key < built.workers:
                heapq.heappush(computing, (now_s + 2.0 + 0.37 * key, key))
    return now_s


def memory_per_worker(workers: int) -> float:
    """Return what flows take a worker at most beside the links' own traces, in bytes."""
    built = tree(workers, 20.0)
    tracemalloc.start()
    closed_loop(Flows(built.links), built, 4 * workers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / workers


def accelerators() -> list[str]:
    """Return the ways there are to measure."""
    return ["off", "on"] if importlib.util.find_spec("numba") else ["off"]


def rows(largest: int = 100_000) -> Iterator[tuple[str, str]]:
    """Measure; yield (what, figure)."""
    yield "flows: memory a worker, 10 000 workers, traces apart", f"{memory_per_worker(10_000) / 1e3:.1f} kB"
    for workers in (80, 1000, 10_000, 100_000):
        if workers <= largest:
            built = tree(workers, 20.0)
            yield (f"flows: {workers} workers, no shared link binds", f"{_figure(built, 20_000, ['off'])}; "
                   f"rounds with a barrier {rounds(Flows(built.links), built, 1):,.0f} events/s")
    for workers, events in ((80, 20_000), (1000, 2000), (10_000, 600)):
        for cloud_share, which in ((4.0, "regions bind"), (0.8, "regions and cloud bind")):
            if workers <= largest:
                yield (f"flows: {workers} workers, {which}",
                       _figure(tree(workers, 0.3, cloud_share), events, accelerators()))
    for way in accelerators():
        per_event = [1e6 / closed_loop(Flows(built.links, way), built, 600)
                     for built in (tree(2 * sharing, 0.3, regions=1) for sharing in (16, 128, 1024, 8192))]
        yield (f"flows: 16, 128, 1024, 8192 flows a link, accelerator {way}",
               ", ".join(f"{each:.0f}" for each in per_event) + " us an event")
        yield (f"flows: FullSync's rounds of table1, accelerator {way}",
               f"{1e6 / table1_rounds(way):.1f} us an event")


def _figure(built: Tree, events: int, ways: list[str]) -> str:
    """Return events per second, one way beside the other: medians of turns, so that a noisy neighbour strikes all."""
    names = {"off": "plain", "on": "accelerated"}
    turns = [[closed_loop(Flows(built.links, way), built, events) for way in ways] for _ in range(TURNS)]
    return ", ".join(f"{names[way]} {statistics.median(figures):,.0f} events/s"
                     for way, figures in zip(ways, zip(*turns, strict=True), strict=True))


def main() -> None:
    """Print the table."""
    for what, figure in rows(*map(int, sys.argv[1:])):
        print(f"{what:80} {figure}", flush=True)


if __name__ == "__main__":
    main()
