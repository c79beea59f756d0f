"""Which runs there are to do: what is asked for, what a study's folder holds already, and whether the two agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from acesim.records.manifest import code_version, plain
from acesim.records.store import CELLS, STUDY, clear, listed, read_json, read_manifest, unreadable, write_json
from acesim.scenario import PolicySpec, Scenario, content_hash, dump, file_hashes
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.plugins import plugin


class Order(NamedTuple):
    """One run to be computed.  where: the point of a grid it is at, in words, for those who watch."""

    scenario: Scenario
    policy: PolicySpec
    seed: int
    folder: Path
    plugins: tuple[str, ...] = ()
    where: str = ""


def orders_of(scenario: Scenario, specs: Sequence[PolicySpec], seeds: Sequence[int] | None, folder: Path,
              plugins: Sequence[str | Path] = ()) -> list[Order]:
    """Return one order for each policy and seed; paths are absolute, for a child may stand elsewhere."""
    chosen = scenario.seeds if seeds is None else tuple(dict.fromkeys(int(seed) for seed in seeds))
    if not chosen or min(chosen) < 0:
        raise ScenarioError([Problem(("seeds",), list(chosen), "name at least one seed, none below 0", "--seeds")])
    files = tuple(str(Path(plugin).resolve()) for plugin in plugins)
    return [Order(scenario, spec, seed, folder.absolute() / spec.folder / f"seed-{seed}", files)
            for seed in chosen for spec in specs]


def identity(order: Order) -> dict[str, Any]:
    """Return the manifest's fields that are known before the run: what makes it this one."""
    return {"scenario": dump(order.scenario), "scenario_hash": world_hash(order.scenario),
            "files": file_hashes(order.scenario), "label": order.policy.label, "policy": policy_page(order.policy),
            "seed": order.seed, "code": _code(*_maker(order))}


def policy_page(spec: PolicySpec) -> dict[str, Any]:
    """Return a policy as manifests and lists of runs hold it."""
    return {"name": spec.name, "parameters": plain(spec.parameters)}


def world_hash(scenario: Scenario) -> str:
    """Return the hash of what all runs of a study share: everything but seeds, policies, words and the grid.

    What stands in the files that the scenario names (traces, texts, data, calibrations) is part of it.
    """
    own, files = content_hash(scenario, ("seeds", "policies", "description", "sweep")), file_hashes(scenario)
    return hashlib.sha256((own + json.dumps(files, sort_keys=True)).encode()).hexdigest() if files else own


def finished(order: Order) -> dict[str, Any] | None:
    """Return the manifest of an order that is done already, by whatever code; None where there is no such run."""
    page = read_manifest(order.folder)
    known = page is not None and page["status"] == "done" and page.get("policy") == policy_page(order.policy)
    return page if page and known and page.get("scenario_hash") == world_hash(order.scenario) else None


def cell_folder(study: Path, scenario: Scenario) -> Path:
    """Return where a changed scenario's runs are kept in the folder of the study it is a change of."""
    return study / CELLS / content_hash(scenario, ("seeds", "sweep"))[:16]


def arrange(orders: Sequence[Order], folder: Path, fresh: bool) -> list[Order]:
    """Return the orders that are not done yet, and list all of them in study.json.

    fresh    compute again what is ordered; runs of another scenario that study.json lists are forgotten first
    raises   ScenarioError when the folder holds another scenario, or a run of another policy under the same label
    """
    if fresh:
        _forget(orders, folder)
    _refuse_other_scenario(orders[0].scenario, folder)
    pages = [read_manifest(order.folder) for order in orders]
    problems = [_taken(order) for order, page in zip(orders, pages, strict=True)
                if page is not None and page.get("policy") != policy_page(order.policy)]
    if problems:
        raise ScenarioError(problems)
    known = codes(orders)
    _list_runs(orders, folder)
    return [order for order, page in zip(orders, pages, strict=True)
            if page is None or page["status"] != "done" or page.get("code") != known[_maker(order)]
            or unreadable(order.folder)]


def _maker(order: Order) -> tuple[str, str | None, tuple[str, ...]]:
    """Return what names the code of an order beside acesim's: its policy, its task, and the plug-in files given."""
    return order.policy.name, getattr(order.scenario.task, "name", None), order.plugins


def _code(policy: str, task: str | None, plugins: Sequence[str]) -> str:
    """Return the code version; of plug-in files those that policy or task come from: the others are nothing to it."""
    return code_version(file for file in plugins if policy in plugin(file, "POLICIES") or task in plugin(file, "TASKS"))


def codes(orders: Sequence[Order]) -> dict[tuple[str, str | None, tuple[str, ...]], str]:
    """Return the code of orders by their makers; plug-ins may take long to be imported, so once for each."""
    return {maker: _code(*maker) for maker in dict.fromkeys(map(_maker, orders))}


def _taken(order: Order) -> Problem:
    return Problem(("policies", order.policy.label), None, "holds a run of this label with other parameters; add "
                   "--fresh to compute it again in its place, or give this policy another label", str(order.folder))


def _refuse_other_scenario(scenario: Scenario, folder: Path) -> None:
    known = read_json(folder / STUDY)
    if known is None or known.get("scenario_hash") == world_hash(scenario):
        return
    changed = _differences(known.get("scenario", {}), dump(scenario)) + _edited(known.get("files", {}), scenario)
    rule = ("the results here are of another scenario" + (f" ({'; '.join(changed[:4])})" if changed else "")
            + "; add --fresh to compute them again in its place, or keep the results in another folder")
    raise ScenarioError([Problem(("name",), scenario.name, rule, str(folder))])


def _edited(old: Mapping[str, str], scenario: Scenario) -> list[str]:
    new = file_hashes(scenario)
    words = {path: "is gone" if path not in new else "is new" if path not in old else "has changed"
             for path in sorted({*old, *new}) if old.get(path) != new.get(path)}
    return [f"{path} {word}" for path, word in words.items()]


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Name the values that differ: `task.model.d_model: 32, now 48`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [line for key in dict.fromkeys([*old, *new])
                if path or key not in ("seeds", "policies", "description", "sweep")
                for line in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for place, pair in enumerate(zip(old, new, strict=True))
                for line in _differences(*pair, f"{path}.{_name(pair[1], place)}")]
    return [] if old == new else [f"{path}: {old}, now {new}"]


def _name(part: Any, place: int) -> Any:
    return part.get("name", place) if isinstance(part, Mapping) else place


def _list_runs(orders: Sequence[Order], folder: Path) -> None:
    known = read_json(folder / STUDY) or {}
    runs = {run["folder"]: run for run in listed(known)}
    for order in orders:
        where = order.folder.relative_to(folder.absolute()).as_posix()
        runs[where] = {"folder": where, "label": order.policy.label, "seed": order.seed,
                       "policy": policy_page(order.policy)}
    scenario = orders[0].scenario
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STUDY, {"name": scenario.name, "scenario_hash": world_hash(scenario),
                                "files": file_hashes(scenario), "scenario": dump(scenario),
                                "runs": list(runs.values())})


def _forget(orders: Sequence[Order], folder: Path) -> None:
    """Remove the runs that are ordered anew; where study.json is of another scenario all that it lists, and the list.
    Nothing that acesim did not write."""
    known = read_json(folder / STUDY) or {}
    places = [order.folder for order in orders]
    if known.get("scenario_hash") != world_hash(orders[0].scenario):
        places += [folder / run["folder"] for run in listed(known)]
        (folder / STUDY).unlink(missing_ok=True)
    for place in places:
        if place.resolve().is_relative_to(folder.resolve()):
            clear(place)
