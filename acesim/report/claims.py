"""A paper's claims beside what was measured: one finding a claim, as rows and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf, isfinite, nan
from typing import NamedTuple

import pandas as pd

from acesim.report.layout import NOTHING, Block, Page, number
from acesim.report.measures import FIGURES, Run, in_words, measured, resolution
from acesim.report.verdicts import (
    INCONCLUSIVE,
    NOT_CHECKABLE,
    NOT_RUN,
    UNDECIDED,
    VERDICTS,
    Rule,
    Verdict,
    between,
    directed,
    judge,
    no_worse,
)
from acesim.scenario.claims import Claim, Measure, Paper


class Finding(NamedTuple):
    """What came of a claim.  rule: None where nothing can decide it; place: the scenario and what was changed in it."""

    claim: Claim
    verdict: Verdict
    rule: Rule | None = None
    place: str = ""


def examine(claim: Claim, runs: Mapping[str, Mapping[int, Run]], place: str = "",
            failed: Mapping[str, int] | None = None) -> Finding:
    """Return the finding on a claim.

    runs    finished runs by label, then by seed, of the claim's scenario; those its measure needs, or fewer
    failed  how many runs failed, by label: what is left of them is a selection, which decides nothing
    """
    if claim.measure is None:
        return Finding(claim, Verdict(NOT_CHECKABLE, reason=claim.uncheckable or ""))
    rule = rule_of(claim)
    verdict = judge(*measured(claim.measure, runs), rule, resolution(claim.measure, runs))
    fallen = {label: (failed or {}).get(label, 0) for label in claim.measure.policies}
    return Finding(claim, _selected(verdict, fallen), rule, place)


def _selected(verdict: Verdict, failed: Mapping[str, int]) -> Verdict:
    told = ", ".join(f"{count} of {label}" for label, count in failed.items() if count)
    if not told:
        return verdict
    word = NOT_RUN if verdict.word == NOT_RUN else INCONCLUSIVE
    return verdict._replace(word=word, needed=None, reason=f"runs failed ({told}), and what is left is a selection")


def rule_of(claim: Claim) -> Rule:
    """Return the rule of a claim that has a measure, in the unit of its figure."""
    measure, expect = claim.measure, claim.rule
    if measure is None or expect is None:
        raise ValueError(f"{claim.id}: has no rule")
    if expect.expect == "no-worse":
        return no_worse(measure.form, FIGURES[measure.metric].better, expect.margin or nan)
    if expect.expect == "between":
        return between(measure.form, _given(expect.low), _given(expect.high))
    return directed(measure.form, expect.expect, claim.published, expect.factor)


def _given(value: float | None) -> float:
    return nan if value is None else value


# --- rows ------------------------------------------------------------------------------------------------------------

def table_of(findings: Sequence[Finding]) -> pd.DataFrame:
    """Return one row per claim: what was said, what was measured, and the verdict; open ends of a region are empty."""
    return pd.DataFrame([_row(finding) for finding in findings])


def _row(finding: Finding) -> dict[str, object]:
    claim, verdict, rule, measure = finding.claim, finding.verdict, finding.rule, finding.claim.measure
    return {
        "id": claim.id, "verdict": verdict.word, "value": verdict.effect.mean, "low": verdict.effect.low,
        "high": verdict.effect.high, "bound": verdict.bound, "seeds": verdict.seeds, "paper": _given(claim.published),
        "region_low": _end(rule.low if rule else nan), "region_high": _end(rule.high if rule else nan),
        "null": rule.null if rule else nan, "form": measure.form if measure else "",
        "unit": _unit(measure) if measure else "", "seeds_needed": verdict.needed or nan, "reason": verdict.reason,
        "measure": in_words(measure) if measure else "", "paper_says": claim.quoted, "where": claim.where,
        "scenario": finding.place, "note": claim.note}


def _end(value: float) -> float:
    return value if isfinite(value) else nan


def _unit(measure: Measure) -> str:
    return "" if measure.form == "ratio" else FIGURES[measure.metric].unit


# --- the page --------------------------------------------------------------------------------------------------------

READING = ("reproduced: the mean lies in that region, and the whole 95 % interval on the region's side of no effect "
           "(or of the margin); not reproduced: interval and region have nothing in common; inconclusive: neither, "
           "with the seeds that would tell with probability .8 if mean and spread are as they look now")


def claims_page(paper: Paper, findings: Sequence[Finding], missing: Sequence[str] = ()) -> Page:
    """Lay out the ledger: a line a claim, then the paper's words and what was measured, then the count of verdicts.

    missing   lines that say what was not run
    """
    rows = [[finding.claim.id, finding.verdict.word, _measured(finding), _seeds(finding.verdict), _paper(finding),
             _region(finding)] for finding in findings]
    header = ["claim", "verdict", "measured [95 %]", "seeds", "paper", "reproduced if"]
    words = Block("What the paper says, and what was measured", ["claim", "the paper", "here"],
                  [[finding.claim.id, _said(finding), _here(finding)] for finding in findings], prose=True)
    notes = [READING, paper.note, *missing, summary(findings)]
    return Page([Block(paper.cited, header, rows), words], [note for note in notes if note])


def summary(findings: Sequence[Finding]) -> str:
    """Count the verdicts.

    >>> summary([Finding(Claim(id="a", says="b", uncheckable="c"), Verdict("not checkable here"))])
    '1 claim: 0 reproduced, 0 not reproduced, 0 inconclusive, 1 not checkable here'
    """
    counts = Counter(finding.verdict.word for finding in findings)
    shown = [f"{counts[word]} {word}" for word in VERDICTS if counts[word] or word != VERDICTS[-1]]
    return f"{len(findings)} claim{'s' if len(findings) != 1 else ''}: {', '.join(shown)}"


def _measured(finding: Finding) -> str:
    verdict, measure = finding.verdict, finding.claim.measure
    mean, low, high = verdict.effect
    if measure is None or not isfinite(mean):
        return NOTHING
    digits = _digits(measure, mean, low, high)
    text, from_, to = (_spelled(measure, value, digits) for value in (mean, low, high))
    return f"{verdict.bound} {text}{f' [{from_}, {to}]' if isfinite(low) else ''}".strip()


def _digits(measure: Measure, *values: float) -> int | None:
    """Return how many decimals tell values apart; ratios have three figures."""
    if measure.form == "ratio":
        return None
    largest = max((abs(value) for value in values if isfinite(value)), default=0.0)
    return 3 if largest < 0.2 else 2 if largest < 100 else 0


def _spelled(measure: Measure, value: float, digits: int | None) -> str:
    """Spell a ratio or a difference, the latter with its sign; no effect at all is 1 or 0."""
    if value == (1.0 if measure.form == "ratio" else 0.0):
        return number(value, 0)
    return number(value, digits) if measure.form == "ratio" or value < 0 else f"+{number(value, digits)}"


def _seeds(verdict: Verdict) -> str:
    """Say how many seeds there are, and how many it would take."""
    if verdict.word == NOT_CHECKABLE:
        return NOTHING
    if verdict.word != INCONCLUSIVE or verdict.seeds < 2 or verdict.reason != UNDECIDED:
        return str(verdict.seeds)
    return f"{verdict.seeds} (needs {verdict.needed or '>1000'})"


def _paper(finding: Finding) -> str:
    claim, paper = finding.claim, finding.claim.published
    if paper is None or claim.measure is None:
        return NOTHING
    return _spelled(claim.measure, paper, _digits(claim.measure, paper))


def _region(finding: Finding) -> str:
    """Spell the claimed region."""
    rule, measure = finding.rule, finding.claim.measure
    if rule is None or measure is None:
        return NOTHING
    unit = f" {_unit(measure)}" if _unit(measure) else ""
    digits = _digits(measure, rule.low, rule.high)
    low, high = (_trimmed(_spelled(measure, end, digits)) for end in (rule.low, rule.high))
    if rule.high == inf:
        return f"above {low}{unit}"
    return f"below {high}{unit}" if rule.low in (-inf, 0.0) else f"{low} to {high}{unit}"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _said(finding: Finding) -> str:
    where = f" ({finding.claim.where})" if finding.claim.where else ""
    return f"{finding.claim.quoted}{where}"


def _here(finding: Finding) -> str:
    """Say what was measured and where, and why there is no plain verdict."""
    claim, verdict = finding.claim, finding.verdict
    if claim.measure is None:
        return f"not checkable: {verdict.reason}"
    told = f"{verdict.word}: {verdict.reason}" if verdict.reason and verdict.reason != UNDECIDED else ""
    return "; ".join(part for part in (in_words(claim.measure), f"on {finding.place}" if finding.place else "",
                                       claim.note, told) if part)
