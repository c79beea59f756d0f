"""The verdict: by hand, its laws, and what it makes of effects and of nothing planted in noise."""

from math import inf, isfinite, nan, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from acesim.report.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Rule,
    Sample,
    between,
    directed,
    judge,
    no_worse,
)

ORDER = {NOT_REPRODUCED: 0, INCONCLUSIVE: 1, REPRODUCED: 2}
LESS = directed("difference", "less")


def samples(*values):
    return {seed: Sample(float(value)) for seed, value in enumerate(values)}


def verdict(differences, rule):
    """Judge differences, or ratios, as such."""
    nothing = 0.0 if rule.form == "difference" else 1.0
    return judge(samples(*differences), samples(*(nothing for _ in differences)), rule)


# ---- by hand

@pytest.mark.parametrize(("differences", "word"), [
    ((-1.0, -1.1, -0.9), REPRODUCED),        # -1 +- .25
    ((1.0, 1.1, 0.9), NOT_REPRODUCED),
    ((-1.0, 1.0, 0.5), INCONCLUSIVE),
    ((-1.0, -1.0, 1.9), INCONCLUSIVE),
    ((0.0, 0.0, 0.0), NOT_REPRODUCED),       # exactly no effect, at every seed
])
def test_a_direction(differences, word):
    assert verdict(differences, LESS).word == word


@pytest.mark.parametrize(("differences", "word"), [
    ((-2.0, -2.1, -1.9), REPRODUCED),        # the paper says -2, a factor of 2 is allowed
    ((-1.1, -1.2, -1.0), REPRODUCED),        # the mean lies in -4 .. -1
    ((-0.5, -0.6, -0.4), NOT_REPRODUCED),    # -.5 +- .25: the right sign, too small
    ((-6.0, -6.1, -5.9), NOT_REPRODUCED),    # too large
    ((-0.9, -1.0, -0.8), INCONCLUSIVE),      # -.9 +- .25 reaches into the region, the mean does not lie in it
    ((-2.0, -3.0, 0.0), INCONCLUSIVE),
])
def test_a_factor(differences, word):
    assert verdict(differences, directed("difference", "less", -2.0, 2.0)).word == word


@pytest.mark.parametrize(("differences", "word"), [
    ((-0.1, 0.0, 0.1), REPRODUCED),          # 0 +- .248 lies above -.3, whatever zero is
    ((-0.5, -0.6, -0.55), NOT_REPRODUCED),
    ((-0.2, -0.1, 0.1), INCONCLUSIVE),       # -.067 +- .38
])
def test_no_worse(differences, word):
    assert verdict(differences, no_worse("difference", "more", 0.3)).word == word
    assert verdict([-d for d in differences], no_worse("difference", "less", 0.3)).word == word


def test_ratios_are_judged_on_their_logarithms():
    rule = directed("ratio", "less", 0.4, 1.5)
    assert rule == Rule("ratio", 0.4 / 1.5, 0.4 * 1.5, 1.0)
    found = judge(samples(4, 5, 4.4), samples(10, 12, 11), rule)
    logs = np.log([4 / 10, 5 / 12, 4.4 / 11])
    assert found.word == REPRODUCED
    assert found.effect.mean == pytest.approx(np.exp(logs.mean()))
    assert found.effect.high == pytest.approx(np.exp(logs.mean() + 4.30265272975 * logs.std(ddof=1) / sqrt(3)))
    assert judge(samples(9, 9.1), samples(10, 10), rule).word == NOT_REPRODUCED


def test_a_region_by_its_ends():
    rule = between("ratio", 0.4, 0.6)
    assert verdict((0.5, 0.51, 0.49), rule).word == REPRODUCED
    assert verdict((0.27, 0.28, 0.26), rule).word == NOT_REPRODUCED
    for low, high in ((0.6, 0.4), (0.5, 1.5)):
        with pytest.raises(ValueError, match="both on one side of 1"):
            between("ratio", low, high)


def test_the_papers_figure_must_be_on_the_side_it_claims():
    assert directed("ratio", "less", 0.9, 1.5).high == 1.0          # no further than no effect at all
    assert directed("difference", "more", 2.0, 2.0) == Rule("difference", 1.0, 4.0, 0.0)
    with pytest.raises(ValueError, match=r"1\.2, is not less than 1"):
        directed("ratio", "less", 1.2, 1.5)
    assert directed("difference", "less", nan, 2.0) == LESS


