"""A sweep as a page: a block a figure, with the cells of its grid side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from acesim.records.read import RunRecord
from acesim.report.card import card
from acesim.report.layout import (
    FALLEN,
    RHO,
    Block,
    Page,
    learned_nothing,
    number,
    remarks,
    scaled,
    scales,
    short_key,
    spelt,
    told,
)
from acesim.report.scales import size_scale, time_scale

ACROSS = 24
"""Most cells of a sweep that are printed in blocks, one a figure; more are printed below each other."""
SPEED_UP = "speed-up: local steps of all workers, over those of one worker without any network in the same time"

Column = tuple[str, float]
"""A figure of the table, and what it is multiplied by."""


def sweep_page(table: pd.DataFrame, keys: Sequence[str], records: Sequence[RunRecord] = ()) -> Page:
    """Lay out a sweep's cells: the values swept, and the figures most looked for.

    table    a row per cell and label: a column for each of `keys`, and those of `compare`
    records  the runs; what they say of their scenario is told below
    """
    columns = _columns(table, keys)
    if len(table[list(keys)].drop_duplicates()) <= ACROSS:
        blocks = [block for head, column in columns.items() for block in _across(head, table, keys, *column)]
        blocks += _across(RHO, _by_group(table, keys), keys, "rho", 1.0, "workers")
    else:
        blocks = [Block("Sweep", [*keys, "policy", *columns], _rows(table, keys, columns.values()))]
    page = records[0].manifest if records else {}
    known = [scales(page), _seeds(table), SPEED_UP if "speed-up" in columns else "", _fallen(table, keys)]
    return Page(blocks, [*filter(None, known), *remarks(table, keys)], _card(page))


def _columns(table: pd.DataFrame, keys: Sequence[str]) -> dict[str, Column]:
    """Return the figures that any cell has, by their heads; speed-ups are of grids over numbers of workers."""
    time, size = time_scale(table["simulated_s"].max()), size_scale(table["gb_total"].max())
    columns = {"top-1 %": ("top1_percent", 1.0), time.name: ("simulated_s", time.factor),
               f"{time.name} to 97 %": ("time_to_97_s", time.factor),
               f"{time.name} to target": ("time_to_target_s", time.factor),
               **({"speed-up": ("speed_up", 1.0)} if any(key.endswith(".count") for key in keys) else {}),
               f"total {size.name}": ("gb_total", size.factor)}
    return {head: each for head, each in columns.items() if each[0] in table and table[each[0]].notna().any()}


def _rows(table: pd.DataFrame, keys: Sequence[str], columns: Iterable[Column]) -> list[list[str]]:
    return [[*(spelt(row[key]) for key in keys),
             row["label"], *(_cell(row, *column) for column in columns)]
            for row in table.to_dict("records")]


def _cell(row: Mapping[Any, Any], name: str, scale: float) -> str:
    """Spell a mean and half its interval; beside a time to an accuracy how many seeds got there, where not all did."""
    text = scaled(name, scale)(row)
    return told(row, name.removeprefix("time_to_").removesuffix("_s"), text) if name.startswith("time_to_") else text


def _by_group(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return rho with a row per cell and group of workers; it is the same under every policy."""
    names = {name: name.removeprefix("rho_") for name in table.columns if name.startswith("rho_")}
    cells = table.drop_duplicates(list(keys)).rename(columns=names)
    return cells.drop(columns="label").melt(list(keys), list(names.values()), "label", "rho").dropna(subset="rho")


def _across(title: str, table: pd.DataFrame, keys: Sequence[str], name: str, scale: float,
            who: str = "policy") -> list[Block]:
    """Lay out one figure: a row a label, a column a value of the first key, a block for what the others are."""
    first, *others = keys
    heads = table[first].drop_duplicates().tolist()
    blocks = []
    for place in table[others].drop_duplicates().to_dict("records") if others else [{}]:
        rows = table.loc[(table[others] == pd.Series(place)).all(axis=1)] if others else table
        found = {(row["label"], row[first]): _cell(row, name, scale) for row in rows.to_dict("records")}
        lines = [[label, *(found.get((label, value), number(float("nan"))) for value in heads)]
                 for label in rows["label"].drop_duplicates()]
        where = [f"{short_key(key)} {spelt(place[key])}" for key in others]
        if lines:
            title_here = ", ".join([f"{title} by {short_key(first)}", *where])
            blocks.append(Block(title_here, [who, *map(spelt, heads)], lines))
    return blocks


def _seeds(table: pd.DataFrame) -> str:
    seeds = int(table["seeds"].max())
    return f"mean ± half the 95 % interval over {seeds} seeds" if seeds > 1 else "one seed: no intervals"


def _fallen(table: pd.DataFrame, keys: Sequence[str]) -> str:
    """Name the cells in which a policy learned nothing."""
    named = [" ".join([str(row["label"]), "at", ", ".join(f"{short_key(key)} {spelt(row[key])}" for key in keys)])
             for row in table.to_dict("records") if learned_nothing(row)]
    return f"{FALLEN}: {'; '.join(named)}" if named else ""


def _card(page: Mapping[str, Any]) -> list[str]:
    return card(page.get("scenario") or {}) if page else []
