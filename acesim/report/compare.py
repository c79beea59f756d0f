"""The comparison of policies, as one tidy row per label: means over seeds, intervals, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isnan, nan
from typing import Any

import pandas as pd

from acesim.records.read import RunRecord
from acesim.report.measures import Run, spent_to
from acesim.report.paper import paper_row
from acesim.report.statistics import (
    SUSTAINED,
    at,
    convergence_epochs,
    holm,
    interval,
    no_difference_p,
    no_worse_p,
    paired,
    settled,
)
from acesim.scenario.errors import AcesimError, ResultMissing

BASELINE = "full-sync"
SHARES = (80, 90, 97)
"""Per cent of the baseline's final accuracy to which time and bytes are given."""

FIGURES = {
    "top1_percent": "accuracy of the last evaluation, of the model that is trained",
    "top1_difference": "the same, less the baseline's at the same seed",
    "perplexity": "of the last evaluation",
    "loss_nats": "of the last evaluation",
    "convergence_epochs": "first epoch within 1 % of the run's own final accuracy (see statistics)",
    "gb_up_per_round": "nominal GB that all workers together send up in a round",
    "gb_down_per_round": "nominal GB that all workers together receive in a round",
    "gb_up_per_baseline_round": "GB sent up for the samples of one round of the baseline: the paper's unit",
    "gb_per_epoch": "up and down",
    "gb_total": "up and down, over the whole run; the workers' own messages, headers included",
    "reduction_percent": "of the bytes sent up for equal samples, against the baseline (what the paper counts)",
    "reduction_total_percent": "the same of bytes up and down together",
    "region_gb": "messages of region servers, up and down",
    "link_gb": "message bytes times links crossed, of all messages",
    "retransmitted_gb": "what random loss makes TCP send again, beside all other bytes",
    "egress_gb": "what left the cloud for the edge",
    "egress_cost": "what that costs, in the scenario's currency",
    "simulated_s": "simulated time of the whole run",
    **{f"time_to_{share}_s": f"simulated time to {share} % of the baseline's final accuracy" for share in SHARES},
    **{f"gb_to_{share}": f"GB up and down to {share} % of the baseline's final accuracy" for share in SHARES},
    **{f"epochs_to_{share}": f"epochs to {share} % of it, on the smoothed curve" for share in SHARES},
    **{f"rounds_to_{share}": f"rounds to {share} % of it" for share in SHARES},
    **{f"kwh_to_{share}": f"energy to {share} % of it" for share in SHARES},
    **{f"cost_to_{share}": f"cost of egress to {share} % of it, in the scenario's currency" for share in SHARES},
    **{name.format("target"): f"{what} to the scenario's target (stop.target_accuracy), when it is first reached" for
       name, what in (("time_to_{}_s", "simulated time"), ("gb_to_{}", "GB up and down"), ("epochs_to_{}", "epochs"),
                      ("rounds_to_{}", "rounds"), ("kwh_to_{}", "energy"), ("cost_to_{}", "cost of egress"))},
    "speed_up": "local steps of all workers, over those that one worker without any network does in the same time",
    "share_of_ideal": "time of the baseline without communication over this policy's time; null where others worked",
    "iteration_s": "simulated time over rounds",
    "scaling_percent": "time of this run without communication (each round its slowest computation) over its time: "
                       "where all workers are alike, throughput over W times that of one worker alone",
    "sync_delay_s": "mean time from the end of a worker's computation to the start of its next",
    "energy_kwh": "of all devices over the run",
    "carbon_kg": "CO2 of that energy, by the grid's intensity",
    "worker_gb": "memory of the worker that needs most",
    "server_gb": "memory of the server that needs most",
    "drift": "the last one reported",
    "epochs": "trained",
    "rounds": "of the cloud server",
}
"""The figures of a row and what they mean.  Each is a mean over seeds, with _low and _high beside it where there
are several seeds."""

