import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import QSGD, Budget, Dense, ErrorFeedback, Grouped, Silent, TopK, Uniform
from acesim.scenario.errors import PolicyError

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SIZES = (30, 30, 17)
INNER = [(TopK(0.05), None), (Uniform(2, SIZES), None), (Uniform("sign"), None), (Dense("bf16"), None),
         (Grouped(SIZES), None), (Grouped(SIZES), np.array([0, 1, 7])),
         (Grouped(SIZES, distortion_every=3), Budget(60.0, np.array([1.0, 0.0, 3.0], np.float32)))]


@quick
@given(st.sampled_from(range(len(INNER))), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_nothing_is_lost(which, rounds, seed):
    """sum of what was decoded + residual == sum of the vectors, to rounding."""
    inner, level = INNER[which]
    compressor, rng = ErrorFeedback(inner), np.random.default_rng(seed)
    state, sent, given = compressor.init(77), np.zeros(77), np.zeros(77)
    for _ in range(rounds):
        x = (rng.standard_normal(77) * rng.exponential()).astype(np.float32)
        payload, state = compressor.encode(x, level, None, state)
        sent, given = sent + compressor.decode(payload.body, 77), given + x
    np.testing.assert_allclose(sent + state.residual, given, atol=1e-5 * (1 + np.abs(given).max()))


def test_by_hand():
    compressor = ErrorFeedback(TopK(0.5), 0.5)
    payload, state = compressor.encode(np.array([4, -2], np.float32), None, None, compressor.init(2))
    assert compressor.decode(payload.body, 2).tolist() == [4, 0]
    assert state.residual.tolist() == [0, -2]
    payload, state = compressor.encode(np.array([1, -1], np.float32), None, None, state)
    assert compressor.decode(payload.body, 2).tolist() == [0, -2]  # -1 - 0.5 * 2
    assert state.residual.tolist() == [1, 0]


def test_give_back():
    compressor = ErrorFeedback(Grouped(SIZES))
    x = np.random.default_rng(0).standard_normal(77).astype(np.float32)
    payload, state = compressor.encode(x, np.array([1, 5, 8]), None, compressor.init(77))
    before = state.residual.copy()
    given = compressor.give_back(payload.body, 77, state)
    np.testing.assert_allclose(given.residual, x, atol=1e-6)
    np.testing.assert_array_equal(state.residual, before)
    assert given.inner is state.inner


def test_residual_stays_bounded():
    """Two bits with feedback for 300 rounds: the residual settles at a few vectors, it does not grow."""
    compressor, rng = ErrorFeedback(Uniform(2)), np.random.default_rng(1)
    state, lengths = compressor.init(500), []
    for _ in range(300):
        x = rng.standard_normal(500).astype(np.float32)
        _, state = compressor.encode(x, None, None, state)
        lengths.append(np.linalg.norm(state.residual) / np.linalg.norm(x))
    assert max(lengths) < 3


def test_it_is_what_its_inner_compressor_is():
    assert ErrorFeedback(Dense()).linear
    assert ErrorFeedback(Dense()).lossless
    assert not ErrorFeedback(TopK(0.1)).linear
    assert not ErrorFeedback(TopK(0.1)).contractive
    assert ErrorFeedback(TopK(0.1)).memory_bytes(1000) == 4000
    assert ErrorFeedback(Grouped(SIZES)).memory_bytes(77) == 308 + 8 * 3 * 9
    inner, outer = TopK(0.1).work("encode"), ErrorFeedback(TopK(0.1)).work("encode")
    assert outer.bytes == inner.bytes + TopK(0.1).work("decode").bytes + 24


@pytest.mark.parametrize("inner", [QSGD(7), Silent(), ErrorFeedback(TopK(0.1))])
def test_refuses_what_is_not_contractive(inner):
    with pytest.raises(PolicyError, match=r"ErrorFeedback\.inner = .*: must be contractive"):
        ErrorFeedback(inner)


@pytest.mark.parametrize("gamma", [0, -1, 1.01, float("nan")])
def test_refuses_gamma(gamma):
    with pytest.raises(PolicyError, match=r"gamma = .*: must be in \(0, 1\]"):
        ErrorFeedback(TopK(0.1), gamma)
