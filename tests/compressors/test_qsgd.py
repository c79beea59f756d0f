"""QSGD against its theorem: unbiased, and of bounded variance."""

import numpy as np
import pytest
from scipy import stats

from acesim.compressors import QSGD, ErrorFeedback
from acesim.compressors.qsgd import code_bits
from acesim.scenario.errors import PolicyError
from acesim.scenario.streams import stream

X = np.random.default_rng(5).standard_normal(50).astype(np.float32)
DRAWS = 4000


def drawn(compressor, x, count, who=0):
    """[count, P] decoded vectors of one stream."""
    rng = stream(0, "compressor", who)
    bodies = [compressor.encode(x, None, rng, ())[0].body for _ in range(count)]
    return np.array([compressor.decode(body, x.size) for body in bodies])


def shares(x, levels):
    return levels * np.abs(x.astype(np.float64)) / np.linalg.norm(x.astype(np.float64))


@pytest.mark.parametrize("levels", [1, 4, 16])
def test_unbiased(levels):
    """How often an entry was rounded up is binomial with the fraction of its share.

    Exact two-sided tail for each of 50 entries; by Bonferroni all stay above 1e-6 / 50 with probability above
    1 - 1e-6.
    """
    samples, exact = drawn(QSGD(levels, 50), X, DRAWS), shares(X, levels)
    step = np.linalg.norm(X.astype(np.float64)) / levels
    ups = np.rint(np.abs(samples) / step - np.floor(exact)).sum(0)
    chance = exact - np.floor(exact)
    tail = 2 * np.minimum(stats.binom.cdf(ups, DRAWS, chance), stats.binom.sf(ups - 1, DRAWS, chance))
    assert tail.min() > 1e-6 / X.size
    assert (np.sign(samples) * np.sign(X) >= 0).all()


@pytest.mark.parametrize("levels", [1, 2, 7, 64])
def test_variance(levels):
    """E|Q - x|^2 = (|x| / s)^2 sum f (1 - f), below the theorem's bound; sampled within 6 standard errors."""
    chance = shares(X, levels) % 1
    square = float(np.sum(X.astype(np.float64) ** 2))
    expected = square / levels**2 * np.sum(chance * (1 - chance))
    assert expected <= min(X.size / levels**2, np.sqrt(X.size) / levels) * square
    errors = np.sum((drawn(QSGD(levels, 50), X, 1000).astype(np.float64) - X) ** 2, axis=1)
    assert abs(errors.mean() - expected) <= 6 * errors.std() / np.sqrt(errors.size) + 1e-6 * square


def test_not_contractive():
    """One level and many equal entries: the error exceeds the vector, which is why feedback refuses it."""
    x = np.ones(512, np.float32)
    assert np.sum((drawn(QSGD(1, 512), x, 50) - x) ** 2, axis=1).mean() > 10 * np.sum(x**2)
    with pytest.raises(PolicyError, match=r"ErrorFeedback\.inner = QSGD.*: must be contractive"):
        ErrorFeedback(QSGD(1))


def test_feedback_around_it_would_diverge():
    """The page says why: with gamma = 1 the residual is multiplied, not reduced."""
    compressor, rng = QSGD(1, 512), stream(0, "compressor")
    residual, x = np.zeros(512, np.float32), np.ones(512, np.float32)
    for _ in range(20):
        due = x + residual
        residual = due - compressor.decode(compressor.encode(due, None, rng, ())[0].body, 512)
    assert np.linalg.norm(residual) > 1e3 * np.linalg.norm(x)


def test_codes_are_whole_levels_per_bucket():
    payload, _ = QSGD(5, 20).encode(X, None, stream(0, "compressor"), ())
    assert np.abs(payload.body.codes).max() <= 5
    norms = [np.linalg.norm(X[at:at + 20]) for at in (0, 20, 40)]
    np.testing.assert_allclose(payload.body.norms, norms, rtol=1e-6)


def test_exact_where_nothing_is_to_round():
    x = np.array([3, -4, 0, 0], np.float32)  # norm 5: shares 3, 4, 0, 0 of 5 levels
    payload, _ = QSGD(5, 4).encode(x, None, stream(0, "compressor"), ())
    assert payload.body.codes.tolist() == [3, -4, 0, 0]


def test_a_single_entry_is_all_of_its_norm():
    x = np.geomspace(1e-15, 1e15, 200).astype(np.float32)
    payload, _ = QSGD(32767, 1).encode(x, None, stream(0, "compressor"), ())
    assert (payload.body.codes == 32767).all()


def test_tiny_and_huge_vectors():
    payload, _ = QSGD(7).encode(np.array([1e-42, 1e-30], np.float32), None, stream(0, "compressor"), ())
    assert not payload.body.codes.any()
    with pytest.raises(PolicyError, match="training has diverged"):
        QSGD(7).encode(np.array([np.inf], np.float32), None, stream(0, "compressor"), ())


def test_level_and_bytes():
    assert [code_bits(levels) for levels in (1, 2, 3, 4, 7, 8, 127, 128)] == [2, 3, 3, 4, 4, 5, 8, 9]
    payload, _ = QSGD(7, 16).encode(X, 1, stream(0, "compressor"), ())
    assert payload.nbytes == 13 + 16 == QSGD(7, 16).nbytes(((50,),), payload.measure)
    assert QSGD(7, 512).wire(((350, 10**6),), None) == (175_000_000, 0, 4 * 683_594)


@pytest.mark.parametrize("levels", [0, -3, 40000, 1.5, "7"])
def test_refuses_levels(levels):
    with pytest.raises(PolicyError, match=r"levels = .*: must be a whole number from 1 to 32767"):
        QSGD(levels)


def test_refuses_bucket_and_missing_stream():
    with pytest.raises(PolicyError, match=r"QSGD\.bucket = 0"):
        QSGD(7, 0)
    with pytest.raises(PolicyError, match="rng = None"):
        QSGD(7).encode(X, None, None, ())
