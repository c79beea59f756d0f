"""wire() at nominal scale is what a vector of that size really takes when it is spelt out."""

import itertools

import numpy as np
import pytest

from acesim.compressors import DEFAULT_MENU, QSGD, CountSketch, Dense, ErrorFeedback, Grouped, Silent, TopK, Uniform
from acesim.scenario.streams import stream

MEMBERS = [Dense("bf16"), TopK(0.01, "packed"), Uniform(4), QSGD(7), Silent()]
VARIANTS = [Dense(), Dense("fp16"), TopK(0.01), TopK(0.3, "auto"), Uniform("sign"), Uniform(2), QSGD(15),
            ErrorFeedback(Uniform(8)), CountSketch(1, ratio=0.01, hashing="fold")]


def vector(size):
    """Entries of a normal distribution, repeated: what they are does not change a length."""
    return np.resize(np.random.default_rng(0).standard_normal(1_000_003).astype(np.float32), size)


def check(compressor, size):
    payload, _ = compressor.encode(vector(size), None, stream(0, "compressor"), compressor.init(size))
    length = len(compressor.serialise(payload.body))
    assert payload.nbytes == length
    shapes = ((size // 2,), (size - size // 2,))
    assert compressor.nbytes(shapes, payload.measure) == pytest.approx(length, rel=1e-3)


@pytest.mark.parametrize("compressor", MEMBERS, ids=repr)
def test_35_million_entries(compressor):
    check(compressor, 35_000_003)


@pytest.mark.slow
@pytest.mark.parametrize("compressor", VARIANTS, ids=repr)
def test_35_million_entries_of_every_variant(compressor):
    check(compressor, 35_000_003)


@pytest.mark.slow
@pytest.mark.parametrize("compressor", [Dense("bf16"), TopK(0.01), Uniform(4)], ids=repr)
def test_350_million_entries(compressor):
    check(compressor, 350_000_003)


def test_groups_of_35_million_entries():
    """A proxy of 20 groups at mixed levels counts what blocks with the same levels take, one by one."""
    size, block = 35_000_003, 16384
    proxy = Grouped(tuple(range(100, 120)), nominal_size=size, nominal_block=block)
    picks = np.arange(20) % len(DEFAULT_MENU)
    entries = proxy.layout(size).entries.tolist()
    blocks = [[block] * (count // block) + [count % block] * (count % block > 0) for count in entries]
    real = Grouped(tuple(itertools.chain(*blocks)))
    levels = np.repeat(picks, [len(each) for each in blocks])
    payload, _ = real.encode(vector(size), levels, None, real.init(size))
    length = len(real.serialise(payload.body))
    assert proxy.nbytes(((size,),), picks) == length == payload.nbytes
