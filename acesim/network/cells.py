"""Cells: a radio sector is a link of its own, which the workers in it share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from acesim.network.generator import lines_of
from acesim.network.traces import Trace
from acesim.network.worlds import World, beside_others

if TYPE_CHECKING:
    from acesim.scenario.schema import Access, NetworkSpec

CELLULAR = ("3g", "lte", "5g", "5g-mmwave")
_FIRST_ROW = 10_000_000
"""Cells draw from streams of rows that no worker has."""


class Cells:
    """The cells of a network: their links, numbered from `first`, and which worker uses which.

    Neighbours are workers of the same region and kind of access, in order, `network.cell.workers` to a cell.
    """

    def __init__(self, spec: NetworkSpec, accesses: Sequence[Access], world: World, first: int, seed: int) -> None:
        self._first = first
        self._cell_of: dict[int, int] = {}
        regions = self._fill(spec.cell.workers, accesses, world.region_of) if spec.cell.workers else []
        sector: Any = SimpleNamespace(kind=spec.cell.kind, downlink_bytes_per_s=spec.cell.downlink_bytes_per_s,
                                 uplink_bytes_per_s=spec.cell.uplink_bytes_per_s, rtt_s=0.0)
        rows = range(_FIRST_ROW, _FIRST_ROW + len(regions))
        own = lines_of(rows, [sector] * len(regions), spec.trace_step_s, spec.trace_period_s, seed,
                       world._replace(region_of=regions))
        self.names = [f"cell-{number} {way}" for number in range(len(own)) for way in ("up", "down")]
        self.traces: list[Trace] = [
            beside_others(trace, spec.cross_traffic, spec.trace_step_s, spec.trace_period_s, seed, _FIRST_ROW + number)
            for number, trace in enumerate(trace for line in own for trace in (line.up, line.down))]

    def _fill(self, size: int, accesses: Sequence[Access], region_of: Sequence[int]) -> list[int]:
        """Put workers into cells; return the region of each cell."""
        neighbours: dict[tuple[int, str], list[int]] = {}
        for row, (access, region) in enumerate(zip(accesses, region_of, strict=True)):
            if access.kind in CELLULAR:
                neighbours.setdefault((region, access.kind), []).append(row)
        regions: list[int] = []
        for (region, _), rows in neighbours.items():
            waiting = iter(rows)
            while members := list(islice(waiting, size)):
                self._cell_of |= dict.fromkeys(members, len(regions))
                regions.append(region)
        return regions

    def up_of(self, row: int) -> tuple[int, ...]:
        """Return the cell's uplink on a worker's way, () for none."""
        return (self._first + 2 * self._cell_of[row],) if row in self._cell_of else ()

    def down_of(self, row: int) -> tuple[int, ...]:
        """Return the cell's downlink on a worker's way, () for none."""
        return (self._first + 2 * self._cell_of[row] + 1,) if row in self._cell_of else ()
