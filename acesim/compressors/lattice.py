"""One step for the whole vector, as coarse as the budget asks, and an entropy code behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.compressors import rice
from acesim.compressors.base import CompressorBase
from acesim.compressors.grid import inverse, usable
from acesim.scenario.errors import PolicyError
from acesim.seam import Budget, Generator, Payload, Shapes, Vector, Wire, Work, size_of

CUTOFF = 32767
TRIES = 8
_COUNT_BYTES, _SENT_BYTES = 2, 8  # of a block: entries it sends; if any: its step, large ones, three parameters


class LatticeBody(NamedTuple):
    """Multiples int16 [P] of each block's step, float32 [G]; 0 where a block sends nothing."""

    codes: NDArray[np.int16]
    steps: Vector


class Density(NamedTuple):
    """What a payload took: bytes of its sections, entries of its vector, and which blocks sent anything, bool [G]."""

    nbytes: int
    size: int
    sent: NDArray[np.bool_]


class LatticeState(NamedTuple):
    """What the last payload has taught.

    ratio   log2 of step over root mean square that it should have had; NaN before the first
    debt    bytes that the payloads so far have taken beyond their budgets
    """

    ratio: float
    debt: float = 0.0


class Fit(NamedTuple):
    """A trial: log2 of the step, the codes, what is spelt of them, its bytes, and log2 of a step that suits better."""

    log_step: float
    codes: NDArray[np.int16]
    found: rice.Coded
    nbytes: int
    better: float


class Scaled(NamedTuple):
    """A vector times the roots of the importances, the rounding offset with its signs, log2 of its peak and its rms."""

    values: Vector
    offsets: Vector
    log_peak: float
    log_rms: float


