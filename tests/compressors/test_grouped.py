import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import DEFAULT_MENU, Budget, Grouped, Uniform
from acesim.compressors.menu import OPERATORS
from acesim.scenario.errors import PolicyError
from acesim.seam import Wire

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)
LEVEL = {name: number for number, name in enumerate(DEFAULT_MENU)}
SIZES = (40, 8, 40, 23, 100)
P = sum(SIZES)


def vector(seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    scales = np.repeat(rng.lognormal(0, 2, len(sizes)), sizes)
    return (rng.standard_normal(sum(sizes)) * scales).astype(np.float32)


def levels(*names):
    return np.array([LEVEL[name] for name in names])


def through(compressor, x, level):
    payload, _ = compressor.encode(x, level, None, compressor.init(x.size))
    return payload, compressor.decode(payload.body, x.size)


def test_every_level_by_hand():
    entries = [9, 9, 1, -3, 1, -1, 7, 7, 15, 2.9] + [0] * 10 + [127, 0.4, 1.25, 70000, 1 / 3, 5]
    x = np.array(entries, np.float32)
    names = ("skip", "sign", "2-bit", "4-bit", "8-bit", "fp16", "fp32")
    payload, decoded = through(Grouped((2, 2, 4, 12, 2, 2, 2)), x, levels(*names))
    expected = [0, 0, 2, -2, 0, 0, 5.75, 5.75, 14, 2] + [0] * 10 + [127, 0, 1.25, 65504, 1 / 3, 5]
    np.testing.assert_allclose(decoded, expected, rtol=1e-6)
    assert payload.nbytes == 0 + (1 + 4) + (1 + 4) + (6 + 4) + (2 + 4) + 4 + 8 + 4


def test_sparse_by_hand():
    x = np.zeros(20, np.float32)
    x[[3, 7, 11]] = [7.5, -3.1, 1]
    payload, decoded = through(Grouped((20,)), x, levels("top-10%"))
    assert np.flatnonzero(decoded).tolist() == [3, 7]
    assert decoded[[3, 7]].tolist() == [7, -3]  # steps of 1, cut off at 7
    assert payload.nbytes == 1 + 2 + 4 + 1  # 2 values of 4 bits, 2 places of 5 bits, scale, level
    payload, decoded = through(Grouped((20,)), x, levels("top-1%"))
    assert np.flatnonzero(decoded).tolist() == [3]


@pytest.mark.parametrize("name", ["sign", "2-bit", "4-bit", "8-bit"])
def test_one_level_for_all_is_uniform(name):
    bits = "sign" if name == "sign" else int(name[0])
    _, decoded = through(Grouped(SIZES), vector(), levels(*[name] * 5))
    _, expected = through(Uniform(bits, SIZES), vector(), None)
    np.testing.assert_allclose(decoded, expected, rtol=1e-6)


@quick
@given(st.lists(st.integers(0, 8), min_size=5, max_size=5), st.integers(0, 2**32 - 1))
def test_groups_do_not_meddle(picks, seed):
    """A group decodes to the same, whatever the others do; and its bytes read back."""
    x, compressor = vector(seed), Grouped(SIZES)
    payload, decoded = through(compressor, x, np.array(picks))
    data = compressor.serialise(payload.body)
    assert len(data) == payload.nbytes
    np.testing.assert_array_equal(compressor.decode(compressor.deserialise(data, P), P), decoded)
    start = 0
    for size, pick in zip(SIZES, picks, strict=True):
        _, alone = through(Grouped((size,)), x[start:start + size], np.array([pick]))
        np.testing.assert_allclose(decoded[start:start + size], alone, rtol=1e-6)
        start += size


def test_places_of_codes_that_round_to_zero():
    """A sparse group sends exactly k places, even where a kept entry rounds to zero."""
    x = np.full(100, 1e-3, np.float32)
    x[50] = 1.0
    payload, decoded = through(Grouped((100,)), x, levels("top-10%"))
    data = Grouped((100,)).serialise(payload.body)
    assert len(data) == payload.nbytes == 5 + 9 + 4 + 1
    back = Grouped((100,)).deserialise(data, 100)
    np.testing.assert_array_equal(Grouped((100,)).decode(back, 100), decoded)


def test_shares_of_the_nominal_model_add_up():
    for total in (10**6 + 7, 350_000_003, P, 57):
        entries = Grouped(SIZES).layout(total).entries
        assert entries.sum() == total
        assert np.abs(entries - np.array(SIZES) * total / P).max() < 1


def test_nominal_bytes_by_hand():
    """Half of 100 000 entries at 4 bits, half in fp32, in blocks of 16 384: four blocks each."""
    grouped = Grouped((10, 10), nominal_size=100_000)
    assert grouped.wire(((1000, 100),), levels("4-bit", "fp32")) == Wire(25_000 + 200_000, 0, 4 * 4 + 4)
    assert grouped.wire(((20,),), levels("4-bit", "fp32")) == Wire(5 + 40, 0, 4 + 1)
    assert grouped.wire(((100_000,),), levels("skip", "skip")) == Wire()
    # 1 % of 16 384 is 163 places of 14 bits; of the last 848, 8 places of 10
    places = 3 * -(-163 * 14 // 8) + 10
    assert grouped.wire(((100_000,),), levels("top-1%", "skip")) == Wire(3 * 82 + 4, places, 16 + 4)


def test_nominal_size_of_the_proxy_counts_alike():
    same = Grouped(SIZES, nominal_size=P, nominal_block=16)
    assert same.wire(((P,),), levels(*["4-bit"] * 5)) == Grouped(SIZES).wire(((P,),), levels(*["4-bit"] * 5))


@quick
@given(st.integers(0, 2**32 - 1), st.floats(0, 1.3), st.floats(0, 1),
       st.sampled_from(["knapsack", "uniform"]))
def test_never_over_budget(seed, share, keep, choice):
    grouped = Grouped(SIZES, nominal_size=1_000_000, nominal_block=5000, choice=choice)
    importance = np.random.default_rng(seed).exponential(size=5)
    budget = Budget(share * 4e6, importance, keep if choice == "knapsack" else 0.0)
    payload, _ = through(grouped, vector(seed), budget)
    assert grouped.nbytes(((1_000_000,),), payload.measure) <= budget.nbytes


@pytest.mark.parametrize("share", [0.02, 0.06, 0.12, 0.25])
def test_choice_is_near_the_best_of_all(share):
    """Against every one of 6^5 choices, their value measured from what is decoded."""
    menu = ("skip", "sign", "2-bit", "4-bit", "8-bit", "top-10%")
    grouped, x, budget = Grouped(SIZES, menu, default="2-bit"), vector(3), share * 4 * P
    importance, starts = np.array([1.0, 2.0, 0.5, 1.0, 0.1]), np.cumsum(SIZES) - SIZES
    decoded = [through(grouped, x, np.full(5, level))[1].astype(np.float64) for level in range(6)]
    left = [np.add.reduceat((x - each) ** 2, starts) for each in decoded]
    values = importance * (left[0] - np.array(left))  # [L, G]: level 0 leaves everything
    best = max(values[picks, range(5)].sum() for picks in itertools.product(range(6), repeat=5)
               if grouped.layout(P).wire(np.array(picks)).total <= budget)
    payload, _ = through(grouped, x, Budget(budget, importance))
    assert payload.nbytes <= budget
    assert 0.97 * best <= values[payload.measure, range(5)].sum() <= best * (1 + 1e-9)


def test_important_groups_get_more():
    x = np.random.default_rng(0).standard_normal(400).astype(np.float32)
    payload, _ = through(Grouped((100,) * 4), x, Budget(150.0, np.array([100.0, 1.0, 1.0, 0.0])))
    bits = [OPERATORS[DEFAULT_MENU[pick]].bits for pick in payload.measure]
    assert bits[0] > bits[1]
    assert payload.measure[3] == LEVEL["skip"]


def test_keep_sends_the_most_important_whole():
    """40 % of 5 groups: the two most important in fp32 while they fit, the most important first."""
    importance = np.array([1.0, 5.0, 9.0, 2.0, 3.0])
    grouped = Grouped(SIZES)
    payload, decoded = through(grouped, vector(), Budget(400.0, importance, 0.4))
    assert payload.measure[[1, 2]].tolist() == [LEVEL["fp32"]] * 2
    np.testing.assert_array_equal(decoded[40:88], vector()[40:88])
    payload, _ = through(grouped, vector(), Budget(180.0, importance, 0.4))
    assert payload.measure[2] == LEVEL["fp32"]
    assert payload.nbytes <= 180
    payload, _ = through(grouped, vector(), Budget(1e4, importance, 1.0))
    assert (payload.measure == LEVEL["fp32"]).all()


def test_a_budget_too_small_sends_nothing():
    grouped = Grouped(SIZES, nominal_size=10**6)
    payload, decoded = through(grouped, vector(), Budget(3.0, np.ones(5)))
    assert payload.nbytes == grouped.nbytes(((10**6,),), payload.measure) == 0
    assert not decoded.any()
    with pytest.raises(PolicyError, match="the cheapest levels take"):
        through(Grouped(SIZES, ("2-bit", "4-bit")), vector(), Budget(3.0, np.ones(5)))


def test_uniform_choice_is_blind_to_importance():
    grouped = Grouped(SIZES, ("skip", "2-bit", "4-bit"), choice="uniform")
    picks = [through(grouped, vector(), Budget(100.0, importance))[0].measure
             for importance in (np.ones(5), np.arange(5.0))]
    assert picks[0].tolist() == picks[1].tolist() == [2, 2, 2, 1, 1]


def test_distortion_is_measured_at_once_and_then_now_and_again():
    grouped = Grouped(SIZES, distortion_every=3)
    budget, state, seen = Budget(100.0, np.ones(5)), grouped.init(P), []
    for seed in range(7):
        before = state.distortion
        _, state = grouped.encode(vector(seed), budget, None, state)
        seen.append(state.distortion is not before)
    assert seen == [True, False, False, True, False, False, True]
    assert state.encodes == 7
    _, after = grouped.encode(vector(), None, None, state)
    assert after is state


def test_distortion_is_what_decoding_leaves():
    grouped, x = Grouped(SIZES), vector(4)
    _, state = grouped.encode(x, Budget(100.0, np.ones(5)), None, grouped.init(P))
    for level in range(9):
        _, decoded = through(grouped, x, np.full(5, level))
        starts = np.cumsum(SIZES) - SIZES
        expected = np.add.reduceat((x - decoded) ** 2, starts) / np.add.reduceat(x**2, starts)
        np.testing.assert_allclose(state.distortion[:, level], expected, rtol=1e-4, atol=1e-12)
    assert (state.distortion[:, 0] == 1).all()


def test_zeros_measure_nothing():
    """Neither a vector of zeros nor a group of zeros may decide what later ones are worth."""
    grouped, budget = Grouped(SIZES), Budget(300.0, np.ones(5))
    payload, state = grouped.encode(np.zeros(P, np.float32), budget, None, grouped.init(P))
    assert payload.nbytes == state.encodes == 0
    x = vector()
    x[:40] = 0
    payload, state = grouped.encode(x, budget, None, state)
    assert payload.measure[0] == LEVEL["skip"]
    payload, _ = grouped.encode(np.ones(P, np.float32), budget, None, state)
    assert payload.measure[0] != LEVEL["skip"]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sizes": ()}, "must all be at least 1"), ({"sizes": (3, 0)}, "must all be at least 1"),
    ({"nominal_block": 0}, "must all be at least 1"), ({"distortion_every": 0}, "must all be at least 1"),
    ({"nominal_size": 0}, r"nominal_size = 0: must be at least 1"),
    ({"menu": ("skip", "3-bit")}, "names out of skip, sign"), ({"menu": ()}, "names out of skip"),
    ({"menu": ("skip", "skip")}, "different names"), ({"choice": "best"}, "must be 'knapsack' or 'uniform'")])
