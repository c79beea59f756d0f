"""Generated links: bounds, means, measured statistics, and the seed's word."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from acesim.network.fluctuation import fluctuate, outage, turned
from acesim.network.generator import lines
from acesim.network.models import PERCENT, access_models
from acesim.network.worlds import World
from acesim.scenario.errors import ScenarioError, TraceError
from acesim.scenario.units import Range, from_mbps

FITS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fits.json"
NAMES = {"3g": "3G (HSPA/EVDO)", "lte": "LTE", "5g": "5G sub-6", "5g-mmwave": "5G mmWave",
         "satellite": "LEO satellite", "wifi": "Wi-Fi", "fixed": "fixed"}
WIDE = Range(from_mbps(5), from_mbps(200))


def access(kind, **settings):
    usual = {"downlink_bytes_per_s": None, "uplink_bytes_per_s": None, "rtt_s": None, "trace": None,
             "offset_s": 0.0, "end": "loop", "resample": False, "block_s": 60.0}
    return SimpleNamespace(kind=kind, **(usual | settings))


def scalar(mbps):
    return Range(from_mbps(mbps), from_mbps(mbps))


def draw(kind, count=40, seed=0, step_s=1.0, period_s=1024.0, **settings):
    return lines([access(kind, **settings)] * count, step_s, period_s, seed)


def autocorrelation(rates, lag):
    spread = rates - rates.mean()
    return float((spread * np.roll(spread, lag)).mean() / rates.var())


def test_a_range_bounds_what_the_link_does():
    drawn = draw("lte", downlink_bytes_per_s=WIDE, uplink_bytes_per_s=WIDE, rtt_s=Range(0.01, 0.3))
    for line in drawn:
        for trace in (line.down, line.up):
            assert WIDE.low <= trace.minimum < trace.maximum <= WIDE.high
            assert (len(trace), trace.step_s) == (1024, 1.0)
        assert 0.01 <= line.rtt_s <= 0.3
    medians = [np.median(line.down.bytes_per_s) for line in drawn]
    assert min(medians) < from_mbps(10)
    assert max(medians) > from_mbps(100)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_a_scalar_is_the_mean(kind):
    for line in draw(kind, downlink_bytes_per_s=scalar(40), uplink_bytes_per_s=scalar(8)):
        assert line.down.mean == pytest.approx(from_mbps(40))
        assert line.up.mean == pytest.approx(from_mbps(8))


def test_constant_kinds():
    (line,) = draw("constant", 1, downlink_bytes_per_s=scalar(20), rtt_s=Range(0.02, 0.02))
    assert line.down.bytes_per_s.tolist() == line.up.bytes_per_s.tolist() == [2.5e6]
    assert line.rtt_s == 0.02
    assert {len(line.down) for line in draw("datacenter", downlink_bytes_per_s=WIDE)} == {1}
    with pytest.raises(ScenarioError, match="kind constant has no usual rate: write for example"):
        draw("constant")


def test_the_uplink_follows_the_kind_where_it_is_not_given():
    ratios = [np.log(line.up.mean / line.down.mean)
              for line in draw("lte", 400, downlink_bytes_per_s=scalar(40), period_s=256.0)]
    assert np.mean(ratios) == pytest.approx(-1.57, abs=4 * 0.51 / 20)  # four standard errors of 400 draws
    assert np.std(ratios) == pytest.approx(0.51, rel=0.15)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_usual_means_and_round_trips(kind):
    model, drawn = access_models()[kind], draw(kind, 400, period_s=64.0, step_s=4.0)
    logs = np.log([line.down.mean / model.down.median_bytes_per_s for line in drawn])
    assert abs(np.mean(logs)) < 4 * model.down.spread_ln / 20 + 0.1  # short periods may not be scaled in full
    assert all(model.rtt_low_s <= line.rtt_s <= model.rtt_high_s for line in drawn)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_rates_have_the_quantiles_of_the_model(kind):
    """Outside outages, which take their share of the time; stretches of the same mean would bend them."""
    shape = replace(access_models()[kind].down.shapes[-3], span_s=math.inf)
    model = replace(access_models()[kind].down, shapes=(shape,))
    rng = np.random.default_rng(0)
    samples = 2000 if kind != "fixed" else 400
    rates = fluctuate(model, [shape] * 20, rng.standard_normal((20, samples)), [rng] * 20)
    out = np.array([outage(shape.outages, model.sample_s, samples, rng) for _ in range(20)]).mean()
    assert out == pytest.approx(shape.outages.share, rel=0.3, abs=0.005)
    over = np.array(PERCENT) / 100 * (1 - out) + out
    assert np.quantile(rates, over[6:-2]) == pytest.approx(np.array(shape.over_mean[6:-2]), rel=0.1, abs=0.06)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_the_period_joins_smoothly(kind):
    """A step over the seam is no larger than one elsewhere, in a period that is one stretch: within four standard
    errors."""
    model = access_models()[kind].down
    step_s, period_s = model.sample_s, min(shape.span_s for shape in model.shapes)
    rates = [line.down.bytes_per_s / line.down.mean for line in draw(kind, 80, 0, step_s, period_s)]
    jumps = np.array([np.abs(np.diff(row, append=row[0])) for row in rates])
    usual = jumps[:, :-1].mean()
    assert abs(jumps[:, -1].mean() - usual) < 4 * jumps.std() / np.sqrt(80)


def test_directions_are_correlated_and_workers_are_not():
    drawn = draw("lte", 80)
    ways = [np.corrcoef(line.down.bytes_per_s, line.up.bytes_per_s)[0, 1] for line in drawn]
    assert 0.3 < np.mean(ways) < 0.5
    others = [np.corrcoef(one.down.bytes_per_s, two.down.bytes_per_s)[0, 1]
              for one, two in pairwise(drawn)]
    assert abs(np.mean(others)) < 0.1


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_no_moment_is_good_for_all_links(kind):
    """Rates at one moment, and over the first minute, are on average over links as at any time; six deviations."""
    count = 200
    found = draw(kind, count, downlink_bytes_per_s=scalar(9))
    relative = np.array([line.down.bytes_per_s / line.down.mean for line in found])
    spread = relative.std(axis=1).mean() / math.sqrt(count)
    assert np.abs(relative.mean(axis=0) - 1).max() < 6 * spread
    assert abs(relative[:, :60].mean() - 1) < 4 * spread
    pairs = np.corrcoef(relative)[np.triu_indices(count, 1)]
    assert abs(pairs.mean()) < 0.02


def test_the_seed_alone_decides():
    first, again, other = draw("5g"), draw("5g"), draw("5g", seed=1)
    for one, two in zip(first, again, strict=True):
        assert (one.down.bytes_per_s == two.down.bytes_per_s).all()
        assert (one.up.bytes_per_s == two.up.bytes_per_s).all()
    assert not (first[0].down.bytes_per_s == other[0].down.bytes_per_s).any()


def test_one_setting_changes_only_itself():
    """A sweep over the uplink, or another worker's access, leaves a worker's downlink and latency alone."""
    usual = draw("wifi", 3, downlink_bytes_per_s=WIDE)
    changed = lines([access("lte"), access("satellite"), access("wifi", downlink_bytes_per_s=WIDE,
                                                                uplink_bytes_per_s=WIDE)], 1.0, 1024.0, 0)
    assert (usual[2].down.bytes_per_s == changed[2].down.bytes_per_s).all()
    assert usual[2].rtt_s == changed[2].rtt_s
    assert (usual[2].up.bytes_per_s != changed[2].up.bytes_per_s).any()


@pytest.mark.parametrize(("step_s", "period_s"), [(0.25, 64.0), (10.0, 1000.0), (7.0, 7.0)])
def test_any_step(step_s, period_s):
    for kind in sorted(NAMES):
        for line in draw(kind, 3, step_s=step_s, period_s=period_s):
            assert len(line.down) == len(line.up) == round(period_s / step_s)


def together(count, correlation, kind="lte", seed=0, **day):
    world = World([0, 1] * (count // 2), correlation, **day)
    return lines([access(kind)] * count, 1.0, 1024.0, seed, world)


def test_a_world_that_shares_nothing_changes_not_a_bit():
    for one, two in zip(draw("satellite", 6), together(6, 0.0, "satellite"), strict=True):
        assert (one.down.bytes_per_s == two.down.bytes_per_s).all()
        assert (one.up.bytes_per_s == two.up.bytes_per_s).all()


@pytest.mark.parametrize("correlation", [0.4, 1.0])
def test_correlation_is_within_regions(correlation):
    """Of the ranks, for shapes differ: those of workers of one region move together, of two regions they do not."""
    rows = np.array([line.down.bytes_per_s for line in together(24, correlation, seed=3)])
    found = np.corrcoef(rows.argsort(axis=1).argsort(axis=1))
    same = np.add.outer(np.arange(24), np.arange(24)) % 2 == 0
    np.fill_diagonal(same, False)
    other = np.add.outer(np.arange(24), np.arange(24)) % 2 == 1
    # Workers forget at their own pace, so that even noise in common leaves them less than wholly correlated.
    assert correlation * 0.55 < found[same].mean() <= correlation
    assert abs(found[other].mean()) < 0.3  # two regions are but one pair of common factors


def test_the_hour_of_the_day():
    usual, swinging = together(40, 0.0), together(40, 0.0, amplitude=0.5, day_s=1024.0)
    ratios = np.mean([two.down.bytes_per_s / two.down.mean - one.down.bytes_per_s / one.down.mean
                      for one, two in zip(usual, swinging, strict=True)], axis=0)
    wave = np.sin(2 * np.pi * (np.arange(1024) + 0.5) / 1024)
    assert 2 * (ratios * wave).mean() == pytest.approx(0.5, abs=0.1)
    for one, two in zip(usual, swinging, strict=True):
        assert two.down.mean == pytest.approx(one.down.mean)


def test_blocks_of_ones_own_traces(tmp_path):
    for number in range(3):
        rows = "".join(f"{at_s},{100 * number + at_s},{10 * number + 1}\n" for at_s in range(50))
        (tmp_path / f"ride{number}.csv").write_text("t_s,down_mbps,up_mbps\n" + rows)
    settings = {"trace": str(tmp_path / "ride*.csv"), "block_s": 10.0}
    taken = draw("trace", 4, **settings)
    assert [line.down.maximum / from_mbps(1) for line in taken] == pytest.approx([49, 149, 249, 49])
    drawn = draw("trace", 12, period_s=400.0, resample=True, **settings)
    assert {len(line.down) for line in drawn} == {400}
    assert len({line.down.bytes_per_s.tobytes() for line in drawn}) == 12
    for line in drawn:
        mbps = line.down.bytes_per_s / from_mbps(1)
        ride = int(mbps.max()) // 100
        assert (mbps // 100 == ride).all()  # of one ride
        assert line.up.mean == pytest.approx(from_mbps(10 * ride + 1))
        assert (np.abs(np.diff(mbps) % 50 - 1) < 1e-6).mean() == pytest.approx(0.9, abs=0.06)  # 10 s blocks
    again = draw("trace", 12, period_s=400.0, resample=True, **settings)
    assert all((one.down.bytes_per_s == two.down.bytes_per_s).all() for one, two in zip(drawn, again, strict=True))


def test_recorded_traces(tmp_path):
    path = tmp_path / "tram.csv"
    path.write_text("t_s,down_mbps\n0,8\n1,16\n2,0\n")
    with pytest.raises(TraceError, match=r"tram\.csv:1: has no column up_mbps"):
        draw("trace", trace=str(path))
    settings = {"trace": str(path), "uplink_bytes_per_s": scalar(4), "offset_s": 1.0, "end": "hold"}
    (line,) = draw("trace", 1, **settings)
    assert line.down.bytes_per_s.tolist() == [2e6, 0]
    assert line.up.bytes_per_s.tolist() == [5e5]
    assert line.down.end == "hold"


@pytest.mark.reference
@pytest.mark.parametrize("kind", sorted(NAMES))
def test_generated_traces_lie_among_the_measured_ones(kind):
    """Medians over generated traces lie between the 10 % and 90 % quantiles over measured ones."""
    if not FITS.exists():
        pytest.skip(f"reference answers not found beside the project: {FITS}")
    fit = json.loads(FITS.read_text())[NAMES[kind] + "|down"]
    traces = [line.down for line in draw(kind, 80)]
    found = {"cv": np.median([trace.bytes_per_s.std() / trace.mean for trace in traces]),
             "acf10": np.median([autocorrelation(trace.bytes_per_s, 10) for trace in traces]),
             "acf60": np.median([autocorrelation(trace.bytes_per_s, 60) for trace in traces])}
    for name, value in found.items():
        low, _, high = fit[name]
        assert low - 0.05 <= value <= high + 0.05, name


def test_a_long_period_is_stretches_of_the_same_mean():
    """Each as long as the measurement: what is slower was not seen.  A stretch begins and ends at its best."""
    shape = next(each for each in access_models()["wifi"].down.shapes if each.outages.share > 0.1)
    model = replace(access_models()["wifi"].down, shapes=(shape,))
    rng = np.random.default_rng(1)
    count = round(1000 / shape.span_s)
    rates = fluctuate(model, [shape] * 5, rng.standard_normal((5, 1000)), [rng] * 5)
    np.testing.assert_allclose([[part.mean() for part in np.array_split(row, count)] for row in rates], 1.0)
    moved = turned(model, [shape] * 5, rates, rates)
    for row, before in zip(moved, rates, strict=True):
        for part, old in zip(np.array_split(row, count), np.array_split(before, count), strict=True):
            assert sorted(part.tolist()) == sorted(old.tolist())
            around = np.concatenate([part[-len(part) // 8:], part[: len(part) // 8]])
            assert around.mean() > part.mean()


def test_both_directions_of_a_link_fade_together():
    """The uplink borrows the downlink's shape: its outages come at the same moments."""
    for line in draw("wifi", 20, downlink_bytes_per_s=None, uplink_bytes_per_s=None):
        down, up = (way.bytes_per_s / way.mean < 0.005 for way in (line.down, line.up))
        if down.sum() > 20:
            assert (down & up).sum() > 0.8 * down.sum()
