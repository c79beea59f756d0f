"""What moving bytes and drawing power costs: prices in money, the grid in CO2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from acesim.scenario.base import Fact, Text

_SIZES: Mapping[str, int] = MappingProxyType({"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12})
_PRICE = re.compile(r"(?P<amount>\d{1,12}(?:\.\d{1,12})?)\s*(?P<currency>[A-Z]{3})\s*/\s*(?P<size>[kMGT]?B)")
DEFAULT_PRICE = "0.09 USD/GB"


class Price(NamedTuple):
    """Money per byte, and in which currency."""

    per_byte: float
    currency: str


def read_price(text: str) -> Price:
    """Read a price per byte; ValueError, saying how to write one, where it is none.

    >>> read_price("0.09 USD/GB")
    Price(per_byte=9e-11, currency='USD')
    """
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a price; write for example {DEFAULT_PRICE} (sizes: {', '.join(_SIZES)})")
    return Price(float(Fraction(match["amount"]) / _SIZES[match["size"]]), match["currency"])


def _checked(text: str) -> str:
    read_price(text)
    return text


class PriceTier(Fact):
    """A price, and up to how many bytes it holds; None: for all that is left."""

    price: Annotated[Text, AfterValidator(_checked)]
    up_to_bytes: Annotated[float, Field(gt=0)] | None = None


class Prices(Fact):
    """What bytes cost that leave the cloud for the edge; what comes in is free.

    provider   a shipped price list (acesim.fleet.money), in place of `egress`
    egress     one price, or a list of tiers that are passed through one after the other
    free       bytes of a run that cost nothing

    >>> Prices(egress="0.12 USD/GB").egress
    (PriceTier(price='0.12 USD/GB', up_to_bytes=None),)
    """

    provider: Text | None = None
    egress: tuple[PriceTier, ...] | None = None
    free_bytes: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("egress") is not None or data.get("provider") is not None:
            return data
        return {**data, "egress": DEFAULT_PRICE}

    @field_validator("egress", mode="before")
    @classmethod
    def _one_price(cls, given: Any) -> Any:
        return [{"price": given}] if isinstance(given, str) else given

    @field_validator("egress")
    @classmethod
    def _in_order(cls, tiers: tuple[PriceTier, ...] | None, info: ValidationInfo) -> tuple[PriceTier, ...] | None:
        if tiers is None:
            return None
        if not tiers:
            raise ValueError("must not be empty; write 0 USD/GB where bytes are free")
        ends = [tier.up_to_bytes for tier in tiers]
        limits = [end for end in ends[:-1] if end is not None]
        if ends[-1] is not None or len(limits) < len(ends) - 1 or sorted(set(limits)) != limits:
            raise ValueError("every tier but the last needs an up_to above the one before; the last has none")
        if len({read_price(tier.price).currency for tier in tiers}) > 1:
            raise ValueError("all tiers must be in one currency")
        return tiers

    @model_validator(mode="after")
    def _one_source(self) -> Prices:
        if self.provider is not None and self.egress is not None:
            raise ValueError("a provider has prices of its own; leave provider or egress out")
        return self


class Grid(Fact):
    """Where power comes from.  400 g CO2 a kWh is an order of magnitude: grids lie between 20 and 800."""

    intensity_kg_per_joule: float = 400 / 3.6e9
