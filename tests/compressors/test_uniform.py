import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from acesim.compressors import Uniform
from acesim.scenario.errors import PolicyError

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def through(compressor, values, level=None):
    x = np.array(values, np.float32)
    return compressor.decode(compressor.encode(x, level, None, ())[0].body, x.size)


def test_two_bits_by_hand():
    """rms of (1, -1, 7, 7) is 5: step 5.75, half of it 2.875."""
    np.testing.assert_allclose(through(Uniform(2), [1, -1, 7, 7]), [0, 0, 5.75, 5.75])
    np.testing.assert_allclose(through(Uniform(2), [-1, 7, 1, -7]), [0, 5.75, 0, -5.75])


def test_four_bits_by_hand():
    """The largest entry rules: 15 / 7.5 = 2 > 0.42 rms, and 15 itself is cut off at 7 steps."""
    assert through(Uniform(4), [15, 2.9, -0.9, 5.1] + [0] * 12).tolist() == [14, 2, 0, 6] + [0] * 12


def test_four_bits_of_a_flat_block():
    """The rms rules where no entry stands out: 0.42 > 1 / 7.5."""
    np.testing.assert_allclose(through(Uniform(4), [1, -1, 1, 1]), [0.84, -0.84, 0.84, 0.84], 1e-6)


def test_eight_bits_by_hand():
    assert through(Uniform(8), [127, -3.4, 0.4, 64]).tolist() == [127, -3, 0, 64]


def test_sign_by_hand():
    assert through(Uniform("sign"), [1, -3, 0, 4]).tolist() == [2, -2, 2, 2]
    assert through(Uniform(1), [1, -3, 0, 4]).tolist() == [2, -2, 2, 2]


def test_groups_have_their_own_scale():
    assert through(Uniform("sign", (2, 1)), [1, -3, 0.5]).tolist() == [2, -2, 0.5]
    assert through(Uniform("sign", nominal_block=2), [1, -3, 0.5]).tolist() == [2, -2, 0.5]


def test_level_replaces_bits():
    payload, _ = Uniform(8).encode(np.ones(100, np.float32), 2, None, ())
    assert payload.nbytes == 25 + 4 == Uniform(8).nbytes(((100,),), payload.measure)


@pytest.mark.parametrize(("bits", "least", "most"), [("sign", 0.36, 0.365), (2, 0.18, 0.2), (4, 0.014, 0.02),
                                                     (8, 4e-5, 7e-5)])
def test_distortion_of_normal_entries(bits, least, most):
    """1 - 2 / pi for the sign; s^2 / 12 = (peak / 127 / rms)^2 / 12 with a peak of 3.1 rms at 8 bits."""
    x = np.random.default_rng(0).standard_normal(60000).astype(np.float32)
    measured = np.sum((x - through(Uniform(bits, nominal_block=500), x)) ** 2) / np.sum(x**2)
    assert least < measured < most


@quick
@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(-2.0**50, 2.0**50, width=32).filter(
    lambda value: value == 0 or abs(value) > 1e-15)), st.sampled_from(["sign", 2, 4, 8]))
def test_contractive(x, bits):
    """Of every entry a grid leaves no more than there was; of the vector less, unless it is zero."""
    decoded, wide = through(Uniform(bits), x), x.astype(np.float64)
    left = np.abs(wide - decoded)
    if bits != "sign":
        assert (left <= np.abs(wide) * (1 + 1e-6)).all()
    assert np.sum(left**2) < np.sum(wide**2) or not x.any()


def test_tiny_and_huge_vectors():
    assert not through(Uniform(4), [1e-44, -1e-40]).any()
    with pytest.raises(PolicyError, match="training has diverged"):
        through(Uniform(4), [1e30, 1.0])
    with pytest.raises(PolicyError, match="training has diverged"):
        through(Uniform(4), [np.nan, 1.0])


def test_bytes_at_nominal_scale():
    shapes = ((1000, 1000), (123,))
    assert Uniform(2, (5, 5)).wire(shapes, None) == (250_031, 0, 4 * 62)
    assert Uniform(2, (5, 5)).wire(((10,),), None) == (3, 0, 8)


@pytest.mark.parametrize("bits", [3, 0, 16, "two", None, 2.5])
def test_refuses_bits(bits):
    with pytest.raises(PolicyError, match=r"bits = .*: must be 2, 4, 8 or 'sign'"):
        Uniform(bits)


def test_refuses_groups():
    with pytest.raises(PolicyError, match="groups of 3 entries for a vector of 4"):
        through(Uniform(2, (1, 2)), [1, 2, 3, 4])
    for wrong in ({"groups": ()}, {"groups": (2, 0)}, {"nominal_block": 0}):
        with pytest.raises(PolicyError, match="every block must hold at least 1 entry"):
            Uniform(2, **wrong)
