import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import Budget, ErrorFeedback, Grouped, Lattice, rice
from acesim.compressors.rice import parameters
from acesim.scenario.errors import PolicyError

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)
SIZES = (400, 8, 400, 230, 1000)
P = sum(SIZES)


def vector(seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(P) * np.repeat(rng.lognormal(0, 2, len(SIZES)), SIZES)).astype(np.float32)


# ---- the code

def test_sections_by_hand():
    """Two blocks of 4: codes 0 -1 0 3 and 1 0 0 0.  Gaps 1, 1, 0; of the large ones 1; excess over two 1."""
    found = rice.coded(np.array([0, -1, 0, 3, 1, 0, 0, 0], np.int16), rice.edges_of((4, 4)))
    assert found.gaps.counts.tolist() == [2, 1]
    assert found.gaps.numbers.tolist() == [1, 1, 0]
    assert found.gaps.bits.tolist() == [0, 1]  # mean gaps 1 and 3
    assert (found.large.numbers.tolist(), found.excess.numbers.tolist()) == ([1], [1])
    assert found.negative.tolist() == [True, False, False]
    assert rice.spell(found).hex() == "1a" + "00" + "02" + "02" + "01"  # 01 01 1 | low bit 0 | 01 | 01 | signs 1 0 0
    assert found.nbytes == 5


@quick
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.floats(0, 1), st.sampled_from([1, 3, 300, 32767]),
       st.integers(0, 2**32 - 1))
def test_what_is_spelt_is_read(sizes, share, largest, seed):
    rng, edges = np.random.default_rng(seed), rice.edges_of(tuple(sizes))
    codes = (rng.integers(-largest, largest + 1, sum(sizes)) * (rng.random(sum(sizes)) < share)).astype(np.int16)
    found = rice.coded(codes, edges)
    data = rice.spell(found)
    assert len(data) == found.nbytes
    again = rice.read(data, (found.gaps.counts, found.large.counts),
                      (found.gaps.bits, found.large.bits, found.excess.bits), edges)
    np.testing.assert_array_equal(again, codes)


def test_parameters_are_the_best():
    means = np.geomspace(0.01, 3000, 200)
    r = means / (1 + means)
    bits = np.array([k + 1 / (1 - r ** 2**k) for k in range(rice.LONGEST + 1)])
    np.testing.assert_array_equal(parameters(means), bits.argmin(0))


@pytest.mark.parametrize("bits", [0.25, 0.5, 1.0, 2.0])
def test_the_code_is_near_the_entropy(bits):
    """Within a tenth of the entropy of the codes, for a normal density, whose magnitudes are not geometric."""
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    lattice = Lattice((10_000,) * 10, bits=bits)
    payload, _ = lattice.encode(x, None, None, lattice.init(x.size))
    share = np.unique(payload.body.codes, return_counts=True)[1] / x.size
    entropy = -(share * np.log2(share)).sum()
    assert entropy <= 8 * payload.nbytes / x.size < 1.1 * entropy


# ---- the compressor

def test_by_hand():
    lattice = Lattice((4,), offset=0.5)
    body = lattice._fit(lattice._scaled(np.array([2.6, -1.4, 0.4, -0.6], np.float32), np.ones(1, np.float32)), 0.0, 9.0)
    assert body.codes.tolist() == [3, -1, 0, -1]


@pytest.mark.parametrize("factor", [3, 8, 16, 32, 100])
def test_budgets_are_kept_on_the_average(factor):
    """At nominal scale; a single payload may miss by its slack."""
    lattice = ErrorFeedback(Lattice(SIZES, nominal_size=10**6))
    state, budget, sent = lattice.init(P), Budget(4e6 / factor, np.ones(5, np.float32)), []
    for seed in range(40):
        payload, state = lattice.encode(vector(seed), budget, None, state)
        sent.append(lattice.nbytes(((10**6,),), payload.measure))
    assert max(sent) <= 1.21 * budget.nbytes
    assert 0.85 <= np.mean(sent) / budget.nbytes <= 1.01 or factor == 3  # 16 bits are all it has


