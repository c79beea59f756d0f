"""The recipe parameter `fused`: in which chunks a payload leaves, for any compressor."""

from __future__ import annotations

from collections.abc import Callable

from acesim.compressors import CompressorBase, Costs, Fused, layer_fusion
from acesim.compressors.fusion import layerwise
from acesim.fleet import FORWARD_SHARE
from acesim.scenario.errors import PolicyError
from acesim.seam import ModelInfo

MEASURED = ((2, 2.55e-6, 9.8e-11), (4, 4.2e-5, 2.06e-10), (8, 5.23e-4, 8.57e-10), (16, 9.08e-4, 7.40e-10))
"""(workers, start-up in seconds, seconds a byte), as measured on 10 Gbit/s Ethernet by the authors of MG-WFBP (Shi et
al. 2019, arXiv:1811.11141): what a policy takes sending for unless it is told."""

Wrap = Callable[[CompressorBase], CompressorBase]


def fused(info: ModelInfo, compressor: CompressorBase, how: bool | str, startup_s: float | None,
          s_per_byte: float | None, wrap: Wrap = lambda inner: inner) -> CompressorBase:
    """Return a compressor whose payloads leave in the chunks that `how` names.

    how      true: LayerFusion's; "layerwise": one a layer; "whole": one bucket, ready at the end
    startup_s, s_per_byte   what LayerFusion takes sending for; None: MEASURED, for the workers there are
    wrap     put around it, for example ErrorFeedback; its work counts
    """
    if how == "whole":
        return wrap(compressor)
    if how == "layerwise":
        return wrap(Fused(compressor, layerwise(info.nominal_shapes)))
    if how is not True:
        raise PolicyError(f"fused = {how!r}: must be true, layerwise or whole")
    costs = sending_costs(info, wrap(compressor), startup_s, s_per_byte)
    return wrap(Fused(compressor, layer_fusion(compressor, info.nominal_shapes, costs)))


def sending_costs(info: ModelInfo, compressor: CompressorBase, startup_s: float | None = None,
                  s_per_byte: float | None = None) -> Costs:
    """Return what the slowest worker would take to send what the compressor makes, as far as a policy can know."""
    if not info.speeds:
        raise PolicyError("fused = true: it is not known how fast the workers are; give ModelInfo.speeds, or take "
                          "layerwise or whole")
    usual = [row for row in MEASURED if row[0] <= max(2, len(info.tier))][-1]
    speed, work = max(info.speeds, key=lambda each: each.step_s), compressor.work("encode")
    costs = Costs(backward_s=speed.step_s * (1 - FORWARD_SHARE), encode_s=speed.work_s(work, info.nominal_size),
                  launch_s=work.launches * speed.launch_s, startup_s=usual[1] if startup_s is None else startup_s,
                  s_per_byte=usual[2] if s_per_byte is None else s_per_byte)
    if not (0 <= costs.startup_s < float("inf") and 0 <= costs.s_per_byte < float("inf")):
        raise PolicyError(f"startup_s = {costs.startup_s}, s_per_byte = {costs.s_per_byte}: must be finite and >= 0")
    return costs
