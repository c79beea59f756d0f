"""Many runs: policies x seeds of a scenario in parallel processes, and their results on disk.

    OUT/<scenario>/study.json              the scenario, and which runs there are
    OUT/<scenario>/<label>/seed-<n>/       a run (acesim.records.store)

A run is computed once and reused where its scenario (with the files it names), policy, seed and code are those asked
for; one that was not finished, or was made by other code, is computed again; another scenario or policy in its place
is an error.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from joblib import Parallel, cpu_count, delayed, parallel_config

from acesim import fleet, learning
from acesim import policies as recipes
from acesim.records.orders import Order, arrange, orders_of
from acesim.records.read import RunRecord, find, missing
from acesim.records.store import EVENTS, PROGRESS, clear, read_json, read_manifest
from acesim.report.compare import MARGIN, view
from acesim.runner import Runner, attempt, prepare, run_one
from acesim.scenario import PolicySpec, Scenario
from acesim.scenario import load as load_scenario
from acesim.scenario.errors import Problem, ResultMissing, ScenarioError

__all__ = ["Order", "RunProgress", "Runner", "Study", "Watcher", "attempt", "choose_policies", "execute", "load",
           "prepare", "progress_of", "read_scenario", "run", "run_one"]

POLL_S = 0.5


# --- what is asked for --------------------------------------------------------------------------------------

def read_scenario(scenario: str | Path | Scenario, overrides: Sequence[str] = (),
                  plugins: Sequence[str | Path] = ()) -> Scenario:
    """Return a checked scenario; ScenarioError with every mistake, policies and devices included."""
    def check_policies(loaded: Scenario) -> Iterator[Problem]:
        return recipes.check(loaded, plugins)

    def check_memory(loaded: Scenario) -> Iterator[Problem]:
        return _memory_problems(loaded, plugins)

    def check_task(loaded: Scenario) -> Iterator[Problem]:
        return learning.check(loaded, plugins)

    checks = (check_policies, fleet.check, check_task, check_memory)
    if not isinstance(scenario, Scenario):
        return load_scenario(scenario, overrides, checks)
    problems = [problem for check in checks for problem in check(scenario)]
    if overrides:
        rule = "overrides change a file or a shipped scenario, not a Scenario object; use its model_copy"
        problems.append(Problem((), None, rule, "overrides"))
    if problems:
        raise ScenarioError(problems)
    return scenario


def _memory_problems(scenario: Scenario, plugins: Sequence[str | Path]) -> Iterator[Problem]:
    """Name what does not fit its device; policies and devices that do not exist are the other checks' business."""
    if any(True for _ in (*recipes.check(scenario, plugins), *fleet.check(scenario))):
        return
    info, seen = recipes.sketch(scenario), set()
    for spec in scenario.policies:
        try:
            fleet.memory(scenario, recipes.build(spec.name, info, spec.parameters, plugins), info.nominal_size)
        except ScenarioError as error:
            for problem in error.problems:
                if problem.path not in seen:
                    yield problem._replace(rule=f"policy {spec.label}: {problem.rule}")
                seen.add(problem.path)


def choose_policies(scenario: Scenario, wanted: Sequence[str] | None,
                    plugins: Sequence[str | Path] = ()) -> list[PolicySpec]:
    """Return the policies asked for, by label, or by name where the scenario does not have them; None is all.

    raises   ScenarioError naming each that is neither
    """
    known = {spec.label: spec for spec in scenario.policies}
    if wanted is None:
        return list(known.values())
    named = {} if all(label in known for label in wanted) else recipes.recipes(plugins)  # which takes time
    problems = [Problem((label,), None, _unknown(label, [*known, *named]), "--policy") for label in wanted
                if label not in known and label not in named]
    if problems or not wanted:
        raise ScenarioError(problems or [Problem((), None, "name at least one policy", "--policy")])
    return [known.get(label) or PolicySpec(name=label, label=label) for label in dict.fromkeys(wanted)]


