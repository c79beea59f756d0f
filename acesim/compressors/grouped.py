"""Every group of parameters at its own level, chosen by a knapsack: ACE-Sync's compressor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors.base import CompressorBase
from acesim.compressors.dithered import dithered, dithered_distortions
from acesim.compressors.knapsack import Hull, climb, prepared, solve_uniform
from acesim.compressors.layout import Layout
from acesim.compressors.menu import DEFAULT_MENU, operators
from acesim.compressors.rounding import GroupedBody, Moments, Picks, distortions, joined, moments, rounded
from acesim.compressors.spelling import read, spell
from acesim.scenario.errors import PolicyError
from acesim.seam import Budget, Generator, Payload, Shapes, Vector, Wire, Work, size_of


class GroupedState(NamedTuple):
    """distortion: [G, L] as last measured; encodes: choices made since measuring began; hull: the knapsack it makes."""

    distortion: NDArray[np.float64]
    encodes: int
    hull: Hull


@dataclass(frozen=True)
class Grouped(CompressorBase):
    """Send every group of entries at a level of its own: skipped, in 1 to 32 bits an entry, or its largest
    entries.

    With a Budget the levels are chosen: maximise sum_i importance_i |x_i|^2 (1 - distortion[i, l_i]) subject
    to sum_i bytes[i, l_i] <= budget.nbytes.  distortion = |x_i - decoded|^2 / |x_i|^2 is measured, not
    bounded, on the first choice and on every `distortion_every`-th from there; bytes are exact, at nominal
    scale: each group stands for its share of the nominal entries, cut in blocks with a scale and 4 bits of
    level each.  A budget that does not pay even for the levels sends nothing.

    sizes       [G] entries of consecutive groups
    menu        names of levels, see `acesim.compressors.menu`; a level is its position in the menu
    nominal_size    entries of the nominal model, None: those of the groups
    nominal_block   entries that share a scale and a level at nominal scale; at the proxy's a group is one
                    block
    default     name of the level of every group when no level is given
    choice      "knapsack" (convex-hull greedy, see `solve_greedy`) or "uniform" (one level for all, for
                comparison)
    rounding    of levels on a grid: "nearest"; "stochastic", equation [6] as it stands: unbiased, and not contractive;
                or "shrunk", the same over 1 + omega.  The last two need rng.
    level       int [G]; a Budget, whose `keep` sends the most important groups in fp32 if it can; or None
    body        GroupedBody
    measure     uint8 [G], the levels
    nbytes      sum over blocks of the level's bytes (`Operator.block`) + ceil(4 blocks / 8); 0 when all are
                skipped
    raises      PolicyError when sizes do not add up to P, a name is unknown, a level does not fit the groups,
                the vector is not finite, or the menu has no "skip" and the budget is too small
    source      ACE-Sync equation 6. Differs: rounds to nearest by default, not at random (see `ErrorFeedback`),
                and measures distortion instead of taking QSGD's bound.

    >>> grouped = Grouped((2, 2), menu=("skip", "2-bit", "fp32"))
    >>> vector = np.array([3., -4., .1, 0.], np.float32)
    >>> payload, _ = grouped.encode(vector, Budget(10., np.ones(2)), None, grouped.init(4))
    >>> payload.measure, payload.nbytes, grouped.decode(payload.body, 4)
    (array([2, 0], dtype=uint8), 9, array([ 3., -4.,  0.,  0.], dtype=float32))
    """

    sizes: tuple[int, ...]
    menu: tuple[str, ...] = DEFAULT_MENU
    nominal_size: int | None = None
    nominal_block: int = 16384
    distortion_every: int = 25
    default: str = "4-bit"
    choice: str = "knapsack"
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        operators(self.menu)
        if not self.sizes or min(self.sizes) < 1 or self.nominal_block < 1 or self.distortion_every < 1:
            raise PolicyError("Grouped: sizes, nominal_block and distortion_every must all be at least 1")
        if self.nominal_size is not None and self.nominal_size < 1:
            raise PolicyError(f"Grouped.nominal_size = {self.nominal_size}: must be at least 1, or None")
        if self.choice not in ("knapsack", "uniform"):
            raise PolicyError(f"Grouped.choice = {self.choice!r}: must be 'knapsack' or 'uniform'")
        if self.rounding not in ("nearest", "stochastic", "shrunk"):
            raise PolicyError(f"Grouped.rounding = {self.rounding!r}: must be 'nearest', 'stochastic' or 'shrunk'")
        object.__setattr__(self, "contractive", self.rounding != "stochastic")  # the seam wants a plain attribute

    def init(self, size: int) -> GroupedState:
        """Return the state before anything was measured."""
        self._check(size)
        return self._measured(np.ones((len(self.sizes), len(self.menu))), 0)

    def _measured(self, distortion: NDArray[np.float64], encodes: int) -> GroupedState:
        return GroupedState(distortion, encodes, prepared(1.0 - distortion, self._nominal.costs))

    def encode(self, vector: Vector, level: Any, rng: Generator | None,
               state: GroupedState) -> tuple[Payload, GroupedState]:
        """Return the groups at the given or the chosen levels; rng is used by random rounding alone."""
        self._check(vector.size)
        if self.rounding != "nearest" and rng is None:
            raise PolicyError(f"Grouped.encode: rng = None: {self.rounding} rounding needs a generator")
        known = moments(vector, self._proxy)
        picks, state = self._picks(vector, level, known, rng, state)
        if self.rounding == "nearest" or rng is None:
            body = rounded(vector, picks, self._proxy, known)
        else:
            body = dithered(vector, picks, self._proxy, known, rng, self.rounding == "shrunk")
        return self.sent(body, vector.size, body.picks), state

    def decode(self, body: GroupedBody, size: int) -> Vector:
        """Return multiples times scales, and floats in their places."""
        self._check(size)
        return joined(body, self._proxy)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the bytes of these levels [G], None: of the default; levels count among the scales."""
        picks = self._default_picks() if measure is None else self._checked_picks(measure)
        return self.layout(size_of(shapes)).wire(picks)

    def serialise(self, body: GroupedBody) -> bytes:
        """Spell the levels, then group by group its scale, values and places."""
        return spell(body, self._proxy)

    def deserialise(self, data: bytes, size: int) -> GroupedBody:
        """Read levels and groups back."""
        self._check(size)
        return read(data, self._proxy)

    def declared(self) -> tuple[Work, Work]:
        """Encoding reads the vector for its moments, reads it again and writes codes (1 byte), and every
        `distortion_every`-th time rounds, decodes and compares (17 bytes, 8 operations) at all L levels; the
        knapsack works on groups, of which there are thousands of times fewer.  Decoding reads codes and
        writes entries.  All groups go in one launch a pass."""
        trials = len(self.menu) / self.distortion_every
        return Work(9.0 + 17.0 * trials, 9.0 + 8.0 * trials, launches=2.0), Work(5.0, 1.0, launches=1.0)

    def memory_bytes(self, size: int) -> int:
        """Return the memory of the distortions: 8 bytes a group and level."""
        return 8 * len(self.sizes) * len(self.menu)

    def layout(self, total: int) -> Layout:
        """Return the layout that counts the bytes of `total` entries: `.costs` [G, L] and `.level_bytes`."""
        if total == sum(self.sizes):
            return self._proxy
        if total == self.nominal_size:
            return self._nominal
        return Layout(self.sizes, total, self.nominal_block, operators(self.menu))

    @cached_property
    def _proxy(self) -> Layout:
        return Layout(self.sizes, sum(self.sizes), self.nominal_block, operators(self.menu))

    @cached_property
    def _nominal(self) -> Layout:
        total = self.nominal_size or sum(self.sizes)
        return Layout(self.sizes, total, self.nominal_block, operators(self.menu))

    def _check(self, size: int) -> None:
        if size != sum(self.sizes):
            raise PolicyError(f"Grouped: groups of {sum(self.sizes)} entries for a vector of {size}: the "
                              f"sizes must add up to the vector's")

    def _picks(self, vector: Vector, level: Any, known: Moments, rng: Generator | None,
               state: GroupedState) -> tuple[Picks, GroupedState]:
        if level is None:
            return self._default_picks(), state
        if not isinstance(level, Budget):
            return self._checked_picks(level), state
        if known.squares.any():  # a vector of zeros measures nothing
            if state.encodes % self.distortion_every == 0:
                state = self._measured(self._distortions(vector, known, rng), state.encodes)
            state = state._replace(encodes=state.encodes + 1)
        return self._chosen(level, known, state), state

    def _distortions(self, vector: Vector, known: Moments, rng: Generator | None) -> NDArray[np.float64]:
        if self.rounding == "nearest" or rng is None:
            return distortions(vector, self._proxy, known)
        return dithered_distortions(vector, self._proxy, known, rng, self.rounding == "shrunk")

    def _default_picks(self) -> Picks:
        if self.default not in self.menu:
            raise PolicyError(f"Grouped.default = {self.default!r}: must be in the menu "
                              f"({', '.join(self.menu)}); name one that is, or give a level")
        return np.full(len(self.sizes), self.menu.index(self.default))

    def _checked_picks(self, level: Any) -> Picks:
        picks = np.asarray(level)
        if picks.shape != (len(self.sizes),) or picks.dtype.kind not in "iu":
            raise PolicyError(f"Grouped: level of shape {picks.shape} and type {picks.dtype}: must be a "
                              f"Budget, or whole numbers, one for each of the {len(self.sizes)} groups")
        if picks.min() < 0 or picks.max() >= len(self.menu):
            raise PolicyError(f"Grouped: levels from {picks.min()} to {picks.max()}: must lie in the menu, "
                              f"from 0 to {len(self.menu) - 1}")
        return picks

    def _chosen(self, budget: Budget, known: Moments, state: GroupedState) -> Picks:
        importance = self._checked_importance(budget)
        room = math.floor(budget.nbytes) - self._nominal.level_bytes
        if room < 0 and "skip" in self.menu:
            return np.full(len(self.sizes), self.menu.index("skip"))
        power = known.squares.astype(np.float64)
        if self.choice == "uniform":
            if budget.keep:
                raise PolicyError(f"Grouped: Budget.keep = {budget.keep}: must be 0 where choice = 'uniform'")
            return solve_uniform(power[:, None] * (1.0 - state.distortion), self._nominal.costs, room)
        whole = self._whole(importance, budget.keep, room)
        return self._around(whole, importance * power, state.hull, room)

    def _checked_importance(self, budget: Budget) -> NDArray[np.float64]:
        importance = np.asarray(budget.importance, np.float64)
        complete = importance.shape == (len(self.sizes),)
        if not (complete and 0 <= importance.min() <= importance.max() < np.inf):
            raise PolicyError(f"Grouped: importance of shape {importance.shape}: must be a finite number "
                              f">= 0 for each of the {len(self.sizes)} groups")
        if not (0 <= budget.nbytes < np.inf and 0 <= budget.keep <= 1):
            raise PolicyError(f"Grouped: Budget(nbytes={budget.nbytes}, keep={budget.keep}): "
                              f"bytes must be finite and >= 0, keep in [0, 1]")
        return importance

    def _whole(self, importance: NDArray[np.float64], keep: float, room: int) -> NDArray[np.int64]:
        """Return the groups that go in fp32: the most important, as many as the budget allows."""
        count = math.floor(keep * importance.size)
        if not count:
            return np.empty(0, np.int64)
        if "fp32" not in self.menu:
            raise PolicyError(f"Grouped: keep = {keep} with menu {self.menu!r}: add 'fp32' to the menu, or "
                              f"set keep to 0")
        first = np.argsort(-importance, kind="stable")[:count]
        costs, least = self._nominal.costs, self._nominal.costs.min(1)
        extra = costs[first, self.menu.index("fp32")] - least[first]
        return np.asarray(first[np.cumsum(extra) <= room - least.sum()])

    def _around(self, whole: NDArray[np.int64], weights: NDArray[np.float64], hull: Hull, room: int) -> Picks:
        costs, picks = self._nominal.costs, np.zeros(len(self.sizes), np.int64)
        rest = np.ones(picks.size, np.bool_)
        if whole.size:
            rest[whole] = False
            picks[whole] = self.menu.index("fp32")
            room -= int(costs[whole, picks[whole]].sum())
        if rest.any():
            left = hull.only(rest) if whole.size else hull
            picks[rest], _ = climb(left, weights[rest], room)
        return picks
