from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.learning import partition as rules
from acesim.learning.partition import partition
from acesim.scenario.errors import ScenarioError
from acesim.scenario.streams import stream
from acesim.scenario.tasks import (
    ArithmeticQuantity,
    ClassesPartition,
    DirichletPartition,
    EqualQuantity,
    IidPartition,
    LogNormalQuantity,
)

EQUAL = EqualQuantity()
quantities = st.one_of(st.just(EQUAL), st.floats(1, 1.7e308).map(lambda ratio: ArithmeticQuantity(ratio=ratio)),
                       st.floats(0, 1.7e308).map(lambda sigma: LogNormalQuantity(sigma=sigma)))
alphas = st.one_of(st.floats(5e-324, 1.7e308), st.sampled_from([5e-324, 1e-300, 1e-6, 0.1, 0.5, 10.0, 1.7e308]))


def dealt(spec, labels, workers, seed=0):
    """Deal, and check what every partition promises."""
    found = partition(spec, labels, workers, stream(seed, "data", workers))
    assert len(found.shards) == workers
    assert sorted(np.concatenate(found.shards).tolist()) == list(range(len(labels)))
    assert min(map(len, found.shards)) >= spec.min_partition_size
    counts = [np.bincount(labels[shard], minlength=found.counts.shape[0]) for shard in found.shards]
    assert np.array_equal(np.stack(counts, axis=1), found.counts)
    return found


def balanced(classes, each):
    return np.tile(np.arange(classes), each)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), alpha=alphas, workers=st.integers(1, 12), each=st.integers(1, 30), classes=st.integers(2, 6),
       quantity=st.none() | quantities, self_balancing=st.booleans())
