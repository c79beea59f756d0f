"""docs/results.md names every column."""

from pathlib import Path

import pytest

from acesim.records.rows import KINDS, Event, MetricRow

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("column", [*Event._fields, *MetricRow._fields])
def test_every_column_is_documented(column):
    assert f"`{column}`" in TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_documented(kind):
    assert kind in TEXT
