"""Momentum in the compressor: the invariants of DGC and SAMomentum, at the precision of float32.

Where arithmetic is exact (momenta of 1/2, gradients of small whole numbers) equalities are exact.  Elsewhere a sum of T
terms, each rounded to float32, errs by at most T eps sum |terms|; that is the tolerance.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.compressors import (
    Clipped,
    Dense,
    ErrorFeedback,
    LayerTopK,
    MomentumCorrection,
    SampledTopK,
    Scaled,
    SparsificationAwareMomentum,
    Split,
    Threshold,
    Uniform,
)
from acesim.scenario.errors import PolicyError
from acesim.seam import Rated

P, EPS = 12, float(np.finfo(np.float32).eps)
INNER = [LayerTopK(0.2), LayerTopK(0.1, (5, 7)), Threshold(3.0), SampledTopK(0.3), LayerTopK(1.0)]
each_inner = pytest.mark.parametrize("inner", INNER, ids=repr)


def gradients(steps, seed=0, whole=False):
    rng = np.random.default_rng(seed)
    found = rng.integers(-4, 5, (steps, P)) if whole else rng.standard_normal((steps, P))
    return found.astype(np.float32)


def run(compressor, vectors, level=None):
    """Return (what was decoded [T, P], the states)."""
    state, decoded, states = compressor.init(vectors.shape[1]), [], []
    for vector in vectors:
        payload, state = compressor.encode(vector, level, None, state)
        decoded.append(compressor.decode(payload.body, vector.size))
        states.append(state)
    return np.array(decoded), states


# ---- SAMomentum

@each_inner
@pytest.mark.parametrize("momentum", [0.3, 0.7, 0.95])
def test_conservation_law_of_samomentum(inner, momentum):
    """(1 - m) sum of what was sent + m u = sum of x, entry by entry, after every step."""
    vectors = gradients(60)
    sent, states = run(SparsificationAwareMomentum(inner, momentum), vectors)
    for step in (1, 7, 60):
        left = (1 - momentum) * sent[:step].sum(0, dtype=float) + momentum * states[step - 1].velocity.astype(float)
        scale = np.abs(sent[:step]).sum(0) + np.abs(states[step - 1].velocity) + np.abs(vectors[:step]).sum(0)
        assert (np.abs(left - vectors[:step].sum(0, dtype=float)) <= (step + 4) * EPS * scale).all()


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(max_examples=30)
def test_conservation_law_is_exact_where_arithmetic_is(seed, steps):
    """m = 1/2, whole gradients, 12 steps: every number is a multiple of 2^-12 below 2^12, which float32 holds."""
    vectors = gradients(steps, seed, whole=True)
    sent, states = run(SparsificationAwareMomentum(LayerTopK(0.2), 0.5), vectors)
    np.testing.assert_array_equal(sent.sum(0) + states[-1].velocity, 2 * vectors.sum(0))


@pytest.mark.parametrize("momentum", [0.3, 0.5, 0.7])
def test_telescoping(momentum):
    """An entry that was sent with u_c and then not for T - 1 steps is considered at u = m u_c + sum of its T
    gradients."""
    rng, waits = np.random.default_rng(2), 9
    first, rest = 100.0, rng.standard_normal(waits)
    compressor = SparsificationAwareMomentum(LayerTopK(0.5), momentum)
    state = compressor.init(2)
    _, state = compressor.encode(np.array([first, 0], np.float32), None, None, state)  # u_c = 100 is sent
    loud = 1000.0
    for value in rest[:-1]:  # the other entry is louder: ours waits
        payload, state = compressor.encode(np.array([value, loud], np.float32), None, None, state)
        assert payload.body.indices.tolist() == [1]
    considered = momentum * state.velocity[0] + rest[-1]
    assert considered == pytest.approx(momentum * first + rest.sum(), abs=20 * EPS * (first + np.abs(rest).sum()))


@pytest.mark.parametrize("momentum", [0.5, 0.7])
def test_sending_everything_is_momentum(momentum):
    vectors, velocity = gradients(20), np.zeros(P, np.float32)
    sent, _ = run(SparsificationAwareMomentum(LayerTopK(1.0), momentum), vectors)
    for vector, found in zip(vectors, sent, strict=True):
        velocity = np.float32(momentum) * velocity + vector
        np.testing.assert_array_equal(found, velocity)


def test_unsent_entries_are_magnified_and_sent_ones_kept():
    compressor = SparsificationAwareMomentum(LayerTopK(0.5), 0.5)
    _, states = run(compressor, np.array([[4.0, 1.0]], np.float32))
    assert states[0].velocity.tolist() == [4.0, 2.0]


@pytest.mark.parametrize("momentum", [0, 1, -0.1, 1.5])
def test_samomentum_divides_by_its_momentum(momentum):
    with pytest.raises(PolicyError, match=r"momentum = .*: must be in \(0, 1\)"):
        SparsificationAwareMomentum(LayerTopK(0.1), momentum)


# ---- DGC

@each_inner
@pytest.mark.parametrize("nesterov", [False, True])
def test_without_masking_nothing_is_lost(inner, nesterov):
    """sum of what was sent + v = sum of all u (with nesterov: of u + g)."""
    vectors, momentum = gradients(40), 0.9
    sent, states = run(MomentumCorrection(inner, momentum, masking=False, nesterov=nesterov), vectors)
    velocity, total, scale = np.zeros(P), np.zeros(P), np.zeros(P)
    for vector in vectors.astype(float):
        velocity = momentum * (velocity + vector) if nesterov else momentum * velocity + vector
        total += velocity + vector * nesterov
        scale += np.abs(velocity) + np.abs(vector)
    left = sent.sum(0, dtype=float) + states[-1].accumulated
    assert (np.abs(left - total) <= 3 * len(vectors) * EPS * scale).all()


def test_masking_and_sending_everything_is_plain_sgd():
    vectors = gradients(20)
    sent, states = run(MomentumCorrection(Dense(), 0.9), vectors)
    np.testing.assert_array_equal(sent, vectors)
    assert not states[-1].velocity.any()


def test_no_masking_and_sending_everything_is_momentum_sgd():
    vectors, velocity = gradients(20), np.zeros(P, np.float32)
    sent, states = run(MomentumCorrection(LayerTopK(1.0), 0.9, masking=False), vectors)
    for vector, found in zip(vectors, sent, strict=True):
        velocity = np.float32(0.9) * velocity + vector
        np.testing.assert_array_equal(found, velocity)
    assert not states[-1].accumulated.any()


def test_masking_clears_what_was_sent_and_only_that():
    _, states = run(MomentumCorrection(LayerTopK(0.5), 0.5), np.array([[4.0, 1.0]], np.float32))
    assert states[0].velocity.tolist() == [0.0, 1.0]
    assert states[0].accumulated.tolist() == [0.0, 1.0]


@each_inner
def test_no_momentum_without_masking_is_error_feedback(inner):
    vectors = gradients(30)
    np.testing.assert_array_equal(run(MomentumCorrection(inner, 0.0, masking=False), vectors)[0],
                                  run(ErrorFeedback(inner), vectors)[0])


def test_a_payload_that_was_not_used_is_due_again():
    compressor = MomentumCorrection(LayerTopK(0.5), 0.5)
    payload, state = compressor.encode(np.array([4.0, 1.0], np.float32), None, None, compressor.init(2))
    assert compressor.give_back(payload.body, 2, state).accumulated.tolist() == [4.0, 1.0]


@pytest.mark.parametrize("momentum", [1, -0.1, 1.5])
def test_momentum_has_its_range(momentum):
    with pytest.raises(PolicyError, match=r"momentum = .*: must be in \[0, 1\)"):
        MomentumCorrection(LayerTopK(0.1), momentum)


@pytest.mark.parametrize("wrapper", [MomentumCorrection, SparsificationAwareMomentum])
def test_what_grows_without_bound_is_refused(wrapper):
    from acesim.compressors import QSGD, Silent
    for inner in (QSGD(4), Silent()):
        with pytest.raises(PolicyError, match="must be contractive"):
            wrapper(inner)
    assert wrapper(Uniform(8)).inner == Uniform(8)


# ---- clipping, scaling, splitting

@pytest.mark.parametrize(("length", "kept"), [(10.0, 2.0), (1.0, 1.0)])
def test_clipping_comes_before_the_accumulator(length, kept):
    vector = np.array([0.6, 0.8], np.float32) * np.float32(length)
    sent, _ = run(Clipped(ErrorFeedback(LayerTopK(1.0)), 2.0), vector[None])
    assert np.linalg.norm(sent) == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize("norm", [0, -1])
def test_a_norm_must_be_positive(norm):
    with pytest.raises(PolicyError, match=r"longest = .*must be above 0"):
        Clipped(Dense(), norm)


def test_the_rate_is_inside_the_accumulator():
    """What waits was multiplied by the rate of its own step, not by that of its sending."""
    compressor = Scaled(ErrorFeedback(LayerTopK(0.5)))
    state = compressor.init(2)
    _, state = compressor.encode(np.array([4.0, 1.0], np.float32), Rated(1.0), None, state)
    payload, _ = compressor.encode(np.array([0.0, 1.0], np.float32), Rated(0.5), None, state)
    assert payload.body.values.tolist() == [1.5]


def test_vectors_and_matrices_go_their_own_ways():
    shapes = ((2, 2), (2,), (1, 2))
    compressor = Split(shapes, Dense(), LayerTopK(0.34, (4, 2)))
    x = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    payload, _ = compressor.encode(x, None, None, compressor.init(8))
    assert compressor.decode(payload.body, 8).tolist() == [0, 0, 0, 4, 5, 6, 0, 8]
    assert payload.nbytes == 4 * 2 + 8 * 2
    nominal = ((100, 100), (100,), (50, 100))  # 3400 and 1700 of the matrices, 100 whole
    assert compressor.nbytes(nominal, payload.measure) == 4 * 100 + 8 * (3400 + 1700)


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 2),)])
def test_a_model_of_one_kind_of_tensors_needs_no_split(shapes):
    with pytest.raises(PolicyError, match="there must be tensors of one dimension and others"):
        Split(shapes, Dense(), Dense())


def test_a_split_knows_its_size():
    with pytest.raises(PolicyError, match="shapes of 6 entries for a vector of 5"):
        Split(((2,), (2, 2)), Dense(), Dense()).init(5)


def test_what_was_not_used_goes_through_wrappers_to_the_accumulator():
    """The rate and the clipping came before: what comes back is what would have been sent."""
    x = np.array([3.0, 4.0], np.float32)
    for wrapper in (Scaled(ErrorFeedback(LayerTopK(0.5))), Clipped(ErrorFeedback(LayerTopK(0.5)), 2.5)):
        payload, state = wrapper.encode(x, None, None, wrapper.init(2))
        due = wrapper.inner.encode(np.zeros(2, np.float32), None, None, wrapper.give_back(payload.body, 2, state))
        assert due[0].body.values.tolist() == payload.body.values.tolist()
    assert not hasattr(Scaled(Dense()), "give_back")  # nothing is kept, and the engine asks


def test_samomentum_takes_back_what_was_not_used():
    compressor = SparsificationAwareMomentum(LayerTopK(0.5), 0.5)
    payload, state = compressor.encode(np.array([4.0, 1.0], np.float32), None, None, compressor.init(2))
    assert state.velocity.tolist() == [4.0, 2.0]
    assert compressor.give_back(payload.body, 2, state).velocity.tolist() == [8.0, 2.0]  # as if unsent: u / m


def test_the_halves_of_a_split_take_back_their_own():
    compressor = Split(((2,), (1, 2)), Dense(), ErrorFeedback(LayerTopK(0.5)))
    payload, state = compressor.encode(np.array([5.0, 6.0, 4.0, 1.0], np.float32), None, None, compressor.init(4))
    back = compressor.give_back(payload.body, 4, state)
    assert back.vectors == state.vectors
    assert back.matrices.residual.tolist() == [4.0, 1.0]
