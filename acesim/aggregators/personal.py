"""Chosen entries of the model are aggregated inside clusters of workers, and not globally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.aggregators.mean import means_by_variant
from acesim.aggregators.outer import Outer
from acesim.scenario.errors import PolicyError
from acesim.seam import Compressor, Guide, Update, Vector, Work


class Kept(NamedTuple):
    """One variant: the model it is [P], and its optimizer's state."""

    model: Vector
    optimizer: Any


class PersonalState(NamedTuple):
    """shared: the state that goes with the model; variants: by number."""

    shared: Any
    variants: Mapping[int, Kept]


@dataclass(frozen=True)
class Personal:
    """A step for the model, and one for the personal entries of each variant from those who follow it.

    theta <- inner(theta, mean of all);  theta_v[E] <- inner(theta_v, mean of those who follow v)[E];  theta_v elsewhere
    is theta;  theta[E] <- sum_v w_v theta_v[E] / sum_v w_v, over the variants that were spoken for

    inner    what takes a step with a mean update; every variant has an optimizer state of its own
    spans    E, the personal entries: (start, stop) of stretches, ascending
    size     P of the proxy, which E is a part of
    most     variants there can be

    A variant begins as the model is, with its optimizer's state, when it is first spoken for, and stays when nobody
    speaks for it.  So the model is the mean of what workers hold; with a single variant it is what `inner` alone would
    make, bit for bit.  A clipped norm is each variant's own.
    Held are whole models, for simplicity; charged (`work`, `memory_bytes`) is what differs: nothing for one variant,
    which is the model.
    source   arXiv 2512.18127 has personalised groups but no rule; variants of a cluster as in Mansour et al. 2020,
             arXiv:2002.10619, of chosen layers as in Arivazhagan et al. 2019 (FedPer), arXiv:1912.00818.  Differs from
             FedPer: the entries are a cluster's, not a worker's, and are sent.
    """

    inner: Outer
    spans: tuple[tuple[int, int], ...]
    size: int
    most: int

    def __post_init__(self) -> None:
        edges = [edge for span in self.spans for edge in span]
        if not edges or edges[0] < 0 or edges[-1] > self.size or any(stop <= start for start, stop in pairwise(edges)):
            raise PolicyError(f"spans = {self.spans!r}: must be stretches (start, stop) of the {self.size} entries, at "
                              "least one, ascending, with something between them")
        if self.most < 1:
            raise PolicyError(f"most = {self.most}: must be at least one variant")

    @cached_property
    def entries(self) -> NDArray[np.int64]:
        """The personal entries [p]."""
        return np.concatenate([np.arange(start, stop) for start, stop in self.spans])

    def apart(self, size: int) -> int:
        """Return how many of `size` parameters are personal: the same share as of the proxy's."""
        return -(-size * self.entries.size // self.size)

    def init(self, model: Vector) -> PersonalState:
        """Return the state before the first step: no variants yet."""
        return PersonalState(self.inner.init(model), {})

    def step(self, model: Vector, inbox: Sequence[Update], compressor: Compressor,
             state: PersonalState) -> tuple[Vector, PersonalState]:
        """Return (the next model, state)."""
        mean, own = means_by_variant(inbox, compressor, model.size, self.entries)
        after, shared = self.inner.follow(model, mean, inbox, state.shared)
        kept = {number: Kept(self._laid(each.model, after), each.optimizer) for number, each in state.variants.items()}
        for number, (_, said) in own.items():
            before = state.variants.get(number, Kept(model, state.shared))
            taken, optimizer = self.inner.follow(before.model, self._laid(said, mean), inbox, before.optimizer)
            kept[number] = Kept(self._laid(taken, after), optimizer)
        return self._centre(after, own, kept), PersonalState(shared, kept)

    def _laid(self, personal: Vector, over: Vector) -> Vector:
        """Return `over` with the personal entries of another."""
        found = over.copy()
        found[self.entries] = personal[self.entries]
        return found

    def _centre(self, model: Vector, own: Mapping[int, tuple[float, Vector]], kept: Mapping[int, Kept]) -> Vector:
        """Return the model with the weighted mean of the variants' personal entries."""
        if not own:
            return model
        total, found = sum(weight for weight, _ in own.values()), model.copy()
        shares = [np.float32(weight / total) * kept[number].model[self.entries] for number, (weight, _) in own.items()]
        found[self.entries] = sum(shares[1:], start=shares[0])
        return found

    def models(self, state: PersonalState) -> Mapping[int, Vector]:
        """Return the variants there are, by number."""
        return {number: each.model for number, each in state.variants.items()}

    def update(self, state: PersonalState) -> Vector | None:
        """Return the last mean update of all."""
        return self.inner.update(state.shared)

    def guide(self, state: PersonalState) -> Guide:
        """Return what the optimizer of the model holds."""
        return self.inner.guide(state.shared)

    def work(self) -> Work:
        """`inner`'s work on every entry, and on the personal ones once for each variant."""
        work, share = self.inner.work(), 1 + self._more * self.entries.size / self.size
        return Work(work.bytes * share, work.flops * share, work.launches * (1 + self._more))

    def memory_bytes(self, size: int) -> int:
        """Return the memory of `inner`, and for each variant of its entries and of what `inner` keeps for them."""
        apart = self.apart(size)
        return self.inner.memory_bytes(size) + self._more * (4 * apart + self.inner.memory_bytes(apart))

    @property
    def _more(self) -> int:
        return self.most if self.most > 1 else 0
