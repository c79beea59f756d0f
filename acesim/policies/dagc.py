"""DAGC and what it is compared with: levels of compression by the volume of data (arXiv:2311.07324)."""

from __future__ import annotations

import numpy as np

from acesim.compressors import Dense, ErrorFeedback, LayerTopK, Threshold
from acesim.policies.common import gradients_or_walks, layers
from acesim.scenario.errors import PolicyError
from acesim.schedules import Accordion, DataAware
from acesim.seam import ModelInfo, TreePolicy


def dagc_r(info: ModelInfo, ratio: float = 0.1, mode: str = "paper", local_steps: int = 1,
           per_layer: bool | None = None, inner_learning_rate: float = 0.01, index: str = "int32") -> TreePolicy:
    """DAGC-R: top-k with error feedback, the kept share growing with a worker's share of the data to the power 2/3.

    ratio        mean kept share of all workers, in (0, 1]: together they may send workers x ratio x P entries a round
    mode         "paper" (Algorithm 2), "p23" (the same without its one exception), "waterfill" (the true minimum of
                 Phi) or "uniform" (the baseline: plain top-k); see acesim.schedules.dagc
    local_steps  1: gradients, as in the paper; more: so many of local SGD, whose result is sent (10 in the authors'
                 code)
    per_layer    top-k layer by layer, rounded up, ties kept (the authors' code); unless said only with local_steps
                 above 1
    inner_learning_rate  of local SGD, with the scenario's schedule and warm-up
    index        how places are told: int32, int64, bitmap, packed, run-length or auto
    source       Lu et al., INFOCOM 2023; IEEE TMC 2024, arXiv:2311.07324.  Downlink dense, as there.
    Differs: ratios above 1 are clipped and their surplus shared out (said below the table); a message that would be
    longer than the dense one is sent dense; the server's optimizer is the scenario's.  Never claimed: that the
    assignment minimises the paper's Phi; the uniform one has a smaller Phi.
    """
    _agreed_types(per_layer)
    layered = local_steps > 1 if per_layer is None else per_layer
    sparse = LayerTopK(ratio, layers(info), index, "ceil", "keep") if layered else LayerTopK(ratio, None, index)
    schedule = DataAware("ratio", ratio, mode, local_steps)
    found = schedule.assigned(info.examples)
    remarks = (f"{found.clipped} of {len(info.examples)} workers would keep more than everything: clipped at 1, the "
               "surplus goes to the others in proportion to p^(2/3)",) if found.clipped else ()
    local, server = gradients_or_walks(info, local_steps, inner_learning_rate)
    return TreePolicy(local, ErrorFeedback(sparse), server, Dense(), schedule, remarks=remarks)


def dagc_a(info: ModelInfo, threshold: float = 0.005, mode: str = "paper", local_steps: int = 1,
           inner_learning_rate: float = 0.01, index: str = "int32") -> TreePolicy:
    """DAGC-A: hard thresholds with error feedback, falling with a worker's share of the data to the power 2/3.

    threshold    harmonic mean of the workers' thresholds, above 0; bytes are what comes of it, and are measured.
                 `acesim match SCENARIO --policy LABEL --ratio R` finds the one that keeps the share R over its first
                 rounds
    mode         "paper" (Theorem 8) or "uniform" (the baseline: `hard-threshold`)
    local_steps  1: gradients, as in the paper; more: so many of local SGD, whose result is sent (10 in the authors'
                 code)
    inner_learning_rate  of local SGD, with the scenario's schedule and warm-up
    index        how places are told: int32, int64, bitmap, packed, run-length or auto
    source       Lu et al., IEEE TMC 2024, arXiv:2311.07324, Theorem 8 and Algorithm 3.  Downlink dense, as there.
    Differs: a message that would be longer than the dense one is sent dense; the server's optimizer is the scenario's.
    """
    schedule = DataAware("threshold", threshold, mode, local_steps)
    schedule.assigned(info.examples)
    local, server = gradients_or_walks(info, local_steps, inner_learning_rate)
    return TreePolicy(local, ErrorFeedback(Threshold(threshold, index)), server, Dense(), schedule)


def hard_threshold(info: ModelInfo, threshold: float = 0.005, local_steps: int = 1, inner_learning_rate: float = 0.01,
                   index: str = "int32") -> TreePolicy:
    """The same threshold for everybody, with error feedback: every entry of |x| >= threshold is sent.

    threshold    above 0; bytes are what comes of it, and are measured (`acesim match` finds one for a given share)
    local_steps  1: gradients; more: so many of local SGD, whose result is sent
    inner_learning_rate  of local SGD, with the scenario's schedule and warm-up
    index        how places are told: int32, int64, bitmap, packed, run-length or auto
    source       Sahu et al. 2021, arXiv:2108.00951
    Differs: a message that would be longer than the dense one is sent dense.
    """
    return dagc_a(info, threshold, "uniform", local_steps, inner_learning_rate, index)


def accordion(info: ModelInfo, ratio: float = 0.1, threshold: float | None = None, change: float = 0.5,
              window: int | None = None, local_steps: int = 1, inner_learning_rate: float = 0.01,
              index: str = "int32") -> TreePolicy:
    """ACCORDION: all workers at DAGC's most conservative level while gradients change fast, else at its most
    aggressive.

    ratio        mean kept share of the DAGC-R assignment whose extremes are the two levels
    threshold    null; a number: hard thresholds instead, the extremes of the DAGC-A assignment of this harmonic mean
    change       a regime is critical where the norm of the summed updates changed by this share of itself
    window       rounds that are summed; null: an epoch's
    local_steps  1: gradients; more: so many of local SGD, whose result is sent
    inner_learning_rate  of local SGD, with the scenario's schedule and warm-up
    index        how places are told: int32, int64, bitmap, packed, run-length or auto
    source       Agarwal et al. 2021, arXiv:2010.16248; levels as in Lu et al., arXiv:2311.07324, section VI
    Differs: one decision for all layers, made by the server from the updates it received; its bytes are not matched to
    the budget, they are what its regimes make of them (see the table).
    """
    what, mean = ("ratio", ratio) if threshold is None else ("threshold", threshold)
    levels = DataAware(what, mean).assigned(info.examples).ratios
    ends = float(levels.max()), float(levels.min())
    gentle, harsh = ends if threshold is None else reversed(ends)  # the larger threshold sends less
    if window is None:
        window = max(1, info.steps_per_epoch // local_steps) if isinstance(local_steps, int) and local_steps else 1
    sparse = LayerTopK(ratio, None, index) if threshold is None else Threshold(threshold, index)
    local, server = gradients_or_walks(info, local_steps, inner_learning_rate)
    schedule = Accordion(local_steps, gentle=gentle, harsh=harsh, change=change, window=window)
    remarks = (f"its two levels: {np.format_float_positional(gentle, 4, fractional=False)} and "
               f"{np.format_float_positional(harsh, 4, fractional=False)}",)
    return TreePolicy(local, ErrorFeedback(sparse), server, Dense(), schedule, remarks=remarks)


def _agreed_types(per_layer: bool | None) -> None:
    if per_layer is not None and not isinstance(per_layer, bool):
        raise PolicyError(f"per_layer = {per_layer!r}: must be true, false or null")
