"""TCP connections as releases of bytes into a fluid.

A connection hands its bytes to `Flows` in pieces: a slow-start window, a stage of growth, then all that is left.
How long a piece took tells whether the window or the network held it back.  Events go with arrivals, departures
and the few stages of each connection, never with packets.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from acesim.network.flows import Flows
from acesim.network.routes import Route
from acesim.network.tcp import Climb, Line, Stage, Tcp
from acesim.network.terms import Scaled, Terms
from acesim.network.traces import Capacity, Least, Trace

BRIEF = 0.02
"""A ramp of no more than this share of a transfer is not staged: the transfer waits as long as it would idle.  Unless
others keep a queue full: then it climbs for longer than it would alone."""
NEARLY_S = 1e-6
"""A round that took longer than its round trip by more than this share was full."""


@dataclass(slots=True)
class _Connection:
    """A connection: what it is doing, and with what.

    left            bytes not yet released
    piece           bytes of the piece under way; 0 between pieces
    phase           "slow start", "growth", "steady" or "held": all has gone, but the end was lost
    window          of slow start; piece_s: when the piece under way was released
    stages          of growth that are still to come
    late            did it find a queue that others keep full?  keeps: does it keep queues full itself?
    unscathed       bytes until the next random loss that is played by itself; inf: none is
    torn_window     what random losses have left of the window so far; see `_tear`
    hold_s          the transfer does not end before
    ticket          number of the only entry of the agenda that still counts
    """

    key: int
    route: Route
    line: Line | None
    weight: float
    nbytes: float
    left: float
    more: bool
    phase: str = "slow start"
    window: float = 0.0
    sent: float = 0.0
    piece: float = 0.0
    piece_s: float = 0.0
    under_way: bool = False
    stages: list[Stage] = field(default_factory=list)
    late: bool = False
    keeps: bool = False
    unscathed: float = math.inf
    torn_window: float = math.inf
    hold_s: float = 0.0
    ticket: int = -1


class TcpFlows:
    """Transfers under way over a set of links, as TCP would move them; called as `Flows` is.

    links        capacity of each link, headers included
    tcp          the parameters
    rtt_weights  do connections share links as their round trips say?  Else as their own weights do

    Bytes are those of payload, and so are `moved_bytes_per_link`; headers and what is sent again beside them narrow
    the links.

    >>> from acesim.network.traces import constant
    >>> flows = TcpFlows([constant(1500.0)], Tcp(mss_bytes=1448, initial_window=1))
    >>> flows.start(0, 2896.0, (0,), 0.0, rtt_s=0.5)
    >>> while (end_s := flows.next_finish()) < 9 and not flows.advance(end_s): pass
    >>> end_s  # half a second of set-up, then a full line
    2.5
    """

    def __init__(self, links: Sequence[Capacity], tcp: Tcp, rtt_weights: bool = True) -> None:
        self.tcp = tcp
        self._flows = Flows([_payload(link, tcp.carried) for link in links])
        self._rtt_weights = rtt_weights
        self._connections: dict[int, _Connection] = {}
        self._idle: dict[int, _Connection] = {}  # between two transfers of theirs
        self._agenda: list[tuple[float, int, int]] = []  # a heap of (time, ticket, key)
        self._tickets = 0
        self._lines: dict[tuple[Route, float], Line] = {}
        self._keeping = [0] * len(links)  # connections on each link that keep queues full

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def clock_s(self) -> float:
        """The present moment."""
        return self._flows.clock_s

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Payload that has crossed each link up to the present moment, float64 [links]."""
        return self._flows.moved_bytes_per_link

    def start(self, key: int, nbytes: float, route: Route, time_s: float, rtt_s: float = 0.0,
              more: bool = False, weight: float = 1.0) -> None:
        """Let a transfer begin.

        rtt_s    round trip over empty queues; 0: nothing to wait for, so a fluid
        more     another transfer over the same connection, of the same key, will follow: it keeps its window
        raises   as `Flows.start`
        """
        if key in self._connections:
            raise ValueError(f"flow {key} is under way already: give each transfer a key of its own")
        if not 0 <= rtt_s < math.inf:
            raise ValueError(f"flow {key} has a round trip of {rtt_s} s: must be finite and >= 0")
        if not 0 <= nbytes < math.inf:
            raise ValueError(f"flow {key} of {nbytes} bytes: must be finite and >= 0")
        self._tick(time_s)
        connection = self._idle.pop(key, None)
        if connection is None:
            mean = self._flows.mean(route)  # also refuses what is no route
            line = self._line(route, mean, rtt_s) if rtt_s else None
            connection = _Connection(key, route, line, weight, nbytes, nbytes, more)
            self._open(connection, time_s)
        else:
            connection.nbytes = connection.left = nbytes
            connection.more = more
            self._at(time_s, connection)
        self._connections[key] = connection

    def cancel(self, key: int, time_s: float) -> float:
        """End a transfer before its time; return the bytes it has moved."""
        self._tick(time_s)
        connection = self._connections.pop(key)
        self._keep(connection, False)
        under_way = connection.piece - self._flows.cancel(key, time_s) if connection.under_way else 0.0
        return connection.nbytes - connection.left - under_way

    def next_finish(self) -> float:
        """Return when to look again: a transfer ends then, or enters its next stage; inf if there is none."""
        while self._agenda and not self._counts(self._agenda[0]):
            heapq.heappop(self._agenda)
        timer_s = self._agenda[0][0] if self._agenda else math.inf
        return min(timer_s, self._flows.next_finish())

    def advance(self, time_s: float) -> list[int]:
        """Move the clock; return the keys that finished by then, in order of (time, key)."""
        finished: list[tuple[float, int]] = []
        while (due_s := self.next_finish()) <= time_s:
            now_s = max(due_s, self.clock_s)
            over = [key for key in self._flows.advance(now_s) if self._moved(self._connections[key], now_s)]
            while self._agenda and self._agenda[0][0] <= now_s:
                entry = heapq.heappop(self._agenda)
                if self._counts(entry) and self._timer(self._connections[entry[2]], now_s):
                    over.append(entry[2])
            for key in over:
                self._close(self._connections.pop(key))
                finished.append((due_s, key))
        self._flows.advance(time_s)
        return [key for _, key in sorted(finished)]

    def remaining(self, key: int) -> float:
        """Return the bytes a transfer has still to move."""
        connection = self._connections[key]
        return connection.left + (self._flows.remaining(key) if connection.under_way else 0.0)

    def rate(self, key: int) -> float:
        """Return the present rate of a transfer in bytes per second."""
        return self._flows.rate(key) if self._connections[key].under_way else 0.0

    # ---------------------------------------------------------------------------------- a connection's way

    def _tick(self, time_s: float) -> None:
        """Move the clock to the moment of a change."""
        if time_s > self.clock_s and (due_s := self.next_finish()) < time_s:
            raise ValueError(f"a change at {time_s} s, but something is due at {due_s} s: advance first")
        self._flows.tick(time_s)

    def _line(self, route: Route, mean: float, rtt_s: float) -> Line:
        line = self._lines.get((route, rtt_s))
        if line is None:
            line = self._lines[route, rtt_s] = Line(self.tcp, mean, rtt_s)
        return line

    def _open(self, connection: _Connection, now_s: float) -> None:
        """Set a connection up."""
        line = connection.line
        if line is None:
            connection.phase = "steady"
            self._at(now_s, connection)
            return
        connection.window = min(self.tcp.initial_window * self.tcp.mss_bytes, self.tcp.closed_bytes)
        connection.unscathed = self.tcp.first_loss_bytes
        ramp_s, idle_s = line.ramp
        if not self._is_late(connection) and ramp_s <= BRIEF * connection.nbytes / line.rate_bytes_per_s:
            connection.phase = "steady"
            self._at(now_s + idle_s, connection)
        else:
            self._at(now_s + self.tcp.setup_rtts * line.rtt_s, connection)

    def _at(self, time_s: float, connection: _Connection) -> None:
        """Let a connection's next step come at this time, instead of any other."""
        connection.ticket = self._tickets
        heapq.heappush(self._agenda, (time_s, self._tickets, connection.key))
        self._tickets += 1

    def _counts(self, entry: tuple[float, int, int]) -> bool:
        connection = self._connections.get(entry[2])
        return connection is not None and connection.ticket == entry[1]

    def _timer(self, connection: _Connection, now_s: float) -> bool:
        """Release the next piece; return whether the transfer is over."""
        connection.ticket = -1
        if connection.phase == "held":
            return True
        if connection.under_way:  # a stage of growth is over
            self._end_stage(connection, now_s)
        self._release(connection, now_s)
        return False

    def _is_late(self, connection: _Connection) -> bool:
        """Say whether a queue on the way of one that begins is kept full by others."""
        return any(self._keeping[link] and self._flows.fills(link) for link in connection.route)

    def _keep(self, connection: _Connection, keeps: bool) -> None:
        """Take note of whether a connection keeps the queues of its route full."""
        if keeps != connection.keeps:
            connection.keeps = keeps
            for link in connection.route:
                self._keeping[link] += 1 if keeps else -1

    def _release(self, connection: _Connection, now_s: float) -> None:
        """Hand the next piece to the network."""
        line, most = connection.line, math.inf
        terms = Terms(connection.weight)
        connection.piece = connection.left
        if line is not None:
            self._keep(connection, connection.phase != "slow start" and not self.tcp.paced)
            weight = connection.weight * (line.weight if self._rtt_weights else 1.0)
            if connection.phase == "steady":
                connection.piece = min(connection.left, connection.unscathed)
                share, most = line.used_share, line.most_bytes_per_s(connection.torn_window)
            else:
                share = 1.0
                if connection.phase == "growth":
                    connection.piece = min(connection.left, connection.unscathed)
                    span_s, most = connection.stages.pop(0)
                    self._at(now_s + span_s, connection)
                else:
                    connection.late = connection.late if connection.sent else self._is_late(connection)
                    connection.piece = min(connection.window, connection.left, connection.unscathed)
                    most = connection.window / line.rtt_s if self.tcp.paced else math.inf
            terms = Terms(weight, share, most)
        connection.left -= connection.piece
        connection.piece_s, connection.under_way = now_s, True
        self._flows.release(connection.key, connection.piece, connection.route, now_s, terms)

    def _moved(self, connection: _Connection, now_s: float) -> bool:
        """Take note that a piece has been moved; return whether the transfer is over."""
        connection.under_way = False
        connection.sent += connection.piece
        connection.ticket = -1
        torn = connection.unscathed < math.inf and self._tear(connection, now_s)
        if connection.phase == "slow start" and not torn:
            self._next_round(connection, now_s)
        elif connection.left:
            connection.phase = "steady"
            self._at(now_s, connection)
        if connection.left:
            return False
        if connection.hold_s > now_s:
            connection.phase = "held"
            self._at(connection.hold_s, connection)
            return False
        return True

    def _next_round(self, connection: _Connection, now_s: float) -> None:
        """Decide how slow start goes on, from how long its last round took."""
        line, took_s = connection.line, now_s - connection.piece_s
        assert line is not None
        rate = connection.piece / took_s if took_s else math.inf
        round_end_s = connection.piece_s + line.rtt_s
        if connection.late and connection.window > line.room_bytes:
            self._climb(connection, line.late)
            round_end_s = max(now_s, connection.piece_s + line.full_s)
        elif took_s > line.rtt_s * (1 + NEARLY_S):
            connection.phase, round_end_s = "steady", now_s
            if climb := line.overflow(rate):
                self._climb(connection, climb)
            elif stages := line.opening(connection.window):  # or else an outage would have opened the window
                connection.phase, connection.stages = "growth", stages
            self._hold(connection, line, rate)
        elif connection.window >= self.tcp.closed_bytes:
            connection.phase = "steady"
        elif not line.bursts_fit(connection.piece, min(1.0, rate / line.rate_bytes_per_s)):
            self._climb(connection, line.burst(connection.piece, min(1.0, rate / line.rate_bytes_per_s)))
        else:
            connection.window = min(2 * connection.window, self.tcp.closed_bytes)
        if connection.left:
            self._at(round_end_s, connection)

    def _climb(self, connection: _Connection, climb: Climb) -> None:
        """Let a window recover from a loss."""
        line = connection.line
        assert line is not None
        connection.stages = list(climb.stages)  # which it uses up; a line's climb serves many
        connection.phase = "growth" if climb.stages else "steady"
        if line.lossy_window_bytes < line.product_bytes:  # from here on random losses keep the window
            connection.torn_window, connection.unscathed = climb.start_bytes, math.inf
            if climb.start_bytes > line.lossy_window_bytes:
                connection.unscathed = self.tcp.first_loss_bytes

    def _tear(self, connection: _Connection, now_s: float) -> bool:
        """Count a piece towards the next random loss; return whether it came.

        The first comes after mss / loss bytes, on average, and leaves back_off of the window; so do those that follow,
        until the window is down to the mean that random losses let it have (`Line.lossy_window_bytes`).
        """
        line, took_s = connection.line, now_s - connection.piece_s
        assert line is not None
        connection.unscathed -= connection.piece
        if connection.unscathed > 0:
            return False
        window = connection.window if connection.phase == "slow start" else math.inf
        if took_s > line.rtt_s or connection.phase != "slow start":
            window = min(window, connection.piece / took_s * line.rtt_s) if took_s else window
        connection.torn_window = self.tcp.back_off * min(window, connection.torn_window)
        more = connection.torn_window > line.lossy_window_bytes
        connection.unscathed = self.tcp.first_loss_bytes if more else math.inf
        return True

    def _hold(self, connection: _Connection, line: Line, rate: float) -> None:
        """Let a transfer whose last packets are lost in slow start's overshoot wait for their tail probe.

        At the measured rate the window reaches loss_bytes = rate (RTT + queue) at loss_s; from then on, until the
        loss is noticed RTT + queue later, what is sent at twice the rate overflows the queue.  If the transfer ends
        in between, its end is sent again after two round trips of a full queue (RFC 8985, 7.2).
        """
        if math.isinf(rate) or connection.window >= self.tcp.closed_bytes or not line.overflows:
            return
        loss_bytes = rate * line.full_s
        grown = max(0.0, loss_bytes - connection.window)
        unsent = connection.piece + connection.left - grown - loss_bytes
        if 0 < unsent < 2 * loss_bytes:
            loss_s = connection.piece_s + grown / rate
            connection.hold_s = loss_s + unsent / (2 * rate) + 2 * line.full_s

    def _end_stage(self, connection: _Connection, now_s: float) -> None:
        """Take back what a stage of growth has not moved."""
        line = connection.line
        assert line is not None
        moved = self._flows.cancel(connection.key, now_s)
        connection.left += connection.piece - moved
        connection.unscathed -= moved
        connection.sent, connection.under_way = connection.sent + moved, False
        if not connection.stages:
            connection.phase = "steady"

    def _close(self, connection: _Connection) -> None:
        """End a transfer; keep its connection if the next one will follow."""
        self._keep(connection, False)
        if connection.more:
            connection.hold_s, connection.ticket = 0.0, -1
            connection.phase = "steady" if connection.phase == "held" else connection.phase
            self._idle[connection.key] = connection


def _payload(link: Capacity, carried: float) -> Capacity:
    """Return what a link carries apart from headers and lost packets."""
    if isinstance(link, Trace):
        return Trace(link.step_s, link.bytes_per_s * carried, link.end, link.source)
    return Least([Scaled(link, carried)])
