"""Statistics by hand; fits find what they should; generated links against measured ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.network.fidelity import Figure, _beside, _spelt, compare, figures, fitted, generate, halves, measured
from acesim.network.fidelity import held as summarised
from acesim.network.fitting import fit_shape, spelt
from acesim.network.fluctuation import fluctuate, outage
from acesim.network.models import Outages, RateModel, Shape, access_models, shape_of, traces_folder
from acesim.network.statistics import autocorrelation, summary, times_to_move
from acesim.network.traces import Trace

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"
LEAST_HELD = {("3g", "down"): 31, ("lte", "down"): 30, ("5g", "down"): 30, ("5g-mmwave", "down"): 30,
              ("satellite", "down"): 31, ("satellite", "up"): 30, ("wifi", "down"): 30, ("fixed", "down"): 27,
              ("3g", "up"): 28}
"""Of 33 (32 where no trace is long enough for 60 s): what docs/fidelity.md says, less what another seed may cost."""


def test_summary_by_hand():
    found = summary(np.array([0.0, 2e6, 2e6, 4e6]), 1.0)
    assert (found.mean, found.p50, found.near0) == (2e6, 2e6, 0.25)
    assert found.cv == pytest.approx(np.sqrt(0.5))
    assert found.acf1 == 0.0  # (-2)(0) + 0 0 + 0 2
    assert np.isnan(found.acf10)
    assert summary(np.ones(200), 1.0).acf60 == 0.0
    assert np.isnan(summary(np.ones(200), 5.0).acf1)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=20).filter(lambda rates: sum(rates) > 1),
       st.floats(0.01, 50), st.floats(0, 0.999))
def test_times_to_move_agree_with_a_trace(rates, amount_s, start):
    """The same question, asked of the simulator's own trace."""
    rates = np.round(np.array(rates), 2)
    if not rates.any():
        return
    trace, start_s = Trace(0.5, rates), start * len(rates) * 0.5
    expected = trace.time_to_move(amount_s * trace.mean, start_s) - start_s
    found = float(times_to_move(rates, 0.5, amount_s, np.array([start_s]))[0])
    carried = trace.moved_bytes(start_s, start_s + found)
    assert carried == pytest.approx(amount_s * trace.mean, rel=1e-9)
    assert found >= expected * (1 - 1e-9) - 1e-9  # they may differ by an outage that begins as the last byte passes


def test_rows_spell_shapes():
    for kind, model in access_models().items():
        for shape in model.down.shapes:
            assert shape_of(shape.row()) == shape
            assert shape.over_mean == tuple(sorted(shape.over_mean)), kind
        means = [shape.mean_bytes_per_s for shape in model.down.shapes]
        assert means == sorted(means)
        assert model.down.shape_at(-9.0) == model.down.shapes[0]
        assert model.down.mean_at(9.0) == pytest.approx(means[-1])
    assert spelt(fitted()) == traces_folder().joinpath("access_shapes.json").read_text(encoding="utf-8")


LOGNORMAL = tuple(np.exp(np.array([-3.0, -2.33, -2.05, -1.64, -1.28, -0.84, -0.52, -0.25, 0, 0.25, 0.52, 0.84, 1.28,
                                   1.64, 2.05, 2.33, 3]) / 2).tolist())
STEADY = Outages(0.0, 1.0, 0.0, 0.0, (0.0,) * 6)


def drawn(shape, samples=4096, count=8, beat_s=0.0):
    rng = np.random.default_rng(3)
    model = RateModel("", 1.0, beat_s, (shape,))
    return fluctuate(model, [shape] * count, rng.standard_normal((count, samples)), [rng] * count)


def test_time_scales_are_found_again():
    shape = Shape(1e6, LOGNORMAL, 0.7, 40.0, 2.0, 0.1, 0.0, STEADY)
    fits = [fit_shape(rates, 1.0, correction=0.0) for rates in drawn(shape)]
    assert np.median([fit.slow_s for fit in fits]) == pytest.approx(40, rel=0.35)
    assert np.median([fit.slow_share for fit in fits]) == pytest.approx(0.7, abs=0.12)
    assert np.median([fit.nugget for fit in fits]) == pytest.approx(0.1, abs=0.07)
    assert np.median([fit.over_mean[8] for fit in fits]) == pytest.approx(1 / np.exp(1 / 8), rel=0.1)


def test_outages_are_found_again():
    shape = Shape(1e6, LOGNORMAL, 0.7, 20.0, 2.0, 0.0, 0.0, Outages(0.2, 12.0, 1.2, 1.0, (0.0,) * 6))
    fits = [fit_shape(rates, 1.0, correction=0.0).outages for rates in drawn(shape)]
    assert np.mean([fit.share for fit in fits]) == pytest.approx(0.2, abs=0.01)
    assert np.mean([fit.mean_s for fit in fits]) == pytest.approx(12, rel=0.2)
    assert np.median([fit.spread_ln for fit in fits]) == pytest.approx(1.2, rel=0.25)


