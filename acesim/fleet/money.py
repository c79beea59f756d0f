"""What bytes cost that leave the cloud: tiers passed through one after the other.  What comes in is free everywhere."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from acesim.scenario.costs import read_price
from acesim.scenario.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from acesim.scenario.costs import Prices
    from acesim.scenario.schema import Scenario


class Tier(NamedTuple):
    """A price per byte that holds up to so many bytes, inf for all that is left."""

    up_to_bytes: float
    per_byte: float


class PriceList(NamedTuple):
    """Tiers in ascending order, in one currency, and the bytes that are free."""

    tiers: tuple[Tier, ...]
    currency: str
    free_bytes: float = 0.0

    def cost(self, nbytes: float) -> float:
        """Return what `nbytes` cost.

        sum over tiers of per_byte * (bytes of nbytes - free_bytes that lie in the tier).  A run is billed as a whole:
        providers' tiers are by month, and a run may last longer.

        >>> PriceList((Tier(10e12, 9e-11), Tier(math.inf, 8.5e-11)), "USD").cost(11e12)
        985.0
        """
        billed, start, total = max(0.0, nbytes - self.free_bytes), 0.0, 0.0
        for tier in self.tiers:
            total += tier.per_byte * max(0.0, min(billed, tier.up_to_bytes) - start)
            start = tier.up_to_bytes
        return total


@lru_cache(maxsize=1)
def providers() -> Mapping[str, Mapping[str, Any]]:
    """Return the shipped price lists by name: description, egress tiers, source.

    >>> sorted(providers())
    ['aws', 'azure', 'gcp-premium', 'gcp-standard']
    """
    found: Mapping[str, Mapping[str, Any]] = json.loads(
        files("acesim.fleet").joinpath("prices.json").read_text(encoding="utf-8"))
    return found


def price_list(prices: Prices) -> PriceList:
    """Return the price list of a scenario; ScenarioError where its provider is unknown."""
    if prices.provider is None:
        written = [(tier.up_to_bytes, tier.price) for tier in prices.egress or ()]
    elif prices.provider in providers():
        written = providers()[prices.provider]["egress"]
    else:
        raise ScenarioError([Problem(("prices", "provider"), prices.provider, _unknown(prices.provider))])
    return PriceList(_tiers(written), read_price(written[0][1]).currency, prices.free_bytes)


def _tiers(written: Sequence[tuple[float | None, str]]) -> tuple[Tier, ...]:
    return tuple(Tier(math.inf if end is None else end, read_price(price).per_byte) for end, price in written)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, providers(), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown price list; {hint}(knows: {', '.join(sorted(providers()))}; or write egress: 0.09 USD/GB)"


def check(scenario: Scenario) -> Iterator[Problem]:
    """Name a price list that does not exist, or that is in another currency than the scenario."""
    try:
        found = price_list(scenario.prices)
    except ScenarioError as error:
        yield from error.problems
        return
    if found.currency != scenario.currency:
        yield Problem(("prices",), None, f"in {found.currency}, but the scenario's currency is {scenario.currency}; "
                      f"write for example prices: {{egress: 0.09 {scenario.currency}/GB}}, for no rates of exchange "
                      "are known")
