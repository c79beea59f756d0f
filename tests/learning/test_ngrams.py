from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesim.learning import ngrams


def witten_bell(training, context, symbol, vocabulary):
    """The definition, one probability at a time."""
    below = witten_bell(training, context[1:], symbol, vocabulary) if context else 1 / vocabulary
    width = len(context)
    starts = [i for i in range(len(training) - width) if training[i:i + width] == list(context)]
    after = [training[i + width] for i in starts]
    if not after:
        return below
    return (after.count(symbol) + len(set(after)) * below) / (len(after) + len(set(after)))


@given(st.lists(st.integers(0, 3), min_size=3, max_size=40), st.integers(0, 2))
def test_probabilities_follow_the_definition_and_sum_to_one(training, length):
    contexts = np.array(list(product(range(4), repeat=length)), int).reshape(4 ** length, length)
    found = ngrams.interpolated(np.array(training), contexts, 4)
    assert np.allclose(found.sum(axis=1), 1)
    for context, row in zip(contexts.tolist(), found, strict=True):
        assert np.allclose(row, [witten_bell(training, context, symbol, 4) for symbol in range(4)])


def test_longer_contexts_predict_a_cycle_better():
    text = np.array([0, 0, 1, 2] * 200)
    places = np.arange(2, 800)
    nats, percents = zip(*(ngrams.score(text, text, places, order, 3) for order in (1, 2, 3)), strict=True)
    assert nats[0] > nats[1] > nats[2]
    assert nats[0] == pytest.approx(1.04, abs=0.01)  # entropy of (1/2, 1/4, 1/4)
    assert percents[2] == 100.0
