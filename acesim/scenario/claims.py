"""A paper's claims as facts: what it says, its figures, what to measure, and the rule that decides.

A claims file is YAML like a scenario, with the same errors: file, line, value, rule and remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from acesim.scenario.base import FROM_YAML, Fact, Text
from acesim.scenario.document import Entry, read
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.explain import problems_of, unknown_keys
from acesim.scenario.labels import name_rule
from acesim.scenario.library import claims_path, shown

Number = Annotated[float, Field(strict=True)]
Share = Annotated[float, Field(gt=0, le=100)]

Standing = Literal["top1_percent", "loss_nats", "perplexity", "edge_top1_percent", "cloud_top1_percent", "bytes_up",
                   "bytes_down", "bytes", "region_bytes", "link_bytes", "egress_bytes", "energy_joules", "time_s",
                   "epoch_s", "round_s", "sync_delay_s", "epochs", "rounds", "drift"]
"""What a run has at any moment, the end above all."""
Whole = Literal["convergence_epochs", "egress_cost", "carbon_kg", "worker_gb", "server_gb"]
"""What only a whole run has."""
Goal = Literal["epochs_to", "rounds_to", "time_to_s", "bytes_to", "bytes_up_to", "joules_to", "cost_to"]
"""What it took to get to a target."""

STANDING, WHOLE, GOAL = Standing.__args__, Whole.__args__, Goal.__args__  # type: ignore[attr-defined]


class Paper(Fact):
    """What is examined.  arxiv, doi: where it can be read; note: what a reader should know first."""

    title: Text
    arxiv: Text | None = None
    doi: Text | None = None
    note: str = ""

    @property
    def cited(self) -> str:
        """Title and place."""
        place = f"arXiv:{self.arxiv}" if self.arxiv else f"doi:{self.doi}" if self.doi else ""
        return f"{self.title} ({place})" if place else self.title


class Target(Fact):
    """An accuracy to reach: `{top1: 60 %}`, or `{share: 97 %, of: full-sync}` of that policy's final one, by seed."""

    share_percent: Share | None = None
    of: Text | None = None
    top1_percent: Share | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Target:
        if (self.share_percent is None) != (self.of is None) or (self.of is None) == (self.top1_percent is None):
            raise ValueError("write {share: 97 %, of: full-sync} or {top1: 60 %}")
        return self


class Measure(Fact):
    """Two policies' figure, compared at each seed.

    of, against   labels of the scenario, or names of policies that it does not have
    form          "ratio" (of / against) or "difference" (of - against)
    at            where both are read: at the end of their runs, or where they have used up equal bytes, time or samples
    epoch         read both there instead
    target        for the figures that end in _to: what is to be reached
    """

    metric: Literal[Standing, Whole, Goal]
    of: Text
    against: Text
    form: Literal["ratio", "difference"]
    at: Literal["end", "equal-samples", "equal-bytes", "equal-time"] = "end"
    epoch: Annotated[float, Field(strict=True, gt=0)] | None = None
    target: Target | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> Measure:
        if self.of == self.against:
            raise ValueError("of and against are the same policy")
        if (self.metric in GOAL) != (self.target is not None):
            raise ValueError(f"{self.metric} needs a target, for example {{share: 97 %, of: full-sync}}"
                             if self.metric in GOAL else f"a target is for {', '.join(GOAL)}; leave it out")
        moved = self.epoch is not None or self.at != "end"
        if moved and self.metric not in STANDING:
            raise ValueError(f"{self.metric} is of a whole run: leave at and epoch out")
        if self.epoch is not None and self.at != "end":
            raise ValueError("leave out either at or epoch")
        return self

    @property
    def policies(self) -> tuple[str, ...]:
        """The labels it needs."""
        base = self.target.of if self.target else None
        return tuple(dict.fromkeys([self.of, self.against, *([base] if base else [])]))


class Expect(Fact):
    """The rule, written before the run.

    expect   "less" or "more": of's figure than against's; "no-worse": by at most the margin; "between" low and high
    factor   for less and more: the effect must lie within this factor of the paper's figure, too
    margin   for no-worse: in the figure's unit; for ratios a factor above 1
    """

    expect: Literal["less", "more", "no-worse", "between"]
    factor: Annotated[float, Field(strict=True, gt=1)] | None = None
    margin: Annotated[float, Field(strict=True, gt=0)] | None = None
    low: Number | None = None
    high: Number | None = None

    @model_validator(mode="after")
    def _only_what_counts(self) -> Expect:
        needs = {"no-worse": {"margin"}, "between": {"low", "high"}}.get(self.expect, set())
        given = {name for name in ("factor", "margin", "low", "high") if getattr(self, name) is not None}
        optional = {"factor"} if not needs else set()
        if needs - given:
            raise ValueError(f"{self.expect} needs {' and '.join(sorted(needs))}")
        if given - needs - optional:
            raise ValueError(f"{', '.join(sorted(given - needs - optional))} means nothing for {self.expect}; "
                             "leave it out")
        return self


