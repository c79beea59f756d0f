"""The comparison as a page of plain text cells: blocks that fit a terminal, and the lines that belong below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, log10
from typing import Any, NamedTuple

import pandas as pd

from acesim.records.read import RunRecord
from acesim.report.card import card, nothing_learned
from acesim.report.compare import BASELINE, REPORTED, VIEWS, counted, target_percent
from acesim.report.paper import SOURCE
from acesim.report.scales import Scale, size_scale, time_scale
from acesim.report.statistics import SUSTAINED

NOTHING = "–"
RHO = "rho (communication over computation of a dense round)"
FALLEN = "learned nothing, or diverged (a mean loss no better than guessing)"


class Block(NamedTuple):
    """A small table: the first column is text, the others are numbers already spelt, or text too in prose."""

    title: str
    header: list[str]
    rows: list[list[str]]
    prose: bool = False


class Page(NamedTuple):
    """Blocks one below the other, then notes and the fidelity card (acesim.report.card), a line each."""

    blocks: list[Block]
    notes: list[str]
    card: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """All that stands below the blocks."""
        return [*self.notes, *self.card]


def number(value: float, digits: int | None = None) -> str:
    """Spell a number: with so many decimals, or with three significant figures; thousands apart by commas.

    >>> number(1.2345), number(12345.6), number(0.01234), number(44.678, 2), number(float("nan"))
    ('1.23', '12,346', '0.0123', '44.68', '–')
    """
    if not isfinite(value):
        return NOTHING
    if digits is None:
        digits = 2 if value == 0 else min(max(2 - int(log10(abs(value)) // 1), 0), 6)
    return f"{value:,.{digits}f}"


def spread(row: Mapping[str, Any], name: str, digits: int | None = None) -> str:
    """Spell a mean and, where seeds tell, half its interval: 44.68 ± 0.21.

    >>> spread({"x": 2., "x_low": 1.5, "x_high": 2.5}, "x", 1), spread({"x": 2.}, "x", 1)
    ('2.0 ± 0.5', '2.0')
    """
    low, high = row.get(f"{name}_low", float("nan")), row.get(f"{name}_high", float("nan"))
    text = number(row.get(name, float("nan")), digits)
    return f"{text} ± {number((high - low) / 2, digits)}" if isfinite(high - low) else text


def bounds(row: Mapping[str, Any], name: str, digits: int) -> str:
    """Spell a difference with its sign and, where seeds tell, its interval: -0.30 [-0.52, -0.08].

    >>> bounds({"x": -.3, "x_low": -.5, "x_high": -.1}, "x", 2), bounds({"x": .25}, "x", 2)
    ('-0.30 [-0.50, -0.10]', '+0.25')
    """
    value = row.get(name, float("nan"))
    if not isfinite(value):
        return NOTHING
    low, high = row.get(f"{name}_low", float("nan")), row.get(f"{name}_high", float("nan"))
    return f"{value:+.{digits}f}" + (f" [{low:+.{digits}f}, {high:+.{digits}f}]" if isfinite(high - low) else "")


Cell = Callable[[Mapping[str, Any]], str]


def scaled(name: str, scale: float = 1.0) -> Cell:
    """A mean and half its interval, scaled; the half with as many decimals as the mean."""
    def cell(row: Mapping[str, Any]) -> str:
        ends = [row.get(f"{name}{end}", float("nan")) * scale for end in ("", "_low", "_high")]
        text = number(ends[0])
        digits = len(text.partition(".")[2])
        return f"{text} ± {number((ends[2] - ends[1]) / 2, digits)}" if isfinite(ends[2] - ends[1]) else text
    return cell


def _plain(name: str, digits: int | None = None, scale: float = 1.0) -> Cell:
    return lambda row: number(row.get(name, float("nan")) * scale, digits)


def _if_any(name: str, scale: float) -> Cell:
    return lambda row: number(row.get(name, 0.0) * scale) if row.get(name, 0.0) > 0 else NOTHING


class Units(NamedTuple):
    """In what a table tells times, sizes, and sizes a round."""

    time: Scale
    size: Scale
    per_round: Scale


def _units(table: pd.DataFrame) -> Units:
    return Units(time_scale(table["simulated_s"].max()), size_scale(table["gb_total"].max()),
                 size_scale(table[["gb_up_per_round", "gb_down_per_round"]].max().max(), rate=True))


def _when(share: int, time: Scale) -> Cell:
    """Time to an accuracy; how many seeds got there is said where not all did."""
    return lambda row: told(row, share, number(row[f"time_to_{share}_s"] * time.factor))


def told(row: Mapping[str, Any], share: int | str, text: str) -> str:
    """Add how many seeds got to an accuracy, where not all did."""
    reached, seeds = row[f"reached_{share}"], row["seeds"]
    return text if reached in (0, seeds) else f"{text} ({reached}/{seeds})"


def _to_target(share: int | str, currency: str, units: Units) -> dict[str, Cell]:
    """What it took to get to an accuracy, each with half its interval."""
    return {
        **_progress(share),
        units.time.name: scaled(f"time_to_{share}_s", units.time.factor),
        units.size.name: scaled(f"gb_to_{share}", units.size.factor),
        "kWh": scaled(f"kwh_to_{share}"),
        f"{currency} of egress": scaled(f"cost_to_{share}"),
    }


def _progress(share: int | str) -> dict[str, Cell]:
    """Rounds to a target of one's own, as papers count iterations; else epochs, off the smoothed curve."""
    name, digits = ("rounds", 0) if share == "target" else ("epochs", 1)
    return {name: lambda row: told(row, share, spread(row, f"{name}_to_{share}", digits))}


