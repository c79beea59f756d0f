"""The fidelity card: two or three lines in every report, of how far its network and its scores can be trusted.

Its figures are those of traces/fidelity.json, which `acesim fidelity --measured FOLDER --write FILE` writes: what was
found when the model was last held against ns-3, Linux and measured links, not what is found now.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import median
from typing import Any

from acesim.network import tcp_card
from acesim.network.fidelity import Held
from acesim.network.models import traces_folder
from acesim.network.tcp_card import Summary

FILE = "fidelity.json"


@lru_cache(maxsize=1)
def found() -> tuple[tuple[Summary, ...], tuple[Held, ...]]:
    """Return what was found of TCP, class by class, and of generated links, kind by kind."""
    document = json.loads(traces_folder().joinpath(FILE).read_text(encoding="utf-8"))
    return tuple(Summary(**row) for row in document["tcp"]), tuple(Held(**row) for row in document["links"])


def measured_now(links: Sequence[Held]) -> str:
    """Spell traces/fidelity.json anew: TCP as it is now, and what was found of links."""
    tcp = [row._asdict() for row in tcp_card.summary(tcp_card.rows())]
    rows = {"tcp": tcp, "links": [row._asdict() for row in links]}
    body = ",\n".join(f' "{name}": [\n' + ",\n".join(f"  {json.dumps(_rounded(row))}" for row in each) + "\n ]"
                      for name, each in rows.items())
    return "{\n" + body + "\n}\n"


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def card(scenario: Mapping[str, Any]) -> list[str]:
    """Return the lines for a scenario, given as a manifest spells it; () where it says nothing of a network.

    >>> [line[:24] for line in card({"workers": [{"access": {"kind": "lte"}}]})]
    ['fidelity, network: fluid', 'fidelity, links: generat', 'fidelity, scores: accura']
    """
    return [f"fidelity, {about}: {text}" for about, text in
            (("network", _network(scenario)), ("links", _links(scenario)), ("scores", _scores(scenario))) if text]


def nothing_learned(scenario: Mapping[str, Any]) -> bool:
    """Say whether a scenario asks about the network alone."""
    return bool((scenario.get("task") or {}).get("kind") == "network-only")


def _scores(scenario: Mapping[str, Any]) -> str:
    scored = "none, for nothing is learned" if nothing_learned(scenario) else \
        "accuracy, loss and perplexity are the proxy's"
    return (f"{scored}; time, bytes and energy are the nominal model's; more: `acesim fidelity`, docs/fidelity.md")


def _network(scenario: Mapping[str, Any]) -> str:
    transport = scenario.get("network", {}).get("transport", "fluid")
    if transport == "fluid":
        return "fluid, exact max-min sharing without set-up, slow start and loss; " + "; ".join(_classes(fluid=True))
    return f"tcp ({transport.get('congestion', 'cubic')}); " + "; ".join(_classes(fluid=False))


def _classes(fluid: bool) -> Iterator[str]:
    """Say the error of the last finisher, median of the classes' and worst, for single and several flows."""
    for several, name in ((False, "single flows"), (True, "several")):
        parts = []
        for source in tcp_card.SOURCES:
            rows = [row for row in found()[0] if row.source == source and row.kind.startswith("several") == several]
            middle = median(each for row in rows for each in [_middle(row, fluid)] * row.cases)
            worst = max(row.fluid_worst_error if fluid else row.worst_error for row in rows)
            parts.append(f"{source} {middle:.1%} (worst {worst:.0%})")
        yield f"{name}: off by {', '.join(parts)}"


def _middle(row: Summary, fluid: bool) -> float:
    return row.fluid_median_error if fluid else row.median_error


def _links(scenario: Mapping[str, Any]) -> str:
    kinds = {group.get("access", {}).get("kind") for group in scenario.get("workers", [])}
    rows = [row for row in found()[1] if row.access.split()[0] in kinds]
    if not rows:
        return ""
    worst = max(rows, key=lambda row: max(row.worst_ratio, 1 / row.worst_ratio))
    usual, figures = sum(row.usual for row in rows), sum(row.figures for row in rows)
    kinds_ = ", ".join(row.access for row in rows)
    return (f"generated; {usual} of {figures} figures within 15 % or the interval of measured links ({kinds_}); "
            f"farthest: {worst.access}, {worst.worst}, {worst.worst_ratio:.2f} times the measured")
