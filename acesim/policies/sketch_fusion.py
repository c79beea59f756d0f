"""Sketch-Fusion: count sketches, momentum and error kept in them, layers merged.  A reconstruction."""

from __future__ import annotations

from acesim.aggregators import SketchedSGD
from acesim.compressors import CountSketch, TopK
from acesim.learning.local import GradientStep, MomentumStep
from acesim.policies.fusion import fused as in_chunks
from acesim.scenario.errors import PolicyError
from acesim.schedules import Fixed
from acesim.seam import ModelInfo, TreePolicy

MOMENTA = ("server", "worker")


def sketch_fusion(info: ModelInfo, rows: int = 3, ratio: float = 0.2, recover: float = 0.05, momentum: float = 0.9,
                  learning_rate: float = 0.1, momentum_at: str = "server", masking: str = "zero",
                  hashing: str = "random", blocks: int = 1, fused: bool | str = True, startup_s: float | None = None,
                  s_per_byte: float | None = None) -> TreePolicy:
    """Sketch-Fusion (a reconstruction: the full text was not available): sketched gradients, summed; layers merged.

    Known from the abstract alone: gradients are compressed by a count sketch, and LayerFusion merges layers by an
    optimal strategy without hyper-parameters of its own.  Reconstructed from relatives, and to be taken as ours:
    - what a worker sends: the count sketch of its gradient, and no residual of its own
    - momentum and error live in sketches at the server, a single round a step (FetchSGD); a second round for exact
      values of the entries found (SketchedSGD) is not built
    - the sizes of sketches, rows, shares and rates below
    - LayerFusion's cost model (alpha-beta, OMGS-SGD's stream of computing and encoding); its optimum is exact
    - the largest entries are chosen over the whole model, not in each group
    - a parameter server in place of an all-reduce: sketches are added on the server, each crosses its worker's link

    rows, ratio    of the sketch: r, and bytes of the table over dense bytes (see `CountSketch`)
    hashing, blocks   of the sketch
    recover        share of the entries that are taken from the sketch in a step; the downlink sends them, 8 k bytes
    momentum       of the sketched momentum
    momentum_at    "server": in the sketch; "worker": before sketching, with the entries that the server has changed
                   masked (DGC's correction and factor masking)
    learning_rate  of the error sketch, with the scenario's schedule and warm-up; of its optimizer only clip_norm
                   applies beside, to the mean gradient's norm as its sketch estimates it
    masking        "zero": cells that a step touches are zeroed; "subtract": the step's sketch is taken off the error
    fused          true: LayerFusion; "layerwise": a chunk a layer; "whole": one bucket
    startup_s, s_per_byte   what LayerFusion takes a message for; None: as measured on 10 Gbit/s Ethernet
    source         Dai et al. 2024, JPDC 185, 104811 (abstract); Rothchild et al. 2020, arXiv:2007.07682; Ivkin et al.
                   2019, arXiv:1903.04488; Shi et al. 2020 (OMGS-SGD)
    """
    if momentum_at not in MOMENTA:
        raise PolicyError(f"momentum_at = {momentum_at!r}: must be one of {', '.join(MOMENTA)}")
    if not 0 < recover <= 1:
        raise PolicyError(f"recover = {recover!r}: must be a number in (0, 1], for example 0.05")
    sketch = CountSketch(rows, ratio, hashing=hashing, blocks=blocks)
    uplink = in_chunks(info, sketch, fused, startup_s, s_per_byte)
    at_worker = momentum_at == "worker"
    largest = TopK(recover)
    server = SketchedSGD(uplink, largest, info.optimizer.learning_rate(info.total_steps, peak=learning_rate),
                         0.0 if at_worker else momentum, masking, sketch.recovery(), info.optimizer.clip_norm)
    local = MomentumStep(momentum) if at_worker else GradientStep()
    return TreePolicy(local, uplink, server, largest, Fixed())