REPORTED = {"mean": "reported_", "last": "reported_last_"}
"""What stands before the name of a figure that policies report of themselves: its mean over the run, and the last."""

TESTS = {
    "difference_p": "two-sided p of the paired t test that the accuracy is the baseline's",
    "difference_holm": "the same, adjusted by Holm's rule for the number of policies",
    "no_worse_p": "one-sided p that the accuracy is worse than the baseline's by the margin, if not more",
    "no_worse_holm": "the same, adjusted",
}
"""Columns that are there where there are several seeds and a baseline."""

MARGIN = 0.3
"""Points of accuracy that count as no worse unless said otherwise: what the paper claims to lose."""


Runs = dict[str, dict[int, Run]]
"""By label, then by seed."""


def gather(records: Sequence[RunRecord]) -> Runs:
    """Sort runs by label and seed, in the order they come.

    raises   ResultMissing for no runs; AcesimError for runs of different scenarios, or two different ones of a seed
    """
    if not records:
        raise ResultMissing("nothing to compare: no finished run; `acesim run SCENARIO` makes them")
    _one_scenario(records)
    runs: Runs = {}
    for record in records:
        known = runs.setdefault(record.label, {}).get(record.seed)
        if known is None:
            runs[record.label][record.seed] = Run(record, record.metrics())
        elif known.record.manifest.get("digest") != record.manifest.get("digest"):
            raise AcesimError(f"{record.folder} and {known.record.folder}: two different runs of {record.label}, "
                              f"seed {record.seed}; compare one of them at a time")
    return runs


def _one_scenario(records: Sequence[RunRecord]) -> None:
    first = records[0]
    for record in records:
        if record.manifest.get("scenario_hash") != first.manifest.get("scenario_hash"):
            raise AcesimError(f"{first.folder} and {record.folder}: runs of different scenarios cannot stand in one "
                              "table; name one study at a time (a sweep's table is its cells.csv)")


def choose_baseline(runs: Runs, baseline: str | None) -> str | None:
    """Return the label all others are compared with.

    baseline   a label; None: full-sync if it is there, else nothing is compared with anything
    raises     ResultMissing when the label asked for has no run
    """
    if baseline is None:
        return BASELINE if BASELINE in runs else None
    if baseline not in runs:
        raise ResultMissing(f"baseline = {baseline}: no finished run has this label (there are: {', '.join(runs)}); "
                            f"`acesim run SCENARIO --policy {baseline}` makes it")
    return baseline


def compare(records: Sequence[RunRecord], baseline: str | None = None, margin: float = MARGIN) -> pd.DataFrame:
    """Return one row per label: the columns of FIGURES and TESTS, rho per worker group, and how many seeds there are.

    A figure is the mean over seeds; `_low` and `_high` are its 95 % t interval, there where any label has several
    seeds.  Differences, reductions and times to an accuracy are taken against the baseline's run of the same seed and
    only then averaged.  `reached_80` .. `reached_97` count the seeds that got there; a time is the mean over those.
    `reported_NAME` and `reported_last_NAME` are what policies tell of themselves, rank_correlation for one.
    What was never reached or does not apply is NaN.  `guessing_nats` is the
    loss of the simplest counted model.  Where the scenario re-enacts the paper's Table 1 its figures
    stand beside ours as `paper_*`; nothing is computed from them.

    records    finished runs of one scenario (acesim.records.read)
    baseline   a label; None: full-sync if it is there
    margin     points of accuracy that count as no worse
    """
    runs = gather(records)
    reference = choose_baseline(runs, baseline)
    against = runs[reference] if reference else {}
    several = any(len(seeds) > 1 for seeds in runs.values())
    rows = [_row(label, seeds, against, several) for label, seeds in runs.items()]
    gained = {label: _gained(_top1(seeds), _top1(against)) for label, seeds in runs.items()}
    return _tested(pd.DataFrame(rows), gained, reference, margin)


