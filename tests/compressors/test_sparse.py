"""Thresholds, layers, changes and how places are told: by hand, and as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acesim.compressors import Changes, LayerTopK, SampledTopK, Threshold, TopK
from acesim.compressors.places import ALL_FORMATS, expected_fillers, fillers
from acesim.compressors.sparse import Found
from acesim.scenario.errors import PolicyError
from acesim.scenario.streams import stream

finite = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-100, 100, width=32))


def sent(compressor, x, level=None, rng=None):
    payload, _ = compressor.encode(np.asarray(x, np.float32), level, rng, compressor.init(len(x)))
    return payload


# ---- hard threshold

@given(finite, st.floats(0, 50, width=32))
def test_a_threshold_drops_exactly_what_is_below_it(x, threshold):
    """|x - C(x)|^2 <= P lambda^2, for every dropped entry is below lambda."""
    payload = sent(Threshold(threshold), x)
    decoded = Threshold(threshold).decode(payload.body, x.size)
    kept = np.zeros(x.size, bool)
    kept[payload.body.indices] = True
    assert (np.abs(x[~kept]) < threshold).all()
    assert (np.abs(x[kept]) >= threshold).all()
    np.testing.assert_array_equal(decoded, np.where(kept, x, 0))
    assert np.sum((x.astype(float) - decoded) ** 2) <= x.size * float(threshold) ** 2


def test_what_lies_on_the_threshold_is_kept_and_nothing_kept_is_nothing_sent():
    assert sent(Threshold(0.5), [0.5, -0.5, 0.499, 0, 0, 0, 0, 0]).body.indices.tolist() == [0, 1]
    assert sent(Threshold(2.0), [1, 1, 1]).nbytes == 0


def test_a_level_is_another_threshold():
    assert sent(Threshold(9.0), [1, 2, 0, 0, 0], level=2.0).body.indices.tolist() == [1]


@pytest.mark.parametrize("value", [-1e-9, -1, float("nan"), float("inf"), "small", None, True])
def test_a_threshold_must_be_a_number_not_negative(value):
    with pytest.raises(PolicyError, match=r"threshold = .*: must be a finite number, not negative"):
        Threshold(value)


@pytest.mark.parametrize("compressor", [Threshold(1.0), LayerTopK(0.5), SampledTopK(0.5), Changes()], ids=repr)
def test_a_vector_that_is_not_finite_is_refused(compressor):
    with pytest.raises(PolicyError, match=r"encode: the vector holds NaN or infinity: training has diverged"):
        sent(compressor, [1.0, float("nan")])


# ---- layers

@given(finite, st.floats(0.01, 1))
def test_one_layer_is_top_k(x, ratio):
    ours, theirs = sent(LayerTopK(ratio), x), sent(TopK(ratio), x)
    if int(ratio * x.size) == int(round(ratio * x.size, 9)):
        np.testing.assert_array_equal(ours.body.indices, theirs.body.indices)
        assert ours.nbytes == min(theirs.nbytes, 4 * x.size)


@given(finite, finite, st.floats(0.01, 1), st.sampled_from(["floor", "ceil"]))
def test_layers_are_compressed_each_for_itself(x, y, ratio, rounding):
    """And each contracts: what is left behind of a layer is its tail, at most (1 - k / d) of it."""
    both = LayerTopK(ratio, (x.size, y.size), rounding=rounding)
    alone = LayerTopK(ratio, rounding=rounding)
    payload = sent(both, np.concatenate([x, y]))
    expected = np.concatenate([sent(alone, x).body.indices, x.size + sent(alone, y).body.indices])
    np.testing.assert_array_equal(payload.body.indices, expected)
    for part, rest in ((x, sent(alone, x)), (y, sent(alone, y))):
        left = np.sum(part.astype(float) ** 2) - np.sum(rest.body.values.astype(float) ** 2)
        assert left <= (1 - rest.body.indices.size / part.size) * np.sum(part.astype(float) ** 2) * (1 + 1e-9) + 1e-12


def test_ties_are_cut_off_or_kept():
    x = [2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert sent(LayerTopK(0.17), x).body.indices.tolist() == [0, 1]
    assert sent(LayerTopK(0.17, ties="keep"), x).body.indices.tolist() == [0, 1, 2, 3]
    assert sent(LayerTopK(0.17, ties="keep"), np.zeros(12)).nbytes == 4 * 12  # an empty layer is nothing but ties


def test_layers_of_a_nominal_model_are_its_own_tensors():
    """.1 of 100 and of 5 entries: 10 and 1; of 1000, 15 and 3: 100 + 1 + 1, and rounded up 100 + 2 + 1."""
    for rounding, count in (("floor", 102), ("ceil", 103)):
        compressor = LayerTopK(0.1, (100, 5), rounding=rounding)
        payload = sent(compressor, np.arange(105))
        assert payload.nbytes == 8 * 11
        assert compressor.nbytes(((1000,), (5, 3), (3,)), payload.measure) == 8 * count
    assert LayerTopK(0.1).nbytes(((1000,), (5, 3), (3,)), Found(10, 105, 0, None)) == 8 * 101


@pytest.mark.parametrize(("parameters", "says"), [
    ({"ratio": 0}, r"ratio = 0: must be a number in \(0, 1\]"), ({"ratio": 1.01}, r"ratio = 1\.01"),
    ({"ratio": True}, "ratio = True"), ({"ratio": 0.1, "index": "int7"}, "index = 'int7': must be one of int32, "),
    ({"ratio": 0.1, "rounding": "up"}, "rounding = 'up'"), ({"ratio": 0.1, "ties": "drop"}, "ties = 'drop'"),
    ({"ratio": 0.1, "layers": (3, 0)}, "every layer must hold at least 1"),
    ({"ratio": 0.1, "layers": ()}, "layers = ")])
def test_bad_parameters_are_named(parameters, says):
    with pytest.raises(PolicyError, match=says):
        LayerTopK(**parameters)


def test_layers_must_add_up():
    with pytest.raises(PolicyError, match="layers of 5 entries for a vector of 6"):
        sent(LayerTopK(0.5, (2, 3)), np.ones(6))


# ---- sampled thresholds

@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("draw", ["standard_normal", "standard_cauchy", "standard_exponential"])
def test_a_sampled_threshold_sends_nearly_k_of_the_largest(ratio, draw):
    """Between .8 k and k entries; none of the exact top k / 2 is missed by more than the threshold's own error: what is
    sent weighs at least .8 of what the exact top-k weighs."""
    x = getattr(np.random.default_rng(1), draw)(100_003).astype(np.float32)
    exact = sent(LayerTopK(ratio), x).body
    for who in range(5):
        found = sent(SampledTopK(ratio), x, rng=stream(0, "compressor", who)).body
        assert 0.8 * exact.indices.size <= found.indices.size <= exact.indices.size
        assert np.abs(found.values).sum() >= 0.75 * np.abs(exact.values).sum()


def test_a_sampled_threshold_repeats_with_its_stream_and_differs_between_streams():
    x = np.random.default_rng(1).standard_normal(100_003)
    first, again, *others = (sent(SampledTopK(0.01), x, rng=stream(0, "compressor", who)).body.indices.tolist()
                             for who in (0, 0, 1, 2, 3, 4))
    assert first == again
    assert any(other != first for other in others)


def test_a_short_layer_is_looked_at_whole():
    """2 / ratio >= size: the sample is the layer, and the threshold exact."""
    x = np.random.default_rng(1).standard_normal(150)
    assert sent(SampledTopK(0.01), x).body.indices.tolist() == sent(LayerTopK(0.01), x).body.indices.tolist()


def test_a_threshold_that_misled_is_lowered_or_refined():
    """A sample of zeros: everything reaches it, so the largest are found exactly; one of giants: it is lowered."""
    x = np.zeros(10_000)
    x[1:5000:49] = 1.0  # without a stream every 50th is looked at: of these 102 entries nearly none
    x[::50] = 0.0
    assert np.count_nonzero(sent(SampledTopK(0.01), x).body.values) >= 98
    x = np.full(10_000, 1.7)
    x[::100] = 2.0  # of 200 entries wanted every 100th is looked at, and the others do not reach its 2.0: try 1.6
    assert sent(SampledTopK(0.02), x).body.indices.size == 200
    assert sent(SampledTopK(0.02, tries=0), x).body.indices.size == 100


@pytest.mark.parametrize("parameters", [{"sample": 0}, {"fewest": 0}, {"fewest": 1.1}, {"most": 0.9}, {"tries": -1}])
def test_the_search_has_bounds(parameters):
    with pytest.raises(PolicyError, match="SampledTopK: sample = "):
        SampledTopK(0.1, **parameters)


# ---- places

@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=20, unique=True), st.sampled_from(ALL_FORMATS))
def test_every_format_tells_every_place(places, index):
    x = np.zeros(400_001, np.float32)
    x[places] = np.arange(1, len(places) + 1)
    compressor = Changes(index)
    payload = sent(compressor, x)
    data = compressor.serialise(payload.body)
    assert len(data) == payload.nbytes
    np.testing.assert_array_equal(compressor.decode(compressor.deserialise(data, x.size), x.size), x)


def test_a_run_beyond_65535_takes_a_filler():
    """6 bytes an entry: 65535 skipped fit, 65536 take one filler, 131071 still one, 131072 two."""
    for gap, count in ((65_535, 0), (65_536, 1), (131_071, 1), (131_072, 2)):
        x = np.zeros(gap + 1, np.float32)
        x[gap] = 1.0
        assert sent(Changes("run-length"), x).nbytes == 6 * (1 + count)
        assert fillers(np.array([gap], np.int32)) == count


def test_expected_fillers_are_those_of_random_places():
    rng, size = np.random.default_rng(3), 20_000_000
    for share in (2e-5, 1e-5, 5e-6):
        places = np.flatnonzero(rng.random(size, np.float32) < share).astype(np.int32)
        spread = 4 * places.size ** 0.5  # fillers deviate about as the number of gaps does
        assert abs(fillers(places) - expected_fillers(places.size, size)) < spread


@pytest.mark.parametrize(("index", "nbytes"), [("int32", 8), ("int64", 12), ("run-length", 6), ("packed", 5),
                                               ("bitmap", 17)])
def test_bytes_of_an_entry(index, nbytes):
    """Of 100 entries one: 4 of value and 4, 8, 2, ceil(7 / 8), or a bitmap of 13."""
    x = np.zeros(100)
    x[7] = 1.0
    assert sent(LayerTopK(0.01, index=index), x).nbytes == nbytes


def test_what_would_be_longer_than_dense_is_sent_dense():
    x = np.arange(1.0, 11.0)
    assert [sent(LayerTopK(ratio), x).nbytes for ratio in (0.4, 0.5, 0.6, 1.0)] == [32, 40, 40, 40]
    wire = LayerTopK(0.6).wire(((10,),), sent(LayerTopK(0.6), x).measure)
    assert (wire.values, wire.indices) == (40, 0)


# ---- changes

@given(finite)
def test_changes_lose_nothing(x):
    payload = sent(Changes(), x)
    np.testing.assert_array_equal(Changes().decode(payload.body, x.size), x)
    assert payload.nbytes == min(8 * np.count_nonzero(x), 4 * x.size)


def test_changes_have_no_levels():
    with pytest.raises(PolicyError, match=r"level = 0\.5: this compressor has no levels"):
        sent(Changes(), [1.0], level=0.5)
