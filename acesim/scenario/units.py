"""Typed units: what users write (`20 ms`, `5-200 Mbps`, `25 MB`) and what the code holds (SI, bytes/s).

Bits, and with them the factor 8, live here and nowhere else.  Prefixes are SI: k = 10^3, M = 10^6, G = 10^9.
An attribute's name ends in its unit, and that suffix says what it measures: `dimension_of`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high`, both included; a scalar is low == high.  ValueError when reversed.

    >>> Range(1, 2).is_constant, Range(3, 3).is_constant
    (False, True)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("must be finite")
        if self.low > self.high:
            raise ValueError("a range runs from low to high; turn the two values round")

    @property
    def is_constant(self) -> bool:
        """Is there only one value?"""
        return self.low == self.high


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity.

    noun       "rate", for messages
    factors    unit -> its value in the SI unit the code holds
    spelled    the units `spell` chooses from; the first one holds the SI value itself
    example    a quantity as a user would write it
    positive   is zero refused?
    most       in SI; more is taken for a mistake, and sums of it would lose what is small beside it
    least      in SI; over the ages that anything slower takes, sums of bytes would lose too much
    """

    noun: str
    factors: Mapping[str, Fraction]
    spelled: tuple[str, ...]
    example: str
    positive: bool = False
    most: float = 1e18
    least: float = 0.0

    @property
    def known(self) -> str:
        """All units, for messages."""
        return ", ".join(self.factors)

    @property
    def pattern(self) -> str:
        """A regular expression of what is understood, for editors."""
        units = "|".join(re.escape(unit) for unit in self.factors)
        number = r"\d+(\.\d+)?([eE][+-]?\d+)?"
        return rf"^\s*{number}\s*(({units})?\s*[-–]\s*{number}\s*)?({units})\s*$"


def _factors(**units: float | str | Fraction) -> Mapping[str, Fraction]:
    return MappingProxyType({unit: Fraction(factor) for unit, factor in units.items()})


def _prefixed(unit: str, factor: Fraction, prefixes: str) -> dict[str, Fraction]:
    exponents = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}
    return {prefix + unit: factor * 10 ** exponents[prefix] for prefix in ["", *prefixes]}


_BIT = Fraction(1, BITS_PER_BYTE)
RATE = Dimension("rate", MappingProxyType(_prefixed("bps", _BIT, "kMGT") | _prefixed("bit/s", _BIT, "kMG")
                                          | _prefixed("B/s", Fraction(1), "kMG")),
                 ("B/s", "bps", "kbps", "Mbps", "Gbps", "Tbps"), "20 Mbps", positive=True, least=1 / BITS_PER_BYTE)
TIME = Dimension("time", _factors(us="1e-6", ms="1e-3", s=1, min=60, h=3600, d=86400),
                 ("s", "ms", "min", "h", "d"), "20 ms", most=86_400e6)
SIZE = Dimension("size", MappingProxyType(_prefixed("B", Fraction(1), "kMGT")), ("B", "kB", "MB", "GB", "TB"),
                 "25 MB")
POWER = Dimension("power", _factors(mW="1e-3", W=1, kW=1000), ("W", "mW", "kW"), "30 W")
COMPUTE = Dimension("computing rate", MappingProxyType(_prefixed("FLOP/s", Fraction(1), "kMGT")),
                    ("FLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s"), "40 GFLOP/s", positive=True, most=1e24)
_JOULES_PER_KWH = 3_600_000
INTENSITY = Dimension("grid intensity", MappingProxyType({
    "kgCO2/J": Fraction(1), "gCO2/kWh": Fraction(1, 1000 * _JOULES_PER_KWH), "kgCO2/kWh": Fraction(1, _JOULES_PER_KWH),
    "kgCO2/MWh": Fraction(1, 1000 * _JOULES_PER_KWH)}), ("kgCO2/J", "gCO2/kWh"), "400 gCO2/kWh")
PERCENTAGE = Dimension("percentage", MappingProxyType({"%": Fraction(1)}), ("%",), "80 %")
ROUNDS = Dimension("number of rounds", _factors(rounds=1, round=1), ("rounds",), "20 rounds")

_SUFFIXES = (("_bytes_per_s", RATE), ("flops_per_s", COMPUTE), ("_kg_per_joule", INTENSITY), ("_bytes", SIZE),
             ("_percent", PERCENTAGE), ("_rounds", ROUNDS), ("_w", POWER), ("_s", TIME))
_KEYS = MappingProxyType({"total_bytes": "total_bytes", "flops_per_s": "flops"})  # "total" alone would not say of what


def dimension_of(attribute: str) -> Dimension | None:
    """Return what an attribute measures, which its name says; None for a plain number or text.

    >>> dimension_of("rtt_s").noun, dimension_of("batch_size")
    ('time', None)
    """
    return next((dimension for suffix, dimension in _SUFFIXES if attribute.endswith(suffix)), None)


def without_unit(attribute: str) -> str:
    """Return an attribute's name without its unit: the key in YAML, where values carry their units.

    >>> without_unit("uplink_bytes_per_s"), without_unit("total_bytes"), without_unit("workers")
    ('uplink', 'total_bytes', 'workers')
    """
    if attribute in _KEYS:
        return _KEYS[attribute]
    suffix = next((suffix for suffix, _ in _SUFFIXES if attribute.endswith(suffix)), "")
    return attribute.removesuffix(suffix)


_LARGEST = 10**300
_NUMBER = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?"
_UNIT = r"[A-Za-zµμ%][A-Za-z/]*(?:CO2[A-Za-z/]*)?"
_QUANTITY = re.compile(rf"(?P<low>{_NUMBER})\s*(?P<low_unit>{_UNIT})?"
                       rf"(?:\s*[-–]\s*(?P<high>{_NUMBER})\s*(?P<high_unit>{_UNIT})?)?")


