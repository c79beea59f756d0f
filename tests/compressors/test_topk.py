import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from acesim.compressors import TopK
from acesim.compressors.topk import kept, largest
from acesim.scenario.errors import PolicyError

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)
FEW_VALUES = st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5])
ANY_VALUES = st.floats(-2.0**50, 2.0**50, width=32)


def by_sorting(x, count):
    """The plain way: sort by falling magnitude, then by index."""
    return np.sort(np.lexsort((np.arange(x.size), -np.abs(x)))[:count])


@quick
@given(arrays(np.float32, st.integers(1, 60), elements=FEW_VALUES | ANY_VALUES), st.floats(0.01, 1))
def test_the_largest_and_of_equals_the_first(x, ratio):
    count = kept(ratio, x.size)
    np.testing.assert_array_equal(largest(np.abs(x), count), by_sorting(x, count))


@pytest.mark.parametrize("ratio", [1e-4, 0.001, 0.01, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["normal", "heavy", "ties", "constant", "periodic", "sorted"])
def test_sampling_never_changes_the_answer(ratio, kind):
    """Long enough to be sampled; periodic: the stride of the sample meets only small entries."""
    rng = np.random.default_rng(3)
    stride = 30000 // 2048
    x = {"normal": rng.standard_normal(30000), "heavy": rng.standard_cauchy(30000),
         "ties": rng.integers(-3, 4, 30000), "constant": np.ones(30000),
         "periodic": np.where(np.arange(30000) % stride == 0, 1e-3, rng.standard_normal(30000)),
         "sorted": np.arange(30000)}[kind].astype(np.float32)
    count = kept(ratio, x.size)
    np.testing.assert_array_equal(largest(np.abs(x), count), by_sorting(x, count))


@quick
@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32)), st.floats(0.01, 1))
def test_contraction(x, ratio):
    payload, _ = TopK(ratio).encode(x, None, None, ())
    wide = x.astype(np.float64)
    left = np.sum((wide - TopK(ratio).decode(payload.body, x.size)) ** 2)
    assert left <= (1 - kept(ratio, x.size) / x.size) * np.sum(wide**2) * (1 + 1e-12)


@pytest.mark.parametrize(("index", "k", "nbytes"), [
    ("int32", 20, 160), ("bitmap", 20, 80 + 125), ("packed", 20, 80 + 25), ("auto", 20, 105),
    ("auto", 1, 4 + 2), ("auto", 500, 2000 + 125), ("auto", 1000, 4125)])
def test_bytes_of_1000_entries(index, k, nbytes):
    compressor = TopK(k / 1000, index)
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    payload, _ = compressor.encode(x, None, None, ())
    assert payload.nbytes == nbytes == len(compressor.serialise(payload.body))
    back = compressor.deserialise(compressor.serialise(payload.body), 1000)
    np.testing.assert_array_equal(back.indices, payload.body.indices)
    np.testing.assert_array_equal(back.values, payload.body.values)


def test_paper_bytes_at_nominal_scale():
    """Top-k at 30 % with 32-bit indices is 60 % of the dense bytes; a bitmap brings it to a third."""
    shapes = ((350, 10**6),)
    assert TopK(0.3).nbytes(shapes, None) == 840_000_000
    assert TopK(0.3, "auto").nbytes(shapes, None) == 420_000_000 + 43_750_000
    assert TopK(0.3).wire(shapes, 0.1) == (140_000_000, 140_000_000, 0)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.5, float("nan"), "0.1", None])
def test_refuses_a_ratio(ratio):
    with pytest.raises(PolicyError, match=r"ratio = .*: must be a number in \(0, 1\]"):
        TopK(ratio)
    if ratio is not None:
        with pytest.raises(PolicyError, match=r"must be a number in \(0, 1\]"):
            TopK(0.5).encode(np.ones(3, np.float32), ratio, None, ())


def test_refuses_an_index_format_and_nan():
    with pytest.raises(PolicyError, match=r"TopK\.index = 'int64': must be one of int32, bitmap"):
        TopK(0.5, "int64")
    for size in (4, 30000):
        x = np.ones(size, np.float32)
        for x[2] in (np.nan, -np.inf):
            for ratio in (0.01, 0.5, 1):
                with pytest.raises(PolicyError, match="holds NaN or infinity"):
                    TopK(ratio).encode(x, None, None, ())


@pytest.mark.reference
def test_golden_of_another_library():
    path = SHARED / "validation" / "sketch" / "topk_golden.json"
    if not path.exists():
        pytest.skip(f"reference answers not found beside the project: {path.name}")
    golden = json.loads(path.read_text(encoding="utf-8"))
    x = np.array(golden["x"], np.float32)
    assert largest(np.abs(x), golden["k"]).tolist() == sorted(golden["indices"])