class Claim(Fact):
    """A sentence of the paper, and what decides whether it holds here.

    says         the paper's own words ("..." for what is left out); or
    shows        a row of its tables, a point of its figures
    where        in the paper
    figure       the paper's difference or ratio; or
    figures      its two figures, of's and against's, from which that is reckoned
    scenario     in place of the file's
    set          changes of the scenario, as --set takes them
    uncheckable  why nothing here can decide it; there is no measure then
    note         what a reader should know of the reading
    """

    id: Text
    says: Text | None = None
    shows: Text | None = None
    where: str = ""
    figure: Number | None = None
    figures: tuple[Number, Number] | None = None
    scenario: Text | None = None
    set: tuple[Text, ...] = ()
    measure: Measure | None = None
    rule: Expect | None = None
    uncheckable: Text | None = None
    note: str = ""

    @model_validator(mode="after")
    def _decidable(self) -> Claim:
        if (self.says is None) == (self.shows is None):
            raise ValueError("write says: and the paper's own words, or shows: and a row of its tables")
        if self.uncheckable is not None and (self.measure or self.rule):
            raise ValueError("what is uncheckable has neither measure nor rule; leave out one or the other")
        if self.uncheckable is None and (self.measure is None or self.rule is None):
            raise ValueError("needs a measure and a rule; or write uncheckable: and why")
        if self.figure is not None and self.figures is not None:
            raise ValueError("leave out either figure or figures")
        if self.figures and self.measure and self.measure.form == "ratio" and min(self.figures) <= 0:
            raise ValueError("a ratio is of figures above 0")
        if self.measure and self.rule:
            self._check_rule(self.measure, self.rule)
        return self

    def _check_rule(self, measure: Measure, rule: Expect) -> None:
        paper = self.published
        if rule.factor is not None and paper is None:
            raise ValueError("a factor is of the paper's figure: give figure or figures, or leave it out")
        null = 0.0 if measure.form == "difference" else 1.0
        if rule.factor is not None and paper is not None and (paper < null) != (rule.expect == "less"):
            raise ValueError(f"the paper's own figure, {paper:g}, is not {rule.expect} than {null:g}")
        if rule.expect == "between" and rule.low is not None and rule.high is not None \
                and not (rule.low < rule.high <= null or null <= rule.low < rule.high):
            raise ValueError(f"low must be less than high, and both on one side of {null:g}")
        if rule.margin is not None and measure.form == "ratio" and log(rule.margin) <= 0:
            raise ValueError("the margin of a ratio is a factor above 1")

    @property
    def quoted(self) -> str:
        """What the paper says, in quotation marks, or shows."""
        return f"“{self.says}”" if self.says is not None else str(self.shows)

    @property
    def published(self) -> float | None:
        """The paper's difference or ratio; None where it gives none."""
        if self.figures is None or self.measure is None:
            return self.figure
        of, against = self.figures
        return of - against if self.measure.form == "difference" else of / against


class Claims(Fact):
    """The claims of one paper.

    scenario   where they are tried, unless a claim says otherwise: a file (from this one's folder), or a shipped name
    seeds      that are computed, in place of the scenario's
    """

    paper: Paper
    scenario: Text
    seeds: Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], Field(min_length=1)] | None = None
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]


class ClaimsFile:
    """A checked claims file that still knows its lines.

    path    of the file
    claims  what it says
    """

    def __init__(self, path: Path, claims: Claims, document: Entry) -> None:
        self.path, self.claims, self._document = path, claims, document

    def problem(self, steps: Sequence[str | int], value: object, rule: str) -> Problem:
        """Make a problem at a place of the file."""
        return self._document.nearest(steps).place.problem(tuple(steps), value, rule)


LOOKS = "a claims file is a mapping (paper: ..., scenario: ..., claims: ...)"
_EXAMPLES = {
    ("paper",): "{title: ..., arxiv: '2512.18127'}", ("paper", "title"): "the paper's title",
    ("scenario",): "table1", ("claims",): "{id: bytes, says: ..., measure: {...}, rule: {...}}",
    ("claims", "id"): "bytes-up",
    ("claims", "measure"): "{metric: bytes_up, of: ace-sync, against: full-sync, form: ratio}",
    ("claims", "measure", "metric"): "bytes_up", ("claims", "measure", "of"): "ace-sync",
    ("claims", "measure", "against"): "full-sync", ("claims", "measure", "form"): "ratio",
    ("claims", "measure", "target"): "{share: 97 %, of: full-sync}",
    ("claims", "rule"): "{expect: less, factor: 1.5}", ("claims", "rule", "expect"): "less"}


def load_claims(source: str | Path) -> ClaimsFile:
    """Read a claims file, or a shipped one by its name; ScenarioError with every mistake, in the order of the file."""
    path = claims_path(source)
    document = read(path, shown(path), LOOKS)
    problems = list(unknown_keys(document, Claims))
    unknown = {problem.path for problem in problems}
    try:
        claims = Claims.model_validate(document.plain(), context=dict(FROM_YAML))
    except ValidationError as error:
        found = problems_of(error, document, _EXAMPLES)
        problems += [problem for problem in found if problem.path not in unknown]
        raise ScenarioError(sorted(problems, key=lambda problem: problem.line or 0)) from error
    file = ClaimsFile(path, claims, document)
    problems += _ids(file)
    if problems:
        raise ScenarioError(problems)
    return file


def _ids(file: ClaimsFile) -> Iterator[Problem]:
    seen: set[str] = set()
    for row, claim in enumerate(file.claims.claims):
        rule = name_rule(claim.id)
        if rule is None and claim.id in seen:
            rule = "another claim has this id; choose another"
        if rule is not None:
            yield file.problem(("claims", row, "id"), claim.id, rule.replace("name a folder", "be an id"))
        seen.add(claim.id)
