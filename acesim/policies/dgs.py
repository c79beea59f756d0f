"""DGS and what it is compared with: asynchronous servers that answer every arrival (arXiv:1910.10929)."""

from __future__ import annotations

from acesim.aggregators import EachArrival
from acesim.compressors import (
    Changes,
    CompressorBase,
    Dense,
    ErrorFeedback,
    LayerTopK,
    MomentumCorrection,
    Scaled,
    SparsificationAwareMomentum,
)
from acesim.learning.local import GradientStep
from acesim.learning.optimizers import SGD, LearningRate
from acesim.policies.common import average, clipped, layers
from acesim.scenario.errors import PolicyError
from acesim.schedules import Asynchronous
from acesim.seam import ModelInfo, TreePolicy


def dgs(info: ModelInfo, ratio: float = 0.01, momentum: float = 0.7, secondary: float | None = 0.01,
        learning_rate: float = 0.003, resync_every: int | None = None, index: str = "int32") -> TreePolicy:
    """DGS: an asynchronous server that sends each worker what it lacks, sparse both ways, with SAMomentum.

    ratio          kept share of every layer of the uplink, in (0, 1]
    momentum       of the sparsification-aware momentum, in (0, 1); .7 in the paper (.45 with 16 workers on ImageNet)
    secondary      kept share of every layer of the answers; null: every entry in which worker and server differ
    learning_rate  at its peak, of the workers, with the scenario's schedule and warm-up over the run; a step weighs
                   learning_rate / (1 - momentum) in the end
    resync_every   versions after which a worker is sent the whole difference (150 in the authors' code); null: never
    index          how places are told: int32, int64, bitmap, packed, run-length or auto
    source         Yan et al., ICPP 2020, arXiv:1910.10929, equations 1 to 6 and 14; the errata of its pseudo-code read
                   as its equations and its code have them: the mask is read before it is cleared, v_k <- v_k + G
    Differs: 8 bytes an entry (the code sends 16); exactly k entries of a layer (the code drops ties); messages that
    would be longer than dense ones are sent dense; the ratio does not shrink with the learning rate; no weight decay
    on workers.
    """
    if resync_every is not None and secondary is None:
        raise PolicyError(f"resync_every = {resync_every!r}: without secondary compression every answer is whole; "
                          "leave it out, or give `secondary` a share")
    schedule = _paced(info, learning_rate, resync_every)
    inner = SparsificationAwareMomentum(LayerTopK(ratio, layers(info), index), momentum)
    uplink = clipped(info, Scaled(inner))
    return TreePolicy(GradientStep(), uplink, arrivals(), _answers(info, secondary, index), schedule)


def asgd(info: ModelInfo, learning_rate: float = 0.01, momentum: float = 0.0) -> TreePolicy:
    """Asynchronous SGD: every gradient whole, applied as it arrives, answered with the whole model.

    learning_rate  at its peak, of the workers, with the scenario's schedule and warm-up over the run
    momentum       of each worker's own velocity, in [0, 1)
    source         Dean et al. 2012 (Downpour SGD, n_push = n_fetch = 1); the baseline of Yan et al. 2020,
                   arXiv:1910.10929
    """
    inner = MomentumCorrection(Dense(), momentum, masking=False) if momentum else Dense()
    return TreePolicy(GradientStep(), clipped(info, Scaled(inner)), arrivals(), Dense(), _paced(info, learning_rate))


def gd_async(info: ModelInfo, ratio: float = 0.01, learning_rate: float = 0.01, secondary: float | None = None,
             index: str = "int32") -> TreePolicy:
    """Gradient dropping, asynchronous: r <- r + rate x gradient, the largest of r in every layer are sent.

    ratio          kept share of every layer of the uplink, in (0, 1]
    learning_rate  at its peak, of the workers, with the scenario's schedule and warm-up over the run
    secondary      kept share of every layer of the answers; null: every entry in which worker and server differ
    index          how places are told: int32, int64, bitmap, packed, run-length or auto
    source         Aji & Heafield 2017, arXiv:1704.05021; with model differences as in Yan et al. 2020, arXiv:1910.10929
    Differs: messages that would be longer than dense ones are sent dense.
    """
    inner = ErrorFeedback(LayerTopK(ratio, layers(info), index))
    return TreePolicy(GradientStep(), clipped(info, Scaled(inner)), arrivals(), _answers(info, secondary, index),
                      _paced(info, learning_rate))


def dgc_async(info: ModelInfo, ratio: float = 0.01, momentum: float = 0.7, learning_rate: float = 0.01,
              masking: bool = True, secondary: float | None = None, index: str = "int32") -> TreePolicy:
    """DGC, asynchronous: momentum correction and factor masking on workers, the rate where an update is applied.

    ratio          kept share of every layer of the uplink, in (0, 1]
    momentum       in [0, 1)
    learning_rate  at its peak, of the server, with the scenario's schedule and warm-up over all workers' steps
    masking        clear the velocity of what was sent
    secondary      kept share of every layer of the answers; null: every entry in which worker and server differ
    index          how places are told: int32, int64, bitmap, packed, run-length or auto
    source         Lin et al. 2018, arXiv:1712.01887; asynchronous as in Yan et al. 2020, arXiv:1910.10929
    Differs: the rate is that of the arrival, not of the sending; messages that would be longer than dense ones are sent
    dense.
    """
    workers = len(info.tier)
    rate = info.optimizer.learning_rate(info.total_steps, peak=learning_rate)
    of_server = LearningRate(rate.schedule, rate.peak, workers * rate.warm_up, workers * rate.total)
    uplink = MomentumCorrection(LayerTopK(ratio, layers(info), index), momentum, masking)
    server, answers = EachArrival(SGD(), of_server), _answers(info, secondary, index)
    return TreePolicy(GradientStep(), clipped(info, uplink), server, answers, Asynchronous())


def arrivals() -> EachArrival:
    """theta <- theta - update, for every update that arrives."""
    return EachArrival(SGD(), average().learning_rate)


def _paced(info: ModelInfo, peak: float, resync_every: int | None = None) -> Asynchronous:
    rate = info.optimizer.learning_rate(info.total_steps, peak=peak)
    return Asynchronous(learning_rate=rate, resync_every=resync_every)


def _answers(info: ModelInfo, secondary: float | None, index: str) -> CompressorBase:
    if secondary is not None and not 0 < secondary <= 1:
        raise PolicyError(f"secondary = {secondary!r}: must be a number in (0, 1], or null")
    return Changes(index) if secondary is None else LayerTopK(secondary, layers(info), index)
