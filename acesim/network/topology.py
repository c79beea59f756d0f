"""Which links there are, and which of them each message crosses.

The network is wires; the tree is the policy's choice.  A star sends every message over the worker's whole
route; a tree of regions stops at the region's server, which sends on its own behalf.

    edge worker --- access --- [cell ---] region uplink ----- cloud ingress ---> cloud server
    edge worker <-- access --- [cell ---] region downlink --- cloud egress ----- cloud server
    cloud worker -- own card -- fabric -- cloud server
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acesim.network.cards import Narrowed, RegionCards, line_behind
from acesim.network.cells import Cells
from acesim.network.generator import Line, lines, within
from acesim.network.jitter import spread_of
from acesim.network.traces import Trace, constant
from acesim.network.worlds import World, beside_others
from acesim.scenario.streams import stream

if TYPE_CHECKING:
    from acesim.scenario.schema import NetworkSpec, WorkerGroup

Route = tuple[int, ...]
Seconds = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Topology:
    """All links, and the routes over them; a route is a tuple of link numbers, latencies are one way.

    links, link_names          what each link can carry, and what it is called
    worker_names               [W] "xavier-3"
    regions                    R: the edge regions, and last the data centre
    region_of                  [W] region of each worker; cloud workers belong to the last
    up_route, down_route       [W] between a worker and the cloud server, the whole way (star)
    up_to_region, down_from_region   [W] between a worker and its region's server
    region_up, region_down     [R] between a region's server and the cloud server
    *_latency_s                [W] or [R] of these routes
    up_mean_bytes_per_s, down_mean_bytes_per_s   [W] mean rates of the workers' own links
    jitter                     [W + R] of the latency of messages (acesim.network.jitter)
    message_header_bytes, message_startup_s   of every message, and of every chunk of one
    narrowed                   what is slower by its network card than its lines are (acesim.network.cards)
    """

    links: tuple[Trace, ...]
    link_names: tuple[str, ...]
    worker_names: tuple[str, ...]
    regions: int
    region_of: NDArray[np.int64]
    up_route: tuple[Route, ...]
    down_route: tuple[Route, ...]
    up_to_region: tuple[Route, ...]
    down_from_region: tuple[Route, ...]
    region_up: tuple[Route, ...]
    region_down: tuple[Route, ...]
    up_latency_s: Seconds
    down_latency_s: Seconds
    up_to_region_latency_s: Seconds
    down_from_region_latency_s: Seconds
    region_up_latency_s: Seconds
    region_down_latency_s: Seconds
    up_mean_bytes_per_s: NDArray[np.float64]
    down_mean_bytes_per_s: NDArray[np.float64]
    message_header_bytes: int
    jitter: NDArray[np.float64]
    message_startup_s: float = 0.0
    narrowed: tuple[Narrowed, ...] = ()

    @property
    def workers(self) -> int:
        """W."""
        return len(self.worker_names)


class _Backbone:
    """The links that workers share: their numbers, and the latencies of the regions."""

    def __init__(self, spec: NetworkSpec, first: int, seed: int, card_bytes_per_s: float) -> None:
        self.traces: list[Trace] = []
        self.names: list[str] = []
        self._first = first
        rng = stream(seed, "trace", 0, _BACKBONE)
        shares = rng.random((spec.regions + 1, 3))  # the last row is the cloud's own
        down_range = spec.region_downlink_bytes_per_s
        down_range = spec.region_uplink_bytes_per_s if down_range is None else down_range
        up = [self._add(f"region-{region} up", within(spec.region_uplink_bytes_per_s, share))
              for region, share in enumerate(shares[:-1, 0])]
        # With one range for both ways a region draws one rate: its line is as good in one as in the other.
        column = 0 if spec.region_downlink_bytes_per_s is None else 1
        down = [self._add(f"region-{region} down", within(down_range, share))
                for region, share in enumerate(shares[:-1, column])]
        given = (spec.cloud_ingress_bytes_per_s, spec.cloud_egress_bytes_per_s, spec.fabric_bytes_per_s)
        at_cloud = [within(rate, share) for rate, share in zip(given, shares[-1], strict=True)]
        self.narrowed = [Narrowed("cloud server", card_bytes_per_s)] * (max(at_cloud) > card_bytes_per_s)
        inward, outward, inside = (min(rate, card_bytes_per_s) for rate in at_cloud)
        ingress, egress = self._add("cloud ingress", inward), self._add("cloud egress", outward)
        # the fabric is switched: it carries as much each way, whatever the other does
        self.fabric_up, self.fabric_down = self._add("fabric up", inside), self._add("fabric down", inside)
        self.region_up = (*((link, ingress) for link in up), (self.fabric_up,))
        self.region_down = (*((egress, link) for link in down), (self.fabric_down,))
        self.latency_s = np.array([within(spec.region_rtt_s, share) / 2 for share in shares[:-1, 2]] + [0.0])
        for number in (*up, *down):
            self.traces[number - first] = beside_others(self.traces[number - first], spec.cross_traffic,
                                                        spec.trace_step_s, spec.trace_period_s, seed, number - first)

        self.regions_up, self.regions_down = ([self.traces[number - first] for number in way] for way in (up, down))

    def _add(self, name: str, bytes_per_s: float) -> int:
        self.traces.append(constant(bytes_per_s, name))
        self.names.append(name)
        return self._first + len(self.traces) - 1


_BACKBONE = 9
"""Block of the first worker's trace stream for what belongs to no worker."""


