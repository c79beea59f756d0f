"""What the simulator itself takes of a FullSync run of table1: `python -m benchmarks simulator`.

Everything between the first plan and the last row written counts as the simulator, but for
  learning     batches, gradients, local steps (`Cohort.fetch`), the cloud's mean and its optimizer (`aggregator.step`)
  evaluation   scoring the model
  encoding     uplink and downlink, both ends
Building the world (data, traces, routes) comes once a run and is told apart.  Processor time of one thread; the hooks'
own time is taken out, as measured on a function that does nothing.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from acesim import scenario
from acesim.aggregators.outer import Outer
from acesim.compressors.base import CompressorBase
from acesim.engine import Simulation
from acesim.engine.cohort import Cohort
from acesim.learning.tasks import LanguageModel
from acesim.network import accelerated
from acesim.records.orders import Order
from acesim.records.store import RunWriter
from acesim.runner import prepare
from benchmarks.hooks import hooked
from benchmarks.timing import Row, one_core

EPOCHS, TURNS = 6, 3
WIDE = ("network.region_uplink=100Gbps", "network.region_downlink=100Gbps", "network.cloud_ingress=100Gbps",
        "network.cloud_egress=100Gbps", "network.fabric=10000Gbps", "workers.cloud.access.uplink=1Gbps",
        "workers.cloud.access.downlink=1Gbps")
"""What makes table1 a world in which no shared link binds."""
PARTS = (
    ("learning", Cohort, ("fetch",)), ("learning", Outer, ("step",)),
    ("evaluation", LanguageModel, ("evaluate", "evaluate_each")),
    ("encoding", CompressorBase, ("encode", "encode_decoded", "decode")))


class Found(NamedTuple):
    """Processor seconds: of each part, of building the world, and rounds played."""

    parts: dict[str, float]
    set_up_s: float
    rounds: int

    @property
    def simulator_s(self) -> float:
        """What is left of the whole."""
        return self.parts["whole"] - sum(took_s for part, took_s in self.parts.items() if part != "whole")

    @property
    def share(self) -> float:
        """The simulator's share of the whole."""
        return self.simulator_s / self.parts["whole"]


class Hooks:
    """Books the time of functions on parts; what one of them calls counts once, with the outermost."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inside = False

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time booked."""
        def noted(*given: Any, **named: Any) -> Any:
            if self._inside:
                return function(*given, **named)
            self._inside, start_s = True, time.process_time()
            try:
                return function(*given, **named)
            finally:
                self.seconds[part] += time.process_time() - start_s
                self.calls[part] += 1
                self._inside = False
        return noted


def hook_s(calls: int = 20_000) -> tuple[float, float]:
    """Return what a hook takes a call: (all of it, what it books on the part itself)."""
    hooks = Hooks()
    hooked = hooks.around("nothing", lambda: None)
    start_s = time.process_time()
    for _ in range(calls):
        hooked()
    whole_s = time.process_time() - start_s
    return whole_s / calls, hooks.seconds["nothing"] / calls


def measured(overrides: tuple[str, ...], epochs: int = EPOCHS) -> Found:
    """Return what a run took, part by part."""
    world = scenario.load("table1", [*overrides, f"stop.epochs={epochs}"])
    full_sync = next(policy for policy in world.policies if policy.name == "full-sync")
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.process_time()
        setup = prepare(Order(world, full_sync, 0, Path(folder)))
        writer = RunWriter(folder)
        simulation, hooks = Simulation(setup, writer), Hooks()
        with hooked(PARTS, hooks.around):
            set_up_s, start_s = time.process_time() - start_s, time.process_time()
            outcome = simulation.run()
            writer.close({}, outcome.model)
            whole_s = time.process_time() - start_s
    each_s, inside_s = hook_s()
    parts = {part: took_s - inside_s * hooks.calls[part] for part, took_s in hooks.seconds.items()}
    return Found({"whole": whole_s - each_s * sum(hooks.calls.values()), **parts}, set_up_s, outcome.rounds)


@contextmanager
def accelerator(setting: str) -> Iterator[None]:
    """Set ACESIM_ACCELERATOR for a while."""
    before = os.environ.get(accelerated.VARIABLE)
    os.environ[accelerated.VARIABLE] = setting
    accelerated._environment.cache_clear()
    try:
        yield
    finally:
        os.environ.pop(accelerated.VARIABLE)
        if before is not None:
            os.environ[accelerated.VARIABLE] = before
        accelerated._environment.cache_clear()


def simulator_rows(rows: list[Row]) -> None:
    """One row where no shared link binds, one for each accelerator where they do."""
    there = importlib.util.find_spec("numba") is not None
    ways = [("no shared link binds, plain", WIDE, "off"), ("links bind, plain", (), "off"),
            *([("links bind, numba", (), "on")] if there else [])]
    found: dict[str, list[Found]] = {name: [] for name, _, _ in ways}
    with one_core():
        for turn in range(TURNS + 1):
            for name, overrides, setting in ways:
                with accelerator(setting):
                    told = measured(overrides, EPOCHS if turn else 1)
                if turn:  # what is compiled or read once has been by then
                    found[name].append(told)
    for name, turns in found.items():
        middle = sorted(turns, key=lambda each: each.share)[len(turns) // 2]
        each_ms = {part: 1e3 * took_s / middle.rounds for part, took_s in middle.parts.items() if part != "whole"}
        rest = ", ".join(f"{part} {took:.1f}" for part, took in each_ms.items())
        rows.append((f"simulator's share, table1, full-sync, {name}",
                     f"{statistics.median(each.share for each in turns):.1%} "
                     f"({1e3 * middle.simulator_s / middle.rounds:.2f} ms a round, {rest}; "
                     f"set-up {middle.set_up_s:.1f} s once)"))