def test_only_seeds_that_both_have_count():
    one, other = {0: 1.0, 1: 2.0, 5: 9.0}, {0: 2.0, 1: 3.5, 7: 0.0}
    found = judge({k: Sample(v) for k, v in one.items()}, {k: Sample(v) for k, v in other.items()}, LESS)
    assert (found.seeds, found.effect.mean) == (2, -1.25)
    assert judge({0: Sample(1.0)}, {1: Sample(1.0)}, LESS).word == NOT_RUN
    one = judge({0: Sample(1.0)}, {0: Sample(3.0)}, LESS)
    assert (one.word, one.effect.mean, one.reason) == (INCONCLUSIVE, -2.0, "one seed has no interval")


def test_a_tie_is_no_narrower_than_what_is_scored_can_tell():
    tie = samples(97.5, 98.3, 96.9)
    assert judge(tie, tie, directed("difference", "more", 2.0, 2.0), resolution=0.28).effect[1:] == (-0.28, 0.28)
    assert judge(tie, tie, directed("difference", "more", 2.0, 2.0), resolution=0.28).word == NOT_REPRODUCED
    assert judge(tie, tie, no_worse("difference", "more", 0.3), resolution=0.28).word == REPRODUCED
    close = judge(tie, tie, no_worse("difference", "more", 0.2), resolution=0.28)
    assert (close.word, close.needed, close.reason) == (INCONCLUSIVE, None, "too close for what is scored to tell")
    ratio = judge(tie, tie, directed("ratio", "more"), resolution=0.28)
    assert ratio.effect.high == pytest.approx(np.exp(0.28 / np.mean([97.5, 98.3, 96.9])))
    wide = samples(-1.0, 1.0, -1.5)                                  # wider than that anyway
    assert judge(wide, samples(0, 0, 0), LESS, resolution=0.28) == judge(wide, samples(0, 0, 0), LESS)


def test_what_cannot_be_compared_is_said():
    assert verdict((nan, 1.0), LESS).reason == "a run has no such figure"
    assert verdict((0.0, 1.0), directed("ratio", "less")).reason == "a ratio needs figures above 0"


# ---- goals that were never reached

def never(*values):
    return {seed: Sample(float(value), exact=False) for seed, value in enumerate(values)}


def test_a_goal_that_the_other_never_reached_bounds_the_effect_from_above():
    found = judge(samples(10, 11, 10), never(50, 50, 50), directed("ratio", "less"))
    assert (found.word, found.bound) == (REPRODUCED, "at most")
    with_factor = judge(samples(10, 11, 10), never(50, 50, 50), directed("ratio", "less", 0.3, 2.0))
    assert with_factor.word == INCONCLUSIVE                          # it may be far less than the paper's 0.3
    assert "reached by 3 and 0 of 3 runs" in with_factor.reason
    apart = judge(samples(10, 11, 10), never(50, 50, 50), directed("ratio", "less", 0.8, 1.5))
    assert apart.word == NOT_REPRODUCED                              # at most .2, and .53 to 1 was claimed


def test_a_goal_that_it_never_reached_itself_bounds_the_effect_from_below():
    assert judge(never(50, 50), samples(10, 11), directed("ratio", "less")).word == NOT_REPRODUCED
    assert judge(never(50, 50), samples(10, 11), directed("ratio", "more")).word == REPRODUCED
    assert judge(never(50, 50), samples(60, 61), directed("ratio", "less")).word == INCONCLUSIVE


def test_a_goal_that_neither_reached_tells_nothing():
    assert judge(never(50, 50), never(50, 50), LESS).word == INCONCLUSIVE
    mixed = judge({0: Sample(5.0), 1: Sample(50.0, False)}, {0: Sample(50.0, False), 1: Sample(5.0)}, LESS)
    assert mixed.word == INCONCLUSIVE
    assert not isfinite(mixed.effect.mean)


# ---- laws

values = st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=2, max_size=6)
rules = st.one_of(
    st.sampled_from([directed("difference", "less"), directed("difference", "more")]),
    st.builds(lambda paper, factor: directed("difference", "less" if paper < 0 else "more", paper, factor),
              st.floats(0.1, 5).flatmap(lambda size: st.sampled_from([size, -size])), st.floats(1.1, 4)),
    st.builds(no_worse, st.just("difference"), st.sampled_from(["more", "less"]), st.floats(0.1, 3)))


@given(values, rules)
def test_never_reproduced_where_the_interval_holds_the_null(differences, rule):
    found = verdict(differences, rule)
    if found.effect.low <= rule.null <= found.effect.high:
        assert found.word != REPRODUCED


@given(values, rules)
def test_never_not_reproduced_where_the_mean_lies_in_the_region(differences, rule):
    found = verdict(differences, rule)
    if rule.low < found.effect.mean < rule.high:
        assert found.word != NOT_REPRODUCED


