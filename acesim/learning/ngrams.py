"""Yardsticks: what n-gram models, trained on the same text, predict on the same scored characters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Symbols = NDArray[Any]

SLICE = 1 << 17
"""Symbols of the training text that are counted together: all of it at once takes forty bytes a symbol."""

Probabilities = NDArray[np.float64]


def follower_counts(training: Symbols, contexts: Ids, vocabulary: int) -> NDArray[np.int64]:
    """Count which symbol follows each context in the training text.

    training   [N] symbols
    contexts   [n, h], rows distinct; h may be 0; V^h rows must fit in memory
    returns    [n, V]
    """
    length = contexts.shape[1]
    powers = vocabulary ** np.arange(length - 1, -1, -1)
    keys = contexts @ powers if length else np.zeros(len(contexts), np.int64)
    rows = np.full(vocabulary ** length, -1)
    rows[keys] = np.arange(len(contexts))
    counts = np.zeros(len(contexts) * vocabulary, np.int64)
    for start in range(0, len(training) - length, SLICE):
        part = training[start:start + SLICE + length].astype(np.int64)
        seen = np.zeros(len(part) - length, np.int64)
        for place, power in enumerate(powers):
            seen += part[place:place + len(seen)] * power
        row = rows[seen]
        known = row >= 0
        counts += np.bincount(row[known] * vocabulary + part[length:][known], minlength=len(counts))
    return counts.reshape(len(contexts), vocabulary)


def interpolated(training: Symbols, contexts: Ids, vocabulary: int) -> Probabilities:
    """Return p(symbol | context) [n, V] by interpolated Witten-Bell smoothing.

    p(c | h) = (count(h c) + T(h) p(c | h')) / (count(h) + T(h)), T(h) the number of distinct followers of h,
    h' the context without its first symbol; below the empty context stands the uniform distribution.

    source   Bell, Cleary & Witten 1990, Text Compression, method C; interpolated as by Chen & Goodman 1999

    >>> interpolated(np.array([0, 0, 0, 1]), np.zeros((1, 0), np.int64), 2)
    array([[0.66666667, 0.33333333]])
    """
    if contexts.shape[1]:
        shorter, where = np.unique(contexts[:, 1:], axis=0, return_inverse=True)
        below = interpolated(training, shorter, vocabulary)[where.reshape(-1)]
    else:
        below = np.full((len(contexts), vocabulary), 1 / vocabulary)
    counts = follower_counts(training, contexts, vocabulary)
    kinds = np.count_nonzero(counts, axis=1, keepdims=True)
    total = counts.sum(axis=1, keepdims=True) + kinds
    return np.where(total > 0, (counts + kinds * below) / np.maximum(total, 1), below)


def score(training: Symbols, text: Symbols, places: Ids, order: int, vocabulary: int) -> tuple[float, float]:
    """Return (nats per character, top-1 in percent) of an n-gram model at the given places of a text.

    places   indices into text of the characters that are predicted, each >= order - 1
    order    1 unigram, 2 bigram, 3 trigram ...
    """
    contexts = text[places[:, None] + np.arange(1 - order, 0)].astype(np.int64)
    distinct, where = np.unique(contexts, axis=0, return_inverse=True)
    probabilities = interpolated(training, distinct, vocabulary)
    where, aim = where.reshape(-1), text[places]
    nats = -np.log(probabilities[where, aim]).mean()
    return float(nats), float(100 * np.mean(np.argmax(probabilities, axis=1)[where] == aim))
