"""Claims of papers, tried: which runs a claims file needs, which there are, which are computed, and what they say.

Runs lie where `acesim run` and `acesim sweep` keep them, so that whatever was run counts, and is not run again: in the
study or the cell that holds runs of the very same world; where there is none yet,

    RESULTS/<scenario>/<label>/seed-<n>/                 a claim on a scenario as it is, or with more policies
    RESULTS/<scenario>/cells/<hash>/<label>/seed-<n>/    a claim that changes anything else of it (`set`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from acesim.records.orders import (
    Order,
    arrange,
    cell_folder,
    codes,
    finished,
    orders_of,
    policy_page,
    world_hash,
)
from acesim.records.read import RunRecord
from acesim.records.store import CELLS, STUDY, read_json, read_manifest
from acesim.report.claims import Finding, claims_page, examine, table_of
from acesim.report.layout import Page
from acesim.report.measures import Run
from acesim.scenario import PolicySpec, Scenario, scenario_path
from acesim.scenario.claims import Claim, ClaimsFile, load_claims
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.labels import folder as folder_of
from acesim.study import Runner, Watcher, choose_policies, execute, read_scenario, run_one

Runs = Mapping[str, Mapping[int, Run]]


class Trial(NamedTuple):
    """What a claim needs: policies of a scenario, and the folder of their runs."""

    scenario: Scenario
    policies: tuple[PolicySpec, ...]
    folder: Path
    place: str


@dataclass(frozen=True)
class Audit:
    """The ledger of a paper's claims.

    file      what was examined
    findings  one per claim, in order
    missing   the runs that the scenarios ask for and that there are not
    faults    a line for every run that failed
    stale     finished runs that count, but were made by other code
    """

    file: ClaimsFile
    findings: tuple[Finding, ...]
    missing: tuple[Order, ...] = ()
    faults: tuple[str, ...] = ()
    stale: int = 0

    def table(self) -> pd.DataFrame:
        """Return one row per claim."""
        return table_of(self.findings)

    def page(self, command: str = "acesim claims FILE --run") -> Page:
        """Lay the ledger out; `command`: what computes the missing runs."""
        notes = [f"missing: {_listed(self.missing)}; `{command}` computes them"] if self.missing else []
        if self.stale:
            notes.append(f"{self.stale} of the runs were made by other code than this; `{command}` computes them again")
        return claims_page(self.file.claims.paper, self.findings, notes)


def audit(source: str | Path, results: str | Path = "results", seeds: Sequence[int] | None = None, run: bool = False,
          jobs: int | None = None, plugins: Sequence[str | Path] = (), on_progress: Watcher | None = None,
          runner: Runner = run_one) -> Audit:
    """Examine a paper's claims by the finished runs in a folder.

    source    a claims file, or the name of a shipped one
    seeds     None: all that are there; of those missing the file's own, or the scenario's
    run       compute what is missing first; what is there is reused
    raises    ScenarioError for mistakes in the file, and where it and its scenarios do not fit together
    """
    file = load_claims(source)
    trials = trials_of(file, results, plugins)
    wanted = _orders(trials, file.claims.seeds if seeds is None else seeds, plugins)
    if run:
        todo = [order for folder, orders in wanted.items() for order in arrange(orders, folder, False)]
        execute(todo, jobs, on_progress, runner)
    found = {folder: _finished(folder, [trial for trial in trials if trial and trial.folder == folder], seeds, plugins)
             for folder in wanted}
    failed = {folder: _failed(orders) for folder, orders in wanted.items()}
    findings = [examine(claim, found[trial.folder], trial.place, failed[trial.folder]) if trial else examine(claim, {})
                for claim, trial in zip(file.claims.claims, trials, strict=True)]
    absent = [order for orders in wanted.values() for order in orders if finished(order) is None]
    known = set(codes([order for orders in wanted.values() for order in orders]).values())
    stale = sum(each.record.manifest.get("code") not in known for runs in found.values() for by_seed in runs.values()
                for each in by_seed.values())
    return Audit(file, tuple(findings), tuple(absent), tuple(_faults(absent)) if run else (), stale)


# --- what is needed --------------------------------------------------------------------------------------------------

def trials_of(file: ClaimsFile, results: str | Path, plugins: Sequence[str | Path] = ()) -> list[Trial | None]:
    """Return what each claim needs, None for those that nothing can decide.

    raises   ScenarioError naming every claim whose scenario, change or policy there is not
    """
    problems: list[Problem] = []
    trials: list[Trial | None] = []
    known: dict[tuple[str, tuple[str, ...]], Scenario] = {}
    for row, claim in enumerate(file.claims.claims):
        try:
            trials.append(_trial(file, row, claim, Path(results), plugins, known))
        except ScenarioError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ScenarioError(problems)
    return trials


def _trial(file: ClaimsFile, row: int, claim: Claim, results: Path, plugins: Sequence[str | Path],
           known: dict[tuple[str, tuple[str, ...]], Scenario]) -> Trial | None:
    if claim.measure is None:
        return None
    named = claim.scenario or file.claims.scenario
    for changes in ((), claim.set):
        if (named, changes) not in known:
            known[named, changes] = _scenario(file, row, claim, changes, plugins)
    scenario = known[named, claim.set]
    try:
        specs = choose_policies(scenario, claim.measure.policies, plugins)
    except ScenarioError as error:
        raise ScenarioError([file.problem(("claims", row, "measure"), problem.path[0] if problem.path else None,
                                          problem.rule) for problem in error.problems]) from error
    own = all(change.startswith("policies") for change in claim.set) and _agree(specs, known[named, ()].policies)
    return Trial(scenario, tuple(specs), _home(results / scenario.name, scenario, specs, own),
                 _place(scenario, claim.set, specs))


def _place(scenario: Scenario, changes: Sequence[str], specs: Sequence[PolicySpec]) -> str:
    """Say where a claim is tried: the scenario, what was changed in it, and what labels of its own stand for."""
    told = [change for change in changes if not change.startswith("policies=")]
    meant = [f"{spec.label} is {spec.name} with "
             + ", ".join(f"{key}: {str(value).lower()}" for key, value in spec.parameters.items())
             for spec in specs if spec.label != spec.name and spec.parameters]
    return "; ".join([", ".join([scenario.name, *told]), *meant])


def _agree(specs: Sequence[PolicySpec], others: Sequence[PolicySpec]) -> bool:
    known = {spec.label: spec for spec in others}
    return all(known.get(spec.label, spec) == spec for spec in specs)


def _home(study: Path, scenario: Scenario, specs: Sequence[PolicySpec], own: bool) -> Path:
    """Return the study, or the cell of a sweep, that holds runs of this very world; else where they would be computed.

    own   are they the study's own: is nothing changed but by more policies?
    """
    world = world_hash(scenario)
    for folder in (study, *sorted((study / CELLS).glob("*"))):
        listed = read_json(folder / STUDY) or {}
        held = {run["label"]: run["policy"] for run in listed.get("runs", [])}
        if listed.get("scenario_hash") == world and \
                all(held.get(spec.label, policy_page(spec)) == policy_page(spec) for spec in specs):
            return folder
    return study if own else cell_folder(study, scenario)


def _scenario(file: ClaimsFile, row: int, claim: Claim, changes: Sequence[str],
              plugins: Sequence[str | Path]) -> Scenario:
    steps: tuple[str | int, ...] = ("claims", row, "scenario") if claim.scenario else ("scenario",)
    try:
        path = scenario_path(claim.scenario or file.claims.scenario, file.path.parent)
    except ScenarioError as error:
        problem = error.problems[0]
        raise ScenarioError([file.problem(steps, claim.scenario or file.claims.scenario, problem.rule)]) from error
    try:
        return read_scenario(path, changes, plugins)
    except ScenarioError as error:
        raise ScenarioError([_placed(file, row, problem) for problem in error.problems]) from error


def _placed(file: ClaimsFile, row: int, problem: Problem) -> Problem:
    """Put what a change of the scenario got wrong at the claim that makes it."""
    if not str(problem.file).startswith("--set"):
        return problem
    key = str(problem.file).removeprefix("--set ")
    return file.problem(("claims", row, "set"), key if problem.value is None else f"{key}={problem.value}",
                        problem.rule)


def _orders(trials: Sequence[Trial | None], seeds: Sequence[int] | None,
            plugins: Sequence[str | Path]) -> dict[Path, list[Order]]:
    """Return the runs to be had, by the folder of their study, each once."""
    wanted: dict[Path, dict[Path, Order]] = {}
    for trial in trials:
        if trial is not None:
            orders = orders_of(trial.scenario, trial.policies, seeds, trial.folder, plugins)
            wanted.setdefault(trial.folder, {}).update({order.folder: order for order in orders})
    return {folder: list(orders.values()) for folder, orders in wanted.items()}


# --- what there is ---------------------------------------------------------------------------------------------------

def _finished(folder: Path, trials: Sequence[Trial], seeds: Sequence[int] | None,
              plugins: Sequence[str | Path]) -> Runs:
    """Return the finished runs of some trials' policies, at these seeds or at all that are there."""
    found: dict[str, dict[int, Run]] = {}
    for trial in trials:
        for spec in trial.policies:
            if spec.label not in found:
                there = _seeds_in(folder / folder_of(spec.label)) if seeds is None else list(seeds)
                orders = orders_of(trial.scenario, [spec], there, folder, plugins) if there else []
                found[spec.label] = dict(_runs(orders))
    return found


