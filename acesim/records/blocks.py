"""Many events at once, column by column, on their way to the fold and to the files."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.records.rows import Event


class Block(NamedTuple):
    """Many events at once, column by column: for each field of an Event an array [rows], or the one value of all.

    >>> block = Block.of("compute", 2, who=np.array([4, 5]), steps=3)
    >>> block.column("who").tolist(), block.column("steps").tolist(), block.column("links").tolist()
    ([4, 5], [3, 3], [0, 0])
    """

    rows: int
    columns: tuple[Any, ...]

    @staticmethod
    def of(kind: str, count: int, **given: Any) -> Block:
        """Return events of one kind; what is not given is as in an Event that does not have it."""
        return Block(count, tuple({**_BARE, "kind": kind, **given}.values()))

    @staticmethod
    def joined(blocks: Sequence[Block]) -> Block:
        """Return the events of several blocks, one behind the other."""
        counts = [block.rows for block in blocks]
        columns = zip(*(block.columns for block in blocks), strict=True)
        return blocks[0] if len(blocks) == 1 else Block(sum(counts), tuple(_joined(parts, counts) for parts in columns))

    @staticmethod
    def single(events: Sequence[Event]) -> Block:
        """Return events that came one by one."""
        return Block(len(events), tuple(np.array(values) for values in zip(*events, strict=True)))

    def value(self, name: str) -> Any:
        """Return one field: an array, or the one value of all."""
        return self.columns[_PLACE[name]]

    def column(self, name: str) -> NDArray[Any]:
        """Return one field of all events."""
        return np.broadcast_to(self.value(name), self.rows)

    def total(self, name: str) -> int:
        """Return the sum of a field of whole numbers."""
        value = self.value(name)
        return int(value.sum()) if isinstance(value, np.ndarray) else int(value) * self.rows

    def events(self) -> list[Event]:
        """Return the events one by one."""
        return [Event(*values) for values in zip(*self.lists(), strict=True)]

    def lists(self) -> list[list[Any]]:
        """Return plain values, a list for each field of an Event."""
        return [column.tolist() if isinstance(column, np.ndarray) else [column] * self.rows
                for column in self.columns]


_BARE: dict[str, Any] = {"kind": "", "round": 0, "who": 0, "peer": -1, "start_s": nan, "end_s": nan,
                         **Event._field_defaults}


_PLACE = {name: place for place, name in enumerate(Event._fields)}


def _joined(parts: Sequence[Any], counts: Sequence[int]) -> Any:
    """Put one field of several blocks together: still one value where all have the same."""
    first = parts[0]
    if not any(isinstance(part, np.ndarray) for part in parts):
        return first if all(part is first for part in parts) else np.repeat(np.array(parts), counts)
    return np.concatenate([part if isinstance(part, np.ndarray) else np.full(count, part)
                           for part, count in zip(parts, counts, strict=True)])


class Mixed(NamedTuple):
    """Events of several kinds that came in one go.

    blocks   one behind the other, each of one kind; in what `of` returns, the first may hold the single events
    order    [rows] in which the events came, as places in the blocks
    """

    blocks: tuple[Block, ...]
    order: NDArray[np.int64]

    @staticmethod
    def of(items: Sequence[Event | Mixed]) -> Mixed:
        """Return all that came, item after item, as one: a block for all blocks of a kind, one for single events.

        Many rounds are put together at once, for what numpy asks for a call is more than a round's rows are worth.

        >>> both = Mixed((Block.of("download", 1, who=4), Block.of("upload", 2, who=np.array([5, 6]))),
        ...              np.array([1, 0, 2]))
        >>> found = Mixed.of([Event("plan", 0, 9, -1, 0., 0.), both, both])
        >>> found.column("who").tolist(), len(found.blocks)
        ([9, 5, 4, 6, 5, 4, 6], 3)
        """
        singles = [item for item in items if isinstance(item, Event)]
        kinds: dict[str, list[Block]] = {"": [Block.single(singles)]} if singles else {}
        for item in items:
            if isinstance(item, Mixed):
                for block in item.blocks:
                    kinds.setdefault(block.value("kind"), []).append(block)
        blocks = tuple(Block.joined(alike) for alike in kinds.values())
        starts = np.cumsum([0, *(block.rows for block in blocks[:-1])])
        free = dict(zip(kinds, starts.tolist(), strict=True))
        orders: list[Any] = []
        for item in items:
            if isinstance(item, Mixed):
                orders.append(item.placed(free))
            else:
                orders.append((free[""],))
                free[""] += 1
        return Mixed(blocks, np.concatenate(orders) if orders else np.empty(0, np.int64))

    def placed(self, free: dict[str, int]) -> NDArray[np.int64]:
        """Return the order where each block begins at the place that is free for its kind, and take these places."""
        start, shifts = 0, []
        for block in self.blocks:
            kind = block.value("kind")
            shifts.append(free[kind] - start)
            start, free[kind] = start + block.rows, free[kind] + block.rows
        moved: NDArray[np.int64] = self.order + np.repeat(shifts, [block.rows for block in self.blocks])[self.order]
        return moved

    @property
    def rows(self) -> int:
        """How many events."""
        return self.order.size

    def column(self, name: str) -> NDArray[Any]:
        """Return one field of all events, in order."""
        whole = _joined([block.value(name) for block in self.blocks], [block.rows for block in self.blocks])
        return whole[self.order] if isinstance(whole, np.ndarray) else np.broadcast_to(whole, self.rows)

    def total(self, name: str) -> int:
        """Return the sum of a field of whole numbers."""
        return sum(block.total(name) for block in self.blocks)

    def events(self) -> list[Event]:
        """Return the events one by one, in order."""
        columns = (self.column(name).tolist() for name in Event._fields)
        return [Event(*values) for values in zip(*columns, strict=True)]