def _tests(margin: float) -> dict[str, Cell]:
    return {
        "p, no difference": _p("difference_p"), "Holm": _p("difference_holm"),
        f"p, worse by {margin:g}": _p("no_worse_p"), "Holm ": _p("no_worse_holm"),
    }


def _p(name: str) -> Cell:
    """A probability with three decimals, or as less than the smallest of these."""
    def cell(row: Mapping[str, Any]) -> str:
        value = row.get(name, float("nan"))
        return "<0.001" if value < 0.001 else number(value, 3)
    return cell


def _difference(reference: str | None) -> Cell:
    return lambda row: "(baseline)" if row["label"] == reference else bounds(row, "top1_difference", 2)


def _learning(reference: str | None, time: Scale, target: bool) -> dict[str, Cell]:
    against = reference or "baseline"
    return {
        "top-1 %": lambda row: spread(row, "top1_percent", 2),
        f"against {against}": _difference(reference),
        "perplexity": lambda row: spread(row, "perplexity", 2),
        "conv. epochs": lambda row: spread(row, "convergence_epochs", 1),
    } | ({} if target else {f"{time.short} to {share} %": _when(share, time) for share in (90, 97)})


def _cost(units: Units) -> dict[str, Cell]:
    return {
        f"{units.per_round.name} up/round": _plain("gb_up_per_round", scale=units.per_round.factor),
        "down": _plain("gb_down_per_round", scale=units.per_round.factor),
        f"total {units.size.name}": _plain("gb_total", scale=units.size.factor),
        "less up %": _plain("reduction_percent", 1),
        "less all %": _plain("reduction_total_percent", 1),
        units.time.name: _plain("simulated_s", scale=units.time.factor),
        "of ideal %": _plain("share_of_ideal", scale=100),
        "wait s": _plain("sync_delay_s"),
        "kWh": _plain("energy_kwh"),
    }


def _pace() -> dict[str, Cell]:
    return {
        "s/round": _plain("iteration_s"),
        "scaling %": _plain("scaling_percent", 1),
    }


def _places(size: Scale, currency: str) -> dict[str, Cell]:
    return {
        "worker GB": _plain("worker_gb"),
        "server GB": _plain("server_gb"),
        f"region {size.name}": _plain("region_gb", scale=size.factor),
        f"links {size.name}": _plain("link_gb", scale=size.factor),
        f"again {size.name}": _if_any("retransmitted_gb", scale=size.factor),
        f"egress {size.name}": _plain("egress_gb", scale=size.factor),
        f"{currency} of egress": _plain("egress_cost"),
        "kg CO2": _plain("carbon_kg"),
        "drift": _plain("drift"),
    }


def _reported_block(table: pd.DataFrame) -> Block:
    """Lay out what policies tell of themselves; those that tell nothing are left out."""
    mean, last = REPORTED["mean"], REPORTED["last"]
    names = [name.removeprefix(last) for name in table.columns if name.startswith(last)]
    telling = table[table[[mean + name for name in names]].notna().any(axis=1)]
    return _block("What policies report of themselves (mean over the run, and the last)", telling,
                  {name.replace("_", " "): _mean_and_last(mean + name, last + name) for name in names})


def _mean_and_last(mean: str, last: str) -> Cell:
    def cell(row: Mapping[str, Any]) -> str:
        told = [number(row[name]) for name in (mean, last)]
        return told[0] if told[0] == told[1] else ", ".join(told)
    return cell


