"""Completion times of given transfers over given links: the flows file of `acesim flows`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.network.flows import Flows
from acesim.network.groups import Stuck
from acesim.network.tcp import CONGESTIONS, Tcp
from acesim.network.tcp_flows import TcpFlows
from acesim.network.traces import Capacity, Least, Rates, constant
from acesim.scenario.errors import Problem, ScenarioError, TraceError

_TCP = {"mss": "mss_bytes", "header": "header_bytes", "initial_window": "initial_window",
        "window_bytes": "window_bytes", "queue_packets": "queue_packets", "congestion": "congestion", "loss": "loss",
        "setup_rtts": "setup_rtts"}
"""Key in a flows file -> parameter of `Tcp`."""
_KNOWN = {"document": ("links", "flows", "sharing", "transport", "note", "units"),
          "links": ("id", "bw", "lat", "profile"), "flows": ("id", "start", "size", "route", "weight"),
          "transport": ("kind", *_TCP)}
_MEANING: Mapping[str | int, str] = MappingProxyType({
    "id": "text or a whole number of its own", "bw": "bytes per second", "lat": "seconds, one way",
    "start": "seconds", "size": "bytes", "route": "a list of link ids"})
MOST, LEAST, MOST_S, MOST_WEIGHT = 1e18, 1e-9, 1e10, 1e9
"""Numbers above MOST, seconds above MOST_S, and what is not 0 but below LEAST are taken for mistakes: no network has
such, and their products and quotients would not be finite."""
MOST_APART = 1e12
"""Of two flows' shares of a link: beyond, rounding leaves nothing to the smaller."""
_REQUIRED = {"links": ("id", "bw", "lat"), "flows": ("id", "start", "size", "route")}