def parse(dimension: Dimension, text: str) -> Range:
    """Read one quantity, or a range of them, in SI.

    raises   ValueError, saying what to write instead: no unit, an unknown or binary unit, a negative value
             (or zero where there is none), a reversed range

    >>> parse(RATE, "20 Mbps").low, parse(TIME, "10-300 ms"), parse(SIZE, "25 MB").low
    (2500000.0, Range(low=0.01, high=0.3), 25000000.0)
    """
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not a {dimension.noun}; write for example {dimension.example} "
                         f"(knows: {dimension.known})")
    last_unit = match["high_unit"] if match["high"] else match["low_unit"]
    low = _value(dimension, match["low"], match["low_unit"] or last_unit)
    high = _value(dimension, match["high"], last_unit) if match["high"] else low
    return Range(low, high)


def _value(dimension: Dimension, number: str, unit: str | None) -> float:
    if unit is None:
        raise ValueError(no_unit(dimension))
    if unit not in dimension.factors:
        raise ValueError(_unknown_unit(dimension, unit))
    exact = Fraction(number) * dimension.factors[unit]  # so that rounding happens once, to the nearest float
    return checked(dimension, float(exact) if abs(exact) < _LARGEST else math.inf)


def checked(dimension: Dimension, value: float) -> float:
    """Return `value` if a dimension allows it; ValueError otherwise."""
    if value < 0 or (dimension.positive and value == 0):
        raise ValueError(f"must be {'> 0' if dimension.positive else '>= 0'}")
    if not math.isfinite(value):
        raise ValueError("must be finite")
    if value < dimension.least:
        raise ValueError(f"must be >= {spell(dimension, dimension.least)}")
    if value > dimension.most:
        raise ValueError(f"must be <= {spell(dimension, dimension.most)}")
    return value


def no_unit(dimension: Dimension) -> str:
    """Say that a unit is missing, which ones there are, and how it looks."""
    return f"needs a unit, for example {dimension.example} (knows: {dimension.known})"


def _unknown_unit(dimension: Dimension, unit: str) -> str:
    if re.match(r"[KMGT]i", unit):
        return f"binary units such as {unit} are not known: SI only, M = 10^6 (1 GiB is 1.073741824 GB)"
    if re.fullmatch(r"[kMGT]?b/s", unit) and dimension is RATE:  # bits or bytes? a guess would be wrong by 8
        near = [unit.replace("b/s", "bps"), unit.replace("b/s", "B/s")]
    else:
        near = [known for known in dimension.factors if known.casefold() == unit.casefold()]
    near = near or difflib.get_close_matches(unit, dimension.factors, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown unit {unit}; {hint}(knows: {dimension.known})"


def spell(dimension: Dimension, values: Range | float) -> str:
    """Write a quantity as a user would, the shortest way that `parse` reads back exactly.

    >>> spell(RATE, 2.5e6), spell(TIME, Range(0.01, 0.3)), spell(ROUNDS, 20)
    ('20 Mbps', '10-300 ms', '20 rounds')
    """
    values = values if isinstance(values, Range) else Range(values, values)
    spellings = [_spelled(values, unit, dimension.factors[unit]) for unit in dimension.spelled]
    return min((text for text in spellings if parse(dimension, text) == values), key=len)


def _spelled(values: Range, unit: str, factor: Fraction) -> str:
    low, high = (repr(float(Fraction(end) / factor)).removesuffix(".0") for end in (values.low, values.high))
    return f"{low} {unit}" if values.is_constant else f"{low}-{high} {unit}"


_TIMES = r"[x×*]"
_FACTOR = r"\d{1,20}(?:\.\d{1,20})?\s*[kMG]?"
_COUNT = re.compile(rf"{_FACTOR}(?:\s*{_TIMES}\s*{_FACTOR})*")
_MULTIPLES = MappingProxyType({"k": 10**3, "M": 10**6, "G": 10**9})


def count(value: object) -> int:
    """Read a count: a whole number, `350M`, or a product such as `64 x 768`.  Raises ValueError otherwise.

    >>> count("64 x 768"), count("350M"), count(7)
    (49152, 350000000, 7)
    """
    factors = _count_factors(value)
    product = math.prod(factors, start=Fraction(1))
    if product.denominator != 1 or product < 1:
        raise ValueError("must be a whole number of at least 1")
    return int(product)


def extents(text: str) -> tuple[int, ...]:
    """Read a shape such as `1024 x 4096`.

    >>> extents("1024 x 4096")
    (1024, 4096)
    """
    return tuple(count(part) for part in re.split(_TIMES, text))


def _count_factors(value: object) -> list[Fraction]:
    if isinstance(value, int) and not isinstance(value, bool):
        return [Fraction(value)]
    if not isinstance(value, str) or not _COUNT.fullmatch(value.strip()):
        raise ValueError("not a count; write for example 350M or 64 x 768")
    parts = [part.strip() for part in re.split(_TIMES, value)]
    return [Fraction(part.rstrip("kMG").strip()) * _MULTIPLES.get(part[-1], 1) for part in parts]


def from_mbps(mbps: float) -> float:
    """Turn megabits per second (trace files, published figures) into bytes per second.

    >>> from_mbps(20)
    2500000.0
    """
    return mbps * 1e6 / BITS_PER_BYTE


def to_mbps(bytes_per_s: float) -> float:
    """Turn bytes per second into megabits per second, for people to read."""
    return bytes_per_s * BITS_PER_BYTE / 1e6
