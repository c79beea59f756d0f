import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors.packing import bytes_of, pack, unpack


def test_by_hand():
    assert pack(np.array([1, 0, 1, 1, 0, 0, 0, 0, 1]), 1) == bytes([0b00001101, 1])
    assert pack(np.array([3, 0, 2, 1, 2]), 2) == bytes([0b01100011, 2])
    assert pack(np.array([5, 6]), 3) == bytes([0b110101])
    assert pack(np.array([0x123, 0x456]), 12) == bytes([0x23, 0x61, 0x45])


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 17), st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_round_trip_and_length(bits, entries, seed):
    numbers = np.random.default_rng(seed).integers(0, 1 << bits, entries)
    data = pack(numbers, bits)
    assert len(data) == bytes_of(entries, bits)
    np.testing.assert_array_equal(unpack(data, bits, entries), numbers)


@pytest.mark.parametrize("bits", [3, 8, 14])
def test_across_chunks(bits):
    numbers = np.random.default_rng(0).integers(0, 1 << bits, (1 << 19) + 13)
    np.testing.assert_array_equal(unpack(pack(numbers, bits), bits, numbers.size), numbers)
