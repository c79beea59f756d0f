"""What the recipes of several files have in common."""

from __future__ import annotations

from acesim.aggregators import Outer
from acesim.compressors import Clipped, CompressorBase
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.scenario.errors import PolicyError
from acesim.seam import LocalTraining, ModelInfo, size_of


def server_rule(info: ModelInfo) -> Outer:
    """The scenario's optimizer, applied by the server to the mean gradient once a round."""
    return Outer(info.optimizer.rule, info.optimizer.learning_rate(info.total_steps))


def average() -> Outer:
    """theta <- theta - mean update: what FedAvg and every plain parameter average does."""
    return Outer(SGD(), LearningRate("constant", 1.0, 0, 1))


def gradients_or_walks(info: ModelInfo, local_steps: int, inner_learning_rate: float) -> tuple[LocalTraining, Outer]:
    """One local step: gradients, and the scenario's optimizer on the server; several: plain SGD, and an average."""
    if not isinstance(local_steps, int) or local_steps < 1:
        raise PolicyError(f"local_steps = {local_steps!r}: must be a whole number, at least 1")
    rate = info.optimizer.learning_rate(info.total_steps, peak=inner_learning_rate)
    if local_steps == 1:
        return GradientStep(), server_rule(info)
    return LocalSteps(SGD(clip_norm=info.optimizer.rule.clip_norm), rate), average()


def clipped(info: ModelInfo, uplink: CompressorBase) -> CompressorBase:
    """Shorten gradients before they are accumulated, where the scenario says so: for servers that see none whole."""
    longest = info.optimizer.rule.clip_norm
    return uplink if longest is None else Clipped(uplink, longest)


def layers(info: ModelInfo) -> tuple[int, ...]:
    """The sizes of the proxy's tensors."""
    return tuple(size_of((shape,)) for shape in info.shapes)
