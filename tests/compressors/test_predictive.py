"""Downlinks that send how far the model is from where it was expected."""

from dataclasses import replace

import numpy as np
import pytest
from tests_support import play, small_setup

from acesim.compressors import Budget, Lattice, Predictive, TopK, Uniform
from acesim.scenario.errors import PolicyError
from acesim.seam import Predicting

P = 20_000


def walk(rounds, momentum, seed=0):
    """Models whose steps are a running mean of noise: what a server with momentum makes of gradients."""
    rng, step, model = np.random.default_rng(seed), np.zeros(P, np.float32), np.zeros(P, np.float32)
    for _ in range(rounds):
        step = momentum * step + (1 - momentum) * rng.standard_normal(P).astype(np.float32)
        model = model + step
        yield model


def told(downlink, models, bits):
    """Return the mean square of what receivers lack, over what a step is, and the bits an entry that were sent."""
    held = before = np.zeros(P, np.float32)
    state, last, lacks, steps, sent = downlink.init(P), held, [], [], []
    for model in models:
        base = downlink.predict(held, before, bits) if isinstance(downlink, Predicting) else held
        payload, state = downlink.encode(model - base, bits, None, state)
        held, before = base + downlink.decode(payload.body, P), held
        lacks.append(np.mean((model - held) ** 2))
        steps.append(np.mean((model - last) ** 2))
        sent.append(8 * payload.nbytes / P)
        last = model
    return np.mean(lacks[20:]) / np.mean(steps[20:]), np.mean(sent[20:])


@pytest.mark.parametrize(("bits", "least"), [(2.0, 3.0), (3.0, 4.0)])
def test_the_same_bytes_leave_a_fraction_of_the_error_where_steps_have_momentum(bits, least):
    """Theory: noise of 1 - .81 of a step's variance is left to send, and 1.9^2 + .9^2 times the error D comes back with
    it: D / (.19 + 4.4 D) equals D / (1 + D) at one rate: 3.5 times less at 2 bits, 4.8 at 3."""
    lattice = Lattice((P // 10,) * 10)
    (plain, plain_bits), (ours, our_bits) = (told(each, walk(120, 0.9), bits)
                                             for each in (lattice, Predictive(lattice)))
    assert our_bits == pytest.approx(plain_bits, rel=0.02)
    assert ours < plain / least


@pytest.mark.parametrize("bits", [0.6, 1.0, 1.3])
def test_of_few_bits_little_is_expected_so_that_no_error_feeds_itself(bits):
    """A constant share of .8 would make it grow without bound at 1 bit."""
    lattice = Lattice((P // 10,) * 10)
    plain, ours = (told(each, walk(120, 0.9), bits)[0] for each in (lattice, Predictive(lattice, 0.8)))
    assert ours < 1.05 * plain


def test_steps_without_momentum_are_better_told_as_they_are():
    lattice = Lattice((P // 10,) * 10)
    plain, ours = (told(each, walk(60, 0.0), 3.0)[0] for each in (lattice, Predictive(lattice, 0.8)))
    assert ours > 1.2 * plain


def test_what_is_expected():
    downlink, held = Predictive(Uniform(8), 0.5), np.array([4.0, 6.0], np.float32)
    before = np.array([2.0, 7.0], np.float32)
    assert downlink.predict(held, None, None) is held
    np.testing.assert_array_equal(downlink.predict(held, before, None), [5.0, 5.5])
    budgeted = Predictive(Lattice((2,), nominal_size=100), 0.9)
    np.testing.assert_array_equal(budgeted.predict(held, before, Budget(12.5, np.ones(1))), [4.5, 5.75])  # 1 bit: .25
    assert budgeted.predict(held, before, Budget(6.25, np.ones(1))) is held
    assert isinstance(downlink, Predicting)
    assert not isinstance(Uniform(8), Predicting)


@pytest.mark.parametrize("rho", [-0.1, 1.0, float("nan")])
def test_shares_that_would_never_settle_are_refused(rho):
    with pytest.raises(PolicyError, match=r"rho = .*must lie in \[0, 1\)"):
        Predictive(Uniform(8), rho)
    with pytest.raises(PolicyError, match="must be a Lattice or Uniform"):
        Predictive(TopK(0.1))


def paired(tree, rho, bits=4, **sections):
    setup = small_setup("full-sync", **sections)
    downlink = Uniform(bits, (24,))
    return [play(replace(setup, policy=replace(setup.policy, downlink=each, tree=tree)))
            for each in (downlink, Predictive(downlink, rho))]


@pytest.mark.parametrize("tree", ["star", "regions"])
def test_expecting_no_motion_is_the_downlink_alone(tree):
    """Models and bytes; a second model to read takes the receivers' memory time, and so the clock."""
    plain, ours = paired(tree, 0.0)
    np.testing.assert_array_equal(plain.outcome.model, ours.outcome.model)
    assert [row.bytes_down for row in plain.metrics] == [row.bytes_down for row in ours.metrics]


@pytest.mark.parametrize("tree", ["star", "regions"])
def test_a_run_learns_and_regions_hand_on_what_came(tree):
    """Every worker of a star, or of a region that hands on what it was sent, is told the same: one payload a round."""
    plain, ours = paired(tree, 0.8, epochs=6)
    assert ours.metrics[-1].loss_nats < 0.5 * ours.metrics[0].loss_nats
    assert ours.metrics[-1].bytes_down == plain.metrics[-1].bytes_down
    assert ours.metrics[-1].region_bytes_down == plain.metrics[-1].region_bytes_down


def test_a_worker_that_was_away_expects_what_it_held():
    """Half of the workers a round: each is told the rest from its own two last models, and learning goes on."""
    setup = small_setup("fedavg", {"fraction": 0.5}, epochs=8)
    found = play(replace(setup, policy=replace(setup.policy, downlink=Predictive(Uniform(8, (24,)), 0.5))))
    assert found.metrics[-1].loss_nats < 0.5 * found.metrics[0].loss_nats


def test_whoever_holds_a_model_keeps_the_one_before():
    policy = small_setup("full-sync").policy
    plain = replace(policy, downlink=Uniform(8))
    ours = replace(policy, downlink=Predictive(Uniform(8)))

    def more(role, children=0):
        return ours.memory_bytes(role, 1000, children) - plain.memory_bytes(role, 1000, children)
    copies = policy.schedule.copies or 9
    assert (more("worker"), more("cloud", 9), more("region", 9)) == (4000, 4000 * copies, 4000 * (copies + 1))
