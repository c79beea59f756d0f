"""Collectives against the closed forms, and against a ring and a tree that are played message by message."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.fleet.collectives import (
    Fabric,
    all_reduce,
    ring_all_gather,
    ring_all_reduce,
    tree_all_reduce,
    tree_broadcast,
)
from acesim.scenario.errors import PolicyError

counts, sizes = st.integers(1, 70), st.just(0.0) | st.floats(1, 1e12)
fabrics = st.builds(Fabric, st.floats(0, 1), st.floats(1, 1e12))


@given(counts, sizes, fabrics)
def test_ring_all_reduce(workers, nbytes, fabric):
    found = ring_all_reduce(workers, nbytes, fabric)
    alpha, beta = fabric.latency_s, 1 / fabric.bytes_per_s
    assert found.time_s == pytest.approx(2 * (workers - 1) * (alpha + nbytes / workers * beta), rel=1e-12)
    np.testing.assert_allclose(found.sent_bytes, 2 * (workers - 1) / workers * nbytes, rtol=1e-12)


@given(counts, sizes, fabrics)
def test_trees(workers, nbytes, fabric):
    levels, once = math.ceil(math.log2(workers)), fabric.latency_s + nbytes / fabric.bytes_per_s
    down, both = tree_broadcast(workers, nbytes, fabric), tree_all_reduce(workers, nbytes, fabric)
    assert down.turns == levels
    assert down.time_s == pytest.approx(levels * once, rel=1e-12)
    assert both.time_s == pytest.approx(2 * levels * once, rel=1e-12)
    assert down.link_bytes == pytest.approx((workers - 1) * nbytes, rel=1e-12)  # everybody but the root gets it once
    assert both.link_bytes == pytest.approx(2 * (workers - 1) * nbytes, rel=1e-12)


@given(counts, sizes, fabrics)
def test_ring_all_gather_of_equals(workers, nbytes, fabric):
    found = ring_all_gather([nbytes] * workers, fabric)
    assert found.time_s == pytest.approx((workers - 1) * (fabric.latency_s + nbytes / fabric.bytes_per_s), rel=1e-12)
    np.testing.assert_allclose(found.received_bytes, (workers - 1) * nbytes, rtol=1e-12, atol=1e-3)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), fabrics)
def test_ring_all_gather_played(pieces, fabric):
    """Worker i holds piece i; in turn t it passes piece i - t on to i + 1."""
    workers = len(pieces)
    held, sent, received, time_s = [{i} for i in range(workers)], [0] * workers, [0] * workers, 0.0
    for turn in range(workers - 1):
        moves = [(i, (i - turn) % workers, (i + 1) % workers) for i in range(workers)]
        time_s += max(fabric.hop_s(pieces[piece]) for _, piece, _ in moves)
        for sender, piece, receiver in moves:
            assert piece in held[sender]
            sent[sender] += pieces[piece]
            received[receiver] += pieces[piece]
        for _, piece, receiver in moves:
            held[receiver].add(piece)
    found = ring_all_gather(pieces, fabric)
    assert all(len(each) == workers for each in held)
    assert found.time_s == pytest.approx(time_s, rel=1e-9)
    assert (found.sent_bytes.tolist(), found.received_bytes.tolist()) == (sent, received)


@given(counts)
def test_broadcast_played(workers):
    """In every turn all who have it send it to one who has not; nobody gets it twice."""
    has, sent = {0}, [0.0] * workers
    turns = 0
    while len(has) < workers:
        for sender in sorted(has):
            receiver = sender + (1 << turns)
            if receiver < workers:
                assert receiver not in has
                has = has | {receiver}
                sent[sender] += 5.0
        turns += 1
    found = tree_broadcast(workers, 5.0, Fabric(0.1, 10.0))
    assert (found.turns, found.sent_bytes.tolist()) == (turns, sent)


@given(st.integers(1, 64), sizes, fabrics)
def test_what_is_sent_is_received(workers, nbytes, fabric):
    for found in (ring_all_reduce(workers, nbytes, fabric), tree_all_reduce(workers, nbytes, fabric),
                  tree_broadcast(workers, nbytes, fabric), ring_all_gather([nbytes] * workers, fabric)):
        assert found.received_bytes.sum() == pytest.approx(found.link_bytes, rel=1e-12)


def test_small_messages_take_the_tree_and_large_ones_the_ring():
    fabric = Fabric(1e-3, 1.25e9)
    assert all_reduce(16, 1e3, fabric).turns == 8
    assert all_reduce(16, 1.4e9, fabric).turns == 30


def test_alone_nothing_is_sent():
    fabric = Fabric(1.0, 1.0)
    for found in (ring_all_reduce(1, 9.0, fabric), tree_all_reduce(1, 9.0, fabric), ring_all_gather([9.0], fabric)):
        assert (found.time_s, found.link_bytes) == (0.0, 0.0)


def test_impossible_collectives():
    fabric = Fabric(1.0, 1.0)
    with pytest.raises(PolicyError, match="needs at least one"):
        ring_all_reduce(0, 1.0, fabric)
    with pytest.raises(PolicyError, match="finite and >= 0"):
        tree_broadcast(2, math.nan, fabric)
    with pytest.raises(PolicyError, match="finite and >= 0"):
        ring_all_gather([1.0, -1.0], fabric)
    for latency_s, bytes_per_s in ((-1.0, 1.0), (math.nan, 1.0), (0.0, 0.0), (0.0, math.nan), (0.0, math.inf)):
        with pytest.raises(PolicyError, match="bytes_per_s finite and > 0"):
            Fabric(latency_s, bytes_per_s)
