"""LayerFusion: which layers to send together, so that the last byte leaves as early as it can.

Few large chunks wait for gradients that were there long before; many small ones pay for their headers, start-ups and
launches.  With what all of that costs, the best cut is reckoned, not searched for:

    the pass reaches the end of group g      tau_b = tau_s' + (its share of the backward pass)
    the group has been encoded               tau_s = tau_b + launch + (its share of encoding)
    the group has left                       tau_c = max(tau_c', tau_s) + start-up + beta (header + bytes)

with ' of the group before, in the order of the backward pass: the recursion of OMGS-SGD (Shi et al. 2020) with an
affine cost of encoding.  Its greedy rule merges a layer into the next when that pays at once; this is the
optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import PolicyError
from acesim.seam import Compressor, Shapes, size_of

_TIE = 1e-12  # a longer plan must be faster by more than rounding


class Costs(NamedTuple):
    """What a policy takes sending for: of one worker, the slowest, and of its line.

    backward_s      of the whole backward pass, which spends equal time on every parameter
    encode_s        of encoding all entries, however they are cut
    launch_s        of each call of the encoder
    startup_s       of each chunk, before its first byte (alpha)
    s_per_byte      beta
    header_bytes    of each chunk
    """

    backward_s: float
    encode_s: float = 0.0
    launch_s: float = 0.0
    startup_s: float = 0.0
    s_per_byte: float = 0.0
    header_bytes: int = 0


@lru_cache(maxsize=64)
def layer_fusion(compressor: Compressor, shapes: Shapes, costs: Costs) -> tuple[int, ...]:
    """Return the cut that ends first: entries up to the end of each group [G], in the order of the vector.

    best[k, j] = min_i max(best[k - 1, i], encoded[k, j]) + sent[i, j] is when the first j layers of the backward pass
    have left in k groups, the last of them i + 1 .. j.  k belongs to the state because every launch so far has held up
    the pass; without launches one k would do (O(L^2); with them O(L^3), a fraction of a second for 300 layers).  Of
    cuts that end at the same time the one with the fewest groups is taken.

    shapes   of the nominal model's L tensors, first layer first

    >>> from acesim.compressors import Dense
    >>> layer_fusion(Dense(), ((10,), (10,)), Costs(1.0, s_per_byte=0.1))
    (10, 20)
    >>> layer_fusion(Dense(), ((10,), (10,)), Costs(1.0, s_per_byte=0.1, startup_s=4.0))
    (20,)
    """
    ends = _ends(shapes)
    sent = _sent(compressor, ends, costs)
    reached, least = _reached(ends, costs), float(sent[:, -1].min())
    left = np.full(len(ends), np.inf)
    left[0] = 0.0
    best, groups, came = np.inf, 0, []
    for count in range(1, len(ends)):
        encoded = reached + count * costs.launch_s
        overhead = costs.startup_s + costs.s_per_byte * costs.header_bytes
        if max(encoded[-1] + least, count * overhead) >= best:
            break
        times = np.maximum(left[:, None], encoded) + sent
        came.append(times.argmin(0))
        left = times.min(0)
        if left[-1] < best * (1 - _TIE):
            best, groups = float(left[-1]), count
    return _cut(ends, came[:groups])


def _cut(ends: NDArray[np.int64], came: Sequence[NDArray[np.int64]]) -> tuple[int, ...]:
    """Walk back from the last layer; stops of the backward pass are starts in the vector."""
    stops, place = [], len(ends) - 1
    for origin in reversed(came):
        stops.append(int(ends[-1] - ends[origin[place]]))
        place = int(origin[place])
    return tuple(stops)


def layerwise(shapes: Shapes) -> tuple[int, ...]:
    """Return the cut of one group a layer.

    >>> layerwise(((2, 3), (4,)))
    (6, 10)
    """
    return tuple(int(stop) for stop in np.cumsum([size_of((shape,)) for shape in shapes]))


def predicted_s(compressor: Compressor, stops: Sequence[int], costs: Costs) -> float:
    """Return the time from the beginning of the backward pass to the last byte, if groups `stops` are sent apart."""
    ends = np.concatenate([[0], stops[-1] - np.array(stops[-2::-1], np.int64), stops[-1:]]).astype(np.int64)
    reached, left_s = _reached(ends, costs), 0.0
    for count, (start, stop) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True), start=1):
        encoded_s = float(reached[count]) + count * costs.launch_s
        left_s = max(left_s, encoded_s) + _sending_s(compressor, stop - start, costs)
    return left_s


def _ends(shapes: Shapes) -> NDArray[np.int64]:
    """Return the entries that the backward pass has been through after each layer [L + 1], from 0."""
    sizes = [size_of((shape,)) for shape in reversed(shapes)]
    if not sizes or min(sizes) < 1:
        raise PolicyError("layer_fusion: a model without layers, or with an empty one: nothing can be sent")
    return np.concatenate([[0], np.cumsum(sizes)])


def _reached(ends: NDArray[np.int64], costs: Costs) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = ends / ends[-1]
    return (costs.backward_s + costs.encode_s) * shares


def _sending_s(compressor: Compressor, entries: int, costs: Costs) -> float:
    return costs.startup_s + costs.s_per_byte * (costs.header_bytes + compressor.nbytes(((entries,),), None))


def _sent(compressor: Compressor, ends: NDArray[np.int64], costs: Costs) -> NDArray[np.float64]:
    """Return the time that layers i + 1 .. j take to leave together [L + 1, L + 1]; infinite where there are none."""
    entries = ends[None, :] - ends[:, None]
    sizes, where = np.unique(entries, return_inverse=True)
    times = np.array([_sending_s(compressor, size, costs) if size > 0 else np.inf for size in sizes.tolist()])
    return np.asarray(times[where.reshape(entries.shape)])