def _beside_paper() -> dict[str, Cell]:
    return {
        "GB up*": _plain("gb_up_per_baseline_round", 1), "paper GB": _plain("paper_gb", 1),
        "top-1 %": _plain("top1_percent", 1), "paper top-1": _plain("paper_top1_percent", 1),
        "perplexity": _plain("perplexity", 1), "paper ppl.": _plain("paper_perplexity", 1),
        "epochs": _plain("convergence_epochs", 1), "paper epochs": _plain("paper_convergence_epochs", 0),
    }


def _block(title: str, table: pd.DataFrame, columns: Mapping[str, Cell], whole: bool = False) -> Block:
    """Lay out the columns that have anything to say; whole: all of them, as soon as one has."""
    rows = table.to_dict("records")
    cells = {head: [cell(row) for row in rows] for head, cell in columns.items()}
    told = {head: column for head, column in cells.items() if set(column) != {NOTHING}}
    kept = cells if whole and told else told
    lines = [[str(row["label"]), *(column[place] for column in kept.values())] for place, row in enumerate(rows)]
    return Block(title, ["policy", *kept], lines)


def comparison_page(table: pd.DataFrame, records: Sequence[RunRecord]) -> Page:
    """Lay out what `compare` found: learning, cost, where the bytes went, and the paper's table where it applies."""
    seeds = int(table["seeds"].max())
    how = f"mean ± half the 95 % interval over {seeds} seeds" if seeds > 1 else "one seed: no intervals"
    against = table.attrs.get("baseline") or "the baseline"
    units, target = _units(table), _target_percent(records)
    aimed = target is not None
    title = f"To {target:g} % top-1, the scenario's target" if aimed else f"To 97 % of {against}'s final accuracy"
    reached = _block(title, table, _to_target("target" if aimed else 97, _currency(records), units), whole=True)
    blocks = [_block(f"What was learned ({how})", table, _learning(table.attrs.get("baseline"), units.time, aimed))]
    blocks += [reached] if aimed else []
    if "difference_p" in table:
        blocks.append(_test_block(table))
    blocks += [_block("What it cost (all workers together, nominal bytes)", table, _cost(units)),
               _block("How it scales", table, _pace()), *([] if aimed else [reached]),
               _block("Where it went", table, _places(units.size, _currency(records))), _reported_block(table)]
    if "paper_gb" in table:
        blocks.append(_block("Beside the paper's Table 1", table, _beside_paper()))
    return Page([block for block in blocks if len(block.header) > 1], notes(table, records), _card(records))


def _card(records: Sequence[RunRecord]) -> list[str]:
    return card(records[0].manifest.get("scenario") or {}) if records else []


def _test_block(table: pd.DataFrame) -> Block:
    """Lay out the tests of all labels but the baseline."""
    reference = table.attrs["baseline"]
    others = table[table["label"] != reference]
    return _block(f"Top-1 against {reference}, paired t tests", others, _tests(table.attrs["margin"]))


def _reached_note(table: pd.DataFrame, aimed: bool) -> str:
    """Say how a share of an accuracy is read off a curve, where anything was."""
    if aimed or not table["epochs_to_97"].notna().any():
        return ""
    return (f"to 90 % and 97 %: reached where {SUSTAINED} evaluations in a row are there; epochs are read off the "
            f"accuracy smoothed over three, and may be known where the rest is not")


def _test_notes(table: pd.DataFrame) -> list[str]:
    return ["p: how often chance alone would look as different, or as good if it were worse by the margin (--margin); "
            "Holm: the same for all policies together"] if "difference_p" in table else []


def _target_percent(records: Sequence[RunRecord]) -> float | None:
    """Return the accuracy at which runs of this scenario stop."""
    return target_percent(records[0].manifest) if records else None


def _currency(records: Sequence[RunRecord]) -> str:
    return str(records[0].manifest["scenario"].get("currency", "USD"))


def notes(table: pd.DataFrame, records: Sequence[RunRecord]) -> list[str]:
    """Say what the figures are of, and what to measure them against."""
    first = records[0].manifest
    lines = [scales(first), _rho(table), _yardsticks(table, first),
             _reached_note(table, _target_percent(records) is not None), *_test_notes(table),
             _no_better(table), *remarks(table), _other_code(records)]
    if table.attrs.get("baseline") is None:
        lines.append(f"no run of {BASELINE}: nothing is compared with a baseline (choose one with --baseline)")
    if "paper_gb" in table:
        lines.append(f"paper: {SOURCE}; * GB up for the samples of one full-sync round, the unit of that table")
    return [line for line in lines if line]