def _top1(seeds: Mapping[int, Run]) -> dict[int, float]:
    return {seed: _number(run.record.manifest.get("top1_percent")) for seed, run in seeds.items()}


def _gained(own: Mapping[int, float], against: Mapping[int, float]) -> list[float]:
    return list(paired(own, against).values())


def _tested(table: pd.DataFrame, gained: Mapping[str, Sequence[float]], reference: str | None,
            margin: float) -> pd.DataFrame:
    """Add the columns of TESTS; the adjustment counts every policy but the baseline.

    gained   accuracy less the baseline's, of each row's label, a value a seed
    """
    table.attrs |= {"baseline": reference, "margin": margin}
    others = [[] if label == reference else gained[label] for label in table["label"]]
    if max(map(len, others), default=0) > 1:
        table["difference_p"] = [no_difference_p(values) for values in others]
        table["difference_holm"] = holm(table["difference_p"])
        table["no_worse_p"] = [no_worse_p(values, margin) for values in others]
        table["no_worse_holm"] = holm(table["no_worse_p"])
    return table


def _row(label: str, seeds: Mapping[int, Run], against: Mapping[int, Run], several: bool) -> dict[str, object]:
    each = [run_figures(run, against.get(seed)) for seed, run in seeds.items()]
    first = next(iter(seeds.values())).record.manifest
    policy = str(first["policy"].get("name", label))
    row: dict[str, object] = {"label": label, "policy": policy, "seeds": len(seeds)}
    if any(isnan(figures["share_of_ideal"]) for figures in each):  # of other seeds than the baseline's
        each = [figures | {"share_of_ideal": nan} for figures in each]
    for name in FIGURES:
        row |= _spread(name, [figures[name] for figures in each], several)
    for share in SHARES:
        row[f"reached_{share}"] = sum(isfinite(figures[f"time_to_{share}_s"]) for figures in each)
    row["reached_target"] = sum(isfinite(figures["time_to_target_s"]) for figures in each)
    if remarks := [str(remark) for remark in first.get("remarks") or ()]:
        row["remarks"] = "; ".join(remarks)
    if known := counted(first):
        row["guessing_nats"] = max(known.values())
    row |= _reported(seeds)
    for group in first.get("rho") or {}:
        row[f"rho_{group}"] = interval([_number(run.record.manifest["rho"].get(group)) for run in seeds.values()]).mean
    said = paper_row(str(first["scenario"].get("name", "")), policy)
    if said:
        row |= {f"paper_{name}": value for name, value in said._asdict().items()}
    return row


def _reported(seeds: Mapping[int, Run]) -> dict[str, float]:
    """Return every figure that a policy names, its mean over the run and its last value, both means over seeds."""
    told = [run.record.manifest.get("reported") or {} for run in seeds.values()]
    names = dict.fromkeys(name for each in told for name in each)
    return {f"{REPORTED[way]}{name}": interval([_number(each.get(name, {}).get(way)) for each in told]).mean
            for name in names for way in REPORTED}


def _spread(name: str, values: Sequence[float], several: bool) -> dict[str, object]:
    found = interval(values)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high} if several else {name: found.mean}


