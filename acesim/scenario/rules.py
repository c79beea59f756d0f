"""What a scenario must fulfil as a whole, beyond each value by itself."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from acesim.scenario.errors import Problem
from acesim.scenario.labels import label_problems
from acesim.scenario.nominal import missing_tokens

if TYPE_CHECKING:
    from acesim.scenario.schema import Scenario

TIERS = ("cloud", "edge")


def problems(scenario: Scenario) -> Iterator[Problem]:
    """Name everything in a scenario that does not hang together; paths use the keys of YAML."""
    yield from _repeated_seeds(scenario)
    yield from _too_short(scenario)
    yield from _group_names(scenario)
    yield from _keys_of_groups(scenario)
    yield from _tokens(scenario)
    for row, rule in label_problems([policy.label for policy in scenario.policies]):
        yield Problem(("policies", row), scenario.policies[row].label, rule)


def _repeated_seeds(scenario: Scenario) -> Iterator[Problem]:
    for seed, times in Counter(scenario.seeds).items():
        if times > 1:
            yield Problem(("seeds",), None, f"seed {seed} stands {times} times; name it once")


def _too_short(scenario: Scenario) -> Iterator[Problem]:
    steps = (scenario.stop.epochs or 0) * scenario.task.steps_per_epoch
    if round(steps) < 1:
        rule = f"is less than one step; {scenario.task.steps_per_epoch} steps make an epoch"
        yield Problem(("stop", "epochs"), scenario.stop.epochs, rule)


def _group_names(scenario: Scenario) -> Iterator[Problem]:
    seen: set[str] = set()
    for row, group in enumerate(scenario.workers):
        if group.name in seen:
            yield Problem(("workers", row, "name"), group.name, "another group has this name; choose another")
        if group.name in TIERS and group.name != group.tier:
            rule = f"these workers are of tier {group.tier}; choose another name"
            yield Problem(("workers", row, "name"), group.name, rule)
        seen.add(group.name)


def _keys_of_groups(scenario: Scenario) -> Iterator[Problem]:
    names = list(dict.fromkeys([*TIERS, *(group.name for group in scenario.workers)]))
    for setting in ("tokens_per_step", "checkpointing"):
        for key, value in getattr(scenario.nominal, setting).items():
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                yield Problem(("nominal", setting, key), value,
                              f"neither a tier nor a worker group; {hint}(knows: {', '.join(names)})")


def _tokens(scenario: Scenario) -> Iterator[Problem]:
    known = scenario.nominal.tokens_per_step
    for name, tier in dict.fromkeys((group.name, group.tier) for group in scenario.workers):
        if name not in known and tier not in known:
            yield Problem(("nominal", "tokens_per_step"), None, missing_tokens(name, tier))
