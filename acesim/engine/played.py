"""What a round that was played in one go leaves behind, and the event rows that many of them give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.engine.world import World
from acesim.records.blocks import Block, Later, Mixed, joined

Seconds = NDArray[np.float64]
Rows = NDArray[np.int64]


class Messages(NamedTuple):
    """Messages of one direction, a row a participant: when ready to leave, when the last byte has left, when there.

    sizes    values, indices, scales, and bytes of the same payloads as trained: int64 [n] each, or the one of all
    control  bytes that ride on each
    """

    sizes: tuple[NDArray[np.int64] | int, ...]
    control: int
    nbytes: Seconds
    ready_s: Seconds
    sent_s: Seconds
    here_s: Seconds


class Played(NamedTuple):
    """A round of n participants.

    received, answered   the messages to them and from them
    begin_s, end_s       [n] of their local steps; wait_s: what they have waited before
    """

    number: int
    rows: Rows
    received: Messages
    begin_s: Seconds
    end_s: Seconds
    steps: Rows
    wait_s: Seconds
    loss: Seconds
    answered: Messages


OWN = ("rows", "begin_s", "end_s", "steps", "wait_s", "loss")
"""What a round tells of its participants [n]; the rest it tells of their messages."""


class Spelling:
    """Spells the event rows of rounds out, in the order in which their events would have come.

    hops       int64 [W], links between each worker and the cloud, by kind of message
    encode_s   [W] that encoding takes; where it takes none it has no row
    """

    def __init__(self, world: World, hops: dict[str, NDArray[np.int64]], encode_s: Seconds) -> None:
        self._cloud, self._header, self._hops = world.cloud_row, world.topology.message_header_bytes, hops
        self._encode_s, self._encoding = encode_s, bool(encode_s.any())
        self._radios = np.array(world.fleet.radios)
        self._busy_w = np.array([device.busy_w - device.idle_w for device in world.fleet.devices])

    def later(self, played: Played) -> Later:
        """Return a round's rows, to be spelt out with those of other rounds."""
        rows = 3 * played.rows.size
        if self._encoding:
            rows += int(np.count_nonzero(self._encode_s[played.rows]))
        return Later(self.spell, played, rows, sum(played.steps.tolist()))

    def spell(self, rounds: Sequence[Played]) -> Mixed:
        """Return the rows of some rounds, one behind the other."""
        counts = [each.rows.size for each in rounds]
        rows, begin_s, end_s, steps, wait_s, loss = (
            np.concatenate([getattr(each, name) for each in rounds]) for name in OWN)
        facts, busy_w = {"round": np.repeat([each.number for each in rounds], counts), "who": rows}, self._busy_w[rows]
        blocks = [self._messages("download", facts, [each.received for each in rounds], counts),
                  Block.of("compute", rows.size, **facts, start_s=begin_s, end_s=end_s, steps=steps, wait_s=wait_s,
                           loss=loss, joules=busy_w * (end_s - begin_s)),
                  self._messages("upload", facts, [each.answered for each in rounds], counts)]
        times_s = [[each.received.here_s, each.end_s, each.answered.here_s] for each in rounds]
        if not self._encoding:
            return Mixed(tuple(blocks), _order(times_s, counts))
        encode_s = self._encode_s[rows]
        blocks.insert(2, Block.of("encode", rows.size, **facts, start_s=end_s, end_s=end_s + encode_s,
                                  joules=busy_w * encode_s))
        order = _order([[*each[:2], each[1], each[2]] for each in times_s], counts)
        there = np.ones(4 * rows.size, np.bool_)
        there[2 * rows.size:3 * rows.size] = encode_s > 0
        return Mixed(tuple(blocks), order[there[order]])

    def _messages(self, kind: str, facts: dict[str, Any], sent: Sequence[Messages], counts: Sequence[int]) -> Block:
        """Return the rows of messages."""
        sizes, *parts = zip(*sent, strict=True)
        values, indices, scales, proxy = (joined(part, counts) for part in zip(*sizes, strict=True))
        control, nbytes, ready_s, sent_s, here_s = (joined(part, counts) for part in parts)
        rows = facts["who"]
        joules_per_byte, active_w = self._radios[rows, 0 if kind == "upload" else 1], self._radios[rows, 2]
        return Block.of(kind, rows.size, **facts, peer=self._cloud, start_s=ready_s, end_s=here_s, values_bytes=values,
                        index_bytes=indices, scale_bytes=scales, control_bytes=control, header_bytes=self._header,
                        links=self._hops[kind][rows], proxy_bytes=proxy,
                        joules=joules_per_byte * nbytes + active_w * (sent_s - ready_s))


def _order(times_s: Sequence[Sequence[Seconds]], counts: Sequence[int]) -> Rows:
    """Return the order of many rounds' rows, where each kind's rows of all rounds lie behind the other kinds'.

    times_s   of each round: when the rows of each kind come [n]; of one instant, the first kind comes first

    >>> first, second = [np.array([2.]), np.array([1.])], [np.array([1., 4.]), np.array([3., 2.])]
    >>> _order([first, second], [1, 2]).tolist()  # two kinds; one row each, then two
    [3, 0, 1, 5, 4, 2]
    """
    orders = [np.argsort(np.concatenate(each), kind="stable") for each in times_s]
    sizes, firsts = [order.size for order in orders], np.cumsum([0, *counts[:-1]])
    kind, within = np.divmod(np.concatenate(orders), np.repeat(counts, sizes))
    places: Rows = kind * sum(counts) + np.repeat(firsts, sizes) + within
    return places