@quick
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 8))
def test_without_slack_every_payload_keeps_its_budget(seed, bits):
    lattice = Lattice(SIZES, slack=0.0)
    state = lattice.init(P)
    for each in range(3):
        payload, state = lattice.encode(vector(seed + each), bits, None, state)
        assert payload.measure.nbytes <= P * bits / 8


def test_importance_makes_steps_finer():
    """Four times the importance, half the step; none, and the group is not sent."""
    lattice = Lattice((1000, 1000, 1000))
    x = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    payload, _ = lattice.encode(x, Budget(2000.0, np.array([1, 4, 0], np.float32)), None, lattice.init(3000))
    steps = payload.body.steps
    assert steps[0] == pytest.approx(2 * steps[1])
    assert steps[2] == 0
    assert not payload.body.codes[2000:].any()
    assert payload.measure.sent.tolist() == [True, True, False]


def test_a_budget_that_does_not_pay_for_the_heads_sends_nothing():
    lattice = Lattice(SIZES)
    payload, _ = lattice.encode(vector(), Budget(10.0, np.ones(5, np.float32)), None, lattice.init(P))
    assert not lattice.decode(payload.body, P).any()


def test_heads_grow_with_the_blocks_and_sections_with_the_entries():
    lattice = Lattice((100, 300), nominal_size=1_000_000, nominal_block=10_000)
    x = np.concatenate([np.zeros(100), np.random.default_rng(0).standard_normal(300)]).astype(np.float32)
    payload, _ = lattice.encode(x, 2.0, None, lattice.init(400))
    wire = lattice.wire(((1000, 1000),), payload.measure)
    assert wire.scales == 2 * 100 + 8 * 75
    assert wire.values == -(-payload.measure.nbytes * 1_000_000 // 400)


def test_it_loses_less_than_groups_of_levels():
    """At 2 bits an entry, groups of unequal size: two thirds of the error of the best levels."""
    budget, x = Budget(2 * P / 8, np.ones(5, np.float32)), vector()
    lost = []
    for compressor in (Lattice(SIZES, slack=0.0), Grouped(SIZES)):
        payload, _ = compressor.encode(x, budget, None, compressor.init(P))
        lost.append(np.sum((x - compressor.decode(payload.body, P)) ** 2))
    assert lost[0] < 0.65 * lost[1]


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_scale_does_not_matter(scale):
    lattice, x = Lattice(SIZES), vector()
    payload, _ = lattice.encode((x * scale).astype(np.float32), 3.0, None, lattice.init(P))
    assert np.isfinite(lattice.decode(payload.body, P)).all()


@pytest.mark.parametrize(("changes", "rule"), [
    ({"sizes": ()}, "1 to 65535"), ({"sizes": (70_000,)}, "1 to 65535"), ({"bits": 0}, "bits = 0"),
    ({"offset": 0.6}, r"offset = 0\.6"), ({"slack": 1}, "slack = 1"), ({"nominal_block": 65536}, "1 to 65535")])
def test_bad_values_are_named(changes, rule):
    with pytest.raises(PolicyError, match=rule):
        Lattice(**({"sizes": SIZES} | changes))


def test_bad_input_is_named():
    lattice = Lattice(SIZES)
    with pytest.raises(PolicyError, match="training has diverged"):
        lattice.encode(np.full(P, np.nan, np.float32), None, None, lattice.init(P))
    with pytest.raises(PolicyError, match="sizes must add up"):
        lattice.encode(np.ones(3, np.float32), None, None, lattice.init(P))
    with pytest.raises(PolicyError, match="keep 0"):
        lattice.encode(vector(), Budget(100.0, np.ones(5, np.float32), 0.1), None, lattice.init(P))
