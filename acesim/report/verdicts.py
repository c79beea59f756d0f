"""The verdict on a claim: a pure function of what was measured, seed by seed, and of a rule written before the run.

A rule has a *null*, the value at which there is nothing to claim, and a *region*, the values that were claimed.  With
the mean m of the paired effects and its 95 % t interval I:

    reproduced        m lies in the region, and I lies all on the region's side of the null
    not reproduced    I and the region have nothing in common
    inconclusive      anything else: more seeds, or longer runs, would settle it

Effects are differences, or logarithms of ratios; both are of one policy against another at the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf, isfinite, isnan, log, nan
from typing import NamedTuple

import numpy as np

from acesim.report.statistics import Interval, interval, raised, seeds_needed

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
NOT_CHECKABLE, NOT_RUN = "not checkable here", "not run"
UNDECIDED = "the interval does not tell"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_CHECKABLE, NOT_RUN)


class Sample(NamedTuple):
    """What one run gave.  exact False: a goal it never reached; it would have taken at least `value`."""

    value: float
    exact: bool = True


Samples = Mapping[int, Sample]
"""By seed."""


class Rule(NamedTuple):
    """What was claimed of an effect, in the unit it is printed in.

    form       "difference" (of - against) or "ratio" (of / against)
    low, high  the claimed region, both ends included unless they are the null
    null       where there is nothing to claim; never inside the region

    >>> Rule("difference", 0.5, inf, 0.0).mirrored()
    Rule(form='difference', low=-inf, high=-0.5, null=-0.0)
    """

    form: str
    low: float
    high: float
    null: float

    def mirrored(self) -> Rule:
        """Return the rule for the same claim with the two policies exchanged."""
        if self.form == "difference":
            return Rule(self.form, -self.high, -self.low, -self.null)
        low, high, null = (inf if end == 0 else 1 / end for end in (self.high, self.low, self.null))
        return Rule(self.form, low, high, null)

    def scaled(self) -> tuple[float, float, float]:
        """Return region and null as effects are reckoned: ratios by their logarithms."""
        low, high, null = (end if self.form == "difference" else _log(end) for end in (self.low, self.high, self.null))
        return low, high, null


def _log(value: float) -> float:
    return -inf if value == 0 else log(value)


class Verdict(NamedTuple):
    """What is said of a claim.

    word     one of VERDICTS
    effect   mean and 95 % interval of difference or ratio
    bound    "at least" or "at most" where some runs never reached the goal; the effect is then that bound's
    seeds    pairs that count
    needed   seeds that would settle it with probability .8; None: more than anybody would run, or not known
    reason   why it is inconclusive, or was not run
    """

    word: str
    effect: Interval = Interval(nan)
    bound: str = ""
    seeds: int = 0
    needed: int | None = None
    reason: str = ""


def judge(of: Samples, against: Samples, rule: Rule, resolution: float = 0.0) -> Verdict:
    """Return the verdict on `of` compared with `against` by a rule, over the seeds that both have.

    resolution   the smallest difference that the figure can tell (one image of those scored): an interval is never
                 narrower than that to either side, for a few seeds may all end in a tie

    >>> judge({0: Sample(1.), 1: Sample(1.2)}, {0: Sample(4.), 1: Sample(4.1)}, Rule("difference", -inf, 0., 0.)).word
    'reproduced'
    """
    pairs = [(of[seed], against[seed]) for seed in sorted(set(of) & set(against))]
    if not pairs:
        return Verdict(NOT_RUN, reason="no seed of which both policies have finished")
    unusable = _unusable(pairs, rule.form)
    if unusable:
        return Verdict(INCONCLUSIVE, seeds=len(pairs), reason=unusable)
    effects = np.array([_effect(one.value, other.value, rule.form) for one, other in pairs])
    least = resolution if rule.form == "difference" else resolution / float(np.mean([pair[1].value for pair in pairs]))
    found = _no_narrower(interval(effects), least)
    bound = _bound(pairs)
    shown = found if rule.form == "difference" else raised(found)
    if len(pairs) < 2:
        return Verdict(INCONCLUSIVE, shown, bound, 1, reason="one seed has no interval")
    word = _word(found, bound, *rule.scaled())
    if word != INCONCLUSIVE:
        return Verdict(word, shown, bound, len(pairs))
    if bound:
        return Verdict(word, shown, bound, len(pairs), reason=_unreached(pairs))
    distance = _distance(found.mean, *rule.scaled())
    if distance <= least:
        return Verdict(word, shown, bound, len(pairs), reason="too close for what is scored to tell")
    needed = seeds_needed(distance, float(effects.std(ddof=1)))
    more = None if needed is None else max(needed, len(pairs) + 1)
    return Verdict(word, shown, bound, len(pairs), more, UNDECIDED)


def _no_narrower(found: Interval, least: float) -> Interval:
    return found if not found.half_width < least else Interval(found.mean, found.mean - least, found.mean + least)


def _unusable(pairs: list[tuple[Sample, Sample]], form: str) -> str:
    """Say why there is no effect to speak of; empty where there is one."""
    values = [sample.value for pair in pairs for sample in pair]
    if not all(map(isfinite, values)):
        return "a run has no such figure"
    if form == "ratio" and min(values) <= 0:
        return "a ratio needs figures above 0"
    directions = {one.exact - other.exact for one, other in pairs}
    neither = any(not one.exact and not other.exact for one, other in pairs)
    return _unreached(pairs) if neither or {-1, 1} <= directions else ""


def _unreached(pairs: list[tuple[Sample, Sample]]) -> str:
    reached = [sum(sample.exact for sample in column) for column in zip(*pairs, strict=True)]
    return f"the goal was reached by {reached[0]} and {reached[1]} of {len(pairs)} runs: they are too short"


def _effect(one: float, other: float, form: str) -> float:
    return one - other if form == "difference" else log(one) - log(other)


def _bound(pairs: list[tuple[Sample, Sample]]) -> str:
    """Say on which side of the true effect the computed one lies, where goals were missed on one side."""
    if all(one.exact and other.exact for one, other in pairs):
        return ""
    return "at least" if any(not one.exact for one, _ in pairs) else "at most"


def _word(found: Interval, bound: str, low: float, high: float, null: float) -> str:
    """Judge an interval; one that is a bound is open towards the side on which the truth lies."""
    from_, to = (-inf if bound == "at most" else found.low), (inf if bound == "at least" else found.high)
    mean_inside = low <= found.mean <= high
    whole = not bound or (low == -inf if bound == "at most" else high == inf)
    beyond = to < null if high <= null else from_ > null
    if beyond and whole and mean_inside:
        return REPRODUCED
    apart = to < low or from_ > high or to <= low == null or from_ >= high == null
    return NOT_REPRODUCED if apart else INCONCLUSIVE


def _distance(mean: float, low: float, high: float, null: float) -> float:
    """Return how far a mean is from where the verdict would turn: from the null, or from the region outside of it."""
    return abs(mean - null) if low <= mean <= high else max(low - mean, mean - high)


# --- rules -----------------------------------------------------------------------------------------------------------

def directed(form: str, expect: str, paper: float | None = None, factor: float | None = None) -> Rule:
    """Return the rule of a claimed direction, "less" or "more".

    The region is that side of the null (difference 0, ratio 1); with a factor, the part of it within that factor of the
    paper's figure: figure / factor to figure * factor.
    raises   ValueError where the paper's own figure is not on the side claimed

    >>> directed("ratio", "less", 0.4, 1.5)
    Rule(form='ratio', low=0.26666666666666666, high=0.6000000000000001, null=1.0)
    >>> directed("difference", "more")
    Rule(form='difference', low=0.0, high=inf, null=0.0)
    """
    null = 0.0 if form == "difference" else 1.0
    side = ((-inf if form == "difference" else 0.0), null) if expect == "less" else (null, inf)
    if paper is None or isnan(paper) or factor is None:
        return Rule(form, *side, null)
    if not side[0] < paper < side[1]:
        raise ValueError(f"the paper's own figure, {paper:g}, is not {expect} than {null:g}")
    low, high = sorted((paper / factor, paper * factor))
    return Rule(form, max(low, side[0]), min(high, side[1]), null)


def no_worse(form: str, better: str, margin: float) -> Rule:
    """Return the rule of non-inferiority: no worse by a margin, of figures of which "more" or "less" is better.

    margin   in the unit of the figure for differences; for ratios a factor above 1

    >>> no_worse("difference", "more", 0.3)
    Rule(form='difference', low=-0.3, high=inf, null=-0.3)
    """
    border = margin if form == "difference" else log(margin)
    border = border if better == "less" else -border
    null = border if form == "difference" else exp(border)
    worst = -inf if form == "difference" else 0.0
    return Rule(form, worst, null, null) if better == "less" else Rule(form, null, inf, null)


def between(form: str, low: float, high: float) -> Rule:
    """Return the rule of a region given by its ends; ValueError where it holds the null."""
    null = 0.0 if form == "difference" else 1.0
    if not (low < high <= null or null <= low < high):
        raise ValueError(f"low must be less than high, and both on one side of {null:g}")
    return Rule(form, low, high, null)
