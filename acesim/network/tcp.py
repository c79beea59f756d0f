"""TCP as a few stages of windows: what a connection may have under way at each moment, without packets.

    set-up        `setup_rtts` round trips pass before the first byte
    slow start    in round k, one round trip long, at most initial_window 2^k packets leave, at the pace of the
                  bottleneck; bbr spreads them over the round.  It ends when a round is full (the window holds what
                  the route carries in a round trip), when the window is closed, or at the first loss
    growth        where a shallow queue, or one that others keep full, cut slow start short, the window grows as
                  cubic or reno says
    steady        a fluid, within what windows, queues and random loss let through: losses tear the window one by one,
                  at their mean distance, until it is what random loss leaves of it in the mean

Equations are in packets of `mss_bytes`; rates are of payload: headers take their share of every link.
Sources: RFC 5681 (reno), RFC 9438 (cubic), RFC 6928 (initial window), RFC 8985 (tail probe), Padhye et al.,
Modeling TCP Throughput, SIGCOMM 1998 (timeouts).  No constant here was fitted to measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from acesim.network.terms import Terms

if TYPE_CHECKING:
    from acesim.scenario.schema import NetworkSpec

Congestion = Literal["cubic", "reno", "bbr"]
CONGESTIONS = ("cubic", "reno", "bbr")

CUBIC_SCALE = 0.4
"""C of cubic, packets / s^3 (RFC 9438, 5)."""
LEAST_QUEUE_PACKETS = 50
"""A queue nobody stated holds the route's bandwidth-delay product, and at least so many packets."""
LEAST_TIMEOUT_S = 0.2
"""A retransmission timeout is a round trip and this (Linux; RFC 6298 would have a second at least)."""
CYCLE_SAMPLES = 64
STARTUP_GAIN = 2 / math.log(2)
"""Of bbr: windows it has under way at first, and its pace over what it measured (draft-cardwell-iccrg-bbr, 4.3.1)."""
NEARLY = 1e-6
"""A burst fits a queue, too, that is smaller by this share of itself: rates are measured over rounded times."""
PACING_MARGIN = 0.01
"""bbr paces so much below what it measured (Linux)."""


@dataclass(frozen=True)
class Tcp:
    """The parameters of TCP.

    mss_bytes, header_bytes   payload and headers of a full packet
    initial_window            packets
    window_bytes              most that may be under way: rate <= window_bytes / RTT; None: no limit
    queue_packets             of every bottleneck, drop-tail; None: see LEAST_QUEUE_PACKETS
    congestion                "cubic", "reno" or "bbr"
    loss                      share of packets lost at random, in [0, 1)
    setup_rtts                round trips before the first byte
    """

    mss_bytes: int = 1448
    header_bytes: int = 52
    initial_window: int = 10
    window_bytes: float | None = None
    queue_packets: int | None = None
    congestion: Congestion = "cubic"
    loss: float = 0.0
    setup_rtts: float = 1.0

    @property
    def goodput(self) -> float:
        """Payload's share of all bytes.

        >>> round(Tcp().goodput, 4)
        0.9653
        """
        return self.mss_bytes / (self.mss_bytes + self.header_bytes)

    @property
    def paced(self) -> bool:
        """Is a window spread over its round trip, or sent at once?"""
        return self.congestion == "bbr"

    @property
    def back_off(self) -> float:
        """What is left of a window after a loss."""
        return 0.5 if self.congestion == "reno" else 0.7

    @property
    def friendly_rise(self) -> float:
        """Packets a round trip by which a window rises at least (RFC 9438, 4.3)."""
        return 3 * (1 - self.back_off) / (1 + self.back_off)

    @property
    def first_loss_bytes(self) -> float:
        """Bytes sent up to and with the first random loss, on average; bbr does not mind."""
        return self.mss_bytes / self.loss if self.loss and not self.paced else math.inf

    def resent_bytes(self, nbytes: float) -> float:
        """Return what has to be sent again, on average, until so many bytes of payload have come through.

        Every packet is lost with probability `loss`, sent again or not: loss + loss^2 + ... of the payload.

        >>> Tcp(loss=0.2).resent_bytes(100.0)
        25.0
        """
        return nbytes * self.loss / (1 - self.loss)

    @property
    def carried(self) -> float:
        """Payload's share of what a link carries: headers and packets that are lost take the rest."""
        return self.goodput * (1 - self.loss)

    @property
    def closed_bytes(self) -> float:
        """The window that the receiver allows."""
        return math.inf if self.window_bytes is None else self.window_bytes