def run_figures(run: Run, baseline: Run | None) -> dict[str, float]:
    """Return every figure of one run; those against the baseline are NaN where it has no run of this seed."""
    page = run.record.manifest
    up, down = _number(page.get("bytes_up")) / 1e9, _number(page.get("bytes_down")) / 1e9
    rounds, epochs = (_number(page.get(name)) or nan for name in ("rounds", "epochs"))
    found = {name: _number(page.get(name)) for name in
             ("top1_percent", "perplexity", "loss_nats", "simulated_s", "sync_delay_s", "egress_cost", "carbon_kg",
              "worker_gb", "server_gb", "drift", "epochs", "rounds")}
    found |= {
        "convergence_epochs": convergence_epochs(run.curve["epoch"], run.curve["top1_percent"]),
        "gb_up_per_round": up / rounds, "gb_down_per_round": down / rounds, "gb_total": up + down,
        "gb_per_epoch": (up + down) / epochs,
        "region_gb": (_number(page.get("region_bytes_up")) + _number(page.get("region_bytes_down"))) / 1e9,
        "link_gb": _number(page.get("link_bytes")) / 1e9, "egress_gb": _number(page.get("egress_bytes")) / 1e9,
        "retransmitted_gb": _number(page.get("retransmitted_bytes")) / 1e9,
        "energy_kwh": _number(page.get("energy_joules")) / 3.6e6,
        "iteration_s": found["simulated_s"] / rounds,
        "scaling_percent": 100 * _number(page.get("ideal_s")) / (found["simulated_s"] or nan),
    }
    found |= _spent(run, "target", target_percent(page) or nan, sustained=1) | {"speed_up": _speed_up(page)}
    return found | (_against(run, found, baseline) if baseline else dict.fromkeys(RELATIVE, nan))


_SPENT = {"time_to_{}_s": ("time_to_s", 1.0), "gb_to_{}": ("bytes_to", 1e-9), "epochs_to_{}": ("epochs_to", 1.0),
          "rounds_to_{}": ("rounds_to", 1.0), "kwh_to_{}": ("joules_to", 1 / 3.6e6), "cost_to_{}": ("cost_to", 1.0)}
"""By the name of a figure: what it reads (acesim.report.measures), and its unit in SI."""


def target_percent(page: Mapping[str, Any]) -> float | None:
    """Return the accuracy at which a run's scenario stops it; None where it trains to the end."""
    value = ((page.get("scenario") or {}).get("stop") or {}).get("target_accuracy_percent")
    return float(value) if isinstance(value, int | float) else None


def counted(page: Mapping[str, Any]) -> dict[str, float]:
    """Return the loss of every counted model of a run's task, in nats: what needs no training."""
    return {name.removesuffix("_nats"): float(value) for name, value in (page.get("yardsticks") or {}).items()
            if name.endswith("_nats") and isinstance(value, int | float)}


def _spent(run: Run, goal: int | str, percent: float, sustained: int = SUSTAINED) -> dict[str, float]:
    """Return what a run had spent when it reached an accuracy, NaN where it did not; figures are named by `goal`."""
    found = {name: (spent_to(run, metric, percent, sustained), scale) for name, (metric, scale) in _SPENT.items()}
    return {name.format(goal): spent.value * scale if spent.exact else nan for name, (spent, scale) in found.items()}


def _speed_up(page: Mapping[str, Any]) -> float:
    """Return N for N workers that never wait, and compute as fast as their mean."""
    time_s = _number(page.get("simulated_s"))
    return _number(page.get("local_steps")) * _number(page.get("step_s")) / time_s if time_s else nan


RELATIVE = ("top1_difference", "gb_up_per_baseline_round", "reduction_percent", "reduction_total_percent",
            "share_of_ideal", *(name.format(share) for share in SHARES for name in _SPENT))
"""Figures that need a baseline."""


def _ideal_share(page: Mapping[str, Any], base: Mapping[str, Any]) -> float:
    """Return the baseline's time without communication over this run's time; NaN where fewer workers did the work."""
    steps, same = _number(page.get("local_steps")), _number(base.get("local_steps"))
    time_s = _number(page.get("simulated_s"))
    alike = not (isfinite(steps) and isfinite(same)) or abs(steps - same) <= 0.01 * same
    return _number(base.get("ideal_s")) / time_s if time_s and alike else nan


