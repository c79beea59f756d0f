from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.learning import layers
from acesim.learning.flat import CHUNK, FEW, SMALL, together
from acesim.learning.layers import Workspace


@pytest.mark.parametrize(("rows", "into", "out"), [(5, 3, 7), (32, 32, 32), (32, 48, 144), (32, 144, 48),
                                                   (32, 800, 48), (16, 600, 130), (128, 64, 192)])
def test_every_way_to_multiply_gives_the_product_and_keeps_workers_apart(rows, into, out):
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((4, rows, into), dtype=np.float32)
    p = {"w.weight": rng.standard_normal((4, out, into), dtype=np.float32),
         "w.bias": rng.standard_normal((4, out), dtype=np.float32)}
    found = layers.linear(x, p, "w", Workspace(np.float32))
    wanted = np.einsum("cni,coi->cno", x, p["w.weight"], dtype=np.float64) + p["w.bias"][:, None]
    assert np.allclose(found, wanted, rtol=0, atol=1e-5 * into)
    alone = layers.linear(x[2:3], {name: part[2:3] for name, part in p.items()}, "w", Workspace(np.float32))
    assert np.array_equal(alone[0], found[2])


def test_turned_is_the_transpose_laid_out_anew():
    x = np.arange(24.0).reshape(2, 3, 4)
    found = layers.turned(x, Workspace(np.float64))
    assert np.array_equal(found, x.swapaxes(1, 2))
    assert found.flags.c_contiguous


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=6), st.data())
def test_the_first_of_the_largest_counts_as_argmax_has_it(columns, data):
    logits = np.array(columns, np.float32).T
    aim = np.array([data.draw(st.integers(0, 3)) for _ in columns])
    chosen, largest = logits[aim, np.arange(len(columns))], logits.max(axis=0)
    found = layers.foremost(logits, largest, aim, chosen)
    assert found.tolist() == (np.argmax(logits, axis=0) == aim).tolist()


def test_a_softmax_told_its_maximum_is_the_same_softmax():
    scores = np.random.default_rng(0).standard_normal((5, 4))
    told, untold = scores.copy(), scores.copy()
    largest, total = layers.softmax(untold)
    again, told_total = layers.softmax(told, scores.max(axis=0))
    assert np.array_equal(largest, again)
    assert np.array_equal(total, told_total)
    assert np.array_equal(told, untold)


def test_small_models_with_few_predictions_are_taken_more_at_a_time():
    assert together(SMALL) == together(SMALL, FEW) == 2 * CHUNK
    assert together(SMALL + 1) == together(SMALL, FEW + 1) == CHUNK