def build(groups: Sequence[WorkerGroup], network_spec: NetworkSpec, seed: int,
          cards_bytes_per_s: Sequence[float] | None = None) -> Topology:
    """Draw every link from the seed and lay the routes.

    Edge workers are dealt to the edge regions in turn, group by group, so that regions are alike.  access.rtt
    holds between a worker and the cloud; region_rtt is added on the way between a region and the cloud, so
    that a message takes as long in a star as over both levels of a tree.

    cards_bytes_per_s   of the network cards: workers, regions' servers (the data centre's last), cloud; None: no limit
    """
    names = tuple(f"{group.name}-{number}" for group in groups for number in range(group.count))
    members = [group for group in groups for _ in range(group.count)]
    region_of = _regions(groups, network_spec.regions)
    accesses = [group.access for group in members]
    world = World(region_of.tolist(), network_spec.correlation, network_spec.diurnal.amplitude,
                  network_spec.diurnal.period_s)
    given = lines(accesses, network_spec.trace_step_s, network_spec.trace_period_s, seed, world)
    cards = [math.inf] * (len(given) + network_spec.regions + 2) if cards_bytes_per_s is None else cards_bytes_per_s
    own = [line_behind(line, card) for line, card in zip(given, cards[:len(given)], strict=True)]
    backbone = _Backbone(network_spec, 2 * len(own), seed, cards[-1])
    cells = Cells(network_spec, accesses, world, 2 * len(own) + len(backbone.traces), seed)
    region_cards = _region_cards(cards[len(own):-2], own, region_of, backbone, 2 * len(own) + len(backbone.traces)
                                 + len(cells.traces))
    link_names = [f"{name} {direction}" for name in names for direction in ("up", "down")]
    link_names += backbone.names + cells.names + region_cards.names
    links = [trace for line in own for trace in (line.up, line.down)]
    links += backbone.traces + cells.traces + region_cards.traces
    up, down = _to_region(backbone, cells, region_of, network_spec.regions)
    slower = [Narrowed(name, card) for name, card, line, before in zip(names, cards, own, given, strict=False)
              if line is not before]
    access_s, region_s = np.array([line.rtt_s / 2 for line in own]), backbone.latency_s
    return Topology(
        links=tuple(links), link_names=tuple(link_names), worker_names=names,
        regions=network_spec.regions + 1, region_of=region_of,
        jitter=np.array([spread_of(network_spec.jitter, access)
                         for access in [*accesses, *[None] * (network_spec.regions + 1)]]),
        message_header_bytes=network_spec.message_header_bytes, message_startup_s=network_spec.message_startup_s,
        narrowed=(*slower, *region_cards.narrowed, *backbone.narrowed),
        up_to_region=tuple(region_cards.into(region, route) for region, route in zip(region_of, up, strict=True)),
        down_from_region=tuple(region_cards.out_of(region, route)
                               for region, route in zip(region_of, down, strict=True)),
        region_up=tuple(region_cards.out_of(region, route) for region, route in enumerate(backbone.region_up)),
        region_down=tuple(region_cards.into(region, route) for region, route in enumerate(backbone.region_down)),
        up_route=tuple(_joined(route, backbone.region_up[region])
                       for route, region in zip(up, region_of, strict=True)),
        down_route=tuple(_joined(backbone.region_down[region], route)
                         for route, region in zip(down, region_of, strict=True)),
        up_to_region_latency_s=access_s, down_from_region_latency_s=access_s,
        region_up_latency_s=region_s, region_down_latency_s=region_s,
        up_latency_s=access_s + region_s[region_of], down_latency_s=access_s + region_s[region_of],
        up_mean_bytes_per_s=np.array([line.up.mean for line in own]),
        down_mean_bytes_per_s=np.array([line.down.mean for line in own]))


def _region_cards(cards: Sequence[float], own: Sequence[Line], region_of: NDArray[np.int64], backbone: _Backbone,
                  first: int) -> RegionCards:
    """Return the cards of the edge regions' servers."""
    members = [[line for line, region in zip(own, region_of, strict=True) if region == each]
               for each in range(len(cards))]
    ups = [[line.up for line in group] for group in members]
    downs = [[line.down for line in group] for group in members]
    return RegionCards(cards, list(zip(ups, backbone.regions_up, strict=True)),
                       list(zip(downs, backbone.regions_down, strict=True)), first)


def _regions(groups: Sequence[WorkerGroup], regions: int) -> NDArray[np.int64]:
    """Deal edge workers to regions in turn within each group; the cloud's belong to the last."""
    dealt = [number % regions if group.tier == "edge" else regions for group in groups
             for number in range(group.count)]
    return np.array(dealt, dtype=np.int64)


def _to_region(backbone: _Backbone, cells: Cells, region_of: NDArray[np.int64],
               edge_regions: int) -> tuple[tuple[Route, ...], tuple[Route, ...]]:
    """Return (up, down): each worker's way to its server; its own links are 2 k (up) and 2 k + 1 (down)."""
    outside = [region < edge_regions for region in region_of]
    inward = [() if edge else (backbone.fabric_up,) for edge in outside]
    outward = [() if edge else (backbone.fabric_down,) for edge in outside]
    up = tuple((2 * row, *cells.up_of(row), *inside) for row, inside in enumerate(inward))
    return up, tuple((*inside, *cells.down_of(row), 2 * row + 1) for row, inside in enumerate(outward))


def _joined(first: Route, second: Route) -> Route:
    """Return the way over two routes; what both name, the fabric, is crossed once."""
    return tuple(dict.fromkeys(first + second))
