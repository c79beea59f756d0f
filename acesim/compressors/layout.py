"""Where groups lie, and how many bytes each level costs them, at the proxy's scale and at any other."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.menu import KINDS, Operator
from acesim.compressors.packing import bytes_of
from acesim.seam import Wire

LEVEL_BITS = 4


class Layout:
    """Groups of consecutive entries, and the blocks in which `total` entries of another scale stand for them.

    sizes    [G] entries of each group at the proxy's scale, where a group is one block
    total    entries at the scale that is counted; each group stands for its share, and the shares add up to
             it
    block    entries of a block at that scale; where total is the sum of sizes, a group stays one block
    menu     [L] operators
    widths   [L] bits of a level's grid; 0 where it has none

    >>> Layout((3, 1), 1000, 100, (Operator("skip", 0), Operator("grid", 8))).costs
    array([[  0, 782],
           [  0, 262]])
    """

    def __init__(self, sizes: tuple[int, ...], total: int, block: int, menu: tuple[Operator, ...]) -> None:
        self.menu = menu
        self.sizes = np.array(sizes, np.int64)
        stops = np.cumsum(self.sizes)
        self.starts = stops - self.sizes
        self.entries = np.diff(stops * total // int(stops[-1]), prepend=0)
        self.block = max(sizes) if total == int(stops[-1]) else block
        self._places = np.arange(len(sizes))
        self._kinds = {kind: np.array([operator.kind == kind for operator in menu]) for kind in KINDS}
        self.bits = np.array([operator.bits for operator in menu])
        self.widths = self.bits * (self.are("grid") | self.are("sparse"))
        self.reaches = np.array([operator.reach for operator in menu], np.float32)

    def are(self, kind: str) -> NDArray[np.bool_]:
        """Say which levels are of a kind, bool [L]."""
        return self._kinds[kind]

    @cached_property
    def level_bytes(self) -> int:
        """The bytes of all levels: LEVEL_BITS for every block."""
        return bytes_of(int((-(-self.entries // self.block)).sum()), LEVEL_BITS)

    @cached_property
    def wires(self) -> NDArray[np.int64]:
        """[G, L, 3] bytes of values, places and scales of every group at every level."""
        known = {entries: [self._group(operator, entries) for operator in self.menu]
                 for entries in sorted(set(self.entries.tolist()))}
        return np.array([known[entries] for entries in self.entries.tolist()], np.int64)

    @cached_property
    def costs(self) -> NDArray[np.int64]:
        """[G, L] bytes of every group at every level."""
        return np.asarray(self.wires.sum(2))

    def wire(self, picks: NDArray[Any]) -> Wire:
        """Return the bytes of these levels [G]; a payload that skips every group is empty."""
        if self.are("skip")[picks].all():
            return Wire()
        values, indices, scales = self.wires[self._places, picks].sum(0).tolist()
        return Wire(values, indices, scales + self.level_bytes)

    def _group(self, operator: Operator, entries: int) -> list[int]:
        whole, rest = divmod(entries, self.block)
        parts = zip(operator.block(self.block), operator.block(rest), strict=True)
        return [whole * full + last for full, last in parts]
