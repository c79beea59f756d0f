"""What a recipe is told of the model and of those who will train it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from acesim.seam.values import Shapes, Work, size_of

KINDS = ("embedding", "attention", "mlp", "norm", "head", "other")


@dataclass(frozen=True)
class Group:
    """A block of consecutive parameters that is treated as one by grouped policies.

    name      of the tensor, with the block's number where a tensor is cut
    start, stop  its entries in the flat vector
    kind      one of KINDS
    depth     0 (input) .. 1 (output)
    fan_in    entries that feed one output
    """

    name: str
    start: int
    stop: int
    kind: str = "other"
    depth: float = 0.0
    fan_in: int = 1

    @cached_property
    def size(self) -> int:
        """Number of entries."""
        return self.stop - self.start


class Speed(NamedTuple):
    """How fast a worker is, as a profile before training tells: a nominal local step, and what its device sustains.

    launch_s   to launch a kernel
    """

    step_s: float
    memory_bytes_per_s: float
    flops_per_s: float
    launch_s: float = 0.0

    def work_s(self, work: Work, entries: int) -> float:
        """Return the time of declared work on `entries` entries, launches apart."""
        return entries * (work.bytes / self.memory_bytes_per_s + work.flops / self.flops_per_s)


@dataclass(frozen=True)
class ModelInfo:
    """All that a recipe may know: of the model, of the run, of the workers.  Never the network.

    shapes, nominal_shapes   of the tensors of the proxy and of the nominal model
    groups                   [G] the proxy's groups, in order, without gaps
    nominal_block            entries of a nominal group that share a scale and a level
    tier                     [W] "cloud" or "edge"
    examples                 [W]
    regions                  R, the data centre's own region included (the last)
    total_steps              local steps of each worker over the whole run
    steps_per_epoch          local steps of an epoch
    optimizer                the server's rule, from the scenario (see acesim.learning.optimizers)
    speeds                   [W] of the workers, () where they are not known
    sketched                 shapes and groups are a stand-in: the model's own are known only when its data is read
    """

    shapes: Shapes
    nominal_shapes: Shapes
    groups: tuple[Group, ...]
    nominal_block: int
    tier: tuple[str, ...]
    examples: tuple[int, ...]
    regions: int
    total_steps: int
    steps_per_epoch: int
    optimizer: Any
    speeds: tuple[Speed, ...] = ()
    sketched: bool = False

    @cached_property
    def size(self) -> int:
        """P, the parameters of the proxy."""
        return size_of(self.shapes)

    @cached_property
    def nominal_size(self) -> int:
        """P_nominal."""
        return size_of(self.nominal_shapes)
