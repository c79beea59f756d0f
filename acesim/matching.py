"""Finds, before a comparison, the parameter that keeps a given share of entries: equal budgets for unequal rules.

A hard threshold sends what it sends.  To compare it with top-k, its threshold is chosen so that over the first rounds
workers send as many entries as top-k would; how many it sends is found by playing these rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from acesim.engine import simulate
from acesim.records.blocks import Later
from acesim.records.rows import Event, MetricRow
from acesim.scenario import PolicySpec, Scenario
from acesim.scenario.errors import PolicyError
from acesim.study import Order, choose_policies, prepare

TRIES = 60


class Match(NamedTuple):
    """value: of the parameter; ratio: the share of entries that was kept with it; tries: runs that it took."""

    value: float
    ratio: float
    tries: int


class _Nowhere:
    """A sink that keeps nothing."""

    def event(self, event: Event) -> None:
        """Take an event."""

    def block(self, block: Later) -> None:
        """Take many events."""

    def metric(self, row: MetricRow) -> None:
        """Take a metric row."""


def match(scenario: Scenario, policy: str, ratio: float, rounds: int = 50, seed: int | None = None,
          parameter: str = "threshold", tolerance: float = 0.01, plugins: Sequence[str | Path] = ()) -> Match:
    """Return the value of `parameter` with which workers keep `ratio` of the entries, on average over the first rounds.

    Bisection of the logarithm, from the policy's own value on; the larger the parameter, the less must be sent.

    policy      a label of the scenario, or the name of a policy
    seed        of the run that is played; None: the scenario's first
    tolerance   of the kept share, relative
    raises      PolicyError when ratio is outside (0, 1), or no value comes that near

    The share is that of the values sent: sum of nnz = rounds * workers * ratio * P.
    """
    if not 0 < ratio < 1:
        raise PolicyError(f"ratio = {ratio}: must lie between 0 and 1")
    [spec] = choose_policies(scenario, [policy], plugins)
    order = Order(scenario, spec, scenario.seeds[0] if seed is None else seed, Path(), tuple(map(str, plugins)))
    start = order.policy.parameters.get(parameter)
    value, low, high = float(start if start is not None else 0.01), 0.0, math.inf
    for tries in range(1, TRIES + 1):
        kept = kept_share(_with(order, parameter, value), rounds)
        if abs(kept / ratio - 1) <= tolerance:
            return Match(value, kept, tries)
        low, high = (value, high) if kept > ratio else (low, value)
        value = 4 * low if high == math.inf else high / 4 if low == 0 else math.sqrt(low * high)
    raise PolicyError(f"{policy}: no {parameter} keeps {100 * ratio:g} % of the entries within {100 * tolerance:g} %: "
                      f"near {value:.6g} it is {100 * kept:.4g} %; take more rounds, or a larger tolerance")


def kept_share(order: Order, rounds: int) -> float:
    """Return the share of the entries that workers send, on average over the first rounds of a run."""
    with threadpool_limits(1):
        setup = prepare(order)
        totals = simulate(replace(setup, rounds=rounds), _Nowhere()).totals
    return float(totals["upload_values_bytes"]) / (4 * setup.info.nominal_size * float(totals["upload_messages"]))


def _with(order: Order, parameter: str, value: float) -> Order:
    spec = order.policy
    changed = PolicySpec(name=spec.name, label=spec.label, parameters={**spec.parameters, parameter: value})
    return order._replace(policy=changed)
