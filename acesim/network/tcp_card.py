"""How wrong the TCP model is: its answers beside those of ns-3 and of Linux, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from acesim.network.replay import replay
from acesim.network.tcp_reference import LINUX, NS3, Case, ns3_cases
from acesim.scenario.units import from_mbps

WIDE_BYTES_PER_S = 1e12
"""Of links that bind nowhere."""
LONG_FAT_BYTES = 12_500
"""A route is long and fat if its bandwidth-delay product is above 10^5 bits (RFC 1072)."""
SHORT_RTTS = 5.0
"""A transfer is short if a fluid would be through in so many round trips."""
NS3_CASES = "ns-3 3.39"
"""What `ns3_cases` were measured with, most of them."""
SOURCES = ("ns-3", "linux", NS3_CASES)
FAR = 0.35
"""An error of more than this is far off."""
SHALLOW = 0.5
"""A queue is shallow if it holds less than this share of the bandwidth-delay product."""


class Row(NamedTuple):
    """One comparison, by the transfer that took longest; errors are relative, signed.

    source   of SOURCES
    kind     see `kind_of`
    """

    source: str
    kind: str
    congestion: str
    case: str
    measured_s: float
    tcp_s: float
    fluid_s: float

    @property
    def error(self) -> float:
        """Of the TCP model."""
        return self.tcp_s / self.measured_s - 1

    @property
    def fluid_error(self) -> float:
        """Of max-min sharing alone."""
        return self.fluid_s / self.measured_s - 1


class Summary(NamedTuple):
    """Errors of one class: sizes, not signed; within: share of the cases that are off by FAR at most."""

    source: str
    kind: str
    cases: int
    median_error: float
    worst_error: float
    within: float
    fluid_median_error: float
    fluid_worst_error: float


def rows() -> list[Row]:
    """Return all comparisons."""
    cases = dict(zip(SOURCES, (NS3, LINUX, ns3_cases()), strict=True))
    return [_row(source, case) for source in SOURCES for case in cases[source]]


def summary(compared: Sequence[Row]) -> list[Summary]:
    """Return the errors of each class, in the order in which classes come up."""
    classes: dict[tuple[str, str], list[Row]] = {}
    for row in compared:
        classes.setdefault((row.source, row.kind), []).append(row)
    return [_summary(source, kind, members) for (source, kind), members in classes.items()]


def _summary(source: str, kind: str, members: Sequence[Row]) -> Summary:
    errors = [abs(row.error) for row in members]
    fluid = [abs(row.fluid_error) for row in members]
    within = sum(each <= FAR for each in errors) / len(errors)
    return Summary(source, kind, len(members), median(errors), max(errors), within, median(fluid), max(fluid))


def kind_of(case: Case) -> str:
    """Return the class of a case.

    >>> kind_of(NS3[1]), kind_of(NS3[9]), kind_of(NS3[15])
    ('plain', 'long-fat', 'window-limited')
    """
    product_bytes = from_mbps(case.rate_mbps) * case.rtt_s
    if case.loss:
        return "random loss"
    if case.start_s and max(case.start_s) > case.rtt_s:
        return "several flows, one after the other"
    if case.extra_s:
        return "several flows, unequal round trips"
    if len(case.measured_s) > 1:
        return "several flows"
    if case.window_bytes is not None:
        return "window-limited"
    if case.queue_packets * 1500 < SHALLOW * product_bytes:
        return "shallow queue"
    if case.size_bytes <= SHORT_RTTS * product_bytes:
        return "short"
    return "long-fat" if product_bytes > LONG_FAT_BYTES else "plain"


def predicted_s(case: Case, transport: str) -> tuple[float, ...]:
    """Return how long each transfer takes by a transport, "tcp" or "fluid"."""
    finish = replay(document(case, transport))
    starts = case.start_s or (0.0,) * len(case.measured_s)
    return tuple(finish[number] - start_s for number, start_s in enumerate(starts))


def document(case: Case, transport: str) -> dict[str, Any]:
    """Return a case as a flows file."""
    links = [{"id": "bottleneck", "bw": from_mbps(case.rate_mbps), "lat": case.rtt_s / 2}]
    links += [{"id": number, "bw": WIDE_BYTES_PER_S, "lat": extra_s} for number, extra_s in enumerate(case.extra_s)]
    flows = [{"id": number, "start": case.start_s[number] if case.start_s else 0.0, "size": case.size_bytes,
              "route": ["bottleneck", *([number] if case.extra_s else [])]}
             for number in range(len(case.measured_s))]
    tcp = {"kind": "tcp", "queue_packets": case.queue_packets, "congestion": case.congestion,
           "window_bytes": case.window_bytes, "loss": case.loss}
    return {"links": links, "flows": flows, "transport": tcp if transport == "tcp" else "fluid"}


def _row(source: str, case: Case) -> Row:
    flows = f"{len(case.measured_s)} x " if len(case.measured_s) > 1 else ""
    name = f"{flows}{case.size_bytes / 1e6:g} MB at {case.rate_mbps:g} Mbps, {case.rtt_s * 1e3:g} ms"
    return Row(source, kind_of(case), case.congestion, name, max(case.measured_s), max(predicted_s(case, "tcp")),
               max(predicted_s(case, "fluid")))
