"""Many events at once, column by column, on their way to the fold and to the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


_BARE: dict[str, Any] = {"kind": "", "round": 0, "who": 0, "peer": -1, "start_s": nan, "end_s": nan,
                         **Event._field_defaults}


_PLACE = {name: place for place, name in enumerate(Event._fields)}


def joined(parts: Sequence[Any], counts: Sequence[int]) -> Any:
    """Put a field of several blocks together, arrays or one value each: still one value where all have the same.

    >>> joined([1000, int("1000")], [2, 1]), joined([np.array([1, 2]), 3], [2, 2]).tolist()
    (1000, [1, 2, 3, 3])
    """
    types, first = set(map(type, parts)), parts[0]
    if np.ndarray not in types:
        return first if len(set(parts)) == 1 else np.repeat(np.array(parts), counts)
    if len(types) == 1:
        return np.concatenate(parts)
    return np.concatenate([part if isinstance(part, np.ndarray) else np.full(count, part)
                           for part, count in zip(parts, counts, strict=True)])


class Later(NamedTuple):
    """Events that came in one go, to be spelt out when somebody reads them, with others that came so.

    What numpy asks for a call is more than the rows of one round are worth; of many rounds it is nothing.

    spell   returns many of these, one behind the other: the same function for all of a run
    facts   what it needs to know of this one
    rows    how many events
    steps   local steps in them
    """

    spell: Callable[[Sequence[Any]], Mixed]
    facts: Any
    rows: int
    steps: int

    def events(self) -> list[Event]:
        """Return the events one by one, in order."""
        return self.spell([self.facts]).events()


class Mixed(NamedTuple):
    """Events of several kinds that came in one go.

    blocks   one behind the other, each of one kind; in what `of` returns, the first may hold the single events
    order    [rows] in which the events came, as places in the blocks
    """

    blocks: tuple[Block, ...]
    order: NDArray[np.int64]

    @staticmethod
    def of(items: Sequence[Event | Later]) -> Mixed:
        """Return all that came, item after item, as one; single events, if there are any, are the first block.

        >>> def spell(all_facts):
        ...     return Mixed((Block.of("upload", len(all_facts), who=np.array(all_facts)),), np.arange(len(all_facts)))
        >>> found = Mixed.of([Later(spell, 5, 1, 0), Event("plan", 0, 9, -1, 0., 0.), Later(spell, 4, 1, 0)])
        >>> found.column("who").tolist(), len(found.blocks)
        ([5, 9, 4], 2)
        """
        singles = [item for item in items if isinstance(item, Event)]
        laters = [item for item in items if isinstance(item, Later)]
        spelt = laters[0].spell([later.facts for later in laters]) if laters else Mixed((), np.empty(0, np.int64))
        if not singles:
            return spelt
        # A single event stands behind as many of the others as have come before it.
        before = np.cumsum([0, *(item.rows if isinstance(item, Later) else 0 for item in items[:-1])])
        places = before[[isinstance(item, Event) for item in items]]
        order = np.insert(spelt.order + len(singles), places, np.arange(len(singles)))
        return Mixed((Block.single(singles), *spelt.blocks), order)

    @property
    def rows(self) -> int:
        """How many events."""
        return self.order.size

    def column(self, name: str) -> NDArray[Any]:
        """Return one field of all events, in order."""
        whole = joined([block.value(name) for block in self.blocks], [block.rows for block in self.blocks])
        return whole[self.order] if isinstance(whole, np.ndarray) else np.broadcast_to(whole, self.rows)

    def events(self) -> list[Event]:
        """Return the events one by one, in order."""
        columns = (self.column(name).tolist() for name in Event._fields)
        return [Event(*values) for values in zip(*columns, strict=True)]
