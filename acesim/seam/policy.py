"""A policy: its parts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from acesim.scenario.errors import PolicyError
from acesim.seam.parts import (
    Aggregator,
    Compressor,
    Foreseeing,
    Guided,
    LocalTraining,
    Predicting,
    Remembering,
    Varying,
)
from acesim.seam.planning import Schedule

TREES = ("star", "regions")


@dataclass(frozen=True)
class TreePolicy:
    """A policy on a tree of servers.

    tree   "star": every message goes over the worker's whole route to the cloud;
           "regions": a region server decodes, sums and encodes again upward
    remarks   what the recipe has to say of what it made of its parameters; printed below the table
    """

    local: LocalTraining
    uplink: Compressor
    aggregator: Aggregator
    downlink: Compressor
    schedule: Schedule
    tree: str = "star"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tree not in TREES:
            raise PolicyError(f"tree = {self.tree!r}: must be one of {', '.join(TREES)}")
        if isinstance(self.local, Foreseeing) and not (self.downlink.lossless and self.schedule.copies == 1
                                                       and isinstance(self.aggregator, Guided)):
            raise PolicyError("local training that walks along the server's optimizer needs a lossless downlink, a "
                              "server that shows its optimizer, and a barrier: else a worker cannot know its state; "
                              "take down: dense, or ahead: last-step")
        if isinstance(self.aggregator, Varying) and self.tree == "regions" and not self.downlink.lossless:
            raise PolicyError("variants of the model go through regions by a lossless downlink only: a region hands a "
                              "lossy difference on as it came, and it has come for one of them; take down: dense, or "
                              "tree: star")

    def memory_bytes(self, role: str, size: int, children: int) -> int:
        """Return what the policy holds for a model of `size` parameters, activations apart.

        role       "worker", "region" or "cloud"
        children   of the server; 0 for a worker
        A worker holds what its local training needs and the state of its encoder.  A server holds its model, the mean
        it is summing, a region also the state of its encoder, the cloud the state of its aggregator; and what it knows
        its children to hold: nothing extra when the downlink sends the model, else as many copies as its schedule says
        that they may differ in, at most a copy a child; and what it remembers of each child's messages, where the
        uplink says so.  Where the downlink predicts, a model that is held is kept with the one before it.  A region
        whose children follow variants of the model has the entries that differ, and their mean, once for each but one.
        """
        before = 4 * size if isinstance(self.downlink, Predicting) else 0
        if role == "worker":
            return self.local.memory_bytes(size) + self.uplink.memory_bytes(size) + before
        own = self.aggregator.memory_bytes(size) if role == "cloud" else 4 * size + self.uplink.memory_bytes(size)
        whole = self.downlink.lossless and not self.downlink.incremental
        copies = 0 if whole else min(children, self.schedule.copies or children)
        remembered = children * self.uplink.receiver_bytes(size) if isinstance(self.uplink, Remembering) else 0
        if role == "region" and isinstance(self.aggregator, Varying):
            own += 8 * self.aggregator.apart(size) * max(0, min(self.aggregator.most, children) - 1)
        kept = copies + (role == "region")
        return own + 4 * size * (1 + copies) + kept * before + remembered


Recipe = Callable[..., TreePolicy]
"""recipe(model_info, **parameters) -> policy"""