def _against(run: Run, own: Mapping[str, float], baseline: Run) -> dict[str, float]:
    page, base = run.record.manifest, baseline.record.manifest
    up, up_base = (_number(each.get("bytes_up")) / 1e9 / _number(each.get("epochs")) for each in (page, base))
    both_base = up_base + _number(base.get("bytes_down")) / 1e9 / _number(base.get("epochs"))
    found = {
        "top1_difference": own["top1_percent"] - _number(base.get("top1_percent")),
        "gb_up_per_baseline_round": up * _number(base.get("epochs")) / _number(base.get("rounds")),
        "reduction_percent": 100 * (1 - up / up_base) if up_base else nan,
        "reduction_total_percent": 100 * (1 - own["gb_per_epoch"] / both_base) if both_base else nan,
        "share_of_ideal": _ideal_share(page, base),
    }
    final = settled(baseline.curve["top1_percent"].to_numpy())
    for share in SHARES:
        found |= _spent(run, share, share / 100 * final if final > 0 else nan)
    return found


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else nan


VIEWS = {"samples": "every policy after its whole run", "bytes": "every policy after the bytes of the thriftiest",
         "time": "every policy after the simulated time of the fastest"}
"""The three ways to be fair."""


def views(records: Sequence[RunRecord], baseline: str | None = None,
          margin: float = MARGIN) -> dict[str, pd.DataFrame]:
    """Return the comparison at equal samples, at equal bytes and at equal simulated time.

    At equal bytes (time) every policy is read off its curve where it has sent (lasted) as much as the one that sent
    (lasted) least at the same seed, policies that send nothing apart.  Such a place lies before the end of the run,
    where the learning rate has not decayed yet, so it understates what a run planned for that budget would reach.
    """
    return {name: view(records, name, baseline, margin) for name in VIEWS}


def view(records: Sequence[RunRecord], kind: str, baseline: str | None = None,
         margin: float = MARGIN) -> pd.DataFrame:
    """Return one of the views; see `views`.

    raises   AcesimError for an unknown kind
    """
    if kind == "samples":
        return compare(records, baseline, margin)
    if kind not in VIEWS:
        raise AcesimError(f"view = {kind}: unknown view (knows: {', '.join(VIEWS)})")
    runs = gather(records)
    reference = choose_baseline(runs, baseline)
    several = any(len(seeds) > 1 for seeds in runs.values())
    budgets = _budgets(runs, kind)
    read = {label: {seed: _read_at(run, kind, budgets[seed]) for seed, run in seeds.items()}
            for label, seeds in runs.items()}
    top1 = {label: {seed: figures["top1_percent"] for seed, figures in found.items()} for label, found in read.items()}
    gained = {label: _gained(own, top1[reference] if reference else {}) for label, own in top1.items()}
    rows = [_view_row(label, found, gained[label], several) for label, found in read.items()]
    return _tested(pd.DataFrame(rows), gained, reference, margin)


def _axis(run: Run, kind: str) -> pd.Series:
    return run.curve["time_s"] if kind == "time" else (run.curve["bytes_up"] + run.curve["bytes_down"]) / 1e9


def _budgets(runs: Runs, kind: str) -> dict[int, float]:
    """Return for every seed the least that any policy used up, those that send nothing apart."""
    spent: dict[int, list[float]] = {}
    for seeds in runs.values():
        for seed, run in seeds.items():
            sends = _axis(run, "bytes").max() > 0
            spent.setdefault(seed, []).extend([float(_axis(run, kind).max())] if sends else [])
    return {seed: min(values, default=nan) for seed, values in spent.items()}


def _read_at(run: Run, kind: str, budget: float) -> dict[str, float]:
    axis = _axis(run, kind)
    read = {name: at(budget, axis, run.curve[name]) for name in
            ("top1_percent", "loss_nats", "perplexity", "epoch")}
    return {"gb" if kind == "bytes" else "simulated_s": budget} | read


def _view_row(label: str, found: Mapping[int, Mapping[str, float]], gained: Sequence[float],
              several: bool) -> dict[str, object]:
    row: dict[str, object] = {"label": label, "seeds": len(found)}
    for name in next(iter(found.values())):
        row |= _spread(name, [figures[name] for figures in found.values()], several)
    return row | _spread("top1_difference", gained, several)