def _unknown(label: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(label, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"neither a label of this scenario nor a policy; {hint}(knows: {', '.join(dict.fromkeys(known))})"


# --- computing them --------------------------------------------------------------------------------------------------

class RunProgress(NamedTuple):
    """How far a run is.  status: waiting, running, done or failed; row: its last metric row, or {}."""

    label: str
    seed: int
    status: str
    row: Mapping[str, Any]


Watcher = Callable[[list[RunProgress]], None]


def execute(orders: Sequence[Order], jobs: int | None, on_progress: Watcher | None, runner: Runner) -> None:
    """Compute orders in up to `jobs` processes, one BLAS thread each; a run that fails leaves its manifest behind."""
    count = min(jobs or cpu_count(), len(orders))
    for order in orders:
        clear(order.folder)
    with _watched(orders, on_progress):
        if count <= 1:
            for order in orders:
                attempt(order, runner, alone=True)
        else:
            with parallel_config(backend="loky", inner_max_num_threads=1):
                Parallel(n_jobs=count, batch_size=1)(
                    delayed(attempt)(order, runner, False) for order in longest_first(orders))


def longest_first(orders: Sequence[Order]) -> list[Order]:
    """Put runs whose workers encode most, by their policies' own word, first: no process then waits at the end."""
    def encoding(order: Order) -> float:
        spec, info = order.policy, recipes.sketch(order.scenario)
        return sum(recipes.build(spec.name, info, spec.parameters, order.plugins).uplink.work("encode"))
    return sorted(orders, key=encoding, reverse=True)


@contextmanager
def _watched(orders: Sequence[Order], on_progress: Watcher | None) -> Iterator[None]:
    """Tell `on_progress` how all runs stand, every POLL_S and once at the end."""
    if on_progress is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL_S):
            on_progress(progress_of(orders))

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        on_progress(progress_of(orders))


def progress_of(orders: Sequence[Order]) -> list[RunProgress]:
    """Read how far each order is from what its process has written."""
    return [_progress(order) for order in orders]


def _progress(order: Order) -> RunProgress:
    label = f"{order.policy.label}, {order.where}" if order.where else order.policy.label
    page = read_manifest(order.folder)
    if page is not None:
        last = {name: page.get(name) for name in ("top1_percent", "loss_nats", "bytes_up", "bytes_down")}
        row = last | {"progress": 1.0, "time_s": page.get("simulated_s"), "wall_s": page.get("wall_s"),
                      "peak_rss_bytes": page.get("peak_rss_bytes")}
        return RunProgress(label, order.seed, page["status"], row)
    row = read_json(order.folder / PROGRESS) or {}
    started = row or (order.folder / EVENTS).exists()
    return RunProgress(label, order.seed, "running" if started else "waiting", row)


# --- what the user holds ---------------------------------------------------------------------------------------------

class Study:
    """The finished runs of one study on disk.

    path      its folder
    records   the finished runs
    faults    a line for every run that failed or is not finished
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.records, self.faults = find(self.path)

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r}, {len(self.records)} runs)"

    def _finished(self) -> list[RunRecord]:
        if not self.records:
            raise ResultMissing(missing(self.path, self.faults))
        return self.records

    def compare(self, baseline: str | None = None, view_of: str = "samples", margin: float = MARGIN) -> pd.DataFrame:
        """Return the comparison, a row per label (acesim.report.compare); view_of: samples, bytes or time."""
        return view(self._finished(), view_of, baseline, margin)

    def metrics(self) -> pd.DataFrame:
        """Return every metric row of every run, with its label and seed."""
        return _stacked([(record, record.metrics()) for record in self._finished()])

    def events(self) -> pd.DataFrame:
        """Return every event of every run, with its label and seed."""
        return _stacked([(record, record.events()) for record in self._finished()])

    def plot(self, kind: str, out: str | Path, baseline: str | None = None, policies: Sequence[str] = ()) -> Path:
        """Draw table1, convergence or pareto into a file (.svg, .png, .pdf); of these policies alone, where given."""
        from acesim.report import figures  # matplotlib takes half a second, which runs need not wait for
        records = self._finished()
        labels = figures.chosen([record.label for record in records], policies)
        return figures.draw(kind, [record for record in records if record.label in labels], out, baseline)


def _stacked(tables: Sequence[tuple[RunRecord, pd.DataFrame]]) -> pd.DataFrame:
    named = [table.assign(label=record.label, seed=record.seed) for record, table in tables]
    whole = pd.concat(named, ignore_index=True)
    return whole[["label", "seed", *(name for name in whole.columns if name not in ("label", "seed"))]]


def load(path: str | Path) -> Study:
    """Return the study whose results are in a folder; ResultMissing where there is no finished run."""
    study = Study(path)
    study._finished()
    return study


def run(scenario: str | Path | Scenario, policies: Sequence[str] | None = None, seeds: Sequence[int] | None = None,
        overrides: Sequence[str] = (), jobs: int | None = None, out: str | Path = "results", fresh: bool = False,
        plugins: Sequence[str | Path] = (), on_progress: Watcher | None = None, runner: Runner = run_one) -> Study:
    """Run policies x seeds of a scenario; return the study, in which failed runs are named (`faults`).

    scenario     a file, the name of a shipped scenario, or a Scenario
    policies     labels of the scenario, or names of policies it does not have; None: all of the scenario
    seeds        None: the scenario's
    overrides    `key.path=value`, as by --set
    jobs         processes; None: one per processor
    out          results/<scenario name> is the study's folder
    fresh        compute everything again
    plugins      files with policies of one's own
    on_progress  called every half second with a list of RunProgress
    runner       what computes one order
    """
    loaded = read_scenario(scenario, overrides, plugins)
    if loaded.sweep:
        raise ScenarioError([Problem(("sweep",), None, "this scenario is a grid of studies; `acesim run` or "
                                     "acesim.sweep(...) runs all of it, `--set sweep=[]` what it is without")])
    folder = Path(out) / loaded.name
    orders = orders_of(loaded, choose_policies(loaded, policies, plugins), seeds, folder, plugins)
    execute(arrange(orders, folder, fresh), jobs, on_progress, runner)
    return Study(folder)
