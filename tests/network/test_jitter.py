"""Jitter: gamma around the usual latency, alike under every policy."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from acesim.network.jitter import USUAL, Jitter, spread_of
from acesim.network.models import access_models

DRAWS = 4000


@pytest.mark.parametrize("spread", [0.03, 0.27, 1.0, 2.0])
def test_mean_and_spread(spread):
    """Of n draws the mean lies within 4 spread / sqrt(n), the sample variance within 4 sd of it; for a gamma the fourth
    central moment is (3 + 6 spread^2) var^2, so the variance's own relative sd is sqrt((2 + 6 spread^2) / n)."""
    jitter = Jitter([0.0, spread], seed=3)
    drawn = np.array([jitter.latency_s(1, "up", 0.05) for _ in range(DRAWS)]) / 0.05
    assert drawn.min() >= 0
    assert abs(drawn.mean() - 1) < 4 * spread / math.sqrt(DRAWS)
    assert abs(drawn.var() / spread**2 - 1) < 4 * math.sqrt((2 + 6 * spread**2) / DRAWS)


def test_the_nth_message_of_a_worker_is_as_late_whatever_else_is_sent():
    alone, busy = (Jitter([0.2, 0.2, 0.0], seed=1) for _ in range(2))
    expected = [alone.latency_s(0, "up", 0.1) for _ in range(5)]
    found = []
    for number in range(5):
        busy.latency_s(1, "up", 0.1), busy.latency_s(0, "down", 9.0)
        found.append(busy.latency_s(0, "up", 0.1 * (1 + number)) / (1 + number))
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert Jitter([0.2], seed=2).latency_s(0, "up", 0.1) != expected[0]


def test_none_is_none():
    assert Jitter([0.0], 0).latency_s(0, "up", 0.1) == 0.1


def test_what_is_usual_for_a_kind():
    kinds = {kind: spread_of("auto", SimpleNamespace(kind=kind)) for kind in ("satellite", "lte", "datacenter")}
    assert kinds == {"satellite": access_models()["satellite"].jitter, "lte": access_models()["lte"].jitter,
                     "datacenter": USUAL}