@dataclass(frozen=True)
class Lattice(CompressorBase):
    """Round every entry to a multiple of a step, zero first, and spell the multiples in an entropy code.

    code_i = sign(x_i) floor(|x_i| / step_g + offset);  decoded = code_i step_g;  step_g = step / sqrt(importance_g)

    With an entropy code behind it, an even grid of one step for all blocks is within a quarter of a bit of the best
    there is at any rate, and it divides bytes among blocks as a knapsack would (equal slopes): reverse water-filling.
    Budgets are kept on the average, so that one trial mostly serves: a payload may take `slack` more or less than its
    own, and what it took too much the next ones have less.  With slack = 0 the step is searched until the budget holds.

    sizes       [G] entries of consecutive blocks, each below 65536
    nominal_size, nominal_block   as `Grouped`
    bits        per entry where no level is given
    offset      .5 rounds to nearest; less leaves more zeros, which are cheap: .4 loses nothing at equal bytes
    slack       share of its budget by which a payload may miss it
    level       Budget (its `keep` must be 0), bits per entry, or None
    body        LatticeBody
    measure     Density: the sections' bytes scale with the entries, a block's head is counted block by block
    nbytes      2 G + 8 for each block that sends + the sections of `rice`
    raises      PolicyError when sizes do not add up to P or the vector is not finite
    source      Sullivan 1996 (entropy-coded scalar quantisation); Cover & Thomas, section 10.3.3 (water-filling);
                this combination is acesim's, not the paper's

    >>> grid = Lattice((4,), bits=8.0)
    >>> payload, _ = grid.encode(np.array([3., -4., .1, 0.], np.float32), None, None, grid.init(4))
    >>> payload.nbytes, len(grid.serialise(payload.body)), np.flatnonzero(grid.decode(payload.body, 4))
    (14, 14, array([0, 1]))
    """

    sizes: tuple[int, ...]
    nominal_size: int | None = None
    nominal_block: int = 16384
    bits: float = 2.0
    offset: float = 0.4
    slack: float = 0.2

    contractive = True

    def __post_init__(self) -> None:
        if not self.sizes or not 1 <= min(self.sizes) <= max(self.sizes) < 65536 or not 1 <= self.nominal_block < 65536:
            raise PolicyError("Lattice: sizes and nominal_block must lie from 1 to 65535")
        if not self.bits > 0 or not 0 < self.offset <= 0.5 or not 0 <= self.slack <= 0.5:
            raise PolicyError(f"Lattice: bits = {self.bits}, offset = {self.offset}, slack = {self.slack}: must be "
                              "positive, in (0, 0.5] and in [0, 0.5]")

    def init(self, size: int) -> LatticeState:
        """Return the state before the first payload."""
        self._check(size)
        return LatticeState(math.nan)

    def encode(self, vector: Vector, level: Any, rng: Generator | None,
               state: LatticeState) -> tuple[Payload, LatticeState]:
        """Return the entries on the finest grid that the budget pays for; rng is not used."""
        payload, _, state = self.encode_decoded(vector, level, rng, state)
        return payload, state

    def encode_decoded(self, vector: Vector, level: Any, rng: Generator | None,
                       state: LatticeState) -> tuple[Payload, Vector, LatticeState]:
        """Return (payload, what the receiver will decode, state)."""
        self._check(vector.size)
        roots, room = self._asked(level)
        scaled = self._scaled(vector, roots)
        if scaled.log_rms == -math.inf or room <= 0:
            fit = self._fit(scaled, math.inf, 0.0)
        else:
            fit = self._search(scaled, room, state)
            debt = max(-self.slack * room, state.debt + fit.nbytes - room) if self.slack else 0.0
            state = LatticeState(fit.better - scaled.log_rms, debt)
        step = np.float32(2.0 ** fit.log_step if fit.log_step < math.inf else 0.0)
        sent = fit.found.gaps.counts > 0
        body = LatticeBody(fit.codes, usable(np.where(sent, step * inverse(roots), np.float32(0))))
        payload = self.sent(body, vector.size, Density(fit.nbytes, vector.size, sent))
        return payload, self.decode(body, vector.size), state

    def decode(self, body: LatticeBody, size: int) -> Vector:
        """Return multiples times steps."""
        return np.multiply(body.codes, np.repeat(body.steps, self._sizes), dtype=np.float32)

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the sections' bytes as values, the blocks' heads as scales; measure None: `bits` an entry."""
        size = size_of(shapes)
        if measure is None:
            measure = Density(math.ceil(size * self.bits / 8), size, np.ones(len(self.sizes), np.bool_))
        values = measure.nbytes if size == measure.size else math.ceil(measure.nbytes * size / measure.size)
        blocks = self._blocks_at(size)
        return Wire(values=values, scales=int(_COUNT_BYTES * blocks.sum() + _SENT_BYTES * blocks[measure.sent].sum()))

    def serialise(self, body: LatticeBody) -> bytes:
        """Spell counts, then what the blocks that send have in their heads, then the sections."""
        found = rice.coded(body.codes, self._edges)
        sent = found.gaps.counts > 0
        bits = (found.gaps.bits | found.large.bits << 4 | found.excess.bits << 8)[sent]
        return b"".join([found.gaps.counts.astype("<u2").tobytes(), body.steps[sent].astype("<f4").tobytes(),
                         found.large.counts[sent].astype("<u2").tobytes(), bits.astype("<u2").tobytes(),
                         rice.spell(found)])

    def deserialise(self, data: bytes, size: int) -> LatticeBody:
        """Read heads and sections back."""
        self._check(size)
        groups = len(self.sizes)
        counts = np.frombuffer(data, "<u2", groups).astype(np.int64)
        sent, at = counts > 0, _COUNT_BYTES * groups
        number = int(sent.sum())
        steps, (large, bits) = np.zeros(groups, np.float32), np.zeros((2, groups), np.int64)
        steps[sent] = np.frombuffer(data, "<f4", number, at)
        large[sent] = np.frombuffer(data, "<u2", number, at + 4 * number)
        bits[sent] = np.frombuffer(data, "<u2", number, at + 6 * number)
        widths = bits & 15, bits >> 4 & 15, bits >> 8
        return LatticeBody(rice.read(data[at + _SENT_BYTES * number:], (counts, large), widths, self._edges), steps)

    def declared(self) -> tuple[Work, Work]:
        """A trial reads the vector, writes codes (2 bytes), and reads them for counts and lengths: two trials a
        payload, which is more than most take; decoding reads codes and writes entries."""
        return Work(bytes=2 * 14.0, flops=2 * 12.0), Work(bytes=6.0, flops=6.0)

    def _scaled(self, vector: Vector, roots: Vector) -> Scaled:
        values = vector * np.repeat(roots, self._sizes)
        power = float(np.dot(values, values)) / values.size
        if not math.isfinite(power):
            raise PolicyError("Lattice.encode: the vector holds NaN, infinity or entries above 1e19: training has "
                              "diverged; lower the learning rate")
        peak = float(max(values.max(), -values.min()))
        if power < 1e-30:  # nothing, or nearly: the squares of such entries are no numbers any more
            return Scaled(values, values, -math.inf, -math.inf)
        return Scaled(values, np.copysign(np.float32(self.offset), values), math.log2(peak), 0.5 * math.log2(power))

    def _search(self, scaled: Scaled, room: int, state: LatticeState) -> Fit:
        """Return the first trial that is near enough; each begins where the last one points."""
        aim = max(0.5 * room, room - max(0.0, state.debt)) if self.slack else 0.97 * room
        finest = scaled.log_peak - math.log2(CUTOFF)
        begin = 2.05 - 8.0 * aim / scaled.values.size if math.isnan(state.ratio) else state.ratio
        log_step, low, high = max(finest, scaled.log_rms + begin), finest, math.inf
        most, least = ((1 + self.slack) * room, (1 - self.slack) * aim) if self.slack else (room, 0.94 * room)
        fit = self._fit(scaled, log_step, aim)
        for _ in range(TRIES):
            if fit.nbytes > most:
                low = log_step
            elif fit.nbytes < least and log_step > finest:
                high = log_step
            else:
                return fit
            log_step = fit.better if low < fit.better < high else 0.5 * (low + high) if high < math.inf else low + 1
            fit = self._fit(scaled, max(finest, log_step), aim)
        while fit.nbytes > most:
            fit = self._fit(scaled, fit.log_step + 0.25, aim)
        return fit

    def _fit(self, scaled: Scaled, log_step: float, aim: float) -> Fit:
        """Round with a step; the next one takes a bit an entry off those that are sent for each doubling, or so."""
        shares = scaled.values * np.float32(2.0 ** -log_step if log_step < math.inf else 0.0)
        shares += scaled.offsets if log_step < math.inf else 0
        if scaled.log_peak - log_step > math.log2(CUTOFF) - 1e-3:
            np.clip(shares, -CUTOFF, CUTOFF, out=shares)
        codes = shares.astype(np.int16)  # towards zero
        found = rice.coded(codes, self._edges)
        nbytes = found.nbytes
        missed = 8.0 * (nbytes - aim) / max(found.negative.size, 0.02 * codes.size)
        return Fit(log_step, codes, found, nbytes, log_step + 0.7 * min(2.0, max(-2.0, missed)))

    def _asked(self, level: Any) -> tuple[Vector, int]:
        """Return (roots of the importances [G], the bytes that the sections may take at the proxy's scale)."""
        groups, size = len(self.sizes), sum(self.sizes)
        if isinstance(level, Budget):
            importance = np.asarray(level.importance, np.float32)
            if importance.shape != (groups,) or not np.isfinite(importance).all() or importance.min() < 0 or level.keep:
                raise PolicyError(f"Lattice: importance of shape {importance.shape}, keep = {level.keep}: must be a "
                                  f"finite number >= 0 for each of the {groups} groups, and keep 0")
            nominal = self.nominal_size or size
            heads = (_COUNT_BYTES + _SENT_BYTES) * int(self._blocks_at(nominal).sum())
            return np.sqrt(importance), math.floor((level.nbytes - heads) * size / nominal)
        bits = self.bits if level is None else float(level)
        return np.ones(groups, np.float32), math.floor(size * bits / 8)

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        return rice.edges_of(self.sizes)

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array(self.sizes)

    def _blocks_at(self, total: int) -> NDArray[np.int64]:
        """Return how many blocks stand for each group [G] in a vector of `total` entries."""
        size = sum(self.sizes)
        if total == size:
            return np.ones(len(self.sizes), np.int64)
        entries = np.diff(np.cumsum(self.sizes) * total // size, prepend=0)
        return np.asarray(-(-entries // self.nominal_block))

    def _check(self, size: int) -> None:
        if size != sum(self.sizes):
            raise PolicyError(f"Lattice: blocks of {sum(self.sizes)} entries for a vector of {size}: the sizes must "
                              f"add up to the vector's")
