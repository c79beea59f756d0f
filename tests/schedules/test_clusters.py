import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import view

from acesim.scenario.errors import PolicyError
from acesim.schedules import Clusters
from acesim.schedules.clusters import features, grouped, renumbered


def rng():
    return np.random.default_rng(3)


def test_two_heaps_are_found():
    points = np.array([[0.0, 0.0], [5.0, 5.0], [0.1, 0.0], [5.1, 5.0], [0.0, 0.2]])
    assert grouped(points, 2, rng()).tolist() == [0, 1, 0, 1, 0]


def test_points_that_coincide_are_one_cluster():
    assert grouped(np.ones((4, 2)), 3, rng()).tolist() == [0, 0, 0, 0]
    assert grouped(np.zeros((1, 2)), 3, rng()).tolist() == [0]


def test_features_are_standardised_and_unknown_ones_lie_in_the_middle():
    seen = view(3, bandwidth_bytes_per_s=np.array([1.0, 10.0, 100.0]), drift=np.array([1.0, np.nan, 3.0]),
                sketch=np.array([[1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]]))
    found = features(seen)
    assert found.shape == (3, 6)
    np.testing.assert_allclose(found[:, 0], [-(1.5**0.5), 0, 1.5**0.5])
    assert found[:, 1].tolist() == found[:, 2].tolist() == [0, 0, 0]  # all alike; nothing known
    assert found[:, 3].tolist() == [-1, 0, 1]
    assert found[:, 4].tolist() == [1, -1, 0]


def test_the_data_centre_is_a_cluster_of_its_own_and_labels_last():
    clusters = Clusters(2, every=5)
    rates = np.array([1e9, 1e9, 1e3, 1e6, 1.1e3, 1.1e6])
    state = clusters.advance(view(6, cloud=2), clusters.init(rng()))
    assert state.labels is None  # no bandwidth is known yet
    state = clusters.advance(view(6, cloud=2, round=1, bandwidth_bytes_per_s=rates), state)
    assert state.labels.tolist() == [0, 0, 1, 2, 1, 2]
    swapped = rates[[0, 1, 3, 2, 4, 5]]
    kept = clusters.advance(view(6, cloud=2, round=5, bandwidth_bytes_per_s=swapped), state)
    assert kept is state
    anew = clusters.advance(view(6, cloud=2, round=6, bandwidth_bytes_per_s=swapped), state)
    assert anew.labels.tolist() == [0, 0, 1, 2, 2, 1]


@settings(max_examples=80, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_clusters_keep_the_numbers_of_those_they_are_most_like(pairs):
    """The same clusters, under numbers below the larger count; who has most in common with an old one is called so."""
    _, before = np.unique([old for old, _ in pairs], return_inverse=True)
    _, labels = np.unique([new for _, new in pairs], return_inverse=True)
    found = renumbered(labels, before)
    assert len(set(zip(labels.tolist(), found.tolist(), strict=True))) == len(set(labels.tolist())) == len(set(found))
    assert found.max() < max(labels.max(), before.max()) + 1
    shared = np.array([[((before == old) & (labels == new)).sum() for new in range(5)] for old in range(5)])
    old, new = np.unravel_index(np.argmax(shared), shared.shape)
    assert set(found[labels == new]) == {old}
    np.testing.assert_array_equal(renumbered(labels, labels), labels)


def test_half_of_the_workers_must_be_known_and_the_others_lie_in_the_middle():
    rates = np.array([1e3, 1e6, np.nan, np.nan])
    clusters = Clusters(2)
    state = clusters.advance(view(4, cloud=0, bandwidth_bytes_per_s=np.where(rates > 1e5, np.nan, rates)),
                             clusters.init(rng()))
    assert state.labels is None
    state = clusters.advance(view(4, cloud=0, round=1, bandwidth_bytes_per_s=rates), state)
    assert state.labels is not None
    assert state.labels[0] != state.labels[1]


def test_without_cloud_workers_labels_begin_at_zero():
    clusters = Clusters(2)
    seen = view(3, cloud=0, bandwidth_bytes_per_s=np.array([1e3, 1e6, 1e3]))
    assert clusters.advance(seen, clusters.init(rng())).labels.tolist() == [0, 1, 0]


def test_the_slowest_quartile_is_shared():
    values, labels = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]), np.array([0, 0, 0, 0, 0, 1])
    assert Clusters().shared(values, None) is values
    np.testing.assert_array_equal(Clusters().shared(values, labels), [2, 2, 2, 2, 2, np.nan])


def test_sketches_are_asked_for_only_before_a_clustering():
    clusters = Clusters(2, every=3, sketch=8)
    state = clusters.init(rng())
    seen = [view(3, cloud=0, round=number, bandwidth_bytes_per_s=np.array([1e3, 1e6, 2e3])) for number in range(7)]
    asked = []
    for each in seen:
        state = clusters.advance(each, state)
        asked.append(clusters.asks(each, state))
    assert asked == [0, 0, 8, 0, 0, 8, 0]


def test_the_stream_decides():
    points = np.random.default_rng(0).standard_normal((40, 3))
    assert grouped(points, 4, rng()).tolist() == grouped(points, 4, rng()).tolist()


@pytest.mark.parametrize(("changes", "rule"), [({"count": 0}, "clusters = 0"), ({"every": 0}, "recluster_every = 0"),
                                               ({"sketch": -1}, "sketch = -1"), ({"sketch": 10**9}, "at most 10000"),
                                               ({"quantile": 2}, "quantile = 2")])
def test_bad_values_are_named(changes, rule):
    with pytest.raises(PolicyError, match=rule):
        Clusters(**changes)
