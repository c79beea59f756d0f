"""What a scenario will cost the host: the first rounds of every policy are played, and the rest is reckoned from them.

Nothing here knows how long anything takes: a round is timed with its gradients, messages and encodings as this machine
plays it now, an evaluation by itself, and rows are weighed as they would be written.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import cpu_count
from threadpoolctl import threadpool_limits

from acesim import policies as recipes
from acesim.engine import Setup, simulate
from acesim.records.blocks import Later
from acesim.records.resident import forget_peak, peak_rss_bytes
from acesim.records.rows import Event, MetricRow
from acesim.records.store import RunWriter
from acesim.runner import prepare
from acesim.scenario import Scenario
from acesim.seam import Vector
from acesim.study import Order, longest_first

LOOK_S = 1.6
"""Time to watch all policies together, if that is enough for a few rounds of each."""

MOST, ENOUGH = 60, ((4, 1.0), (2, 4.0))
"""Rounds that are watched: at most, and at least after so many times a policy's share of LOOK_S.  The first is not
timed, for it does what need not be done again."""


class Estimate(NamedTuple):
    """run_s: time of all runs on `jobs` processors of their own; memory_bytes: of one process; disk_bytes: of all."""

    runs: int
    jobs: int
    run_s: float
    memory_bytes: int | None
    disk_bytes: int


class Trial(NamedTuple):
    """One run's cost."""

    run_s: float
    disk_bytes: float
    memory_bytes: int


def estimate(scenario: Scenario, jobs: int | None = None, plugins: Sequence[str] = ()) -> Estimate:
    """Return what running a whole scenario will take on this machine.

    jobs   processes; None: one per processor
    """
    files, trials = tuple(plugins), dict[str, Trial]()
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        orders = [Order(scenario, spec, scenario.seeds[0], Path(folder) / spec.folder, files)
                  for spec in scenario.policies]
        setup, once = _prepared(orders[0])
        for order in orders:
            own = replace(setup, policy=recipes.build(order.policy.name, setup.info, order.policy.parameters, files))
            trials[order.policy.label] = _trial(own, once, LOOK_S / len(orders), order.folder)
    seeds, count = len(scenario.seeds), len(orders) * len(scenario.seeds)
    jobs = min(jobs or cpu_count(), count)
    spans = [trials[order.policy.label].run_s for order in longest_first(orders * seeds)]
    memory = max(trial.memory_bytes for trial in trials.values())
    return Estimate(count, jobs, float(_laid_out_s(spans, jobs)), memory or None,
                    int(seeds * sum(trial.disk_bytes for trial in trials.values())))


def in_words(found: Estimate) -> str:
    """Say what a scenario will cost.

    >>> in_words(Estimate(15, 2, 634.0, 652_000_000, 139_000_000))
    'about 11 min for 15 runs on 2 processes, 652 MB of memory each, 139 MB on disk'
    """
    span = f"{found.run_s / 60:.0f} min" if found.run_s > 100 else f"{found.run_s:.0f} s"
    memory = "" if found.memory_bytes is None else f", {found.memory_bytes / 1e6:.0f} MB of memory each"
    return (f"about {span} for {found.runs} runs on {found.jobs} processes{memory}, "
            f"{found.disk_bytes / 1e6:.0f} MB on disk")


def told_by_environment(variables: Mapping[str, str]) -> list[str]:
    """Say which variables choose other arithmetic than this processor's own; acesim leaves them as they are.

    >>> told_by_environment({"OPENBLAS_CORETYPE": "Haswell", "HOME": "/"})
    ['OPENBLAS_CORETYPE = Haswell: matrix products as on that processor; its own may take half the time']
    """
    kernel = variables.get("OPENBLAS_CORETYPE")
    return [f"OPENBLAS_CORETYPE = {kernel}: matrix products as on that processor; its own may take "
            f"half the time"] if kernel else []


def _laid_out_s(spans_s: Sequence[float], jobs: int) -> float:
    """Return when the last run ends if each goes, in order, to the process that is free first.

    >>> _laid_out_s([5.0, 2.0, 2.0, 2.0], 2)
    6.0
    """
    busy_s = [0.0] * jobs
    for span_s in spans_s:
        busy_s[busy_s.index(min(busy_s))] += span_s
    return max(busy_s)


class _Once(NamedTuple):
    """Time of what a run does once, and of one evaluation."""

    ready_s: float
    evaluation_s: float


