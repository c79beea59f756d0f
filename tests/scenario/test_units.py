import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.scenario.units import (
    COMPUTE,
    INTENSITY,
    PERCENTAGE,
    POWER,
    RATE,
    ROUNDS,
    SIZE,
    TIME,
    Range,
    count,
    dimension_of,
    extents,
    from_mbps,
    parse,
    spell,
    to_mbps,
    without_unit,
)

DIMENSIONS = [RATE, TIME, SIZE, POWER, PERCENTAGE, ROUNDS, COMPUTE, INTENSITY]


@pytest.mark.parametrize(("dimension", "text", "low", "high"), [
    (RATE, "20 Mbps", 2.5e6, 2.5e6),
    (RATE, "20 Mbit/s", 2.5e6, 2.5e6),
    (RATE, "8bps", 1, 1),
    (RATE, "2.5 MB/s", 2.5e6, 2.5e6),
    (RATE, "5-200 Mbps", 625e3, 25e6),
    (RATE, " 5 – 200 Mbps ", 625e3, 25e6),
    (RATE, "500 kbps - 2 Mbps", 62.5e3, 250e3),
    (RATE, "1e1 Gbps", 1.25e9, 1.25e9),
    (RATE, "8e-3-8e-2 Mbps", 1e3, 1e4),
    (TIME, "20 ms", 0.02, 0.02),
    (TIME, "1.5 s", 1.5, 1.5),
    (TIME, "10 min", 600, 600),
    (TIME, "2 h", 7200, 7200),
    (TIME, "3 d", 259_200, 259_200),
    (TIME, "0 s", 0, 0),
    (TIME, "1.1 ms", 0.0011, 0.0011),  # 1.1 * 1e-3 would not be
    (SIZE, "64 B", 64, 64),
    (SIZE, "25 MB", 25e6, 25e6),
    (SIZE, "1 TB", 1e12, 1e12),
    (PERCENTAGE, "80 %", 80, 80),
    (PERCENTAGE, "80%", 80, 80),
    (POWER, "30 W", 30, 30),
    (ROUNDS, "20 rounds", 20, 20),
    (ROUNDS, "1 round", 1, 1),
])
def test_reads(dimension, text, low, high):
    assert parse(dimension, text) == Range(low, high)


@pytest.mark.parametrize(("dimension", "text", "rule"), [
    (RATE, "20", r"needs a unit, for example 20 Mbps \(knows: bps, kbps, Mbps"),
    (RATE, "5-200", "needs a unit"),
    (RATE, "fast", "not a rate; write for example 20 Mbps"),
    (RATE, "nan Mbps", "not a rate"),
    (RATE, "inf Mbps", "not a rate"),
    (RATE, "20 mbps", "unknown unit mbps; did you mean Mbps?"),
    (RATE, "20 Mb/s", "did you mean Mbps or MB/s?"),
    (RATE, "20 MiB/s", "SI only"),
    (RATE, "20 ms", "unknown unit ms"),
    (RATE, "0 Mbps", "must be > 0"),
    (RATE, "-2 Mbps", "must be > 0"),
    (RATE, "200-5 Mbps", "turn the two values round"),
    (RATE, "5--3 Mbps", "must be > 0"),
    (RATE, "9e999 Gbps", "must be finite"),
    (TIME, "-1 ms", "must be >= 0"),
    (TIME, "1e200 s", "must be <= 1000000 d"),
    (SIZE, "2000000 TB", r"must be <= 1e\+18 B"),
    (TIME, "5 mins", "did you mean min"),
    (SIZE, "1 GiB", "SI only, M = 10\\^6"),
    (SIZE, "64 KB", "did you mean kB"),
    (SIZE, "64 x", "unknown unit x"),
    (TIME, "1 2 s", "not a time"),
    (RATE, "0.9 bps", r"must be >= 1 bps"),
    (TIME, "", "not a time"),
])
def test_refuses_saying_what_to_write(dimension, text, rule):
    with pytest.raises(ValueError, match=rule):
        parse(dimension, text)


