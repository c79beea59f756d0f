"""The count sketch against what is proved of it: linear, unbiased row by row, of known variance, exact on one entry."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import CountSketch, ErrorFeedback
from acesim.compressors.hashing import PRIME, Cells, cells, polynomial, times
from acesim.compressors.sketch import middle, product, readings
from acesim.scenario.errors import PolicyError

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)
P, COLUMNS, DRAWS = 40, 8, 1500
X = np.random.default_rng(7).standard_normal(P).astype(np.float32)
Z = 6.0  # deviations: two-sided chance 2e-9 each, so below 1e-6 for everything that is tested here together
EPS = float(np.finfo(np.float32).eps)
hashings = pytest.mark.parametrize("hashing", ["random", "fold"])


def body(sketch, x):
    return sketch.encode(np.asarray(x, np.float32), None, None, sketch.init(len(x)))[0].body


def there_and_back(sketch, x):
    return sketch.decode(body(sketch, x), len(x))


# ---- hashing

def test_products_modulo_the_prime():
    edges = [0, 1, 2**29, 2**32 - 1, 2**32, 2**60, PRIME - 2, PRIME - 1]
    numbers = np.concatenate([np.array(edges, np.uint64),
                              np.random.default_rng(0).integers(0, PRIME, 200, np.uint64)])
    for factor in numbers[:20]:
        assert times(numbers, factor).tolist() == [int(each) * int(factor) % PRIME for each in numbers]


def test_polynomials_modulo_the_prime():
    coefficients = np.array([PRIME - 1, 5, 2**60, 7], np.uint64)
    places = np.array([0, 1, 2, 10**6, PRIME - 1], np.uint64)
    exact = [((int(x) * (PRIME - 1) + 5) * int(x) + 2**60) * int(x) + 7 for x in places]
    assert polynomial(coefficients, places).tolist() == [each % PRIME for each in exact]


@pytest.fixture(scope="module")
def drawn():
    """Cells of many seeds: the same entries hashed again and again."""
    return [cells(P, 1, COLUMNS, seed, "random", 1) for seed in range(DRAWS)]


def test_buckets_are_even_and_collide_once_in_c(drawn):
    """[DRAWS, P] indicators of probability 1 / c: their means lie within Z sqrt(p (1 - p) / n)."""
    buckets, chance = np.array([each.buckets[0] for each in drawn]), 1 / COLUMNS
    allowed = Z * np.sqrt(chance * (1 - chance) / DRAWS)
    for bucket in range(COLUMNS):
        assert np.abs((buckets == bucket).mean(0) - chance).max() <= allowed
    for step in (1, 2, 7):
        assert np.abs((buckets[:, step:] == buckets[:, :-step]).mean(0) - chance).max() <= allowed


def test_products_of_up_to_four_signs_are_even(drawn):
    signs = np.array([each.signs[0] for each in drawn], np.float64)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    for places in ([3], [0, 1], [5, 9, 30], [0, 1, 2, 3], [4, 11, 17, 39]):
        assert abs(signs[:, places].prod(1).mean()) <= Z / np.sqrt(DRAWS)


def test_blocks_use_their_hashes_again_shifted_and_flipped():
    hashed = cells(30, 3, 16, 42, "random", 3)
    for row in range(3):
        first = hashed.buckets[row, :10]
        for start in (10, 20):
            assert len(set(((hashed.buckets[row, start:start + 10] - first) % 16).tolist())) == 1
            assert len(set((hashed.signs[row, start:start + 10] * hashed.signs[row, :10]).tolist())) == 1
    sketch = CountSketch(3, columns=16, blocks=3)
    assert (sketch.memory_bytes(30), CountSketch(3, columns=16).memory_bytes(30)) == (5 * 3 * 10, 5 * 3 * 30)


def test_within_a_fold_nothing_collides():
    hashed = cells(100, 3, 16, 42, "fold", 1)
    for row in range(3):
        for start in range(0, 100, 16):
            part = hashed.buckets[row, start:start + 16]
            assert len(set(part.tolist())) == part.size


def test_everybody_hashes_alike_and_seeds_do_not():
    assert np.array_equal(body(CountSketch(3, ratio=0.5), X), body(CountSketch(3, ratio=0.5), X))
    assert not np.array_equal(body(CountSketch(3, ratio=0.5), X), body(CountSketch(3, ratio=0.5, seed=43), X))


# ---- what is proved

VECTORS = st.lists(st.floats(-1000, 1000, width=32), min_size=P, max_size=P)


@hashings
@quick
@given(VECTORS, VECTORS, st.floats(-4, 4, width=16))
def test_linear(hashing, x, y, factor):
    """S(x + a y) = S(x) + a S(y): at most 2 P roundings a cell, of sums no larger than |x|_1 + |a y|_1."""
    sketch = CountSketch(3, columns=COLUMNS, hashing=hashing)
    x, y = np.array(x, np.float32), np.array(y, np.float32)
    together = body(sketch, x + np.float32(factor) * y)
    apart = body(sketch, x) + np.float32(factor) * body(sketch, y)
    np.testing.assert_allclose(together, apart, rtol=0, atol=2 * P * EPS * float(np.abs(x).sum() + 4 * np.abs(y).sum()))


def test_the_sketch_of_a_sum_is_the_sum_of_the_sketches_whatever_the_number_of_workers():
    """Whole numbers are summed without rounding: equal to the last bit."""
    vectors = np.random.default_rng(1).integers(-50, 50, (16, P)).astype(np.float32)
    sketch = CountSketch(5, ratio=0.5)
    tables = [body(sketch, vector) for vector in vectors]
    np.testing.assert_array_equal(sum(tables), body(sketch, vectors.sum(0)))
    assert {table.nbytes for table in tables} == {sum(tables).nbytes}


@pytest.fixture(scope="module", params=["random", "fold"])
def errors(request):
    """[DRAWS, P] errors of the estimates of a single row, a seed a draw."""
    sketches = [CountSketch(1, columns=COLUMNS, hashing=request.param, seed=seed) for seed in range(DRAWS)]
    return request.param, np.array([there_and_back(sketch, X) for sketch in sketches], np.float64) - X


def test_a_single_row_is_unbiased(errors):
    _, found = errors
    assert np.abs(found.mean(0) / (found.std(0) / np.sqrt(DRAWS))).max() <= Z


def test_the_variance_of_a_single_row(errors):
    """(|x|^2 - x_i^2) / c, within Z standard errors of the mean of the squared errors; no more where entries of a fold
    never meet."""
    hashing, found = errors
    squared, x = found**2, X.astype(np.float64)
    expected = (x @ x - x**2) / COLUMNS
    slack = Z * squared.std(0) / np.sqrt(DRAWS)
    assert (squared.mean(0) <= expected + slack).all()
    if hashing == "random":
        assert (squared.mean(0) >= expected - slack).all()
    else:
        folds = np.arange(P) // COLUMNS
        outside = np.array([x @ x - x[folds == fold] @ x[folds == fold] for fold in folds]) / COLUMNS
        assert (np.abs(squared.mean(0) - outside) <= slack).all()


@hashings
@pytest.mark.parametrize("place", [0, 17, P - 1])
def test_one_entry_comes_back_exactly(hashing, place):
    x = np.zeros(P, np.float32)
    x[place] = np.float32(-0.1)
    sketch = CountSketch(5, columns=3, hashing=hashing)
    table = body(sketch, x)
    assert sketch.decode(table, P)[place] == np.float32(-0.1)
    found = sketch.heavy_hitters(table, P, 1)
    if hashing == "random":  # with three columns others share its bucket in three of five rows, but never before it
        assert abs(found.values[0]) == np.float32(0.1)
    assert sketch.norm(table, P) == pytest.approx(0.1)


def test_as_many_columns_as_entries_and_hashes_without_collisions_lose_nothing():
    for rows in (1, 3):
        sketch = CountSketch(rows, columns=P, hashing="fold")
        np.testing.assert_array_equal(there_and_back(sketch, X), X)
    assert CountSketch(1, ratio=1.0, hashing="fold").nbytes(((P,),), None) == 4 * P


def test_large_entries_are_found_and_the_norm_is_near():
    """20 entries of 50 among 5000 of 1.  A small entry looks large where it meets a large one in four of seven rows:
    5000 times 35 (20 / 1000)^4 = .03 such entries are expected."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(5000).astype(np.float32)
    places = np.sort(rng.choice(5000, 20, replace=False))
    x[places] = 50 * rng.choice((-1, 1), 20)
    sketch = CountSketch(7, columns=1000)
    table = body(sketch, x)
    np.testing.assert_array_equal(sketch.heavy_hitters(table, 5000, 20).indices, places)
    assert sketch.norm(table, 5000) == pytest.approx(np.linalg.norm(x), rel=6 * np.sqrt(2 / 1000))