def _other_code(records: Sequence[RunRecord]) -> str:
    """Say where runs of different code stand side by side; a plug-in's own file, after the slash, may differ."""
    labels: dict[str, dict[str, None]] = {}
    for record in records:
        labels.setdefault(str(record.manifest.get("code")).partition("/")[0], {})[record.label] = None
    told = "; ".join(f"{', '.join(each)} by {code}" for code, each in labels.items())
    return f"runs of different code: {told}; run the scenario again to have all of one" if len(labels) > 1 else ""


def scales(page: Mapping[str, Any]) -> str:
    """Say which model is trained and which is timed."""
    trained, timed = page.get("parameters"), page.get("nominal_parameters")
    if trained is None or timed is None:
        return ""
    if nothing_learned(page.get("scenario") or {}):
        return f"nothing is trained; time and bytes are the nominal model's ({timed:,} parameters)"
    if trained == timed:
        return f"accuracy, time and bytes are of one model of {trained:,} parameters"
    return (f"accuracy is the proxy's ({trained:,} parameters); time and bytes are the nominal model's "
            f"({timed:,} parameters)")


def _rho(table: pd.DataFrame) -> str:
    names = [name for name in table.columns if name.startswith("rho_")]
    if not names:
        return ""
    row = table.iloc[0]
    shown = ", ".join(f"{name.removeprefix('rho_')} {number(float(row[name]))}" for name in names)
    return f"{RHO}: {shown}"


def learned_nothing(row: Mapping[Any, Any]) -> bool:
    """Has a policy's training diverged, or never begun?  Its loss is then no better than that of guessing."""
    return bool(row["loss_nats"] > 0.99 * row.get("guessing_nats", float("nan")))


def _no_better(table: pd.DataFrame) -> str:
    fallen = [str(row["label"]) for row in table.to_dict("records") if learned_nothing(row)]
    return f"{FALLEN}: {', '.join(fallen)}" if fallen else ""


def _yardsticks(table: pd.DataFrame, page: Mapping[str, Any]) -> str:
    known = counted(page)
    if not known:
        return ""
    marks = ", ".join(f"{name} {number(value, 3)}" for name, value in known.items())
    losses = ", ".join(f"{row['label']} {number(row['loss_nats'], 3)}" for row in table.to_dict("records"))
    return f"loss (nats): {losses}; counted models on the same windows: {marks}"


def view_page(table: pd.DataFrame, kind: str, records: Sequence[RunRecord] = ()) -> Page:
    """Lay out a view at equal bytes or equal time."""
    of, scale = ("gb", size_scale(table["gb"].max())) if kind == "bytes" else \
        ("simulated_s", time_scale(table["simulated_s"].max()))
    columns = {
        f"after {scale.name}": _plain(of, scale=scale.factor),
        "epochs": _plain("epoch", 1),
        "top-1 %": lambda row: spread(row, "top1_percent", 2),
        f"against {table.attrs.get('baseline') or 'baseline'}": _difference(table.attrs.get("baseline")),
        "perplexity": lambda row: spread(row, "perplexity", 2),
    }
    note = ("read off the curves before the end of a run, so before the learning rate has decayed: a run planned for "
            "this budget would do better")
    blocks = [_block(f"At equal {kind}: {VIEWS[kind]}", table, columns)]
    return Page(blocks + ([_test_block(table)] if "difference_p" in table else []), [note, *_test_notes(table)],
                _card(records))


# --- what recipes say ------------------------------------------------------------------------------------------------

def short_key(key: str) -> str:
    """Return the last two parts of a swept key, and its unit: a ratio alone might be of anything.

    >>> short_key("workers.*.access.uplink (Mbps)"), short_key("task.partition.quantity.ratio")
    ('access.uplink Mbps', 'quantity.ratio')
    """
    path, _, unit = key.partition(" (")
    return " ".join([".".join(path.split(".")[-2:]), unit.rstrip(")")]).rstrip()


def spelt(value: Any) -> str:
    """Spell a swept value."""
    return value if isinstance(value, str) else f"{value:g}"


def remarks(table: pd.DataFrame, keys: Sequence[str] = ()) -> list[str]:
    """Say what recipes had to say, each with the cell it is said of."""
    if "remarks" not in table:
        return []
    said = table[table["remarks"].notna()].to_dict("records")
    return [" ".join([*(f"{short_key(key)} {spelt(row[key])}," for key in keys), f"{row['label']}:", row["remarks"]])
            for row in said]
