"""The levels a group may be sent at, and what each costs in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from acesim.compressors.grid import reach
from acesim.compressors.packing import bytes_of
from acesim.compressors.topk import kept
from acesim.scenario.errors import PolicyError
from acesim.seam import Wire

KINDS = ("skip", "sign", "grid", "sparse", "float")


class Operator(NamedTuple):
    """How one block of entries is sent.

    kind    "skip", "sign" (mean|x| and signs), "grid" (multiples of a step), "sparse" (the largest entries of
            the block on a grid), or "float" (as they are, in `bits` bits)
    bits    of a value
    ratio   kept fraction of the block's entries
    """

    kind: str
    bits: int
    ratio: float = 1.0

    @property
    def reach(self) -> int:
        """The largest multiple of the scale; 0 for floats and what is skipped, which have no multiples."""
        return reach(self.bits) if self.kind in ("grid", "sparse") else 0

    def block(self, entries: int) -> Wire:
        """Return the bytes of one block, its level apart: values, places of a sparse one, a float32 scale.

        >>> Operator("grid", 4).block(512), Operator("sparse", 4, 0.01).block(512)
        (Wire(values=256, indices=0, scales=4), Wire(values=3, indices=6, scales=4))
        """
        if self.kind == "skip" or entries == 0:
            return Wire()
        if self.kind == "float":
            return Wire(values=bytes_of(entries, self.bits))
        if self.kind == "sparse":
            count = kept(self.ratio, entries)
            return Wire(bytes_of(count, self.bits), places_bytes(count, entries), 4)
        return Wire(values=bytes_of(entries, self.bits), scales=4)


def places_bytes(count: int, entries: int) -> int:
    """Return the bytes that tell which `count` of `entries` are meant: a bitmap or packed indices."""
    return min(bytes_of(entries, 1), bytes_of(count, (entries - 1).bit_length()))


OPERATORS: Mapping[str, Operator] = MappingProxyType({
    "skip": Operator("skip", 0, 0.0),
    "sign": Operator("sign", 1),
    "2-bit": Operator("grid", 2),
    "4-bit": Operator("grid", 4),
    "8-bit": Operator("grid", 8),
    "fp16": Operator("float", 16),
    "fp32": Operator("float", 32),
    "top-1%": Operator("sparse", 4, 0.01),
    "top-10%": Operator("sparse", 4, 0.1),
})
"""All operators by the name that stands in a menu."""

DEFAULT_MENU = tuple(OPERATORS)


def operators(menu: tuple[str, ...]) -> tuple[Operator, ...]:
    """Return the operators of a menu; raises PolicyError when one is unknown or there are more than 16."""
    unknown = [name for name in menu if name not in OPERATORS]
    if unknown or not 1 <= len(menu) <= 16 or len(set(menu)) < len(menu):
        raise PolicyError(f"Grouped.menu = {menu!r}: must be 1 to 16 different names out of "
                          f"{', '.join(OPERATORS)}")
    return tuple(OPERATORS[name] for name in menu)