def test_next_to_nothing_keeps_its_share_of_outages():
    """Half of what is left is 0, the rest 1 to 10: of quantiles a fifth apart, the third is 1 or 0; joined by lines,
    .4 or .6 of the time is 0."""
    left = np.array([0.0] * 51 + list(np.linspace(1, 10, 49))) / 100
    rates = np.tile(np.concatenate([left, np.full(300, 1.0)]), 2) * 1e6
    floors, halves_ = (fit_shape(rates, 1.0, 0.2, correction=0.0, lower_percent=lower).outages.over_mean
                       for lower in (0.0, 10.0))
    assert [value == 0 for value in floors] == [True, True, True, False, False, False]
    assert [value == 0 for value in halves_] == [True, True, True, True, False, False]


def test_a_beat_is_heard():
    shape = Shape(1e6, LOGNORMAL, 0.5, 30.0, 1.0, 0.0, 0.5, STEADY)
    found = np.mean([autocorrelation(rates, [4, 5, 6, 10, 12]) for rates in drawn(shape, beat_s=5.0)], axis=0)
    assert found[1] > found[0] + 0.2 < found[3] + 0.1
    assert found[1] > found[2] + 0.2
    assert fit_shape(drawn(shape, beat_s=5.0)[0], 1.0, beat_s=5.0).beat == pytest.approx(0.5, abs=0.2)


def test_outages_keep_their_share_and_leave_some_rate():
    rng = np.random.default_rng(0)
    often = Outages(0.3, 10.0, 1.5, 1.0, (0.0,) * 6)
    shares = [outage(often, 1.0, 1000, rng).mean() for _ in range(50)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.03)
    seldom = Outages(0.001, 5.0, 0.5, 0.5, (0.0,) * 6)
    assert np.mean([outage(seldom, 1.0, 500, rng).mean() for _ in range(2000)]) == pytest.approx(0.001, rel=0.35)
    always = Outages(1.0, 900.0, 0.0, 0.0, (0.0,) * 6)
    assert outage(always, 1.0, 1000, rng).mean() <= 0.96


def test_short_or_constant_links_have_no_memory():
    assert fit_shape(np.arange(1.0, 25.0), 5.0).nugget == 1.0
    assert fit_shape(np.full(500, 3e6), 1.0).nugget == 1.0


def test_a_set_agrees_with_its_own_model():
    shape = Shape(2e6, LOGNORMAL, 0.7, 20.0, 2.0, 0.0, 0.0, STEADY)
    model = RateModel("", 1.0, 0.0, (shape, replace(shape, mean_bytes_per_s=4e6)))
    rng = np.random.default_rng(1)
    links = generate(model, 400, rng.standard_normal(30), rng)
    found = compare(links, model, 1.0, copies=2, resamples=30)
    assert sum(each.holds for each in found) >= len(found) - 3
    slow = compare(links, replace(model, shapes=(replace(shape, slow_s=300.0, slow_share=1.0),)), 1.0, copies=2,
                   resamples=30)
    assert not all(each.holds for each in slow)
    assert figures(links, 1.0, rng)["mean"] == pytest.approx(3e6, rel=0.4)


def test_tables():
    held, missed = Figure("cv", 0.5, 0.4, 0.6, 0.57, ), Figure("mean", 1e6, 0.9e6, 1.1e6, 2e6)
    assert (held.holds, missed.holds) == (True, False)
    assert Figure("x", 10.0, 9.9, 10.1, 11.4).holds  # within 15 %
    lines = _beside([held, missed], [held, missed._replace(generated=1e6)]).splitlines()[2:]
    assert lines == ["| cv | 0.500 | 0.400 to 0.600 | 0.570 | yes | 0.570 | yes |",
                     "| mean | 8 Mbps | 7.2 Mbps to 8.8 Mbps | 16 Mbps | **no** | 8 Mbps | yes |"]
    row = summarised("lte down", 3, [held, missed], [held, held], None)
    assert (row.usual, row.as_long, row.halves, row.worst, row.worst_ratio) == (1, 2, None, "mean", 2.0)
    row = summarised("lte down", 3, [held, missed], [held, held], ([missed], [held, held], [held]))
    assert "| 1 | 2 | 0 | 2 | 1 | mean: x 2.00 |" in _spelt(row)


def test_a_measured_half_is_held_against_the_other():
    """Halves that are alike differ by their random starts alone."""
    links = [1e6 * drawn(Shape(1e6, LOGNORMAL, 0.7, 10.0, 2.0, 0.0, 0.0, STEADY), samples=200, count=1)[0]] * 10
    found = halves({("wifi", "down"): links, ("lte", "down"): links[:7]}, seed=0)
    assert list(found) == [("wifi", "down")]  # seven are too few
    unfitted, usual, apart = found["wifi", "down"]
    assert [each.name for each in unfitted] == [each.name for each in usual] == [each.name for each in apart]
    assert sum(each.holds for each in apart) >= len(apart) - 1
    assert sum(each.holds for each in unfitted) >= len(unfitted) - 8


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("key", sorted(LEAST_HELD), ids="-".join)
def test_generated_links_are_like_measured_ones(key):
    """Most figures lie within the larger of 15 % and the bootstrap interval over the measured links."""
    if not SHARED.exists():
        pytest.skip(f"reference answers not found beside the project: {SHARED}")
    model = fitted()[key]
    found = compare(measured(SHARED)[key], model, model.sample_s, seed=1, resamples=60)
    missed = [f"{each.name}: {each.generated:.4g}, not {each.measured:.4g}" for each in found if not each.holds]
    assert len(found) - len(missed) >= LEAST_HELD[key], missed