finite = st.floats(min_value=1e-9, max_value=8e10, allow_nan=False)


@given(st.sampled_from(DIMENSIONS), finite, finite)
def test_what_is_spelt_is_read_back_exactly(dimension, one, other):
    one, other = max(one, dimension.least), max(other, dimension.least)
    values = Range(min(one, other), max(one, other))
    assert parse(dimension, spell(dimension, values)) == values
    assert parse(dimension, spell(dimension, one)) == Range(one, one)


@given(st.sampled_from(DIMENSIONS), st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_plain_error(dimension, text):
    try:
        values = parse(dimension, text)
    except ValueError as error:
        values, rule = Range(0, 0), str(error)
    else:
        rule = "none broken"
    assert 0 <= values.low <= values.high < math.inf
    assert rule
    assert "\n" not in rule


@pytest.mark.parametrize(("values", "text"), [
    (from_mbps(20), "20 Mbps"), (Range(from_mbps(5), from_mbps(200)), "5-200 Mbps"),
    (from_mbps(10_000), "10 Gbps"), (1 / 3, "0.3333333333333333 B/s"),
])
def test_spells_as_a_user_would(values, text):
    assert spell(RATE, values) == text


def test_a_range_is_finite_and_in_order():
    assert Range(1, 1).is_constant
    assert isinstance(Range(1, 2).low, float)
    for low, high in [(2, 1), (0, math.inf), (math.nan, 1)]:
        with pytest.raises(ValueError, match=r"."):
            Range(low, high)


@pytest.mark.parametrize(("value", "expected"), [
    ("64 x 768", 49_152), ("64x768", 49_152), ("64 × 768", 49_152), ("2*3*4", 24), ("350M", 350_000_000),
    ("1.5k", 1500), ("7", 7), (7, 7), ("0.5 x 4", 2),
])
def test_counts(value, expected):
    assert count(value) == expected


@pytest.mark.parametrize("value", ["", "64 x", "x", "64 by 2", "0", 0, -1, "1.5", 2.0, True, None,
                                   "1e3", "3 Mi", "0 x 3"])
def test_what_is_no_count(value):
    with pytest.raises(ValueError, match=r"count|whole number"):
        count(value)


def test_shapes():
    assert extents("1024 x 4096") == (1024, 4096)
    assert extents("7") == (7,)
    with pytest.raises(ValueError, match="whole"):
        extents("3 x 0")


@pytest.mark.parametrize(("attribute", "noun", "key"), [
    ("uplink_bytes_per_s", "rate", "uplink"), ("rtt_s", "time", "rtt"),
    ("message_header_bytes", "size", "message_header"),
    ("total_bytes", "size", "total_bytes"), ("target_accuracy_percent", "percentage", "target_accuracy"),
    ("warm_up_rounds", "number of rounds", "warm_up"), ("tokens_per_step", None, "tokens_per_step"),
    ("workers", None, "workers"), ("betas", None, "betas"), ("flops_per_s", "computing rate", "flops"),
    ("idle_w", "power", "idle"), ("intensity_kg_per_joule", "grid intensity", "intensity"),
])
def test_the_name_says_what_is_measured(attribute, noun, key):
    dimension = dimension_of(attribute)
    assert (dimension and dimension.noun) == noun
    assert without_unit(attribute) == key


@given(finite)
def test_megabits(mbps):
    assert from_mbps(8) == 1e6
    assert to_mbps(from_mbps(mbps)) == pytest.approx(mbps, rel=1e-15)


def test_the_factor_of_eight_lives_in_units_alone():
    """Law of the house: whoever converts bits anywhere else is found here."""
    import re
    from pathlib import Path

    import acesim

    package = Path(acesim.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path != package / "scenario" / "units.py":
            found = re.findall(r"(?:mbps|bits?_per_s|1e6|1e9)\w*\s*[*/]\s*8\b|/\s*8\s*\*\s*1e[369]"
                               r"|125_?000(?:\.0)?\b", path.read_text(encoding="utf-8"))
            assert not found, f"{path.name}: {found}"