def tcp_of(spec: NetworkSpec) -> Tcp | None:
    """Return the TCP of a scenario's network, None where its transport is fluid."""
    tcp = spec.transport
    if tcp == "fluid":
        return None
    return Tcp(tcp.mss_bytes, tcp.header_bytes, tcp.initial_window, tcp.window_bytes, tcp.queue_packets,
               tcp.congestion, tcp.loss_percent / 100, tcp.setup_rtts)


class Stage(NamedTuple):
    """A stretch of growth: so long, at this rate at most."""

    span_s: float
    most_bytes_per_s: float


class Climb(NamedTuple):
    """How a window recovers: what a loss left of it, and the stages from there."""

    start_bytes: float
    stages: list[Stage]


class Growth:
    """The window after a loss at `peak` packets, until it is there again (W_max of RFC 9438).

        W(t) = max(C (t - K)^3 + peak,  back_off peak + rise t / RTT),   K = cbrt(peak (1 - back_off) / C)

    reno has the second term alone; with its back-off the rise is one packet a round trip.

    >>> growth = Growth(Tcp(congestion="reno"), 100.0, 0.1)
    >>> growth.packets(1.0), growth.reached_s(75.0)
    (60.0, 2.5)
    """

    def __init__(self, tcp: Tcp, peak: float, rtt_s: float) -> None:
        self.start = tcp.back_off * peak
        self._peak, self._rise_per_s = peak, tcp.friendly_rise / rtt_s
        self._cubic = tcp.congestion != "reno"
        self._inflection_s = math.cbrt(peak * (1 - tcp.back_off) / CUBIC_SCALE) if self._cubic else 0.0

    def packets(self, time_s: float) -> float:
        """Return the window so long after the loss."""
        friendly = self.start + self._rise_per_s * time_s
        if not self._cubic:
            return friendly
        return max(friendly, CUBIC_SCALE * (time_s - self._inflection_s) ** 3 + self._peak)

    def reached_s(self, packets: float) -> float:
        """Return when the window gets there."""
        friendly_s = max(packets - self.start, 0.0) / self._rise_per_s
        if not self._cubic:
            return friendly_s
        return min(friendly_s, self._inflection_s + math.cbrt((packets - self._peak) / CUBIC_SCALE))


GROWTH_STEP = 2 ** 0.25
"""The window of a stage of growth is so many times that of the stage before."""


