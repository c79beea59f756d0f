"""Topology: routes and latencies by hand."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from acesim.network import Flows, build
from acesim.network.cards import Narrowed, in_words
from acesim.scenario.schema import Cell, Diurnal
from acesim.scenario.units import Range, from_mbps


def exactly(value):
    return Range(value, value)


def group(name, count, kind, tier, rtt_s=0.02):
    access = SimpleNamespace(kind=kind, downlink_bytes_per_s=exactly(from_mbps(40)), trace=None, offset_s=0.0,
                             resample=False, block_s=60.0,
                             uplink_bytes_per_s=exactly(from_mbps(8)), rtt_s=exactly(rtt_s), end="loop")
    return SimpleNamespace(name=name, count=count, device="a100", access=access, tier=tier)


def spec(**changes):
    usual = {"regions": 2, "region_uplink_bytes_per_s": exactly(100.0), "region_downlink_bytes_per_s": None,
             "region_rtt_s": exactly(0.01), "cloud_ingress_bytes_per_s": exactly(300.0),
             "cloud_egress_bytes_per_s": exactly(400.0), "fabric_bytes_per_s": exactly(900.0),
             "message_header_bytes": 64, "message_startup_s": 0.0, "trace_step_s": 1.0, "trace_period_s": 256.0,
             "correlation": 0.0, "cross_traffic": 0.0, "jitter": 0.0, "diurnal": Diurnal(),
             "cell": Cell()}
    return SimpleNamespace(**(usual | changes))


GROUPS = (group("cloud", 1, "datacenter", "cloud", 0.0005), group("xavier", 3, "lte", "edge"),
          group("n100", 2, "constant", "edge"))


def named(topology, route):
    return [topology.link_names[link] for link in route]


def test_routes():
    topology = build(GROUPS, spec(), 0)
    assert topology.worker_names == ("cloud-0", "xavier-0", "xavier-1", "xavier-2", "n100-0", "n100-1")
    assert (topology.workers, topology.regions, topology.message_header_bytes) == (6, 3, 64)
    assert topology.region_of.tolist() == [2, 0, 1, 0, 0, 1]
    assert named(topology, topology.up_route[2]) == ["xavier-1 up", "region-1 up", "cloud ingress"]
    assert named(topology, topology.down_route[2]) == ["cloud egress", "region-1 down", "xavier-1 down"]
    assert named(topology, topology.up_to_region[2]) == ["xavier-1 up"]
    assert named(topology, topology.down_from_region[2]) == ["xavier-1 down"]
    assert named(topology, topology.region_up[1]) == ["region-1 up", "cloud ingress"]
    assert named(topology, topology.region_down[1]) == ["cloud egress", "region-1 down"]
    for up, down in ((topology.up_route, topology.down_route),
                     (topology.up_to_region, topology.down_from_region)):
        assert named(topology, up[0]) == ["cloud-0 up", "fabric up"]
        assert named(topology, down[0]) == ["fabric down", "cloud-0 down"]
    assert named(topology, topology.region_up[2]) == ["fabric up"]
    assert named(topology, topology.region_down[2]) == ["fabric down"]


def test_latencies_of_a_star_are_those_of_both_levels_of_a_tree():
    topology = build(GROUPS, spec(), 0)
    assert topology.up_latency_s == pytest.approx([0.00025, 0.015, 0.015, 0.015, 0.015, 0.015])
    assert topology.up_to_region_latency_s == pytest.approx([0.00025] + [0.01] * 5)
    assert topology.region_up_latency_s.tolist() == [0.005, 0.005, 0.0]
    both = topology.up_to_region_latency_s + topology.region_up_latency_s[topology.region_of]
    assert (both == topology.up_latency_s).all()
    assert (topology.down_latency_s == topology.up_latency_s).all()
    assert (topology.down_from_region_latency_s == topology.up_to_region_latency_s).all()
    assert (topology.region_down_latency_s == topology.region_up_latency_s).all()


def test_capacities():
    topology = build(GROUPS, spec(region_downlink_bytes_per_s=exactly(50.0)), 0)
    mean = dict(zip(topology.link_names, (link.mean for link in topology.links), strict=True))
    assert (mean["region-0 up"], mean["region-1 down"], mean["cloud ingress"]) == (100.0, 50.0, 300.0)
    assert (mean["cloud egress"], mean["fabric up"], mean["fabric down"]) == (400.0, 900.0, 900.0)
    assert topology.up_mean_bytes_per_s == pytest.approx([from_mbps(8)] * 6, rel=0.01)
    assert topology.down_mean_bytes_per_s == pytest.approx([from_mbps(40)] * 6, rel=0.01)
    assert len(topology.links[2]) == 256
    alike = build(GROUPS, spec(), 0)
    assert [alike.links[link].mean for link in alike.region_down[0]] == [400.0, 100.0]


def test_ranges_of_regions_are_drawn_from_the_seed():
    wide = spec(regions=20, region_uplink_bytes_per_s=Range(10.0, 1000.0), region_rtt_s=Range(0.0, 0.1))
    topology = build(GROUPS, wide, 0)
    rates = [topology.links[route[0]].mean for route in topology.region_up[:-1]]
    assert 10 <= min(rates) < 60 < 200 < max(rates) <= 1000
    assert len(set(topology.region_up_latency_s.tolist())) == 21
    down = [topology.links[route[1]].mean for route in topology.region_down[:-1]]
    assert down == rates  # without a range of its own, a region's downlink is as good as its uplink
    again = build(GROUPS, wide, 0)
    assert (again.region_up_latency_s == topology.region_up_latency_s).all()
    assert (build(GROUPS, wide, 1).region_up_latency_s != topology.region_up_latency_s)[:-1].all()


def test_regions_are_alike():
    groups = [group("a", 24, "lte", "edge"), group("b", 24, "5g", "edge"), group("c", 16, "fixed", "edge")]
    topology = build(groups, spec(regions=4), 0)
    for first, last in ((0, 24), (24, 48), (48, 64)):
        assert len(set(np.bincount(topology.region_of[first:last]).tolist())) == 1


def test_a_round_on_a_built_network_survives_pickling():
    topology = pickle.loads(pickle.dumps(build(GROUPS, spec(), 3)))
    flows = Flows(topology.links)
    for row, route in enumerate(topology.up_route):
        flows.start(row, 1000.0, route, 0.0)
    flows = pickle.loads(pickle.dumps(flows))
    assert sorted(flows.advance(1e6)) == list(range(6))
    moved = dict(zip(topology.link_names, flows.moved_bytes_per_link, strict=True))
    assert (moved["region-0 up"], moved["region-1 up"]) == (3000.0, 2000.0)
    assert (moved["cloud ingress"], moved["fabric up"]) == (5000.0, 1000.0)


def test_cells_and_cross_traffic_off_change_not_a_bit():
    usual, off = build(GROUPS, spec(), 0), build(GROUPS, spec(cell=Cell(workers=0, kind="5g")), 0)
    assert usual.link_names == off.link_names
    assert usual.up_route == off.up_route
    assert all((one.bytes_per_s == two.bytes_per_s).all() for one, two in zip(usual.links, off.links, strict=True))


def test_neighbours_share_a_cell():
    cell = Cell(workers=2, kind="lte", downlink_bytes_per_s=from_mbps(30), uplink_bytes_per_s=from_mbps(9))
    topology = build((group("cloud", 1, "datacenter", "cloud"), group("xavier", 6, "lte", "edge"),
                      group("n100", 2, "wifi", "edge")), spec(cell=cell), 0)
    assert named(topology, topology.up_route[1]) == ["xavier-0 up", "cell-0 up", "region-0 up", "cloud ingress"]
    assert named(topology, topology.down_route[3]) == ["cloud egress", "region-0 down", "cell-0 down", "xavier-2 down"]
    assert named(topology, topology.up_to_region[5]) == ["xavier-4 up", "cell-1 up"]  # the third of region 0
    assert named(topology, topology.up_to_region[2]) == ["xavier-1 up", "cell-2 up"]
    assert named(topology, topology.up_route[7]) == ["n100-0 up", "region-0 up", "cloud ingress"]
    links = dict(zip(topology.link_names, topology.links, strict=True))
    assert links["cell-0 down"].mean == pytest.approx(from_mbps(30))
    assert links["cell-3 up"].mean == pytest.approx(from_mbps(9))
    assert (links["cell-0 down"].bytes_per_s != links["cell-1 down"].bytes_per_s).any()
    alone = build((group("cloud", 1, "datacenter", "cloud"), group("xavier", 6, "lte", "edge"),
                   group("n100", 2, "wifi", "edge")), spec(), 0)
    assert (alone.links[4].bytes_per_s == topology.links[4].bytes_per_s).all()  # a worker's own link stays as it was


def test_other_peoples_traffic_takes_its_share():
    crowded = build(GROUPS, spec(cross_traffic=0.3, trace_period_s=16384.0), 0)
    links = dict(zip(crowded.link_names, crowded.links, strict=True))
    for name in ("region-0 up", "region-1 down"):
        left = links[name].bytes_per_s / 100.0
        assert left.mean() == pytest.approx(0.7, abs=0.04)
        assert 0 <= left.min() < 0.4 < 0.9 < left.max() <= 1
    assert links["cloud ingress"].mean == 300.0


WIDE = [1e9] * (6 + 3 + 1)  # workers, regions' servers, the cloud's


def with_card(place, bytes_per_s):
    return [*WIDE[:place], bytes_per_s, *WIDE[place + 1:]]


def test_fast_cards_change_nothing():
    plain, carded = build(GROUPS, spec(), 0), build(GROUPS, spec(), 0, WIDE)
    assert plain.link_names == carded.link_names
    assert carded.narrowed == ()
    assert (plain.up_route, plain.up_to_region, plain.region_up) == (carded.up_route, carded.up_to_region,
                                                                     carded.region_up)
    for one, other in zip(plain.links, carded.links, strict=True):
        np.testing.assert_array_equal(one.bytes_per_s, other.bytes_per_s)


def test_a_workers_card_narrows_its_own_links_alone():
    plain, carded = build(GROUPS, spec(), 0), build(GROUPS, spec(), 0, with_card(1, 2e6))
    for number, (one, other) in enumerate(zip(plain.links, carded.links, strict=True)):
        limit = 2e6 if number in (2, 3) else np.inf
        np.testing.assert_array_equal(np.minimum(one.bytes_per_s, limit), other.bytes_per_s)
    assert carded.down_mean_bytes_per_s[1] < plain.down_mean_bytes_per_s[1]
    assert carded.narrowed == (Narrowed("xavier-0", 2e6),)


def test_the_clouds_card_narrows_what_ends_there():
    carded = build(GROUPS, spec(), 0, with_card(9, 350.0))
    rates = dict(zip(carded.link_names, carded.links, strict=True))
    assert [rates[name].maximum for name in ("cloud ingress", "cloud egress", "fabric up")] == [300.0, 350.0, 350.0]
    assert list(in_words(carded.narrowed)) == ["1 of cloud server at 350 B/s"]


def test_a_regions_card_is_shared_by_all_that_its_server_takes_but_not_by_what_passes_by():
    """Four megabytes a second from two workers of a megabyte a second each, through a card of half of that."""
    carded = build(GROUPS, spec(region_uplink_bytes_per_s=Range(1e8, 1e8)), 0, with_card(6, 5e5))
    first, third = carded.up_to_region[1], carded.up_to_region[3]
    assert named(carded, first) == ["xavier-0 up", "region-0 card in"]
    assert named(carded, carded.region_up[0]) == ["region-0 card out", "region-0 up", "cloud ingress"]
    assert named(carded, carded.region_down[0]) == ["cloud egress", "region-0 down", "region-0 card in"]
    assert named(carded, carded.down_from_region[1]) == ["region-0 card out", "xavier-0 down"]
    assert named(carded, carded.up_route[1]) == ["xavier-0 up", "region-0 up", "cloud ingress"]
    flows = Flows(carded.links)
    flows.start(0, 1e6, first, 0.0)
    flows.start(1, 1e6, third, 0.0)
    last_s = flows.next_finish()
    assert flows.advance(last_s)
    assert flows.next_finish() >= 2e6 / 5e5 * (1 - 1e-9)