@given(values, values, rules)
def test_exchanging_the_policies_turns_the_claim_round_and_leaves_the_verdict(one, other, rule):
    found = judge(samples(*one), samples(*other), rule)
    turned = judge(samples(*other), samples(*one), rule.mirrored())
    assert (turned.word, turned.seeds, turned.needed) == (found.word, found.seeds, found.needed)
    assert rule.mirrored().mirrored() == rule


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=6), st.floats(0.2, 0.9),
       st.floats(1.1, 3))
def test_so_it_is_with_ratios(pairs, paper, factor):
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    rule = directed("ratio", "less", paper, factor)
    found, turned = judge(samples(*one), samples(*other), rule), judge(samples(*other), samples(*one), rule.mirrored())
    logs = np.log(one) - np.log(other)
    borders = np.log([rule.low, rule.high, 1.0])
    half = found.effect and (np.log(found.effect.high) - np.log(found.effect.low)) / 2
    ends = np.array([logs.mean() - half, logs.mean(), logs.mean() + half])
    assume(np.abs(ends[:, None] - borders).min() > 1e-9)             # rounding may decide on a border
    assert turned.word == found.word


@given(values, st.sampled_from([LESS, no_worse("difference", "less", 0.5)]), st.floats(0, 5))
def test_more_of_what_was_claimed_is_never_a_worse_verdict(differences, rule, shift):
    before = verdict(differences, rule).word
    after = verdict([value - shift for value in differences], rule).word
    assume(np.std(differences) > 1e-6)                               # equal values shifted are equal but for rounding
    assert ORDER[after] >= ORDER[before]


@given(values, rules, st.integers(2, 5))
def test_more_seeds_of_the_same_kind_never_unsettle_a_verdict(differences, rule, times):
    assume(np.std(differences) > 1e-6)
    before = verdict(differences, rule)
    if before.word != INCONCLUSIVE:
        assert verdict(differences * times, rule).word == before.word


@given(values, rules)
def test_seeds_are_asked_for_where_more_would_tell(differences, rule):
    found = verdict(differences, rule)
    assert (found.needed is None) or found.word == INCONCLUSIVE
    assert found.needed is None or found.needed > found.seeds
    assert bool(found.reason) == (found.word == INCONCLUSIVE)
    assert found.needed is None or found.reason == UNDECIDED


# ---- planted effects: the counts are binomial, so bounds of 4.5 standard deviations fail once in 300 000 tries

TRIALS = 400


def words(effect, rule, seeds=5, deviation=1.0):
    """Return how often each word is said of normal differences."""
    draws = np.random.default_rng(7).normal(effect, deviation, (TRIALS, seeds))
    found = [verdict(row, rule).word for row in draws]
    return {word: found.count(word) for word in ORDER}


def near(count, probability):
    return abs(count - TRIALS * probability) <= 4.5 * sqrt(TRIALS * probability * (1 - probability)) + 1


@pytest.mark.parametrize("effect", [-1.0, -2.0, -3.0])
def test_a_planted_effect_is_found_as_often_as_its_power_says(effect):
    power = stats.nct.sf(stats.t.ppf(0.975, 4), 4, -effect * sqrt(5))
    assert near(words(effect, LESS)[REPRODUCED], power)


def test_nothing_planted_is_seldom_called_an_effect():
    found = words(0.0, LESS)
    assert near(found[REPRODUCED], 0.025)
    assert near(found[NOT_REPRODUCED], 0.025)
    claimed = words(0.0, directed("difference", "less", -3.0, 2.0))  # -6 .. -1.5 was claimed
    assert claimed[REPRODUCED] <= 0.025 * TRIALS
    assert claimed[NOT_REPRODUCED] > TRIALS / 2


def test_a_loss_just_at_the_margin_is_seldom_called_no_worse():
    assert near(words(-0.3, no_worse("difference", "more", 0.3))[REPRODUCED], 0.025)


def test_the_seeds_asked_for_settle_it_as_often_as_promised():
    """Where mean and spread are what they seemed, the number named finds the effect in four cases of five."""
    probe = np.array([-1.5, 0.5, -0.5])                              # mean -.5, s 1: inconclusive
    needed = verdict(probe, LESS).needed
    assert needed == 34
    assert near(words(-0.5, LESS, seeds=needed)[REPRODUCED], stats.nct.sf(stats.t.ppf(0.975, 33), 33, 0.5 * sqrt(34)))


def test_the_ends_of_an_open_region():
    assert directed("ratio", "more") == Rule("ratio", 1.0, inf, 1.0)
    assert directed("ratio", "more").mirrored() == Rule("ratio", 0.0, 1.0, 1.0)
    assert no_worse("ratio", "less", 1.05) == Rule("ratio", 0.0, pytest.approx(1.05), pytest.approx(1.05))
