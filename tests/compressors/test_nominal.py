"""wire() at nominal scale is what a vector of that size really takes when it is spelt out."""

import itertools

import numpy as np
import pytest

from acesim.compressors import (
    DEFAULT_MENU,
    QSGD,
    Changes,
    CountSketch,
    Dense,
    ErrorFeedback,
    Grouped,
    LayerTopK,
    MomentumCorrection,
    SampledTopK,
    Silent,
    SparsificationAwareMomentum,
    Threshold,
    TopK,
    Uniform,
)
from acesim.scenario.streams import stream

MEMBERS = [Dense("bf16"), TopK(0.01, "packed"), Uniform(4), QSGD(7), Silent(), Threshold(3.0, "run-length"),
           SampledTopK(0.001, index="int64")]
VARIANTS = [Dense(), Dense("fp16"), TopK(0.01), TopK(0.3, "auto"), Uniform("sign"), Uniform(2), QSGD(15),
            ErrorFeedback(Uniform(8)), CountSketch(1, ratio=0.01, hashing="fold"),
            LayerTopK(0.001, index="run-length"), Threshold(2.0), Changes(),
            LayerTopK(0.01, rounding="ceil", ties="keep"), LayerTopK(1e-6, index="run-length"),
            MomentumCorrection(SampledTopK(0.001)), SparsificationAwareMomentum(LayerTopK(0.01))]


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


def scaled_up(compressor, small, large):
    """Return (bytes reckoned from a small payload, bytes of a real large one) of entries that are spread at random."""
    payload, real = (compressor.encode(vector(size), None, stream(0, "compressor"), compressor.init(size))[0]
                     for size in (small, large))
    return compressor.nbytes(((large,),), payload.measure), real.nbytes


@pytest.mark.parametrize("compressor", [Threshold(2.5), Threshold(3.2, "packed"), LayerTopK(0.01, index="auto"),
                                        Threshold(4.0, "run-length"), SampledTopK(0.01), Changes()], ids=repr)
def test_a_measured_share_is_carried_over(compressor):
    """Right to five deviations of a Poisson count of the small payload, a fifth of the large one's."""
    reckoned, real = scaled_up(compressor, 200_000, 1_000_000)
    count = max(1, real // 12)
    assert reckoned == pytest.approx(real, rel=5 * (6 / count) ** 0.5)


def test_fillers_are_reckoned_for_gaps_that_the_proxy_cannot_have():
    """1e-5 of the entries: half of the gaps of a large vector are longer than 65535."""
    small, large = 300_000, 20_000_000
    rng = np.random.default_rng(0)
    places = {size: np.flatnonzero(rng.random(size, np.float32) < 1e-5) for size in (small, large)}
    compressor = Changes("run-length")
    sizes = {}
    for size, chosen in places.items():
        x = np.zeros(size, np.float32)
        x[chosen] = 1.0
        payload, _ = compressor.encode(x, None, None, ())
        sizes[size] = payload
    real = sizes[large]
    assert len(compressor.serialise(real.body)) == real.nbytes > 6 * 1.8 * places[large].size
    share = places[small].size / small * large
    by_law = 6 * (share + share * np.exp(-65536 * share / large) / (1 - np.exp(-65536 * share / large)))
    assert compressor.nbytes(((large,),), sizes[small].measure) == pytest.approx(by_law, rel=5e-3)
