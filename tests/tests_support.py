"""Small worlds that several test files share."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd

from acesim.engine import Outcome, Setup, simulate
from acesim.fleet import Fleet, device
from acesim.fleet.energy import Radio
from acesim.learning.tasks import Quadratic
from acesim.network.topology import Topology
from acesim.network.traces import constant
from acesim.records.blocks import Mixed
from acesim.records.rows import Event
from acesim.scenario import PolicySpec, Scenario, Stop
from acesim.seam import Group, ModelInfo, View
from acesim.study import Order, prepare


def view(workers, *, round=0, regions=1, cloud=1, **known):
    """What a server knows before anything was measured; the first `cloud` workers are of the cloud."""
    unknown = np.full(workers, np.nan)
    tier = np.array(["cloud"] * cloud + ["edge"] * (workers - cloud))
    facts = {"round": round, "progress": 0.0, "time_s": 0.0, "bandwidth_bytes_per_s": unknown,
             "down_bandwidth_bytes_per_s": unknown,
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


# ---- playing a run and looking at its rows

class Rows:
    """A sink that keeps everything."""

    def __init__(self):
        self.items, self.metrics = [], []

    @property
    def events(self):
        """All events in order, those of many rounds spelt out at once, as they are for files."""
        spelt, events = Mixed.of(self.items).events() if self.items else [], []
        for item in self.items:
            start = len(events)
            events += [item] if isinstance(item, Event) else spelt[start:start + item.rows]
        return events

    def event(self, event):
        self.items.append(event)

    def block(self, block):
        assert (block.rows, block.steps) == (len(block.events()), sum(event.steps for event in block.events()))
        self.items.append(block)

    def metric(self, row):
        self.metrics.append(row)


class Played(NamedTuple):
    """A finished run."""

    outcome: Outcome
    events: list
    metrics: list

    def timeline(self, *kinds):
        """Return [(kind, who, start_s, end_s)] of the rows of these kinds, of all by default, as emitted."""
        return [(e.kind, e.who, e.start_s, e.end_s) for e in self.events if not kinds or e.kind in kinds]

    def of(self, kind):
        """Return the rows of one kind."""
        return [event for event in self.events if event.kind == kind]

    def frame(self):
        """Return the rows as they would be read from disk."""
        return pd.DataFrame(self.events, columns=Event._fields)


def play(setup):
    """Play a run to its end."""
    rows = Rows()
    return Played(simulate(setup, rows), rows.events, rows.metrics)


# ---- worlds from a scenario

QUADRATIC = {"kind": "quadratic", "dimension": 24, "steps_per_epoch": 6,
             "optimizer": {"name": "adamw", "learning_rate": 0.1, "schedule": "linear", "warm_up": "2 rounds"}}
EDGE = {"kind": "lte", "downlink": "5-200 Mbps", "uplink": "5-200 Mbps", "rtt": "10-300 ms"}


def counted_text(folder, documents=20):
    """Write documents that count, each over its own numbers; return the glob that finds them."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for number in range(documents):
        count = [f"{words[k // 10]} tens and {words[k % 10]} make {k}" for k in range(number, 100, 2 + number % 3)]
        text = ". then ".join(count) + ".\n"
        Path(folder, f"count-{number:02}.txt").write_text(text, encoding="utf-8")
    return str(Path(folder, "count-*.txt"))


def language(files, **changes):
    """Return a language-model task of a few hundred parameters over some files."""
    return {"kind": "language-model", "corpus": {"files": files}, "batch_size": 1, "steps_per_epoch": 4,
            "model": {"layers": 1, "d_model": 8, "heads": 2, "context": 8}, "scored_characters": 800,
            "optimizer": {"learning_rate": 0.02, "warm_up": "2 rounds"}} | changes


def small_scenario(*, task=None, cloud=2, edge=4, epochs=2, stop=None, network=None, nominal=None,
                   compute=None, access=None, policies=("full-sync",)):
    """Return a scenario of a few workers and a few rounds; sections as in YAML, `compute` and
    `access` of the edge workers."""
    groups_ = [{"name": "cloud", "count": cloud, "device": "a100", "access": {"kind": "datacenter"}},
               {"name": "edge", "count": edge, "device": "n100", "access": access or EDGE,
                "compute": compute or {}}]
    return Scenario.model_validate({
        "name": "small", "seeds": [0], "stop": {"epochs": epochs} | (stop or {}), "task": task or QUADRATIC,
        "workers": [group for group in groups_ if group["count"]], "network": {"regions": 2} | (network or {}),
        "nominal": nominal or {"model": "same-as-proxy"}, "policies": list(policies)})


