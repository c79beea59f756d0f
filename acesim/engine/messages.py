"""Messages, and the carrier that moves them over the network part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

import numpy as np

from acesim.engine.agenda import LAST, Agenda
from acesim.engine.ledger import Ledger
from acesim.network.jitter import Jitter
from acesim.network.transport import Transport
from acesim.seam import Payload, Variant, Vector, Wire


@dataclass
class Message:
    """One payload on its way.

    sender, receiver   fleet rows
    round, version     of the server's plan and of the model it started from
    wire, control, header   its nominal bytes
    route, latency_s   links to cross, one-way latency
    parts              [(ready_s, bytes)] in order; bytes leave when they are ready and those before them have left
    startup_s          that every part takes before its first byte
    result             down: the model the receiver will hold
    weight             up: of the sender in the mean
    batches            up: fingerprint of the data behind it
    steps              up: local steps behind it
    variants           up: whom it speaks for
    models             down, to a region: the variants its workers follow, by number
    beside             entries of variants that ride on it, in full precision
    delay_s            latency_s as jitter has it
    flow_start_s, flow_bytes   of the last flow it left in: what bandwidth is measured on
    """

    kind: Literal["up", "down"]
    sender: int
    receiver: int
    round: int
    version: int
    payload: Payload
    wire: Wire
    control: int
    header: int
    route: tuple[int, ...]
    latency_s: float
    parts: list[tuple[float, float]]
    startup_s: float = 0.0
    weight: float = 0.0
    result: Vector | None = None
    batches: int = 0
    steps: float = 1.0
    variants: tuple[Variant, ...] = ()
    models: Mapping[int, Vector] = field(default_factory=dict)
    beside: Payload | None = None
    key: int = -1
    next_part: int = 0
    ticket: int = -1
    delay_s: float = 0.0
    start_s: float = float("nan")
    sent_s: float = float("nan")
    flow_start_s: float = float("nan")
    flow_bytes: float = 0.0

    @property
    def received(self) -> Vector:
        """The model that the receiver of a download holds now."""
        if self.result is None:
            raise ValueError(f"message {self.key} goes up: it carries an update, not a model")
        return self.result

    @property
    def nbytes(self) -> int:
        """All nominal bytes of the message."""
        return self.wire.total + self.control + self.header

    @property
    def proxy_bytes(self) -> int:
        """Bytes of its payload as trained."""
        return self.payload.nbytes + (0 if self.beside is None else self.beside.nbytes)


class Carrier:
    """Turns messages into flows and flows into arrivals.

    A message is one connection: its parts leave in order, and whatever is ready when the line falls free leaves as one
    flow, so the number of flows does not grow with the number of buckets.  Each part's start-up is waited for before:
    on a link of one's own and of constant rate the last byte then leaves when it would if they left one by one.
    """

    def __init__(self, flows: Transport, agenda: Agenda, ledger: Ledger, jitter: Jitter) -> None:
        self.flows, self._agenda, self._ledger, self._jitter = flows, agenda, ledger, jitter
        self.messages: dict[int, Message] = {}
        self._sizes: dict[int, float] = {}
        self._count = 0
        self._ticket = -1
        self._settling = False

    def send(self, message: Message) -> None:
        """Take a message on."""
        message.key = self._count
        self._count += 1
        below = min(message.sender, message.receiver)  # servers have higher rows than those they serve
        message.delay_s = self._jitter.latency_s(below, message.kind, message.latency_s)
        self.messages[message.key] = message
        self._launch_at(message.parts[0][0], message.key)

    def _launch_at(self, ready_s: float, key: int) -> None:
        """Enter a launch; what is ready already leaves without a detour over the agenda."""
        if ready_s <= self._agenda.now_s:
            self.launch(key)
        else:
            self.messages[key].ticket = self._agenda.at(ready_s, "launch", key)

    def launch(self, key: int, count: int = 0) -> None:
        """Start a flow with all parts that are ready by now; count: those whose start-ups have been waited for."""
        message, now_s = self.messages[key], self._agenda.now_s
        if np.isnan(message.start_s):
            message.start_s = now_s
        if not count:
            waiting = message.parts[message.next_part :]
            count = sum(1 for _ in takewhile(lambda part: part[0] <= now_s, waiting))
            if message.startup_s:
                message.ticket = self._agenda.at(now_s + count * message.startup_s, "launch", key, count)
                return
        nbytes = 0.0
        for _ in range(count):
            nbytes += message.parts[message.next_part][1]
            message.next_part += 1
        message.flow_start_s, message.flow_bytes = now_s, nbytes
        self._sizes[key] = nbytes
        self._ledger.hand(nbytes, message.route)
        more = message.next_part < len(message.parts)
        self.flows.start(key, nbytes, message.route, now_s, rtt_s=2 * message.latency_s, more=more)
        self._unsettle()

    def finish(self) -> None:
        """Let every flow that is due end: its message goes on with its next part, or arrives after the latency."""
        now_s = self._agenda.now_s
        for key in self.flows.advance(now_s):
            message = self.messages[key]
            del self._sizes[key]
            if message.next_part < len(message.parts):
                self._launch_at(message.parts[message.next_part][0], key)
            else:
                message.sent_s = now_s
                message.ticket = self._agenda.at(now_s + message.delay_s, "arrive", key)
        if not self._settling:
            self._expect()

    def _unsettle(self) -> None:
        """Ask once for a new look at the next completion, after all else of this instant."""
        if not self._settling:
            self._settling = True
            self._agenda.at(self._agenda.now_s, "settle", priority=LAST)

    def settle(self) -> None:
        """Look at the next completion, once for all flows that began at this instant."""
        self._settling = False
        self._expect()

    def _expect(self) -> None:
        """Enter the next completion."""
        self._agenda.cancel(self._ticket)
        next_s = self.flows.next_finish()
        if next_s < float("inf"):
            self._ticket = self._agenda.at(max(next_s, self._agenda.now_s), "flows")

    def take(self, key: int) -> Message:
        """Hand over a message that has arrived."""
        return self.messages.pop(key)

    def drop(self, key: int) -> float:
        """Take a message back before it has arrived; return the bytes that have left already, which are lost."""
        message, now_s = self.messages.pop(key), self._agenda.now_s
        self._agenda.cancel(message.ticket)
        left = sum(nbytes for _, nbytes in message.parts[: message.next_part])
        if key not in self._sizes:
            return left
        unsent = self._sizes.pop(key) - self.flows.cancel(key, now_s)
        self._ledger.hand(-unsent, message.route)
        self._unsettle()
        return left - unsent

    def in_flight(self) -> np.ndarray:
        """Return the bytes of flows under way that are still to be moved, link by link."""
        left = np.zeros(len(self._ledger.handed))
        for key in self._sizes:
            for link in self.messages[key].route:
                left[link] += self.flows.remaining(key)
        return left


def parts(payload: Payload, nbytes: float, header: int, end_s: float, backward_s: float, encode_s: float,
          launch_s: float = 0.0) -> list[tuple[float, float]]:
    """Return when which bytes of a message may leave: [(ready_s, bytes)].

    The encoder works on the device that computes the gradients: when the backward pass has reached a chunk, it is
    encoded, and only then the pass goes on.  So encoding ends with all of it behind `end_s`, whatever the chunks, but
    for a launch of each; Shi et al. 2020 (OMGS-SGD) reckon alike.

    nbytes     of payload and control; header: of each chunk
    end_s, backward_s   when the pass would end without encoding, and how long it takes
    encode_s, launch_s  of all entries; of every chunk

    >>> from acesim.seam import Chunk
    >>> parts(Payload(None, 8, (Chunk(.5, .5), Chunk(.5, 1.))), 8., 0, 10., 4., 1.)
    [(8.5, 4.0), (11.0, 4.0)]
    """
    if not payload.chunks:
        return [(end_s + (launch_s + encode_s), header + nbytes)]
    found: list[tuple[float, float]] = []
    worked_s = 0.0
    for chunk in payload.chunks:
        worked_s += launch_s + encode_s * (chunk.share if chunk.entries is None else chunk.entries)
        found.append((end_s - backward_s * (1 - chunk.ready_at) + worked_s, header + nbytes * chunk.share))
    return found


def calls(payload: Payload) -> int:
    """Return how often encoder and decoder are called for a payload: once a chunk."""
    return max(1, len(payload.chunks))
