import numpy as np
import pytest

from acesim.compressors import Dense, Silent, buckets
from acesim.compressors.dense import saturated, through_float16
from acesim.scenario.errors import PolicyError
from acesim.seam import Chunk


def through(compressor, values):
    x = np.array(values, np.float32)
    return compressor.decode(compressor.encode(x, None, None, ())[0].body, x.size)


def test_fp32_is_the_vector():
    values = [0.1, -3e38, 1e-45, 0.0]
    np.testing.assert_array_equal(through(Dense(), values), np.array(values, np.float32))


def test_bf16_rounds_to_nearest_even():
    eighth = 2.0**-8  # half a unit in the last place at 1: ties go to the even neighbour
    assert through(Dense("bf16"), [1 + eighth, 1 + 3 * eighth, 1 + 1.01 * eighth, -1 - eighth]).tolist() == \
        [1.0, 1 + 4 * eighth, 1 + 2 * eighth, -1.0]


def test_bf16_is_within_half_a_unit_everywhere():
    x = np.random.default_rng(0).integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    x = x[np.abs(x) < 3e38]
    np.testing.assert_allclose(through(Dense("bf16"), x), x, rtol=2.0**-8, atol=2.0**-134)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_nan_stays_nan(dtype):
    """A diverged run must be seen, not healed: this NaN would carry over into -0.0."""
    worst = np.array([0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    assert np.isnan(through(Dense(dtype), worst)).all()


def test_through_float16_is_what_float16_leaves_bit_for_bit():
    """Half a million numbers drawn anywhere, and every one next to where float16 ends, begins or becomes subnormal."""
    anywhere = np.random.default_rng(0).integers(0, 2**32, 500_000, dtype=np.uint32)
    edges = [np.float32(edge).view(np.uint32) + np.arange(-20_000, 20_000) for edge in
             (65504, 65520, 2.0**-14, 2.0**-15, 2.0**-24, 2.0**-25, 1.0)]
    vector = np.concatenate([anywhere, *edges, *(edge + 2**31 for edge in edges), [0, 2**31]]).astype(np.uint32)
    finite = vector.view(np.float32)[np.isfinite(vector.view(np.float32))]
    assert finite.size > 900_000
    by_way = saturated(finite).astype(np.float32)
    assert np.array_equal(through_float16(finite).view(np.uint32), by_way.view(np.uint32))


def test_fp16_saturates():
    assert through(Dense("fp16"), [1e9, -7e4, 65504, 1e-9, 0.5]).tolist() == [65504, -65504, 65504, 0, 0.5]


def test_refusals():
    with pytest.raises(PolicyError, match=r"Dense\.dtype = 'int8': must be"):
        Dense("int8")
    for compressor in (Dense(), Silent()):
        with pytest.raises(PolicyError, match=r"level = 0\.5: this compressor has no levels"):
            compressor.encode(np.ones(2, np.float32), 0.5, None, ())


def test_buckets_fill_from_the_last_tensor():
    shapes = ((10, 10), (30,), (50,), (20,))  # 4 bytes each: 400, 120, 200, 80
    assert buckets(shapes, 4, 200) == (Chunk(0.35, 0.35), Chunk(0.65, 1.0))
    assert buckets(shapes, 4, 80) == (Chunk(0.1, 0.1), Chunk(0.25, 0.35), Chunk(0.15, 0.5), Chunk(0.5, 1.0))
    assert buckets(shapes, 4, 1e9) == (Chunk(1.0, 1.0),)


def test_buckets_of_a_model_with_empty_tensors():
    assert buckets(((4,), (0,), (4,), (0,)), 4, 16) == (Chunk(0.5, 0.5), Chunk(0.5, 1.0))
    with pytest.raises(PolicyError, match="all must be > 0"):
        buckets((), 4, 25e6)
    with pytest.raises(PolicyError, match="all must be > 0"):
        buckets(((4,),), 4, 0)


def test_shares_of_buckets_add_up():
    shapes = tuple((int(size),) for size in np.random.default_rng(1).integers(1, 10**7, 290))
    chunks = buckets(shapes, 4, 25e6)
    assert sum(chunk.share for chunk in chunks) == pytest.approx(1.0, abs=1e-12)
    assert [chunk.ready_at for chunk in chunks] == sorted(chunk.ready_at for chunk in chunks)
    assert chunks[-1].ready_at == 1.0
