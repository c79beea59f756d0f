"""Network cards of the shipped scenarios, and what `acesim validate` says of them."""

import pytest

from acesim import fleet
from acesim.network import build
from acesim.runner import narrowed_by_cards
from acesim.scenario import load, shipped_scenarios

SMALL_SERVERS = ("dagc-bandwidth", "dgs", "fleet")
"""Of the regions; their policies are stars, which pass a region's server by."""


@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_scenarios_have_cards_as_fast_as_their_lines(name):
    scenario = load(name)
    regions = narrowed_by_cards(scenario) if name in SMALL_SERVERS else []
    assert narrowed_by_cards(scenario) == regions
    assert all(text.endswith("of region at 2.5 Gbps") for text in regions)
    cards = [device.network_bytes_per_s for device in fleet.build(scenario, 1000, 7).devices]
    for seed in (1, 2):
        found = build(scenario.workers, scenario.network, seed, cards).narrowed
        assert {each.name.rsplit("-", 1)[0] for each in found} <= ({"region"} if regions else set())


def test_validate_says_it():
    scenario = load("minimal", ["workers.cloud.device=raspberry-pi-4"])
    assert narrowed_by_cards(scenario) == ["16 of cloud at 1 Gbps"]


def test_a_regions_small_server_is_named_where_its_workers_could_fill_it():
    """64 phones and boards of up to 200 Mbps a region; only policies on a tree of regions meet that card."""
    assert narrowed_by_cards(load("fleet")) == ["16 of region at 2.5 Gbps"]
