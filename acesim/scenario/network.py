"""The facts of a network: what lies between the workers' own links, and how bytes are moved over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from acesim.scenario.base import Fact, Positive
from acesim.scenario.units import TIME, Range, from_mbps, spell

MOST_LATENCY_S = 86_400.0


def _reachable(latency_s: Range | float | None) -> Range | float | None:
    if (latency_s.high if isinstance(latency_s, Range) else latency_s or 0.0) > MOST_LATENCY_S:
        raise ValueError(f"must be <= {spell(TIME, MOST_LATENCY_S)}")
    return latency_s


REACHABLE = AfterValidator(_reachable)
MOST_PACKET_BYTES = 65_535
"""What the length of an IP packet can say."""


class TcpSpec(Fact):
    """The parameters of TCP (acesim.network.tcp says what they do).

    mss, header      payload and headers of a full packet
    initial_window   packets
    window           most that may be under way, None: no limit
    queue_packets    of every bottleneck; None: a bandwidth-delay product, at least 50
    loss             packets lost at random
    setup_rtts       round trips before the first byte
    """

    kind: Literal["tcp"] = "tcp"
    mss_bytes: Annotated[int, Field(ge=1, le=MOST_PACKET_BYTES)] = 1448
    header_bytes: Annotated[int, Field(le=MOST_PACKET_BYTES)] = 52
    initial_window: Annotated[Positive, Field(le=1_000_000)] = 10
    window_bytes: Annotated[float, Field(ge=1)] | None = None
    queue_packets: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] | None = None
    congestion: Literal["cubic", "reno", "bbr"] = "cubic"
    loss_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    setup_rtts: Annotated[float, Field(ge=0, le=1000)] = 1.0


def _transport(value: Any) -> Any:
    if value == "tcp":
        return {"kind": "tcp"}
    if value == "fluid" or isinstance(value, TcpSpec) or (isinstance(value, Mapping) and value.get("kind") == "tcp"):
        return value
    raise ValueError("must be fluid, tcp, or a mapping such as {kind: tcp, congestion: cubic, window: 4 MB}")


def _transport_tag(value: Any) -> str:
    return "fluid" if value == "fluid" else "tcp"


_WORDS = WithJsonSchema({"enum": ["fluid", "tcp"]})  # the second is short for a mapping, which it is read as
Transport = Annotated[Annotated[Literal["fluid"], Tag("fluid"), _WORDS] | Annotated[TcpSpec, Tag("tcp")],
                      Discriminator(_transport_tag), BeforeValidator(_transport)]


MOST_JITTER = 10.0


def _jitter(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 0 <= value <= MOST_JITTER):
        return value
    raise ValueError(f"must be auto, or a number from 0 to {MOST_JITTER:g}: the standard deviation of a message's "
                     f"latency over its mean, for example 0.1")


class Diurnal(Fact):
    """The hour of the day: every generated rate swings by `amplitude` of itself around its mean, once a period."""

    amplitude: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    period_s: Annotated[float, Field(gt=0)] = 86_400.0


class Cell(Fact):
    """A radio sector that `workers` neighbours share (0: none); kind and rates of the sector's own trace.

    Workers of kind 3g, lte, 5g and 5g-mmwave share cells with those of their region and kind, in order.
    """

    workers: Annotated[int, Field(strict=True, ge=0)] = 0
    kind: Literal["3g", "lte", "5g", "5g-mmwave"] = "lte"
    downlink_bytes_per_s: Range = Range(from_mbps(150), from_mbps(150))
    uplink_bytes_per_s: Range = Range(from_mbps(50), from_mbps(50))


MOST_REGIONS = 10_000
MOST_SAMPLES = 3e8
"""Of generated rates, all links together: a hundred thousand workers over the usual period are two thirds of it.  At
its peak a rate takes 29 bytes, so that is 9 GB."""
FINEST_S = 1.0
"""Rates are generated at this spacing, or a wider one, before they are put on the grid of trace_step."""


class NetworkSpec(Fact):
    """What lies between the workers' own links.

    region_downlink   None: as region_uplink
    fabric            the data centre's own network, each way
    transport         fluid, tcp, or a mapping of kind tcp and its parameters
    message_header    bytes of every message, and of every chunk of one
    message_startup   time that every message, and every chunk of one, takes on its way before its first byte
    jitter            standard deviation of a message's latency over its mean, gamma-distributed; auto: as measured for
                      each kind of access (traces/SOURCES.md); 0: every message takes as long
    trace_step        generated rates are constant this long, and repeat after trace_period
    correlation       of the noise behind the generated rates of a region's workers: 0 each for itself, 1 all alike
    cross_traffic     mean share of the regions' links and of cells that other people's traffic takes; it fluctuates
    """

    regions: Annotated[Positive, Field(le=MOST_REGIONS)] = 4
    region_uplink_bytes_per_s: float = from_mbps(500)
    region_downlink_bytes_per_s: float | None = None
    region_rtt_s: Annotated[float, REACHABLE] = 0.0
    cloud_ingress_bytes_per_s: float = from_mbps(10_000)
    cloud_egress_bytes_per_s: float = from_mbps(10_000)
    fabric_bytes_per_s: float = from_mbps(100_000)
    transport: Transport = "fluid"
    message_header_bytes: Annotated[int, Field(le=1_000_000_000)] = 64
    message_startup_s: Annotated[float, REACHABLE] = 0.0
    jitter: Annotated[Annotated[float, Field(ge=0, le=MOST_JITTER)] | Literal["auto"],
                      BeforeValidator(_jitter)] = 0.0
    trace_step_s: Annotated[float, Field(gt=0)] = 1.0
    trace_period_s: Annotated[float, Field(gt=0)] = 1024.0
    correlation: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    cross_traffic: Annotated[float, Field(strict=True, ge=0, le=0.95)] = 0.0
    diurnal: Diurnal = Diurnal()
    cell: Cell = Cell()

    @model_validator(mode="after")
    def _whole_days(self) -> NetworkSpec:
        days = self.trace_period_s / self.diurnal.period_s
        if self.diurnal.amplitude and (days < 1 or abs(days - round(days)) > 1e-9 * days):
            raise ValueError(f"rates repeat after trace_period, so it must be a multiple of diurnal.period, not "
                             f"{days:g} of them: write for example trace_period: {self.diurnal.period_s / 3600:g} h "
                             f"(and trace_step: 10 s to save memory)")
        return self

    @model_validator(mode="after")
    def _whole_period(self) -> NetworkSpec:
        steps = self.trace_period_s / self.trace_step_s
        if steps < 1 or abs(steps - round(steps)) > 1e-9 * steps:
            raise ValueError(f"trace_period must be a multiple of trace_step, not {steps:g} of them")
        return self

    def check_samples(self, generated: int) -> None:
        """Raise ValueError where the rates of so many generated links would be more than memory holds."""
        links = 2 * (generated + (self.regions if self.cross_traffic else 0))
        samples = links * max(self.trace_period_s / self.trace_step_s, self.trace_period_s / FINEST_S)
        if samples > MOST_SAMPLES:
            raise ValueError(f"{links} links for {self.trace_period_s:g} s at steps of {self.trace_step_s:g} s are "
                             f"{samples:.2g} rates, more than {MOST_SAMPLES:g}: take a shorter trace_period, a longer "
                             f"trace_step, or fewer workers")
