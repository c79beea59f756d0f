import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import DEFAULT_MENU, Budget, CachedFeedback, ErrorFeedback, Grouped, TopK
from acesim.scenario.errors import PolicyError
from acesim.seam import Remembering

SIZES = (30, 30, 17)
LEVEL = {name: number for number, name in enumerate(DEFAULT_MENU)}
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def levels(*names):
    return np.array([LEVEL[name] for name in names])


@quick
@given(st.integers(1, 12), st.floats(0, 0.95), st.integers(0, 2**32 - 1))
def test_mass_is_conserved(rounds, rho, seed):
    """Sum of what was used + residual == sum of the vectors; the receiver uses what the sender thinks it does."""
    compressor, rng = CachedFeedback(Grouped(SIZES, distortion_every=3), rho), np.random.default_rng(seed)
    state, memory, used, given_ = compressor.init(77), None, np.zeros(77), np.zeros(77)
    for _ in range(rounds):
        x = (rng.standard_normal(77) * rng.exponential()).astype(np.float32)
        level = Budget(float(rng.integers(5, 120)), np.ones(3, np.float32))
        payload, expected, state = compressor.encode_decoded(x, level, None, state)
        received, memory = compressor.receive(payload.body, 77, memory)
        np.testing.assert_array_equal(received, expected)
        used, given_ = used + received, given_ + x
    np.testing.assert_allclose(used + state.residual, given_, atol=1e-5 * (1 + np.abs(given_).max()) * rounds)


def test_by_hand():
    """A group that is not sent is taken for half of what it last was, then for a quarter."""
    compressor = CachedFeedback(Grouped((2, 1), menu=("skip", "fp32")), 0.5)
    state, memory, x = compressor.init(3), None, np.array([127, 64, 8], np.float32)
    seen = []
    for picks in ([1, 1], [0, 1], [0, 0]):
        payload, state = compressor.encode(x, np.array(picks), None, state)
        used, memory = compressor.receive(payload.body, 3, memory)
        seen.append(used.tolist())
    assert seen[:2] == [[127, 64, 8], [63.5, 32, 8]]
    np.testing.assert_allclose(seen[2], [31.75, 16, 4])
    np.testing.assert_allclose(state.residual, [127 * 2 - 63.5 - 31.75, 64 * 2 - 32 - 16, 8 - 4])


def test_the_cache_is_kept_in_eight_bits():
    compressor = CachedFeedback(Grouped((4,)), 0.5)
    x = np.array([1.0, 0.333, -0.2, 0.001], np.float32)
    _, state = compressor.encode(x, levels("fp32"), None, compressor.init(4))
    assert state.cache.codes.dtype == np.int8
    assert state.cache.codes.tolist() == [127, 42, -25, 0]
    _, used, state = compressor.encode_decoded(np.zeros(4, np.float32), levels("skip"), None, state)
    np.testing.assert_allclose(used, 0.5 * np.array([127, 42, -25, 0]) / 127, rtol=1e-6)
    assert compressor.receiver_bytes(1000) == 1000
    assert compressor.memory_bytes(1000) == 6000 + 8 * 9
    assert isinstance(compressor, Remembering)
    assert not isinstance(ErrorFeedback(TopK(0.1)), Remembering)


def test_no_decay_is_plain_feedback():
    cached, plain = CachedFeedback(Grouped(SIZES), 0.0), ErrorFeedback(Grouped(SIZES))
    one, two, rng = cached.init(77), plain.init(77), np.random.default_rng(0)
    for _ in range(5):
        x, level = rng.standard_normal(77).astype(np.float32), Budget(30.0, np.ones(3, np.float32))
        first, one = cached.encode(x, level, None, one)
        second, two = plain.encode(x, level, None, two)
        assert cached.serialise(first.body) == plain.serialise(second.body)
        np.testing.assert_array_equal(one.residual, two.residual)


def test_give_back_undoes_the_last_payload():
    """Residual and cache are as if it had never been sent; its vector joins the residual."""
    compressor, rng = CachedFeedback(Grouped(SIZES), 0.5), np.random.default_rng(1)
    state = compressor.init(77)
    for names in (("fp32", "4-bit", "sign"), ("skip", "4-bit", "skip")):
        _, state = compressor.encode(rng.standard_normal(77).astype(np.float32), levels(*names), None, state)
    x = rng.standard_normal(77).astype(np.float32)
    payload, after = compressor.encode(x, levels("4-bit", "skip", "skip"), None, state)
    given_ = compressor.give_back(payload.body, 77, after)
    np.testing.assert_allclose(given_.residual, state.residual + x, atol=1e-5)
    assert given_.cache is state.cache


@pytest.mark.parametrize(("arguments", "rule"), [
    ((TopK(0.1),), "must be Grouped"), ((Grouped(SIZES, rounding="stochastic"),), "contractive"),
    ((Grouped(SIZES), 1.0), r"cache = 1\.0"), ((Grouped(SIZES), -0.1), r"cache = -0\.1"),
    ((Grouped(SIZES), 0.5, 0.0), "gamma = 0")])
def test_bad_values_are_named(arguments, rule):
    with pytest.raises(PolicyError, match=rule):
        CachedFeedback(*arguments)
