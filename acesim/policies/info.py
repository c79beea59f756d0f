"""What a recipe is told: of the model, of the run, of the workers, and never of the network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from acesim import fleet
from acesim.learning.optimizers import LearningRate, build_optimizer
from acesim.scenario.errors import PolicyError
from acesim.seam import Group, ModelInfo, Shapes, Speed, size_of

if TYPE_CHECKING:
    from acesim.scenario import Scenario


@dataclass(frozen=True)
class ServerOptimizer:
    """The scenario's optimizer: the server's rule for policies that send gradients.

    rule               with init and step (acesim.learning.optimizers)
    schedule, peak, warm_up, drops, factor   of its learning rate; warm_up in rounds
    betas, eps, weight_decay, clip_norm   what the workers' own rules take over from it
    """

    rule: Any
    schedule: str
    peak: float
    warm_up: int
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip_norm: float | None
    drops: tuple[float, ...]
    factor: float

    def learning_rate(self, total: int, peak: float | None = None) -> LearningRate:
        """Return the rate over `total` steps, with another peak if one is given."""
        peak = self.peak if peak is None else peak
        if not peak > 0:
            raise PolicyError(f"learning rate = {peak}: must be positive")
        return LearningRate(self.schedule, peak, min(self.warm_up, total), total, self.drops,
                            self.factor)


def server_optimizer(spec: Any) -> ServerOptimizer:
    """Return the optimizer of a scenario's `task.optimizer`."""
    return ServerOptimizer(build_optimizer(spec), spec.schedule, spec.learning_rate, spec.warm_up_rounds,
                           tuple(spec.betas), spec.eps, spec.weight_decay, spec.clip_norm, tuple(spec.drops),
                           spec.factor)


def nominal_shapes(scenario: Scenario, own: Shapes) -> Shapes:
    """Return the shapes of the nominal model's tensors; the proxy's own where the proxy is the nominal model."""
    if scenario.nominal.model == "same-as-proxy":
        return own
    return tuple(tuple(layer.shape) for layer in scenario.nominal.layers())


def model_info(scenario: Scenario, task: Any) -> ModelInfo:
    """Return what recipes of this scenario are told; task: of acesim.learning."""
    return _info(scenario, task.shapes, task.groups, task.examples)


def sketch(scenario: Scenario) -> ModelInfo:
    """Return what recipes would be told, without reading any data: a stand-in for the proxy, all else as it is."""
    workers = sum(group.count for group in scenario.workers)
    groups = tuple(Group(f"block {row}", 64 * row, 64 * (row + 1)) for row in range(4))
    return replace(_info(scenario, ((256,),), groups, [1] * workers), sketched=True)


def _info(scenario: Scenario, shapes: Shapes, groups: tuple[Group, ...], examples: Iterable[int]) -> ModelInfo:
    tiers = tuple(group.tier for group in scenario.workers for _ in range(group.count))
    steps, nominal = scenario.task.steps_per_epoch, nominal_shapes(scenario, shapes)
    return ModelInfo(shapes=shapes, nominal_shapes=nominal, groups=groups,
                     nominal_block=scenario.nominal.block, tier=tiers, examples=tuple(int(count) for count in examples),
                     regions=scenario.network.regions + 1,
                     total_steps=max(1, round((scenario.stop.epochs or 1) * steps)), steps_per_epoch=steps,
                     optimizer=server_optimizer(scenario.task.optimizer), speeds=_speeds(scenario, size_of(nominal)))


def _speeds(scenario: Scenario, parameters: int) -> tuple[Speed, ...]:
    """Return the workers' speeds; none where a device is unknown, which is the fleet's own check to report."""
    return () if any(True for _ in fleet.check(scenario)) else fleet.speeds(scenario, parameters)