def _prepared(order: Order) -> tuple[Setup, _Once]:
    """Return a world, which serves all policies, and the time of what each run does for itself."""
    marks_s = [time.process_time()]
    setup = prepare(order)
    setup.task.yardsticks()
    marks_s.append(time.process_time())
    for _ in range(2):  # the second time its buffers are there
        setup.task.evaluate(setup.task.initial(order.seed))
        marks_s.append(time.process_time())
    return setup, _Once(marks_s[1] - marks_s[0], marks_s[3] - marks_s[2])


class _Enough(Exception):
    """Ends a run that has been watched long enough."""


class Mark(NamedTuple):
    """Where a run stood when a round began: simulated and processor time, local steps, evaluations."""

    simulated_s: float
    at_s: float
    steps: int
    evaluations: int


class _Watch:
    """A sink that keeps the rows, marks when rounds begin, and ends the run after some time."""

    def __init__(self, look_s: float) -> None:
        self.rows: list[Event | Later] = []
        self.begun_s = time.process_time()
        self.marks: list[Mark] = []
        self._look_s, self._steps, self._evaluations, self._round = look_s, 0, 0, -1

    def event(self, event: Event) -> None:
        """Take one event."""
        self.rows.append(event)
        self._steps += event.steps
        self._evaluations += event.kind == "evaluate"
        if event.kind == "plan" and event.round != self._round:  # one that reached nobody is planned again
            now_s, self._round = time.process_time(), event.round
            self.marks.append(Mark(event.start_s, now_s, self._steps, self._evaluations))
            span_s, rounds = now_s - self.begun_s, len(self.marks) - 1
            if rounds < 2 or self._steps == self.marks[1].steps:
                return  # rounds without a step, as where workers come and go, tell nothing of the others
            if rounds >= MOST or any(rounds >= fewest and span_s >= times * self._look_s
                                     for fewest, times in ENOUGH):
                raise _Enough

    def block(self, block: Later) -> None:
        """Take many events; a round never begins within them."""
        self.rows.append(block)
        self._steps += block.steps

    def metric(self, row: MetricRow) -> None:
        """Take one metric row: that there was one is known from its event."""


def _trial(setup: Setup, once: _Once, look_s: float, folder: Path) -> Trial:
    """Watch the first rounds of one policy, and reckon the whole run from them."""
    forget_peak()
    watch = _Watch(look_s)
    try:
        simulate(setup, watch)
    except _Enough:
        run_s, growth = _whole(setup, watch, once.evaluation_s)
    else:  # over already
        run_s, growth = time.process_time() - watch.begun_s, 1.0
    peak = peak_rss_bytes()
    return Trial(once.ready_s + run_s, _disk_bytes(watch.rows, growth, setup.task.initial(0), folder), peak or 0)


def _whole(setup: Setup, watch: _Watch, evaluation_s: float) -> tuple[float, float]:
    """Return the time of the whole run, and how many times the rows it writes those that were seen."""
    first, second, last = watch.marks[0], watch.marks[1], watch.marks[-1]
    enrolled = setup.policy.schedule.enrolled(np.array(setup.info.tier)).sum()
    steps = float(enrolled * setup.info.total_steps)
    if setup.stop.simulated_time_s is not None and last.simulated_s > 0:
        steps = min(steps, last.steps * setup.stop.simulated_time_s / last.simulated_s)
    rounds_s = last.at_s - second.at_s - (last.evaluations - second.evaluations) * evaluation_s
    evaluations = steps / (enrolled * setup.info.steps_per_epoch)
    run_s = first.at_s - watch.begun_s + steps * rounds_s / (last.steps - second.steps) + evaluations * evaluation_s
    return run_s, steps / last.steps


def _disk_bytes(rows: Sequence[Event | Later], growth: float, model: Vector, folder: Path) -> float:
    """Return the size of a run with `growth` times these rows: half of them and all of them are written."""
    (few, half), (many, whole) = (_written(rows[:count], model, folder / str(count))
                                  for count in (len(rows) // 2, len(rows)))
    return whole + (whole - half) / (many - few) * (growth - 1) * many


def _written(rows: Sequence[Event | Later], model: Vector, folder: Path) -> tuple[int, int]:
    """Write some rows as a run would; return how many they are and the bytes of the folder."""
    writer = RunWriter(folder)
    for row in rows:
        if isinstance(row, Later):
            writer.block(row)
        else:
            writer.event(row)
    writer.close({}, model)
    nbytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(row.rows if isinstance(row, Later) else 1 for row in rows), nbytes
