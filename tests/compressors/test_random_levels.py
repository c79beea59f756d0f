"""Equation [6] as it stands, and what makes it fit for error feedback."""

import numpy as np
import pytest

from acesim.compressors import DEFAULT_MENU, QSGD, Budget, ErrorFeedback, Grouped, Shrunk
from acesim.compressors.shrunk import variance
from acesim.scenario.errors import PolicyError

SIZES = (64, 64, 40)
P = sum(SIZES)
FOUR = np.full(3, DEFAULT_MENU.index("4-bit"))


def vector(seed=0):
    return np.random.default_rng(seed).standard_normal(P).astype(np.float32)


def decoded(compressor, x, level, rng):
    payload, _ = compressor.encode(x, level, rng, compressor.init(x.size))
    return compressor.decode(payload.body, x.size)


def test_it_is_sign_times_norm_times_a_share():
    """Every entry is a multiple of |g| / s, with the sign of its own."""
    x = vector()
    found = decoded(Grouped(SIZES, rounding="stochastic"), x, FOUR, np.random.default_rng(0))
    shares = found[:64] / np.linalg.norm(x[:64]) * 7
    np.testing.assert_allclose(shares, np.rint(shares), atol=1e-5)
    assert (found * x >= 0).all()


def test_it_is_unbiased_and_the_shrunk_one_is_not():
    """|mean - x| <= z sigma / sqrt(n): an entry varies by at most |g| / (2 s) a draw; 4.5 sigma for 168 entries."""
    x, draws = vector(), 2000
    rng = np.random.default_rng(1)
    mean = np.mean([decoded(Grouped(SIZES, rounding="stochastic"), x, FOUR, rng) for _ in range(draws)], axis=0)
    sigma = np.repeat([np.linalg.norm(part) / 14 for part in np.split(x, [64, 128])], SIZES)
    assert (np.abs(mean - x) <= 4.5 * sigma / draws**0.5).all()
    shrunk = decoded(Grouped(SIZES, rounding="shrunk"), x, FOUR, np.random.default_rng(5))
    plain = decoded(Grouped(SIZES, rounding="stochastic"), x, FOUR, np.random.default_rng(5))
    np.testing.assert_allclose(shrunk[:64], plain[:64] / (1 + variance(7, 64)), rtol=1e-5)


def test_error_feedback_refuses_it_as_it_stands():
    with pytest.raises(PolicyError, match="must be contractive"):
        ErrorFeedback(Grouped(SIZES, rounding="stochastic"))
    assert ErrorFeedback(Grouped(SIZES, rounding="shrunk")).inner.contractive


@pytest.mark.parametrize("compressor", [ErrorFeedback(Shrunk(QSGD(7, 64))),
                                        ErrorFeedback(Grouped(SIZES, rounding="shrunk"))])
def test_shrunk_residuals_stay_bounded(compressor):
    """|e| settles below about (omega / (1 + omega))^.5 / (1 - (...)^.5) vectors; unshrunk ones explode."""
    state, rng, lengths = compressor.init(P), np.random.default_rng(2), []
    level = FOUR if isinstance(compressor.inner, Grouped) else None
    for seed in range(300):
        x = vector(seed)
        _, state = compressor.encode(x, level, rng, state)
        lengths.append(np.linalg.norm(state.residual) / np.linalg.norm(x))
    assert max(lengths) < 5


def test_unshrunk_residuals_explode():
    """Why it is refused: 300 rounds of [7] with gamma = 1 around QSGD with one level."""
    qsgd, rng = QSGD(1, 64), np.random.default_rng(3)
    residual = np.zeros(P, np.float32)
    for seed in range(100):
        due = vector(seed) + residual
        payload, _ = qsgd.encode(due, None, rng, ())
        residual = due - qsgd.decode(payload.body, P)
    assert np.linalg.norm(residual) > 1e4 * np.linalg.norm(vector())


def test_the_mean_error_of_the_shrunk_is_within_its_promise():
    x, shrunk, rng = vector(), Shrunk(QSGD(3, 168)), np.random.default_rng(4)
    errors = [np.sum((x - decoded(shrunk, x, None, rng)) ** 2) for _ in range(400)]
    omega = variance(3, 168)
    assert np.mean(errors) <= omega / (1 + omega) * np.sum(x**2)


def test_the_knapsack_sees_what_rounding_at_random_costs():
    """At a few bits its distortion is one, so that bytes go to other levels."""
    budget = Budget(80.0, np.ones(3, np.float32))
    random, nearest = Grouped(SIZES, rounding="shrunk"), Grouped(SIZES)
    state = random.init(P)
    _, state = random.encode(vector(), budget, np.random.default_rng(0), state)
    _, other = nearest.encode(vector(), budget, None, nearest.init(P))
    four = DEFAULT_MENU.index("4-bit")
    assert (state.distortion[:, four] > 5 * other.distortion[:, four]).all()


def test_it_needs_a_generator():
    with pytest.raises(PolicyError, match="needs a generator"):
        Grouped(SIZES, rounding="shrunk").encode(vector(), FOUR, None, None)
    with pytest.raises(PolicyError, match="rounding = 'odd'"):
        Grouped(SIZES, rounding="odd")
