"""The fidelity card: how far the simulated network is from closed forms, and from what others measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from acesim.network import tcp_card
from acesim.network.replay import replay
from acesim.report.layout import Block, Page


class Form(NamedTuple):
    """A flows file whose answer can be written down. finish: by flow, in seconds."""

    name: str
    document: dict[str, Any]
    finish: dict[str, float]


def _link(name: str, bytes_per_s: float, latency_s: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"id": name, "bw": bytes_per_s, "lat": latency_s, **more}


def _flow(name: str, start_s: float, nbytes: float, *route: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "start": start_s, "size": nbytes, "route": list(route), **more}


def closed_forms() -> list[Form]:
    """Return flow sets with their answers.

    >>> max(map(error, closed_forms())) < 1e-12
    True
    """
    return [
        Form("alone: start + latencies + size / lowest rate",
             {"links": [_link("a", 4e6, 0.01), _link("b", 1e6, 0.04)], "flows": [_flow("x", 2.0, 3e6, "a", "b")]},
             {"x": 2.0 + 0.05 + 3.0}),
        Form("two share a link half and half while both are there",
             {"links": [_link("a", 1e6)], "flows": [_flow("x", 0.0, 1e6, "a"), _flow("y", 0.5, 1e6, "a")]},
             {"x": 1.5, "y": 2.0}),
        Form("weights 3 : 1", {"links": [_link("a", 4e6)], "flows": [_flow("x", 0.0, 3e6, "a", weight=3),
                                                                    _flow("y", 0.0, 1e6, "a", weight=1)]},
             {"x": 1.0, "y": 1.0}),
        Form("what one cannot take the others share",
             {"links": [_link("core", 9e6), _link("slow", 1e6)],
              "flows": [_flow("x", 0.0, 1e6, "slow", "core"), _flow("y", 0.0, 4e6, "core"),
                        _flow("z", 0.0, 4e6, "core")]}, {"x": 1.0, "y": 1.0, "z": 1.0}),
        Form("a rate that falls to a tenth, then nothing, then rises",
             {"links": [_link("a", 1e6, 0.0, profile=[[1.0, 1e5], [3.0, 0.0], [5.0, 2e6]])],
              "flows": [_flow("x", 0.0, 3.2e6, "a")]}, {"x": 5.0 + (3.2e6 - 1e6 - 2e5) / 2e6}),
        Form("parking lot: the long way gets as little as its worst link",
             {"links": [_link("a", 2e6), _link("b", 1e6)],
              "flows": [_flow("long", 0.0, 1e6, "a", "b"), _flow("first", 0.0, 3e6, "a"),
                        _flow("second", 0.0, 1e6, "b")]}, {"long": 2.0, "first": 2.0, "second": 2.0}),
    ]


def error(form: Form) -> float:
    """Return the largest relative error of a closed form's finish times."""
    found = replay(form.document)
    return max(abs(found[key] / due_s - 1) for key, due_s in form.finish.items())


def card(percent: Callable[[float], str] = "{:.1%}".format) -> Page:
    """Return the card: closed forms, then TCP by class beside what was measured."""
    forms = Block("Max-min sharing beside closed forms", ["flows", "largest error"],
                  [[form.name, f"{error(form):.0e}"] for form in closed_forms()])
    classes = [[found.source, found.kind, str(found.cases),
                *map(percent, (found.median_error, found.worst_error, found.within, found.fluid_median_error))]
               for found in tcp_card.summary(tcp_card.rows())]
    tcp = Block("TCP (transport: tcp) by last finisher, beside ns-3 3.37, Linux 6.18 and ns-3 3.39",
                ["source", "class", "cases", "median error", "worst", f"within {tcp_card.FAR:.0%}",
                 "fluid alone, median"], classes)
    return Page([forms, tcp], ["generated beside measured traces: docs/fidelity.md"])