def _runs(orders: Sequence[Order]) -> Iterator[tuple[int, Run]]:
    for order in orders:
        page = finished(order)
        if page is not None:
            record = RunRecord(order.folder, page)
            yield order.seed, Run(record, record.metrics())


def _failed(orders: Sequence[Order]) -> Counter[str]:
    """Count the runs that were begun and failed, by label."""
    pages = ((order.policy.label, read_manifest(order.folder)) for order in orders)
    return Counter(label for label, page in pages if page is not None and page["status"] == "failed")


def _seeds_in(folder: Path) -> list[int]:
    digits = (path.name.removeprefix("seed-") for path in folder.glob("seed-*"))
    return sorted(int(digit) for digit in digits if digit.isdecimal())


def _listed(orders: Sequence[Order]) -> str:
    """Name runs by study and label: `table1/top-k seeds 0, 1, 2`."""
    seeds: dict[str, list[str]] = {}
    for order in orders:
        seeds.setdefault(_named(order), []).append(str(order.seed))
    return "; ".join(f"{name} seed{'s' if len(each) > 1 else ''} {', '.join(each)}" for name, each in seeds.items())


def _named(order: Order) -> str:
    study = order.folder.parents[1]
    cell = f" (cell {study.name[:6]})" if study.parent.name == CELLS else ""
    return f"{order.scenario.name}{cell}/{order.policy.label}"


def _faults(orders: Sequence[Order]) -> Iterator[str]:
    for order in orders:
        page = read_manifest(order.folder)
        yield f"{_named(order)}, seed {order.seed}: {(page or {}).get('error') or 'was not finished'}"
