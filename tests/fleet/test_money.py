"""What a run costs in money and CO2, and that the cloud's egress is felt."""

from dataclasses import replace

import pytest
from tests_support import play, small_scenario, small_setup

from acesim import fleet
from acesim.fleet.money import providers
from acesim.scenario import Scenario
from acesim.scenario.costs import Grid, Prices
from acesim.study import run


def test_the_default_is_nine_cents_a_gigabyte():
    found = fleet.price_list(Prices())
    assert (found.cost(1e9), found.cost(0.0), found.currency) == (pytest.approx(0.09), 0.0, "USD")


def test_tiers_are_passed_through_one_after_the_other():
    """10 TB at .09, 40 TB at .085, 100 TB at .07, 1 TB at .05: 900 + 3400 + 7000 + 50 dollars."""
    assert fleet.price_list(Prices(provider="aws")).cost(151e12) == pytest.approx(11350)
    written = Prices(egress=[{"up_to": "1 GB", "price": "1 USD/GB"}, {"price": "0.5 USD/GB"}], free="500 MB")
    found = fleet.price_list(written)
    assert [found.cost(nbytes) for nbytes in (4e8, 1e9, 1.5e9, 3.5e9)] == pytest.approx([0, 0.5, 1, 2])


@pytest.mark.parametrize("name", sorted(providers()))
def test_every_list_has_a_source_and_falling_prices(name):
    found = fleet.price_list(Prices(provider=name))
    prices = [tier.per_byte for tier in found.tiers]
    assert prices == sorted(prices, reverse=True)
    assert 0.04 < prices[-1] * 1e9 < 0.2
    assert providers()[name]["source"]


@pytest.mark.parametrize(("sections", "rule"), [
    ({"prices": {"provider": "asw"}}, "prices.provider = asw: unknown price list; did you mean aws?"),
    ({"currency": "EUR"}, "prices: in USD, but the scenario's currency is EUR; write for example prices: "
                          "{egress: 0.09 EUR/GB}"),
    ({"prices": {"egress": "0.08 EUR/GB"}}, "prices: in EUR, but the scenario's currency is USD"),
])
def test_prices_that_cannot_be_used(sections, rule):
    (problem,) = fleet.check(Scenario(name="x", **sections))
    assert str(problem).startswith(rule)


def test_a_grid():
    assert Grid().intensity_kg_per_joule * 3.6e6 == pytest.approx(0.4)
    assert Grid(intensity="50 gCO2/kWh").intensity_kg_per_joule * 3.6e6 == pytest.approx(0.05)


def test_a_run_says_what_it_cost(tmp_path):
    scenario = small_scenario(epochs=1).model_copy(update={"prices": Prices(egress="2 USD/GB"),
                                                           "grid": Grid(intensity="3.6 kgCO2/kWh")})
    study = run(scenario, jobs=1, out=tmp_path)
    (record,) = study.records
    page = record.manifest
    assert page["egress_bytes"] > 0
    assert page["egress_cost"] == pytest.approx(page["egress_bytes"] * 2e-9)
    assert page["carbon_kg"] == pytest.approx(page["energy_joules"] * 1e-6)
    row = study.compare().iloc[0]
    assert (row["egress_cost"], row["carbon_kg"]) == (page["egress_cost"], page["carbon_kg"])


def test_what_the_cloud_lets_out_changes_the_critical_path():
    """Twelve edge workers on 100 Mbps lines: with 10 Gbps the slowest line decides when the last model is there;
    with 120 Mbps they share the cloud's egress, 10 Mbps each, and only downloads become slower."""
    access = {"kind": "constant", "downlink": "100 Mbps", "uplink": "100 Mbps", "rtt": "20 ms"}

    def world(egress):
        workers = [{"name": "edge", "count": 12, "device": "n100", "access": access, "compute": {"jitter": 0}}]
        network = {"regions": 1, "region_uplink": "10 Gbps", "cloud_egress": egress}
        scenario = Scenario(name="x", task={"kind": "quadratic", "steps_per_epoch": 4}, stop={"epochs": 1},
                            workers=workers, network=network, policies=["full-sync"],
                            nominal={"model": "transformer-350m", "tokens_per_step": {"edge": 32}})
        return play(replace(small_setup(scenario=scenario), rounds=1))
    wide, narrow = world("10 Gbps"), world("120 Mbps")
    assert wide.outcome.training_digest == narrow.outcome.training_digest

    def spans(played, kind):
        return [event.end_s - event.start_s for event in played.of(kind)]
    model_bytes = 4 * 354_823_168 + 64
    assert spans(wide, "download") == pytest.approx([model_bytes / 12.5e6 + 0.01] * 12)
    assert spans(narrow, "download") == pytest.approx([model_bytes / 1.25e6 + 0.01] * 12)
    for kind in ("compute", "upload"):
        assert spans(narrow, kind) == pytest.approx(spans(wide, kind))
    longer_s = narrow.metrics[-1].time_s - wide.metrics[-1].time_s
    assert longer_s == pytest.approx(model_bytes / 1.25e6 - model_bytes / 12.5e6)