def test_dirichlet_ends_for_every_alpha_and_deals_everything_once(data, alpha, workers, each, classes, quantity,
                                                                  self_balancing):
    sizes = st.lists(st.integers(1, each), min_size=classes, max_size=classes)
    labels = np.repeat(np.arange(classes), data.draw(sizes))
    least = data.draw(st.integers(1, max(1, len(labels) // workers)))
    if len(labels) < workers:
        return
    spec = DirichletPartition(alpha=alpha, min_partition_size=least, quantity=quantity,
                              self_balancing=self_balancing and quantity is None)
    found = dealt(spec, labels, workers)
    if quantity == EQUAL:
        sizes = found.counts.sum(axis=0)
        assert sizes.max() - sizes.min() <= 1


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from([IidPartition, ClassesPartition]), quantity=quantities, workers=st.integers(3, 12),
       each=st.integers(6, 30), own=st.integers(2, 6), least=st.integers(1, 2))
def test_the_other_kinds_too(kind, quantity, workers, each, own, least):
    if kind is IidPartition:
        dealt(kind(quantity=quantity, min_partition_size=least), balanced(6, each), workers)
    elif -(-workers * own // 6) <= each:  # every owner can have one
        spec = kind(quantity=quantity, min_partition_size=least, classes_per_worker=own)
        found = dealt(spec, balanced(6, each), workers)
        assert ((found.counts > 0).sum(axis=0) == own).all()


@pytest.mark.parametrize("alpha", [1e-6, 5e-324])
def test_a_tiny_alpha_gives_every_class_to_one_worker_and_the_others_the_least(alpha):
    found = dealt(DirichletPartition(alpha=alpha, min_partition_size=3), balanced(4, 50), 12)
    owners = (found.counts > 3).sum(axis=1)
    assert (owners == 1).all()
    assert ((found.counts > 0).sum(axis=0)[found.counts.sum(axis=0) == 3] == 1).all()  # raised from one class alone


def test_a_huge_alpha_gives_everyone_the_same_mixture():
    found = dealt(DirichletPartition(alpha=1e12), balanced(5, 80), 8)
    assert (found.counts == 10).all()
    fixed = dealt(DirichletPartition(alpha=1e12, quantity=ArithmeticQuantity(ratio=3.0)), balanced(5, 80), 8)
    assert (np.ptp(fixed.counts, axis=0) <= 2).all()  # one by rounding, and one for who is served last


def test_the_shares_of_a_class_are_dirichlet():
    """With W workers, q_1 ~ Beta(a, a (W - 1)): its mean and variance over 4000 draws, within four deviations."""
    alpha, workers, draws = 0.5, 5, 4000
    logs = rules.log_gammas(stream(0, "data"), alpha, (draws, workers))
    shares = np.stack([rules.shares_among(row, np.ones(workers, bool)) for row in logs])[:, 0]
    mean, total = 1 / workers, alpha * workers
    variance = mean * (1 - mean) / (total + 1)
    assert abs(shares.mean() - mean) < 4 * (variance / draws) ** 0.5
    spread = np.std((shares - mean) ** 2) / draws ** 0.5
    assert abs(shares.var() - variance) < 4 * spread


def test_label_skew_falls_with_alpha():
    def skew(alpha, quantity):
        counts = dealt(DirichletPartition(alpha=alpha, quantity=quantity), balanced(10, 100), 20).counts
        return np.abs(counts / counts.sum(axis=0) - 0.1).sum(axis=0).mean()

    for quantity in (None, EQUAL):
        found = [skew(alpha, quantity) for alpha in (0.05, 0.5, 5.0, 500.0)]
        assert found == sorted(found, reverse=True)
        assert found[0] > 1.0
        assert found[-1] < 0.2


def test_self_balancing_evens_sizes_out():
    labels = balanced(10, 100)
    plain, even = (dealt(DirichletPartition(alpha=0.1, self_balancing=flag), labels, 20, 3).counts.sum(axis=0)
                   for flag in (False, True))
    assert even.max() < plain.max()
    before_last = 50 + 100  # nobody is dealt a class who holds 50 already, and a class has 100
    assert even.max() <= before_last


def test_arithmetic_sizes_are_the_series_and_descend():
    found = dealt(IidPartition(quantity=ArithmeticQuantity(ratio=9.0)), balanced(2, 500), 5).counts.sum(axis=0)
    assert found.tolist() == [360, 280, 200, 120, 40]
    skewed = dealt(DirichletPartition(alpha=0.3, quantity=ArithmeticQuantity(ratio=9.0)), balanced(2, 500), 5)
    assert skewed.counts.sum(axis=0).tolist() == [360, 280, 200, 120, 40]
    steep = dealt(IidPartition(quantity=ArithmeticQuantity(ratio=1e9), min_partition_size=30), balanced(2, 100), 5)
    sizes = steep.counts.sum(axis=0)
    assert sizes[-1] == 30
    assert (np.diff(sizes) <= 0).all()


def test_log_normal_sizes_have_the_stated_spread():
    spec = LogNormalQuantity(sigma=0.7)
    logs = np.log(rules.quantities(spec, 4000, stream(1, "data")))
    assert logs.std() == pytest.approx(0.7, rel=4 / (2 * 4000) ** 0.5)
    assert rules.quantities(LogNormalQuantity(sigma=0.0), 4, stream(1, "data")).tolist() == [0.25] * 4


@pytest.mark.parametrize(("workers", "each"), [(20, 2), (7, 3), (5, 2), (10, 10)])
def test_every_worker_owns_so_many_classes_and_every_class_is_owned(workers, each):
    owned = rules.owners(10, workers, each, stream(0, "data"))
    assert (owned.sum(axis=0) == each).all()
    assert np.ptp(owned.sum(axis=1)) <= 1
    assert owned.any(axis=1).all()
    found = dealt(ClassesPartition(classes_per_worker=each), balanced(10, 60), workers)
    assert ((found.counts > 0).sum(axis=0) == each).all()


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=2, max_size=6), quantity=quantities, workers=st.integers(1, 12),
       own=st.integers(1, 6), least=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_worker_holds_exactly_its_classes_or_it_is_said_why_not(sizes, quantity, workers, own, least, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    try:
        found = dealt(ClassesPartition(classes_per_worker=own, min_partition_size=least, quantity=quantity), labels,
                      workers, seed)
    except ScenarioError as refusal:
        assert refusal.problems[0].path[-1] in ("classes_per_worker", "min_partition_size")  # noqa: PT017
    else:
        assert ((found.counts > 0).sum(axis=0) == own).all()


def test_an_owner_of_many_classes_and_little_quantity_has_all_of_them():
    spec = ClassesPartition(classes_per_worker=5, quantity=ArithmeticQuantity(ratio=10.0))
    assert ((dealt(spec, balanced(10, 144), 80).counts > 0).sum(axis=0) == 5).all()


def test_a_class_that_not_every_owner_can_have_is_named():
    labels = np.repeat(np.arange(4), (1000, 30, 1, 200))
    with pytest.raises(ScenarioError, match=r"classes_per_worker = 1: class number 2 has 1 training examples for [23] "
                                            "workers that own it; lower it, give more data or fewer workers"):
        dealt(ClassesPartition(classes_per_worker=1), labels, 10)


def test_rounding_takes_no_class_from_an_owner():
    owned = np.array([[True, True, True], [False, True, True]])
    assert rules.represented(np.array([[0, 2, 3], [0, 6, 0]]), owned).tolist() == [[1, 1, 3], [0, 5, 1]]


def test_who_owns_nothing_that_can_be_spared_is_raised_along_a_chain():
    """Worker 1, at the least itself, hands one of class 0 on to worker 0, and gets one of class 1 from worker 2."""
    counts = np.array([[2, 2, 0], [0, 1, 9]])
    assert rules.raised_within(counts, counts > 0, 3).tolist() == [[3, 1, 0], [0, 2, 8]]
    assert counts[0, 0] == 2
    with pytest.raises(ScenarioError, match=r"min_partition_size = 4: the classes of worker 0 have only 3 training"):
        rules.raised_within(counts, counts > 0, 4)


def test_owners_share_a_class_by_their_quantities():
    spec = ClassesPartition(classes_per_worker=2, quantity=ArithmeticQuantity(ratio=3.0))
    counts = dealt(spec, balanced(2, 60), 3).counts
    assert counts.tolist() == [[30, 20, 10], [30, 20, 10]]


def test_who_is_below_the_least_is_raised_from_a_class_it_holds_and_the_largest_holder():
    counts = np.array([[1, 9, 5], [0, 4, 20]])
    assert rules.topped_up(counts, 4).tolist() == [[4, 9, 2], [0, 4, 20]]
    assert counts[0, 0] == 1
    assert rules.topped_up(np.array([[0, 9], [0, 1]]), 2).tolist() == [[2, 7], [0, 1]]


def test_a_class_that_runs_out_leaves_the_others_their_proportions():
    logs = np.log(np.array([[0.5, 0.25, 0.25], [0.6, 0.3, 0.1]]))
    found = rules.filled(np.array([4, 10, 6]), np.array([8, 12]), logs, [0, 1])
    assert found.T.tolist() == [[4, 2, 2], [0, 8, 4]]  # class 0 is gone; of 12, 3 : 1 wants 9 and 3: 8 are left


def test_rounding_is_made_good_in_the_next_class():
    found = rules.split(np.full(8, 5), np.full((8, 10), 0.1))
    assert (found.sum(axis=1) == 5).all()
    assert (found.sum(axis=0) == 4).all()


def test_the_same_seed_deals_the_same_and_another_seed_another():
    spec, labels = DirichletPartition(), balanced(10, 50)
    one, two, other = (dealt(spec, labels, 9, seed).shards for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("spec", "message"), [
    (IidPartition(min_partition_size=11), r"task\.partition\.min_partition_size = 11: 100 training examples are only "
                                          r"10 for each of 10 workers; lower it, give more data or fewer workers"),
    (ClassesPartition(classes_per_worker=21), r"classes_per_worker = 21: must be 2 to 20: there are 20 classes"),
    (ClassesPartition(classes_per_worker=1), r"classes_per_worker = 1: must be 2 to 20: .* 10 workers must hold all"),
])
def test_what_cannot_be(spec, message):
    with pytest.raises(ScenarioError, match=message):
        partition(spec, balanced(20, 5), 10, stream(0, "data"))


def test_any_spec_with_these_attributes_will_do():
    spec = SimpleNamespace(kind="iid", min_partition_size=1, quantity=SimpleNamespace(kind="equal"))
    assert [len(shard) for shard in dealt(spec, balanced(2, 5), 3).shards] == [4, 3, 3]