@dataclass(frozen=True)
class Line:
    """A route as a TCP connection meets it.

    rate_bytes_per_s   payload that its narrowest link carries, on average, lost packets apart
    rtt_s              round trip over empty queues, > 0
    """

    tcp: Tcp
    rate_bytes_per_s: float
    rtt_s: float

    @property
    def product_bytes(self) -> float:
        """Bandwidth-delay product: what fills the route but no queue."""
        return self.rate_bytes_per_s * self.rtt_s

    @cached_property
    def queue_s(self) -> float:
        """How long a full queue of the bottleneck takes to drain."""
        stated = self.tcp.queue_packets
        if stated is None:
            return max(self.rtt_s, LEAST_QUEUE_PACKETS * self.tcp.mss_bytes / self.rate_bytes_per_s)
        return stated * self.tcp.mss_bytes / self.rate_bytes_per_s

    @property
    def full_s(self) -> float:
        """Round trip with a full queue."""
        return self.rtt_s + self.queue_s

    @cached_property
    def weight(self) -> float:
        """How much a connection counts where links are shared: windows are alike, so rates go with 1 / RTT.

        bbr keeps to its measured share of the bottleneck, whatever the round trip.
        """
        return 1.0 if self.tcp.paced else 1 / self.full_s

    @cached_property
    def steady(self) -> Terms:
        """What the connection may take once it is under way."""
        return Terms(self.weight, self.used_share, self.most_bytes_per_s(0.0))

    def most_bytes_per_s(self, torn_window_bytes: float) -> float:
        """Return what windows let through: closed by the receiver, or torn by losses, but not below their mean."""
        return min(self.tcp.closed_bytes, max(torn_window_bytes, self.lossy_window_bytes)) / self.rtt_s

    @property
    def overflows(self) -> bool:
        """Does slow start go on until the queue overflows?  bbr keeps STARTUP_GAIN products under way at most."""
        return not self.tcp.paced or self.full_s < STARTUP_GAIN * self.rtt_s

    @cached_property
    def used_share(self) -> float:
        """Mean use of the bottleneck by one connection whose window swings between a loss and the next.

        The window peaks at product + queue.  As long as what is left after a loss fills the route, nothing is
        wasted; else the mean over the way back up, of min(1, window / product).  bbr has no such swing.

        >>> reno = Tcp(congestion="reno", queue_packets=0)
        >>> Line(Tcp(), 1e6, 0.1).used_share, round(Line(reno, 1e6, 0.1).used_share, 3)
        (1.0, 0.75)
        """
        product = self.product_bytes / self.tcp.mss_bytes
        peak = self.full_s * self.rate_bytes_per_s / self.tcp.mss_bytes
        if self.tcp.paced:
            return 1 - PACING_MARGIN
        if self.tcp.back_off * peak >= product:
            return 1.0
        growth = Growth(self.tcp, peak, self.rtt_s)
        cycle_s = growth.reached_s(peak)
        times = (np.arange(CYCLE_SAMPLES) + 0.5) / CYCLE_SAMPLES * cycle_s
        return float(np.mean([min(1.0, growth.packets(float(time_s)) / product) for time_s in times]))

    @cached_property
    def lossy_window_bytes(self) -> float:
        """Mean window under random loss, timeouts included; inf where loss does not matter.

        With p the loss, reno has sqrt(3 / (2 p)), cubic the larger of that and
        ((3 + back_off) C / (4 (1 - back_off)))^(1/4) (RTT / p)^(3/4) packets (RFC 9438, 5.2); a timeout of
        RTT + LEAST_TIMEOUT_S comes as often as Padhye et al. say, equation 32.
        """
        p = self.tcp.loss
        if not p or self.tcp.paced:
            return math.inf
        packets = math.sqrt(3 / (2 * p))
        if self.tcp.congestion == "cubic":
            back_off = self.tcp.back_off
            scale = CUBIC_SCALE * (3 + back_off) / (4 * (1 - back_off))
            packets = max(packets, scale ** 0.25 * (self.rtt_s / p) ** 0.75)
        often = min(1.0, 3 * math.sqrt(3 * p / 8)) * p * (1 + 32 * p * p)
        timeouts = often * (self.rtt_s + LEAST_TIMEOUT_S) / self.rtt_s  # in round trips
        return self.tcp.mss_bytes / (1 / packets + timeouts)

    def bursts_fit(self, window_bytes: float, queue_share: float) -> bool:
        """Say whether a slow-start window passes the queue.

        It comes at twice the pace at which the bottleneck lets it go, so half of it has to wait.
        """
        return self.tcp.paced or window_bytes / 2 <= queue_share * self.queue_s * self.rate_bytes_per_s * (1 + NEARLY)

    def burst(self, window_bytes: float, queue_share: float) -> Climb:
        """Return how the window climbs after slow start lost packets of this one, until the route is full, or random
        loss keeps it where it is.

        The first loss is noticed a round trip after the queue was full, when the window is what it was and as much
        again as then got through.
        """
        queue = queue_share * self.queue_s * self.rate_bytes_per_s
        return self._climb(window_bytes + 2 * queue, self.product_bytes, self.rtt_s)

    def overflow(self, rate_bytes_per_s: float) -> Climb | None:
        """Return how the window climbs after slow start filled route and queue at this rate; None if the route stays
        full, or a closed window never fills the queue.

        The window peaks at rate (RTT + queue), which takes a round trip, and the loss another one to be noticed;
        then it rises from back_off of the peak until it fills its share of the route again.
        """
        share, peak = rate_bytes_per_s * self.rtt_s, rate_bytes_per_s * self.full_s
        if self.tcp.paced or self.tcp.closed_bytes < peak or self.tcp.back_off * peak >= share:
            return None
        start_bytes, stages = self._climb(peak, share, self.rtt_s)
        return Climb(start_bytes, [Stage(self.rtt_s + self.full_s, rate_bytes_per_s), *stages])

    def opening(self, window_bytes: float) -> list[Stage]:
        """Return how slow start goes on after a window that was full only because the route was slow: the window
        doubles in every round trip until it holds what the route carries on average."""
        stages = []
        while (window_bytes := 2 * window_bytes) < min(self.product_bytes, self.tcp.closed_bytes):
            stages.append(Stage(self.rtt_s, window_bytes / self.rtt_s))
        return stages

    @property
    def room_bytes(self) -> float:
        """What connections that keep the queue full leave of route and queue on average.

        Their windows together swing between back_off and all of it: cubic's rise leaves a quarter of the swing free
        on average, reno's a half.
        """
        free = 1 / 2 if self.tcp.congestion == "reno" else 1 / 4
        return free * (1 - self.tcp.back_off) * self.full_s * self.rate_bytes_per_s

    @cached_property
    def late(self) -> Climb:
        """How the window climbs of one who found the queue full, once its slow start has taken the room that was left.

        The loss is noticed a round trip later, when the window has doubled.
        """
        return self._climb(2 * self.room_bytes, self.full_s * self.rate_bytes_per_s, self.full_s)

    def _climb(self, peak_bytes: float, full_bytes: float, rtt_s: float) -> Climb:
        """Return the way back after a loss at a peak, up to a full route and at this round trip."""
        growth = Growth(self.tcp, peak_bytes / self.tcp.mss_bytes, rtt_s)
        goal = min(full_bytes, self.tcp.closed_bytes, self.lossy_window_bytes) / self.tcp.mss_bytes
        stages, window = [], growth.start
        while window < goal:
            after = min(window * GROWTH_STEP, goal)
            span_s = growth.reached_s(after) - growth.reached_s(window)
            stages.append(Stage(span_s, (window + after) / 2 * self.tcp.mss_bytes / rtt_s))
            window = after
        return Climb(growth.start * self.tcp.mss_bytes, stages)

    @cached_property
    def ramp(self) -> tuple[float, float]:
        """How long a connection that is alone takes until it is steady, and how long the route idles meanwhile."""
        tcp, window = self.tcp, float(self.tcp.initial_window * self.tcp.mss_bytes)
        took_s, sent = tcp.setup_rtts * self.rtt_s, 0.0
        climb = None
        while window < min(self.product_bytes, tcp.closed_bytes) and sent < tcp.first_loss_bytes:
            took_s, sent = took_s + self.rtt_s, sent + window
            if not self.bursts_fit(window, 1.0):
                climb = self.burst(window, 1.0)
                break
            window *= 2
        else:
            if sent < tcp.first_loss_bytes:
                climb = self.overflow(self.rate_bytes_per_s)
        for stage in climb.stages if climb else ():
            took_s, sent = took_s + stage.span_s, sent + stage.span_s * stage.most_bytes_per_s
        return took_s, max(0.0, took_s - sent / self.rate_bytes_per_s)
