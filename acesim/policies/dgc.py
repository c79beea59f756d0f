"""Deep gradient compression, whole (arXiv:1712.01887)."""

from __future__ import annotations

from acesim.aggregators import Outer
from acesim.compressors import Clipped, CompressorBase, Dense, LayerTopK, MomentumCorrection, SampledTopK, Split
from acesim.learning.local import GradientStep
from acesim.learning.optimizers import SGD
from acesim.policies.common import layers
from acesim.scenario.errors import PolicyError
from acesim.schedules import WarmUp
from acesim.seam import ModelInfo, TreePolicy, size_of

WARM_UPS = ("paper", "code", "none")


def dgc(info: ModelInfo, ratio: float = 0.001, momentum: float = 0.9, masking: bool = True, nesterov: bool = False,
        clip_norm: float | None = None, warm_up: str = "paper", warm_up_epochs: int | None = None,
        selection: str = "sampled", whole_vectors: bool = True, index: str = "int32") -> TreePolicy:
    """DGC: the largest entries of accumulated velocities, with factor masking, local clipping and a warm-up of
    densities.

    ratio           kept share of every layer after the warm-up, in (0, 1]
    momentum        m of u <- m u + g, v <- v + u, in [0, 1); the server adds none
    masking         clear the velocity of what was sent
    nesterov        as in the authors' code
    clip_norm       a gradient longer than clip_norm / sqrt(workers) is shortened before it is accumulated; null: none
                    is
    warm_up         "paper": densities 25, 6.25, 1.56, .39 % ... for an epoch each; "code": ratio^(1/6), ratio^(2/6)
                    ...; "none"
    warm_up_epochs  their number; null: 4 in the paper, 5 in the code
    selection       "sampled": by the threshold of a sample of a layer, nearly exact; "exact"
    whole_vectors   biases and norms are sent whole, with momentum and without masking, as in the authors' code
    index           how places are told: int32 (8 bytes an entry), int64 (12, the authors' code), run-length (6, the
                    paper), bitmap, packed or auto
    source          Lin et al., ICLR 2018, arXiv:1712.01887, algorithms 1 and 4; code of the same authors
    Differs: a server, which answers with the whole model, in the place of an all-gather; the scenario's learning rate
    by a plain SGD server, whatever its optimizer; no weight decay; clipping is of the whole gradient, and messages
    that would be longer than dense ones are sent dense.
    """
    for name, value, known in (("warm_up", warm_up, WARM_UPS), ("selection", selection, ("sampled", "exact"))):
        if value not in known:
            raise PolicyError(f"{name} = {value!r}: must be one of {', '.join(known)}")
    shapes = info.shapes
    both = whole_vectors and len({len(shape) == 1 for shape in shapes}) == 2
    sizes = tuple(size_of((shape,)) for shape in shapes if len(shape) != 1) if both else layers(info)
    kind = SampledTopK if selection == "sampled" else LayerTopK
    uplink: CompressorBase = MomentumCorrection(kind(ratio, sizes, index), momentum, masking, nesterov)
    if both:
        uplink = Split(shapes, MomentumCorrection(Dense(), momentum, False, nesterov), uplink)
    if clip_norm is not None:
        if not clip_norm > 0:
            raise PolicyError(f"clip_norm = {clip_norm!r}: must be above 0, or null")
        uplink = Clipped(uplink, clip_norm / len(info.tier) ** 0.5)
    schedule = WarmUp(levels=densities(ratio, warm_up, warm_up_epochs), rounds=info.steps_per_epoch)
    server = Outer(SGD(clip_norm=info.optimizer.rule.clip_norm), info.optimizer.learning_rate(info.total_steps))
    return TreePolicy(GradientStep(), uplink, server, Dense(), schedule)


def densities(ratio: float, warm_up: str, epochs: int | None = None) -> tuple[float, ...]:
    """Return the kept share of every epoch of the warm-up, and then the last.

    >>> densities(0.001, "paper"), densities(0.01, "code", 1)
    ((0.25, 0.0625, 0.015625, 0.00390625, 0.001), (0.1, 0.01))
    """
    count = {"paper": 4, "code": 5, "none": 0}[warm_up] if epochs is None else epochs
    if not isinstance(count, int) or count < 0:
        raise PolicyError(f"warm_up_epochs = {count!r}: must be a whole number, not negative")
    base = 0.25 if warm_up == "paper" else ratio ** (1 / (count + 1))
    rising = [] if warm_up == "none" else [max(round(base ** (epoch + 1), 12), ratio) for epoch in range(count)]
    return (*rising, ratio)
