"""Variants of the model: who follows which, and what of them crosses between regions and the cloud.

Workers of a star are sent their variant, and what they send speaks for it: no byte is added.  A region is sent one of
its workers' variants, and the entries in which the others differ beside it; upward goes the mean of all its workers,
encoded as ever, and beside it how far each variant's own mean lies from it.  What stands beside is in full precision;
with n variants it is there n - 1 times, for the last follows from the others and their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acesim.aggregators import means_by_variant, weighted_mean
from acesim.compressors import Dense
from acesim.engine.ledger import check_payload
from acesim.engine.messages import Message
from acesim.engine.state import Server
from acesim.engine.world import World
from acesim.scenario.errors import PolicyError
from acesim.seam import Compressor, Plan, Update, Variant, Varying, Vector


class Variants:
    """The variants of one run's model; where the policy's aggregator keeps none, everybody follows the model."""

    def __init__(self, world: World) -> None:
        aggregator = world.policy.aggregator
        self._world, self._kept = world, aggregator if isinstance(aggregator, Varying) else None
        if self._kept is not None and not hasattr(world.setup.task, "evaluate_own"):
            raise PolicyError("variants of the model are scored on each worker's own held-out data, and this task has "
                              "none: give it evaluate_own(models) -> Scores, as acesim.learning.contract has it")

    def check(self, plan: Plan) -> None:
        """Refuse a plan whose variants nobody keeps, and one that does not say who follows which."""
        if self._kept is None and plan.variants is None:
            return
        where, count = f"round {self._world.cloud.round}", self._world.workers_count
        if self._kept is None:
            raise PolicyError(f"{where}: the plan has workers follow variants of the model, but the aggregator keeps "
                              "none; wrap it in Personal")
        if plan.variants is None:
            raise PolicyError(f"{where}: the aggregator keeps variants of the model, but the plan does not say who "
                              "follows which; give Plan.variants, zeros where all follow the same")
        numbers, most = np.asarray(plan.variants), self._kept.most
        if numbers.shape != (count,) or numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= most:
            raise PolicyError(f"{where}: variants = {plan.variants!r}: must be a number from 0 to {most - 1} for each "
                              f"of {count} workers")

    def step(self, state: object) -> None:
        """Take over what the cloud's aggregator has made."""
        if self._kept is not None:
            self._world.cloud.models = self._kept.models(state)

    def of(self, child: int, plan: Plan) -> int | None:
        """Return the variant a child is sent: a worker its own, a region the first of its workers'."""
        if plan.variants is None:
            return None
        return int(plan.variants[child]) if self._world.is_worker(child) else self._below(child, plan)[0]

    def _below(self, region: int, plan: Plan) -> list[int]:
        """Return the variants that a region's workers follow, ascending."""
        rows = list(self._world.servers[region].children)
        return [] if plan.variants is None else sorted(set(np.asarray(plan.variants)[rows].tolist()))

    def each(self, plan: Plan | None) -> list[Vector] | None:
        """Return the model that each worker follows [W], where there can be variants."""
        if self._kept is None:
            return None
        cloud, rows = self._world.cloud, range(self._world.workers_count)
        return [cloud.followed(None if plan is None else self.of(row, plan)) for row in rows]

    # --- between regions and the cloud ---------------------------------------------------------------------------

    def enclose(self, message: Message, server: Server, plan: Plan) -> None:
        """Lay beside a region's model the entries of what else its workers follow."""
        if self._kept is None or self._world.is_worker(message.receiver):
            return
        message.models = {number: server.followed(number) for number in self._below(message.receiver, plan)}
        others = {id(each): each for each in message.models.values() if each is not message.result}
        self._beside(message, [each[self._kept.entries] for each in others.values()])

    def mean(self, inbox: Sequence[Update], compressor: Compressor, size: int) -> tuple[Vector, tuple[Variant, ...]]:
        """Return the mean of a region's inbox [P], and what it says for each variant."""
        if self._kept is None:
            return weighted_mean(inbox, compressor, size), ()
        entries = self._kept.entries
        mean, own = means_by_variant(inbox, compressor, size, entries)
        said = [Variant(number, weight, each[entries] - mean[entries]) for number, (weight, each) in own.items()]
        return mean, tuple(said) if len(said) > 1 else tuple(each._replace(apart=None) for each in said)

    def attach(self, message: Message, said: tuple[Variant, ...]) -> None:
        """Lay beside a region's mean how far each variant's lies from it; the last is what makes them cancel out."""
        rows = [each.apart for each in said[:-1] if each.apart is not None]
        message.variants = said
        if rows:
            rest = np.zeros_like(rows[0])
            for each, row in zip(said, rows, strict=False):
                rest -= np.float32(each.weight / said[-1].weight) * row
            message.variants = (*said[:-1], said[-1]._replace(apart=rest))
            self._beside(message, rows)

    def _beside(self, message: Message, rows: list[Vector]) -> None:
        """Let personal entries ride on a message, in full precision, and pay for them."""
        if not rows or self._kept is None:
            return
        info, dense = self._world.setup.info, Dense()
        payload, _ = dense.encode(np.concatenate(rows), None, None, ())
        formula = dense.wire(((len(rows), self._kept.entries.size),), None)
        check_payload(self._world.name(message.sender), payload.nbytes, formula.total)
        more = dense.wire(((len(rows), self._kept.apart(info.nominal_size)),), None)
        message.beside, message.wire = payload, message.wire.plus(more)


def speaks(plan: Plan, row: int) -> tuple[Variant, ...]:
    """Return whom a worker's update speaks for."""
    return () if plan.variants is None else (Variant(int(plan.variants[row]), float(plan.weights[row])),)
