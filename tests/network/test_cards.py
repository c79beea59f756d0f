"""Network cards of the shipped scenarios, and what `acesim validate` says of them."""

import pytest

from acesim import fleet
from acesim.network import build
from acesim.runner import narrowed_by_cards
from acesim.scenario import load, shipped_scenarios


@pytest.mark.parametrize("name", sorted({*shipped_scenarios()} - {"fleet"}))
def test_shipped_scenarios_have_cards_as_fast_as_their_lines(name):
    scenario = load(name)
    assert narrowed_by_cards(scenario) == []
    cards = [device.network_bytes_per_s for device in fleet.build(scenario, 1000, 7).devices]
    assert all(len(build(scenario.workers, scenario.network, seed, cards).narrowed) == 0 for seed in range(1, 3))


def test_validate_says_it():
    scenario = load("minimal", ["workers.cloud.device=raspberry-pi-4"])
    assert narrowed_by_cards(scenario) == ["16 of cloud at 1 Gbps"]


def test_a_regions_small_server_is_named_where_its_workers_could_fill_it():
    """64 phones and boards of up to 200 Mbps a region; only policies on a tree of regions meet that card."""
    assert narrowed_by_cards(load("fleet")) == ["16 of region at 2.5 Gbps"]