def test_refuses_to_be_built(arguments, message):
    with pytest.raises(PolicyError, match=message):
        Grouped(**{"sizes": SIZES, **arguments})


@pytest.mark.parametrize(("level", "message"), [
    (np.zeros(4, int), r"level of shape \(4,\)"), (np.zeros(5), "type float64"), (3, r"level of shape \(\)"),
    (np.full(5, 9), "levels from 9 to 9: must lie in the menu, from 0 to 8"),
    (np.full(5, -1), "levels from -1"),
    (Budget(10.0, np.ones(4)), r"importance of shape \(4,\)"),
    (Budget(10.0, -np.ones(5)), "must be a finite number >= 0"),
    (Budget(10.0, np.full(5, np.nan)), "must be a finite number >= 0"),
    (Budget(float("nan"), np.ones(5)), "bytes must be finite and >= 0"),
    (Budget(-1.0, np.ones(5)), "bytes must be finite and >= 0"),
    (Budget(1.0, np.ones(5), 1.5), r"keep in \[0, 1\]")])
def test_refuses_levels(level, message):
    with pytest.raises(PolicyError, match=message):
        through(Grouped(SIZES), vector(), level)


def test_refuses_vectors_and_what_does_not_go_together():
    with pytest.raises(PolicyError, match="groups of 211 entries for a vector of 5"):
        through(Grouped(SIZES), np.ones(5, np.float32), None)
    with pytest.raises(PolicyError, match="training has diverged"):
        through(Grouped(SIZES), np.full(P, np.inf, np.float32), None)
    with pytest.raises(PolicyError, match=r"Grouped\.default = '4-bit': must be in the menu"):
        through(Grouped(SIZES, ("skip", "2-bit")), vector(), None)
    with pytest.raises(PolicyError, match="add 'fp32' to the menu"):
        through(Grouped(SIZES, ("skip", "2-bit")), vector(), Budget(100.0, np.ones(5), 0.5))
    with pytest.raises(PolicyError, match=r"Budget\.keep = 0\.5: must be 0"):
        through(Grouped(SIZES, choice="uniform"), vector(), Budget(100.0, np.ones(5), 0.5))
