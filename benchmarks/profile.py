"""Where the time of a run goes: `python -m benchmarks.profile [policy ...]`, over the first epochs of table1.

Hooks from outside note when the few functions below are entered and left; each part counts without the parts that it
calls, so that the shares add up to the whole.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from acesim import study
from acesim.aggregators.outer import Outer
from acesim.compressors.base import CompressorBase
from acesim.engine.agenda import Agenda
from acesim.engine.cohort import Cohort
from acesim.engine.lockstep import Lockstep
from acesim.engine.messages import Carrier
from acesim.engine.prints import TrainingPrint
from acesim.engine.recorder import Recorder
from acesim.engine.simulation import Simulation
from acesim.learning.tasks import LanguageModel
from acesim.network.flows import Flows
from acesim.network.lanes import Lane
from acesim.records.store import RunWriter
from benchmarks.hooks import hooked
from benchmarks.simulator import accelerator
from benchmarks.timing import Row, one_core

PARTS = (
    ("gradients", LanguageModel, ("gradient",)),
    ("batches, local steps", LanguageModel, ("batches",)), ("batches, local steps", Cohort, ("fetch",)),
    ("evaluation", LanguageModel, ("evaluate", "evaluate_each")),
    ("encoding, decoding", CompressorBase, ("encode", "encode_decoded", "decode")),
    ("mean, server's optimizer", Outer, ("step",)),
    ("flows", Lane, ("carry",)), ("flows", Flows, ("start", "advance", "next_finish")),
    ("flows", Carrier, ("send", "launch", "finish", "settle")),
    ("rows", RunWriter, ("event", "block", "metric", "close")), ("rows", Recorder, ("emit", "evaluate")),
    ("prints", TrainingPrint, ("add_round", "hexdigest")),
    ("engine", Simulation, ("run",)), ("engine", Lockstep, ("play",)), ("engine", Agenda, ("run",)),
)
OTHER = "set-up: data, scenario, traces"


class Shares:
    """Processor seconds of each part, without what it calls."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._open = [OTHER]
        self._since_s = time.process_time()

    def turn(self) -> None:
        """Book the time since the last turn on the part that is open."""
        now_s = time.process_time()
        self.seconds[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s

    def booked(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time booked on a part."""
        @functools.wraps(function)
        def noted(*positional: Any, **named: Any) -> Any:
            self.turn()
            self._open.append(part)
            try:
                return function(*positional, **named)
            finally:
                self.turn()
                self._open.pop()
        return noted


def shares_of(policy: str, epochs: int = 4, world: str = "table1") -> dict[str, float]:
    """Return the seconds of each part of one run in this process."""
    with tempfile.TemporaryDirectory() as folder:
        shares = Shares()
        with hooked(PARTS, shares.booked):
            study.run(world, policies=[policy], seeds=[0], overrides=[f"stop.epochs={epochs}"], jobs=1, out=folder)
            shares.turn()
    return dict(shares.seconds)


def profile_rows(rows: list[Row], policies: tuple[str, ...] = ("full-sync", "top-k", "fedavg", "ace-sync")) -> None:
    """One row a policy: shares of the run without set-up, largest first.

    With the accelerator where it is installed: of a whole run it takes all but a twelfth, here it would take none.
    """
    way = "on" if importlib.util.find_spec("numba") else "off"
    with one_core(), accelerator(way):
        shares_of(policies[0], epochs=1)  # what is compiled or read once is compiled and read
        for policy in policies:
            seconds = shares_of(policy)
            played_s = sum(seconds.values()) - seconds.get(OTHER, 0.0)
            parts = sorted(((took, part) for part, took in seconds.items() if part != OTHER), reverse=True)
            told = ", ".join(f"{part} {took / played_s:.0%}" for took, part in parts)
            rows.append((f"table1, {policy}, 96 rounds, accelerator {way}: {played_s:.1f} s after set-up "
                         f"({seconds[OTHER]:.1f} s)", told))


if __name__ == "__main__":
    found: list[Row] = []
    profile_rows(found, tuple(sys.argv[1:]) or ("full-sync",))
    for what, figure in found:
        print(f"{what}: {figure}")