@pytest.mark.parametrize("rows", [1, 3, 5, 7, 9])
def test_the_middle_is_the_median(rows):
    found = np.random.default_rng(rows).integers(-9, 9, (rows, 500)).astype(np.float32)
    expected = np.median(found, axis=0)
    np.testing.assert_array_equal(middle(found.copy()), expected)


# ---- bytes and refusals

@pytest.mark.parametrize(("sketch", "size", "nbytes"), [
    (CountSketch(5, ratio=0.1), 1000, 4 * 5 * 20), (CountSketch(5, ratio=0.1), 1001, 4 * 5 * 21),
    (CountSketch(3, ratio=0.01), 7, 4 * 3), (CountSketch(3, columns=500), 10**9, 4 * 3 * 500),
    (CountSketch(1, ratio=1.0), 25_557_032, 4 * 25_557_032)])
def test_bytes_by_hand(sketch, size, nbytes):
    assert sketch.nbytes(((size,),), None) == nbytes


@pytest.mark.parametrize(("fields", "says"), [
    ({"rows": 2, "ratio": 0.1}, "rows = 2: must be an odd whole number"),
    ({"rows": 0, "ratio": 0.1}, "rows = 0: must be an odd"), ({"rows": -1, "ratio": 0.1}, "rows = -1"),
    ({"rows": 2.0, "ratio": 0.1}, r"rows = 2\.0"), ({"ratio": 0}, r"ratio = 0: must be a number in \(0, 1\]"),
    ({"ratio": 1.5}, r"ratio = 1\.5"), ({"ratio": "a tenth"}, "ratio = 'a tenth'"), ({"columns": 0}, "columns = 0"),
    ({}, "needs either ratio or columns"), ({"ratio": 0.1, "columns": 3}, "needs either ratio or columns"),
    ({"ratio": 0.1, "blocks": 0}, "blocks = 0"), ({"ratio": 0.1, "hashing": "md5"}, "hashing = 'md5': must be one of"),
    ({"ratio": 0.1, "hashing": "fold", "blocks": 2}, "blocks = 2: .*and 1 with")])
def test_bad_values_are_refused(fields, says):
    with pytest.raises(PolicyError, match=says):
        CountSketch(**fields)


def test_what_is_not_finite_is_refused():
    with pytest.raises(PolicyError, match=r"CountSketch\.encode: the vector holds NaN"):
        body(CountSketch(3, columns=4), [1.0, np.nan])


def test_error_feedback_refuses_it():
    with pytest.raises(PolicyError, match="must be contractive"):
        ErrorFeedback(CountSketch(3, ratio=0.1))


@pytest.mark.reference
def test_tables_and_estimates_are_those_of_csvec():
    """With csvec's own buckets and signs (its products overflow, ours do not), table and medians are its own."""
    path = SHARED / "validation/sketch/count_sketch_golden.npz"
    if not path.is_file():
        pytest.skip(f"reference answers not found beside the project: {path.name}")
    golden = np.load(path)
    hashed = Cells(golden["buckets"], golden["signs"].astype(np.float32))
    table = product(hashed, 500) @ golden["v"]
    np.testing.assert_allclose(table.reshape(5, 500), golden["table"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(middle(readings(table, hashed, 500)), golden["estimate"], rtol=0, atol=1e-6)
