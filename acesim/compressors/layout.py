"""Where groups lie, and how many bytes each level costs them, at the proxy's scale and at any other."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.seam import Wire

from .menu import Operator
from .packing import bytes_of

LEVEL_BITS = 4


class Layout:
    """Groups of consecutive entries, and the blocks in which `total` entries of another scale stand for them.

    sizes    [G] entries of each group at the proxy's scale, where a group is one block
    total    entries at the scale that is counted; each group stands for its share of them, and the shares add up
    block    entries of a block at that scale; where total is the sum of sizes, a group stays one block
    """

    def __init__(self, sizes: tuple[int, ...], total: int, block: int, menu: tuple[Operator, ...]) -> None:
        self.sizes = np.array(sizes, np.int64)
        self.stops = np.cumsum(self.sizes)
        self.starts = self.stops - self.sizes
        self.menu = menu
        self.same_scale = total == int(self.stops[-1])
        self.entries = np.diff(self.stops * total // int(self.stops[-1]), prepend=0)
        self.block = max(sizes) if self.same_scale else block

    @cached_property
    def level_bytes(self) -> int:
        """The bytes of all levels: LEVEL_BITS for every block."""
        return bytes_of(int((-(-self.entries // self.block)).sum()), LEVEL_BITS)

    @cached_property
    def wires(self) -> NDArray[np.int64]:
        """[G, L, 3] bytes of values, indices and scales of every group at every level."""
        known: dict[int, list[list[int]]] = {}
        for entries in map(int, self.entries):
            if entries not in known:
                known[entries] = [self._group(operator, entries) for operator in self.menu]
        return np.array([known[int(entries)] for entries in self.entries], np.int64)

    @cached_property
    def costs(self) -> NDArray[np.int64]:
        """[G, L] bytes of every group at every level."""
        return self.wires.sum(2)

    def wire(self, picks: NDArray[Any]) -> Wire:
        """Return the bytes of a payload with these levels [G]; one that skips every group has none, not even levels."""
        values, indices, scales = self.wires[np.arange(self.sizes.size), picks].sum(0).tolist()
        if values == 0:
            return Wire()
        return Wire(values, indices, scales + self.level_bytes)

    def _group(self, operator: Operator, entries: int) -> list[int]:
        whole, rest = divmod(entries, self.block)
        blocks = zip(operator.block(self.block), operator.block(rest), strict=True)
        return [whole * full + last for full, last in blocks]