class Profile:
    """A rate that changes at given moments, and holds in between and after the last: a part for `Least`.

    >>> Profile([5.0], [100.0, 7.0]).rate(np.array([4.9, 5.0, 99.0]))
    array([100.,   7.,   7.])
    """

    def __init__(self, times_s: Sequence[float], bytes_per_s: Sequence[float]) -> None:
        self._times_s = np.array(times_s, dtype=np.float64)
        self._bytes_per_s = np.array(bytes_per_s, dtype=np.float64)
        self.minimum, self.maximum = float(min(bytes_per_s)), float(max(bytes_per_s))
        self.settled_s = float(times_s[-1])

    def rate(self, time_s: NDArray[np.float64]) -> Rates:
        """Return the rate at each moment."""
        return self._bytes_per_s[np.searchsorted(self._times_s, time_s, side="right")]

    def edges(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Return the moments strictly between two others at which the rate changes."""
        return self._times_s[(self._times_s > start_s) & (self._times_s < end_s)]


def replay(document: Mapping[str, Any]) -> dict[str | int, float]:
    """Return when each transfer of a flows file arrives.

    document   {"links": [{"id", "bw", "lat", "profile"?}], "flows": [{"id", "start", "size", "route",
               "weight"?}], "sharing"?, "transport"?} in bytes, seconds, bytes per second; a profile's entry
               [t, bw] holds until the next, the last for ever; `note` and `units` are ignored
               sharing     "equal", or "rtt": weights are divided by the latency of the route
               transport   "fluid", or "tcp", or {"kind": "tcp", and any of its parameters}; where no sharing
                           is given, TCP has its own
    returns    {flow's id: finish}, in the order of the file.  finish = start + sum(lat) + transfer, where the
               transfer takes capacity from start + sum(lat) on: the first byte travels before any link is
               busy with it, as in SimGrid's fluid model
    raises     ScenarioError with every problem of the document; TraceError for a transfer that can never end

    >>> link, flow = {"id": "L", "bw": 10, "lat": 0.5}, {"id": "f", "start": 1, "size": 20, "route": ["L"]}
    >>> replay({"links": [link], "flows": [flow]})
    {'f': 3.5}
    """
    problems = list(_problems(document))
    if problems:
        raise ScenarioError(problems)
    numbers = {link["id"]: number for number, link in enumerate(document["links"])}
    latencies = [float(link["lat"]) for link in document["links"]]
    routes = [tuple(numbers[link] for link in flow["route"]) for flow in document["flows"]]
    one_way_s = [sum(latencies[link] for link in route) for route in routes]
    starts = [(flow["start"] + latency_s, key)
              for key, (flow, latency_s) in enumerate(zip(document["flows"], one_way_s, strict=True))]
    try:
        ends = _played(document, starts, routes, one_way_s)
    except Stuck as error:
        ids = [document["flows"][key]["id"] for key in error.keys]
        raise TraceError("flows", None,
                         f"from {error.time_s:g} s on nothing moves any more for {_shown(ids)}: the last rate of a "
                         f"profile on their route holds for ever, and is 0; let it end above 0") from error
    return {flow["id"]: ends[key] for key, flow in enumerate(document["flows"])}


def _played(document: Mapping[str, Any], starts: Sequence[tuple[float, int]], routes: Sequence[tuple[int, ...]],
            one_way_s: Sequence[float]) -> list[float]:
    """Return when each flow ends; starts: (when, which)."""
    flows, ends = _transport(document), [0.0] * len(starts)
    for start_s, key in [*sorted(starts), (math.inf, -1)]:
        while (end_s := flows.next_finish()) <= start_s and end_s < math.inf:
            for finished in flows.advance(end_s):
                ends[finished] = end_s
        if key >= 0:
            flow = document["flows"][key]
            weight = float(flow.get("weight", 1)) / (one_way_s[key] if _by_rtt(document) else 1.0)
            flows.start(key, flow["size"], routes[key], start_s, 2 * one_way_s[key], weight=weight)
    return ends


def _by_rtt(document: Mapping[str, Any]) -> bool:
    return bool(document.get("sharing") == "rtt")


def _transport(document: Mapping[str, Any]) -> Flows | TcpFlows:
    """Build what moves the bytes."""
    links = [_capacity(link) for link in document["links"]]
    transport = document.get("transport", "fluid")
    if transport == "fluid":
        return Flows(links)
    given = {} if transport == "tcp" else transport
    tcp = Tcp(**{_TCP[key]: value for key, value in given.items() if key != "kind"})
    return TcpFlows(links, tcp, rtt_weights="sharing" not in document)


def _capacity(link: Mapping[str, Any]) -> Capacity:
    if not link.get("profile"):
        return constant(float(link["bw"]), str(link["id"]))
    times, rates = zip(*link["profile"], strict=True)
    return Least([Profile(times, [link["bw"], *rates])])


def _problems(document: Mapping[str, Any]) -> list[Problem]:
    """Return all that is wrong with a flows file."""
    if not isinstance(document, Mapping):
        rule = 'the file must be an object with links and flows: {"links": [...], "flows": [...]}'
        return [Problem((), None, rule)]
    problems = _unknown((), document, "document")
    for name in ("links", "flows"):
        if not isinstance(document.get(name), list) or not document[name]:
            problems.append(Problem((name,), _shown(document.get(name)), "must be a list with at least one entry"))
    if document.get("sharing", "equal") not in ("equal", "rtt"):
        problems.append(Problem(("sharing",), document["sharing"], "must be equal or rtt"))
    problems += _transport_problems(document.get("transport", "fluid"))
    if problems:
        return problems
    for name, check in (("links", _link_problems), ("flows", _flow_problems)):
        known = {link["id"]: None for link in document["links"]
                 if isinstance(link, Mapping) and _is_id(link.get("id"))}
        seen: set[object] = set()
        for number, entry in enumerate(document[name]):
            shape = _entry_problems((name, number), entry, name)
            problems += shape or check((name, number), entry, known)
            if not shape and str(entry["id"]) in seen:
                rule = "is given twice; give each an id of its own"
                problems.append(Problem((name, number, "id"), entry["id"], rule))
            seen.update([str(entry["id"])] if not shape else [])
    return problems or _sharing_problems(document) or _share_problems(document)


def _sharing_problems(document: Mapping[str, Any]) -> list[Problem]:
    """Return the flows of a sound document that cannot be weighed by their latency, for they have none."""
    if not _by_rtt(document):
        return []
    instant = {link["id"] for link in document["links"] if link["lat"] == 0}
    return [Problem(("flows", number, "route"), flow["route"],
                    "needs a link with lat > 0, for sharing rtt divides by the latency; or write sharing: equal")
            for number, flow in enumerate(document["flows"]) if instant.issuperset(flow["route"])]


def _share_problems(document: Mapping[str, Any]) -> list[Problem]:
    """Return the flows of a sound document whose share of a link would be lost beside the largest."""
    latencies = {link["id"]: link["lat"] for link in document["links"]}
    by_latency = document.get("sharing", "rtt" if document.get("transport", "fluid") != "fluid" else "equal") == "rtt"
    shares = [flow.get("weight", 1) / (max(LEAST, sum(latencies[link] for link in flow["route"])) if by_latency else 1)
              for flow in document["flows"]]
    least = max(shares) / MOST_APART
    return [Problem(("flows", number, "weight"), document["flows"][number].get("weight", 1),
                    f"gives it less than 1/{MOST_APART:g} of another flow's share; bring weights and latencies closer "
                    f"together") for number, share in enumerate(shares) if share < least]


def _transport_problems(transport: Any) -> list[Problem]:
    if transport in ("fluid", "tcp"):
        return []
    place = ("transport",)
    if not isinstance(transport, Mapping) or transport.get("kind") != "tcp":
        return [Problem(place, transport, 'must be "fluid", "tcp" or {"kind": "tcp", ...}')]
    problems = _unknown(place, transport, "transport")
    if transport.get("congestion", "cubic") not in CONGESTIONS:
        problems.append(Problem((*place, "congestion"), transport["congestion"],
                                f"must be one of {', '.join(CONGESTIONS)}"))
    for key, least, most, whole in (("mss", 1, 65_535, True), ("header", 0, 65_535, True),
                                    ("initial_window", 1, 1e6, True), ("queue_packets", 0, 1e9, False),
                                    ("window_bytes", 1, MOST, False), ("loss", 0, 1, False),
                                    ("setup_rtts", 0, 1000, False)):
        value = transport.get(key)
        if key in transport and not (value is None and key in ("queue_packets", "window_bytes")):
            problems += _number((*place, key), value, least, whole, most)
    if not problems and transport.get("loss", 0) >= 1:
        problems.append(Problem((*place, "loss"), transport["loss"], "must be a share < 1: 0.01 is 1 %"))
    return problems


def _unknown(path: tuple[str | int, ...], entry: Mapping[str, Any], kind: str) -> list[Problem]:
    return [Problem((*path, key), None, f"unknown key (knows: {', '.join(_KNOWN[kind])})")
            for key in entry if key not in _KNOWN[kind]]


def _entry_problems(path: tuple[str | int, ...], entry: Any, kind: str) -> list[Problem]:
    if not isinstance(entry, Mapping):
        return [Problem(path, _shown(entry), f"must be an object with {', '.join(_REQUIRED[kind])}")]
    missing = [Problem((*path, key), None, f"is missing ({_MEANING[key]})")
               for key in _REQUIRED[kind] if key not in entry]
    if not _is_id(entry.get("id", "")):
        missing.append(Problem((*path, "id"), entry["id"], "must be text or a whole number"))
    return _unknown(path, entry, kind) + missing


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _number(path: tuple[str | int, ...], value: Any, least: float, whole: bool = False,
            most: float = MOST) -> list[Problem]:
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    fine = number and least <= value <= most and (value >= LEAST or value == 0)
    kind = "whole number" if whole else "number"
    meaning = f" ({_MEANING[path[-1]]})" if path[-1] in _MEANING else ""
    small = f", and 0 or >= {LEAST:g}" if number and 0 < value < LEAST else ""
    rule = f"must be a {kind} >= {least:g} and <= {most:g}{small}{meaning}"
    return [] if fine else [Problem(path, _shown(value), rule)]


def _shown(value: Any) -> Any:
    """Return a value as messages show it: the beginning of what is long."""
    text = str(value)
    return value if len(text) <= 60 else f"{text[:57]}..."


def _link_problems(path: tuple[str | int, ...], link: Mapping[str, Any], _: Mapping[str | int, None]) -> list[Problem]:
    problems = _number((*path, "bw"), link["bw"], 0) + _number((*path, "lat"), link["lat"], 0, most=MOST_S)
    profile, place = link.get("profile") or [], (*path, "profile")
    pairs = isinstance(profile, list) and all(isinstance(each, list) and len(each) == 2 for each in profile)
    if not pairs:
        return [*problems, Problem(place, _shown(profile), "must be a list of [seconds, bytes per second]")]
    for number, (time_s, rate) in enumerate(profile):
        problems += _number((*place, number, 0), time_s, 0, most=MOST_S) + _number((*place, number, 1), rate, 0)
    if not problems and any(later[0] <= earlier[0] for earlier, later in pairwise(profile)):
        problems.append(Problem(place, None, "times must ascend"))
    if not problems and not any([link["bw"], *(rate for _, rate in profile)]):
        problems.append(Problem((*path, "bw"), link["bw"],
                                "must be > 0 at some time; else nothing ever passes"))
    return problems


def _flow_problems(path: tuple[str | int, ...], flow: Mapping[str, Any],
                   links: Mapping[str | int, None]) -> list[Problem]:
    problems = _number((*path, "start"), flow["start"], 0, most=MOST_S) + _number((*path, "size"), flow["size"], 0)
    weight = flow.get("weight", 1)
    if _number((*path, "weight"), weight, LEAST, most=MOST_WEIGHT):
        problems.append(Problem((*path, "weight"), _shown(weight), f"must be a number > 0, from {LEAST:g} to "
                                                                   f"{MOST_WEIGHT:g}"))
    route = flow["route"]
    if not isinstance(route, list) or not route:
        return [*problems, Problem((*path, "route"), _shown(route), "must be a list of link ids, at least one")]
    for number, link in enumerate(route):
        if not _is_id(link) or link not in links:  # as JSON has them: the text "1" is not the number 1
            problems.append(Problem((*path, "route", number), _shown(json.dumps(link, default=str)),
                                    f"no such link (knows: {_shown(', '.join(map(json.dumps, links)))})"))
        elif link in route[:number]:
            rule = "is in the route twice; a route crosses each link once"
            problems.append(Problem((*path, "route", number), link, rule))
    return problems
