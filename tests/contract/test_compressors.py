"""One battery for every compressor: a line in COMPRESSORS buys a new one all of it."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

import acesim.compressors
import acesim.seam
from acesim.compressors import (
    DEFAULT_MENU,
    QSGD,
    Budget,
    CachedFeedback,
    Changes,
    Clipped,
    CountSketch,
    Dense,
    ErrorFeedback,
    Fused,
    Grouped,
    Lattice,
    LayerTopK,
    MomentumCorrection,
    Predictive,
    SampledTopK,
    Scaled,
    Shrunk,
    Silent,
    SparsificationAwareMomentum,
    Split,
    Threshold,
    TopK,
    Uniform,
    buckets,
)
from acesim.scenario.errors import PolicyError
from acesim.scenario.streams import stream
from acesim.seam import Rated

SIZES = (64, 64, 50, 7, 1, 64)
P = sum(SIZES)
CHUNKS = buckets(((P // 2,), (P - P // 2,)), 4, 100)
SHAPES = ((64,), (8, 8), (50,), (7,), (1, 1), (8, 8))
MIXED = np.array([4, 3, 8, 7, 6, 1], np.uint8)

# compressor, level, bytes at P = 250 by the documented formula
COMPRESSORS = [
    (Dense(), None, 4 * P),
    (Dense("fp32", CHUNKS), None, 4 * P),
    (Dense("bf16"), None, 2 * P),
    (Dense("fp16"), None, 2 * P),
    (TopK(0.1), None, 8 * 25),
    (TopK(0.1, "bitmap"), None, 4 * 25 + 32),
    (TopK(0.1, "packed"), None, 4 * 25 + 25),
    (TopK(0.1, "auto"), None, 4 * 25 + 25),
    (TopK(0.5, "auto"), None, 4 * 125 + 32),
    (TopK(0.001), 0.2, 8 * 50),
    (Uniform("sign"), None, 32 + 4),
    (Uniform(2, SIZES), None, 63 + 24),
    (Uniform(4, nominal_block=100), None, 125 + 12),
    (Uniform(8, SIZES), None, 250 + 24),
    (QSGD(7, 64), None, 125 + 16),
    (QSGD(1, 64), None, 63 + 16),
    (QSGD(300, 100), None, math.ceil(P * 10 / 8) + 12),
    (Grouped(SIZES), None, 32 + 32 + 25 + 4 + 1 + 32 + 24 + 3),
    # 8 bits 64 + 4; 4 bits 32 + 4; top 10 % of 50: 3 + 4 + 4; top 1 % of 7: 1 + 1 + 4; fp32 4; sign 8 + 4
    (Grouped(SIZES), MIXED, 68 + 36 + 11 + 6 + 4 + 12 + 3),
    (Grouped(SIZES), np.full(6, 2), 16 + 16 + 13 + 2 + 1 + 16 + 24 + 3),
    (Grouped(SIZES), np.full(6, 5), 2 * P + 3),
    (Grouped(SIZES), np.zeros(6, np.uint8), 0),
    (Grouped(SIZES), Budget(1e9, np.ones(6, np.float32)), None),
    (Grouped(SIZES, choice="uniform"), Budget(200.0, np.ones(6, np.float32)), None),
    (Grouped(SIZES, nominal_size=10**6, nominal_block=1000), Budget(3e5, np.arange(6.0), 0.4), None),
    (ErrorFeedback(TopK(0.1)), None, 8 * 25),
    (ErrorFeedback(Uniform(2, SIZES), 0.9), None, 63 + 24),
    (ErrorFeedback(Grouped(SIZES)), Budget(300.0, np.ones(6, np.float32)), None),
    (CountSketch(3, ratio=0.3), None, 4 * 3 * 25),
    (CountSketch(5, ratio=0.01), None, 4 * 5 * 1),
    (CountSketch(3, columns=40, blocks=4), None, 4 * 3 * 40),
    (CountSketch(1, ratio=1.0, hashing="fold"), None, 4 * P),
    (Fused(Dense(), (100, 700, 1000)), None, 4 * P),
    (Fused(Dense("bf16"), (P,)), None, 2 * P),
    (Fused(TopK(0.1), (100, 700, 1000)), None, 8 * (2 + 15 + 7)),
    (Fused(QSGD(7, 64), (100, 700, 1000)), None, 13 + 75 + 38 + 4 * (1 + 3 + 2)),
    (Fused(CountSketch(3, ratio=0.3), (100, 700, 1000)), None, 4 * 3 * (3 + 15 + 8)),
    (ErrorFeedback(Fused(TopK(0.2), (1, 2, 500, 1000))), None, 8 * (25 + 25)),
    (Grouped(SIZES, rounding="stochastic"), MIXED, 68 + 36 + 11 + 6 + 4 + 12 + 3),
    (Grouped(SIZES, rounding="shrunk"), Budget(200.0, np.ones(6, np.float32)), None),
    (CachedFeedback(Grouped(SIZES)), MIXED, 68 + 36 + 11 + 6 + 4 + 12 + 3),
    (CachedFeedback(Grouped(SIZES), 0.9, 0.5), Budget(100.0, np.ones(6, np.float32)), None),
    (Shrunk(QSGD(7, 64)), None, 125 + 16),
    (Lattice(SIZES), None, None),
    (Lattice(SIZES, bits=8.0, slack=0.0), 0.5, None),
    (ErrorFeedback(Lattice(SIZES, nominal_size=10**6, nominal_block=1000)),
     Budget(9e4, np.arange(6.0, dtype=np.float32)), None),
    (Predictive(Lattice(SIZES)), None, None),
    (Predictive(Uniform(8, SIZES), 0.5), None, P + 4 * 6),
    (Silent(), None, 0),
    (Silent(0.7), None, 175),
    (LayerTopK(0.1), None, 8 * 25),
    (LayerTopK(0.1, SIZES), None, 8 * (6 + 6 + 5 + 1 + 1 + 6)),
    (LayerTopK(0.1, SIZES, rounding="ceil", ties="keep"), None, 8 * (7 + 7 + 5 + 1 + 1 + 7)),
    (LayerTopK(0.1, SIZES, "int64"), None, 12 * 25),
    (LayerTopK(0.1, index="run-length"), None, 6 * 25),
    (LayerTopK(0.1, index="bitmap"), None, 4 * 25 + 32),
    (LayerTopK(0.1, index="packed"), None, 4 * 25 + 25),
    (LayerTopK(0.2, index="auto"), None, 4 * 50 + 32),
    (LayerTopK(0.6), None, 4 * P),
    (LayerTopK(0.001, SIZES), 0.5, 8 * (32 + 32 + 25 + 3 + 1 + 32)),
    (SampledTopK(0.1, SIZES), None, None),
    (SampledTopK(0.05, index="run-length", sample=0.2), 0.2, None),
    (Threshold(1.0), None, None),
    (Threshold(1.0, "run-length"), 20.0, None),
    (Threshold(0.0), None, 4 * P),
    (Threshold(1e9, "bitmap"), None, 0),
    (Changes(), None, 4 * P),
    (Changes("run-length"), None, 4 * P),
    (MomentumCorrection(LayerTopK(0.1)), None, 8 * 25),
    (MomentumCorrection(TopK(0.1), 0.7, masking=False, nesterov=True), 0.2, 8 * 50),
    (MomentumCorrection(Dense(), 0.0), None, 4 * P),
    (SparsificationAwareMomentum(LayerTopK(0.1, SIZES)), None, 8 * 25),
    (Scaled(ErrorFeedback(LayerTopK(0.1))), None, 8 * 25),
    (Scaled(TopK(0.1)), Rated(0.5, 0.2), 8 * 50),
    (Clipped(TopK(0.1), 2.0), None, 8 * 25),
    (Split(SHAPES, Dense(), LayerTopK(0.1)), 0.5, 4 * 121 + 8 * 64),
    (Split(SHAPES, MomentumCorrection(Dense(), masking=False), MomentumCorrection(SampledTopK(0.1))), None, None),
]
NAMES = [f"{number}-{type(compressor).__name__}" for number, (compressor, _, _) in enumerate(COMPRESSORS)]
every = pytest.mark.parametrize(("compressor", "level", "nbytes"), COMPRESSORS, ids=NAMES)
SPELLED = {**vars(acesim.compressors), **vars(acesim.seam)}


def vector(seed=0, size=P):
    scale = np.repeat([1e-3, 1.0, 30.0, 1e-2, 5.0, 0.2], SIZES)[:size] if size == P else 1.0
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


def encoded(compressor, level, x, who=0):
    return compressor.encode(x, level, stream(0, "compressor", who), compressor.init(x.size))


def resized(compressor, level, sizes):
    """The same compressor for other groups, and a level that suits them."""
    if isinstance(compressor, ErrorFeedback):
        inner, level = resized(compressor.inner, level, sizes)
        return ErrorFeedback(inner, compressor.gamma), level
    if isinstance(compressor, Fused):
        inner, level = resized(compressor.inner, level, sizes)
        return Fused(inner, (sum(sizes),)), level
    if isinstance(compressor, Grouped):
        level = None if level is None else Budget(1e9, np.ones(len(sizes), np.float32)) \
            if isinstance(level, Budget) else np.asarray(level)[:len(sizes)]
        return Grouped(sizes), level
    if isinstance(compressor, CachedFeedback):
        inner, level = resized(compressor.inner, level, sizes)
        return CachedFeedback(inner, compressor.rho, compressor.gamma), level
    if isinstance(compressor, Lattice):
        return Lattice(sizes), None
    if isinstance(compressor, Uniform) and compressor.groups:
        return Uniform(compressor.bits, sizes), level
    if isinstance(compressor, LayerTopK) and compressor.layers:
        return replace(compressor, layers=sizes), level
    if isinstance(compressor, MomentumCorrection | SparsificationAwareMomentum | Scaled | Clipped | Predictive):
        inner, level = resized(compressor.inner, level, sizes)
        return replace(compressor, inner=inner), level
    if isinstance(compressor, Split):  # it asks for two tensors: the single entry is a matrix's
        return compressor.matrices, level
    return compressor, level


@every
def test_is_a_compressor(compressor, level, nbytes):
    assert isinstance(compressor, acesim.seam.Compressor)
    assert type(compressor.linear) is type(compressor.lossless) is type(compressor.contractive) is bool


@every
def test_size_and_type_are_kept(compressor, level, nbytes):
    payload, _ = encoded(compressor, level, vector())
    decoded = compressor.decode(payload.body, P)
    assert decoded.shape == (P,)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()


@every
def test_zero_in_gives_zero_out(compressor, level, nbytes):
    payload, _ = encoded(compressor, level, np.zeros(P, np.float32))
    assert not compressor.decode(payload.body, P).any()


@every
@pytest.mark.parametrize("value", [3.0, -1e-3])
def test_all_equal(compressor, level, nbytes, value):
    payload, _ = encoded(compressor, level, np.full(P, value, np.float32))
    decoded = compressor.decode(payload.body, P)
    assert np.isfinite(decoded).all()
    largest = 1.2 * abs(value) if compressor.contractive or compressor.lossless else 100 * abs(value)
    assert np.abs(decoded).max() <= largest


@every
def test_a_single_entry(compressor, level, nbytes):
    compressor, level = resized(compressor, level, (1,))
    payload, _ = encoded(compressor, level, np.array([-2.5], np.float32))
    assert compressor.decode(payload.body, 1).shape == (1,)
    assert len(compressor.serialise(payload.body)) == payload.nbytes


@every
def test_inputs_are_not_changed(compressor, level, nbytes):
    x, state = vector(), compressor.init(P)
    for _ in range(2):
        before, kept = x.copy(), pickle.dumps((state, level))
        payload, following = compressor.encode(x, level, stream(0, "compressor"), state)
        np.testing.assert_array_equal(x, before)
        assert pickle.dumps((state, level)) == kept
        decoded, state = compressor.decode(payload.body, P), following
        decoded += 1.0  # the decoded vector is the caller's: neither x nor the body may notice
        np.testing.assert_array_equal(x, before)
        np.testing.assert_array_equal(compressor.decode(payload.body, P) + 1.0, decoded)


@every
def test_same_stream_same_payload(compressor, level, nbytes):
    first, again = (encoded(compressor, level, vector())[0] for _ in range(2))
    assert compressor.serialise(first.body) == compressor.serialise(again.body)


@every
def test_encode_decoded_is_encode_and_decode(compressor, level, nbytes):
    payload, _ = encoded(compressor, level, vector())
    rng, state = stream(0, "compressor"), compressor.init(P)
    fused, decoded, _ = compressor.encode_decoded(vector(), level, rng, state)
    assert compressor.serialise(fused.body) == compressor.serialise(payload.body)
    np.testing.assert_array_equal(decoded, compressor.decode(payload.body, P))


@every
def test_bytes_are_real(compressor, level, nbytes):
    """nbytes == len(serialise) == wire; the bytes hold all that decoding needs; they follow the formula."""
    payload, _ = encoded(compressor, level, vector())
    data = compressor.serialise(payload.body)
    assert payload.nbytes == len(data) == compressor.wire(((P,),), payload.measure).total
    assert payload.nbytes == compressor.nbytes(((P // 2,), (P // 10, 5)), payload.measure)
    if nbytes is not None:
        assert payload.nbytes == nbytes
    again = compressor.deserialise(data, P)
    np.testing.assert_array_equal(compressor.decode(again, P), compressor.decode(payload.body, P))


@every
def test_pickles(compressor, level, nbytes):
    copy = pickle.loads(pickle.dumps(compressor))
    assert copy == compressor
    before, after = encoded(compressor, level, vector())[0], encoded(copy, level, vector())[0]
    assert pickle.loads(pickle.dumps(before)).nbytes == after.nbytes
    assert copy.serialise(after.body) == compressor.serialise(before.body)


@every
def test_repr_round_trips(compressor, level, nbytes):
    assert eval(repr(compressor), dict(SPELLED)) == compressor


@every
def test_contractive_is_kept(compressor, level, nbytes):
    if not compressor.contractive:
        return
    for seed in range(20):
        x = vector(seed)
        payload, _ = encoded(compressor, level, x, seed)
        left = np.sum((x.astype(np.float64) - compressor.decode(payload.body, P)) ** 2)
        assert left <= np.sum(x.astype(np.float64) ** 2) * (1 + 1e-9)
        assert payload.nbytes == 0 or left < np.sum(x.astype(np.float64) ** 2)


@every
def test_lossless_is_kept(compressor, level, nbytes):
    payload, _ = encoded(compressor, level, vector())
    assert np.array_equal(compressor.decode(payload.body, P), vector()) or not compressor.lossless


@every
def test_linear_is_kept(compressor, level, nbytes):
    """The body of a weighted sum is the weighted sum of the bodies, float32 arrays, but for P roundings an entry."""
    if not compressor.linear:
        return
    first, second = vector(0), vector(1)
    bodies = [encoded(compressor, level, each)[0].body for each in (first, second, first + np.float32(0.5) * second)]
    assert {body.dtype for body in bodies} == {np.dtype(np.float32)}
    slack = P * np.finfo(np.float32).eps * float(np.abs(first).sum() + np.abs(second).sum())
    np.testing.assert_allclose(bodies[0] + np.float32(0.5) * bodies[1], bodies[2], rtol=0, atol=slack)


@every
def test_chunks_are_the_compressors(compressor, level, nbytes):
    payload, _ = encoded(compressor, level, vector())
    assert payload.chunks == compressor.chunks
    assert not payload.chunks or math.isclose(sum(chunk.share for chunk in payload.chunks), 1.0)


@every
def test_work_and_memory_are_declared(compressor, level, nbytes):
    for direction in ("encode", "decode"):
        assert min(compressor.work(direction)) >= 0
    assert compressor.memory_bytes(10 * P) >= compressor.memory_bytes(P) >= 0
    with pytest.raises(PolicyError, match="direction = 'sideways'"):
        compressor.work("sideways")


def test_the_battery_misses_nobody():
    members = {value for value in vars(acesim.compressors).values()
               if isinstance(value, type) and issubclass(value, acesim.compressors.CompressorBase)}
    members.remove(acesim.compressors.CompressorBase)
    assert {type(compressor) for compressor, _, _ in COMPRESSORS} == members
    levels = set(np.concatenate([np.asarray(level) for compressor, level, _ in COMPRESSORS
                                 if isinstance(level, np.ndarray)]).tolist())
    assert levels >= {0, 1, 2, 3, 4, 5, 6, 7, 8} == set(range(len(DEFAULT_MENU)))


def test_all_is_sorted_and_complete():
    names = acesim.compressors.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(acesim.compressors, name) for name in names)
