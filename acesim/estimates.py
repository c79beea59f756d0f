"""What a scenario will cost the host: a few rounds of every policy are played, and the rest is reckoned from them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from joblib import cpu_count
from threadpoolctl import threadpool_limits

from acesim.engine import Setup, simulate
from acesim.records.resident import peak_rss_bytes
from acesim.records.store import RunWriter
from acesim.scenario import PolicySpec, Scenario
from acesim.study import Order, prepare

TRIAL_ROUNDS = (1, 6)  # the difference of the two is free of what happens once: data, first distortions, evaluations


class Estimate(NamedTuple):
    """run_s: wall time of all runs on `jobs` processes; memory_bytes: of one process; disk_bytes: of all results."""

    runs: int
    jobs: int
    run_s: float
    memory_bytes: int | None
    disk_bytes: int


class Trial(NamedTuple):
    """One run's cost: seconds and bytes on disk."""

    run_s: float
    disk_bytes: float


def estimate(scenario: Scenario, jobs: int | None = None, plugins: Sequence[str] = ()) -> Estimate:
    """Return what running a whole scenario will take on this machine, from a few rounds of each policy.

    jobs   processes; None: one per processor
    """
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        trials = [_trial(scenario, spec, Path(folder), tuple(plugins)) for spec in scenario.policies]
    seeds, count = len(scenario.seeds), len(scenario.policies) * len(scenario.seeds)
    jobs = min(jobs or cpu_count(), count)
    longest = max(trial.run_s for trial in trials)
    run_s = max(longest, seeds * sum(trial.run_s for trial in trials) / jobs)
    return Estimate(count, jobs, run_s, peak_rss_bytes(), int(seeds * sum(trial.disk_bytes for trial in trials)))


def in_words(found: Estimate) -> str:
    """Say what a scenario will cost.

    >>> in_words(Estimate(15, 2, 634.0, 652_000_000, 139_000_000))
    'about 11 min for 15 runs on 2 processes, 652 MB of memory each, 139 MB on disk'
    """
    span = f"{found.run_s / 60:.0f} min" if found.run_s > 100 else f"{found.run_s:.0f} s"
    memory = "" if found.memory_bytes is None else f", {found.memory_bytes / 1e6:.0f} MB of memory each"
    return (f"about {span} for {found.runs} runs on {found.jobs} processes{memory}, "
            f"{found.disk_bytes / 1e6:.0f} MB on disk")


def _trial(scenario: Scenario, spec: PolicySpec, folder: Path, plugins: tuple[str, ...]) -> Trial:
    """Play a few rounds of one policy, and reckon the whole run from them."""
    start_s = time.perf_counter()
    setup = prepare(Order(scenario, spec, scenario.seeds[0], folder, plugins))
    ready_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    setup.task.evaluate(setup.task.initial(0))
    evaluation_s = time.perf_counter() - start_s
    few, more = (_play(setup, rounds, folder / spec.folder / str(rounds)) for rounds in TRIAL_ROUNDS)
    rounds = setup.info.total_steps * (TRIAL_ROUNDS[1] - TRIAL_ROUNDS[0]) / max(1, more.steps - few.steps)
    share = rounds / (TRIAL_ROUNDS[1] - TRIAL_ROUNDS[0])
    evaluations = setup.info.total_steps / setup.info.steps_per_epoch + 1
    return Trial(ready_s + share * (more.run_s - few.run_s) + evaluations * evaluation_s,
                 few.disk_bytes + share * (more.disk_bytes - few.disk_bytes))


class _Played(NamedTuple):
    run_s: float
    disk_bytes: int
    steps: float


def _play(setup: Setup, rounds: int, folder: Path) -> _Played:
    """Play some rounds of a prepared run into a folder."""
    writer = RunWriter(folder)
    begun_s = time.perf_counter()
    outcome = simulate(replace(setup, rounds=rounds), writer)
    writer.close({}, outcome.model)
    span_s = time.perf_counter() - begun_s
    nbytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return _Played(span_s, nbytes, outcome.totals["local_steps"] / len(setup.info.tier))