def small_setup(policy="full-sync", parameters=None, *, scenario=None, seed=0, chunk=8, **sections):
    """Return the world of one run of a small scenario, as a study prepares it; `sections` as in small_scenario."""
    spec = PolicySpec(name=policy, label=policy, parameters=parameters or {})
    order = Order(scenario or small_scenario(**sections), spec, seed, Path("nowhere"))
    return replace(prepare(order), chunk=chunk)


# ---- worlds built by hand: constant links of their own, no jitter, times that can be reckoned in the head

NOWHERE = Radio(0.0, 0.0, 0.0)
FREE = math.inf


def hand_device(bytes_per_s=FREE):
    """A device that needs 1 / bytes_per_s for a byte of declared work, nothing for arithmetic, and no power."""
    return replace(device("n100"), name="by hand", flops_per_s=math.inf, memory_bytes_per_s=bytes_per_s, jitter=0.0,
                   idle_w=0.0, busy_w=0.0)


def hand_setup(policy, *, up, down, step_s, latency_s=0.0, header=100, nominal=100, size=4, rounds=2, stop=None,
               centres=0.0, worker_device=None, cloud_device=None, region_device=None, region_of=None, region_up=(),
               region_down=(), region_latency_s=0.0, steps_per_epoch=None, jitter=0.0,
               seed=0):
    """Return a world of W workers on links of their own.

    up, down, step_s   [W] bytes/s, bytes/s, s;  latency_s  one way, a number or [W]
    nominal, header    a dense message takes 4 nominal + header bytes; the proxy has `size` parameters
    centres            [W] or a number: worker k's gradient at x is x - centre_k in every entry
    region_of          [W]; region_up, region_down [R] bytes/s, region_latency_s one way: for trees of regions
    A star goes over the worker's own link alone.
    """
    workers, regions = len(up), max(1, len(region_up))
    spec = SimpleNamespace(kind="quadratic", dimension=size, condition=1.0, heterogeneity=0.0, noise=0.0, batch_size=1,
                           steps_per_epoch=steps_per_epoch or rounds)
    tier = ("edge",) * workers
    task = Quadratic(spec, tier, seed)
    task.centres = np.broadcast_to(np.asarray(centres, float).reshape(-1, 1), (workers, size)).copy()
    info = ModelInfo(task.shapes, ((nominal,),), task.groups, 16384, tier, (1,) * workers, regions, rounds,
                     steps_per_epoch or rounds, None)
    devices = ([worker_device or hand_device()] * workers + [region_device or hand_device()] * regions
               + [cloud_device or hand_device()])
    fleet = Fleet(devices=tuple(devices), radios=(NOWHERE,) * workers, group=("edge",) * workers,
                  step_s=np.array(step_s, float), tokens=np.ones(workers, np.int64), seed=seed)
    rates = [*zip(up, down, strict=True), *zip(region_up, region_down, strict=True)]
    own_up, own_down = tuple((2 * k,) for k in range(workers)), tuple((2 * k + 1,) for k in range(workers))
    first = 2 * workers if len(region_up) else 0  # a star has no links of regions
    near_s, far_s = np.broadcast_to(latency_s, workers).astype(float), np.full(regions, float(region_latency_s))
    topology = Topology(
        jitter=np.full(workers + regions, float(jitter)),
        links=tuple(constant(rate) for pair in rates for rate in pair),
        link_names=tuple(f"link {row}" for row in range(2 * len(rates))),
        worker_names=tuple(f"edge-{row}" for row in range(workers)), regions=regions,
        region_of=np.array(region_of if region_of is not None else [0] * workers), message_header_bytes=header,
        up_route=own_up, down_route=own_down, up_to_region=own_up, down_from_region=own_down,
        region_up=tuple((first + 2 * r,) for r in range(regions)),
        region_down=tuple((first + 2 * r + 1,) for r in range(regions)),
        up_latency_s=near_s, down_latency_s=near_s, up_to_region_latency_s=near_s, down_from_region_latency_s=near_s,
        region_up_latency_s=far_s, region_down_latency_s=far_s,
        up_mean_bytes_per_s=np.array(up, float), down_mean_bytes_per_s=np.array(down, float))
    stop = stop or Stop(epochs=rounds / (steps_per_epoch or rounds))
    return Setup(policy=policy, info=info, task=task, topology=topology, fleet=fleet, stop=stop, seed=seed)
