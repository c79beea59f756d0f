"""The combinations that are compared: recipes, no logic; systems with several policies have a file of their own.

Every recipe takes what it may know of the model and its own parameters, and gives a TreePolicy.
"""

from __future__ import annotations

from acesim.compressors import QSGD, CompressorBase, Dense, ErrorFeedback, Silent, TopK, Uniform, buckets
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import AdamW
from acesim.policies import ace
from acesim.policies.ace import ace_sync
from acesim.policies.common import average, server_rule
from acesim.policies.dagc import accordion, dagc_a, dagc_r, hard_threshold
from acesim.policies.dgc import dgc
from acesim.policies.dgs import asgd, dgc_async, dgs, gd_async
from acesim.policies.fusion import fused as in_chunks
from acesim.policies.sketch_fusion import sketch_fusion
from acesim.scenario.errors import PolicyError
from acesim.schedules import Fixed
from acesim.seam import ModelInfo, Recipe, TreePolicy


def full_sync(info: ModelInfo) -> TreePolicy:
    """Every gradient of every worker in every round, whole, in fp32: synchronous data parallelism.

    The paper's FullSync.  Uplink and downlink 4 P bytes a worker and round.
    """
    return TreePolicy(GradientStep(), Dense(), server_rule(info), Dense(), Fixed())


def full_sync_optimised(info: ModelInfo, bucket_megabytes: float = 25.0, fused: bool | str = "buckets",
                        startup_s: float | None = None, s_per_byte: float | None = None) -> TreePolicy:
    """FullSync as practised: bf16 gradients in buckets that leave during the backward pass, bf16 differences down.

    bucket_megabytes   of a bucket at nominal scale (25 as in PyTorch DDP, Li et al. 2020, arXiv:2006.15704)
    fused              "buckets" of that size; true: LayerFusion's; "layerwise": a chunk a layer; "whole": one bucket
    startup_s, s_per_byte   what LayerFusion takes a message for; None: as measured on 10 Gbit/s Ethernet
    """
    if fused == "buckets":
        uplink: CompressorBase = Dense("bf16", chunks=buckets(info.nominal_shapes, 2, bucket_megabytes * 1e6))
    else:
        uplink = in_chunks(info, Dense("bf16"), fused, startup_s, s_per_byte)
    return TreePolicy(GradientStep(), uplink, server_rule(info), Dense("bf16"), Fixed())


def top_k(info: ModelInfo, ratio: float = 0.3, index: str = "int32", error_feedback: bool = True,
          fused: bool | str = "whole", startup_s: float | None = None, s_per_byte: float | None = None) -> TreePolicy:
    """The largest entries of every gradient, with error feedback; the downlink is dense.

    ratio   kept share of the entries, in (0, 1]
    index   "int32" (4 bytes an entry, as in the paper's bytes), "bitmap", "packed" or "auto" (the smallest)
    error_feedback   False: what is not sent is lost (ablation)
    fused   "whole": one bucket; "layerwise": the largest of every layer, a chunk each; true: of LayerFusion's groups
    startup_s, s_per_byte   what LayerFusion takes a message for; None: as measured on 10 Gbit/s Ethernet
    source  Aji & Heafield 2017, arXiv:1704.05021; Stich et al. 2018, arXiv:1809.07599
    """
    sparse = TopK(ratio, index=index)
    uplink = in_chunks(info, sparse, fused, startup_s, s_per_byte, ErrorFeedback if error_feedback else _alone)
    return TreePolicy(GradientStep(), uplink, server_rule(info), Dense(), Fixed())


def _alone(compressor: CompressorBase) -> CompressorBase:
    return compressor


def qsgd(info: ModelInfo, levels: int = 7, bucket: int = 512, fused: bool | str = "whole",
         startup_s: float | None = None, s_per_byte: float | None = None) -> TreePolicy:
    """Every gradient rounded at random to a few shares of its bucket's norm, so that the mean is right; no feedback.

    levels   s, shares of the norm: ceil(log2(2 s + 1)) bits an entry
    bucket   entries that share a norm
    fused    "whole": one bucket; "layerwise": a chunk a layer; true: LayerFusion's groups
    startup_s, s_per_byte   what LayerFusion takes a message for; None: as measured on 10 Gbit/s Ethernet
    source   Alistarh et al. 2017, arXiv:1610.02132
    """
    uplink = in_chunks(info, QSGD(levels, bucket), fused, startup_s, s_per_byte)
    return TreePolicy(GradientStep(), uplink, server_rule(info), Dense(), Fixed())


def fedavg(info: ModelInfo, local_steps: int = 2, fraction: float = 1.0, inner_learning_rate: float = 0.03,
           weight_decay: float = 0.01, keep_state: bool = True) -> TreePolicy:
    """H local AdamW steps between averages of the models, weighted by examples.

    local_steps           H (52.1 of 112.5 GB in the paper's Table 1 is H = 2.16)
    fraction              C, share of workers drawn for a round
    inner_learning_rate   of the workers' AdamW, with the scenario's schedule and warm-up
    weight_decay          of the workers' AdamW, decoupled
    keep_state            a worker keeps its AdamW moments from round to round
    source                McMahan et al. 2017, arXiv:1602.05629
    """
    if not weight_decay >= 0:
        raise PolicyError(f"weight_decay = {weight_decay}: must be >= 0")
    given = info.optimizer
    inner = AdamW(given.betas, given.eps, weight_decay, clip_norm=given.clip_norm)
    rate = given.learning_rate(info.total_steps, peak=inner_learning_rate)
    return TreePolicy(LocalSteps(inner, rate, keep_state=keep_state), Dense(), average(), Dense(),
                      Fixed(local_steps=local_steps, fraction=fraction))


def cloud_only(info: ModelInfo) -> TreePolicy:
    """FullSync among the cloud workers alone: is the edge worth its trouble?"""
    return TreePolicy(GradientStep(), Dense(), server_rule(info), Dense(), Fixed(tier="cloud"))


def local_only(info: ModelInfo, inner_learning_rate: float = 0.01) -> TreePolicy:
    """Every worker alone on its own shard, nothing sent: is talking worth its bytes?

    inner_learning_rate   of each worker's AdamW, with the scenario's schedule and warm-up
    Scores are means over workers of each one's own model: a text's held-out windows are dealt to them in turn, images
    to the worker with the same labels.
    """
    given = info.optimizer
    inner = AdamW(given.betas, given.eps, given.weight_decay, clip_norm=given.clip_norm)
    rate = given.learning_rate(info.total_steps, peak=inner_learning_rate)
    return TreePolicy(LocalSteps(inner, rate), Dense(), average(), Dense(),
                      Fixed(local_steps=info.steps_per_epoch, sync_parent=False))


def uniform_quantised(info: ModelInfo, bits: int = 4, down_bits: int | None = None) -> TreePolicy:
    """Every gradient at the same few bits an entry, with error feedback: the strong static answer.

    bits        1 (scaled sign), 2, 4 or 8
    down_bits   of the differences between models on the way down, likewise; null: the model whole
    """
    sizes = tuple(group.size for group in info.groups)
    uplink = ErrorFeedback(Uniform(bits, sizes, info.nominal_block))
    downlink = Dense() if down_bits is None else Uniform(down_bits, sizes, info.nominal_block)
    return TreePolicy(GradientStep(), uplink, server_rule(info), downlink, Fixed())


def given_bytes(info: ModelInfo, megabytes_up: float | None = None, megabytes_down: float | None = None,
                local_steps: int = 1, fraction: float = 1.0, quorum: float = 1.0,
                tree: str = "star") -> TreePolicy:
    """So many bytes each way and nothing else: what would a system of these sizes cost on this network?

    megabytes_up, megabytes_down   of every worker's messages, header apart (10^6 bytes); None: the whole model in fp32
    local_steps, fraction, quorum  as of any schedule
    tree                           "star" or "regions"
    Nothing is learned from it: use it with `task: {kind: network-only}`.
    """
    up, down = (Silent(4.0 if megabytes is None else _in_bounds(name, megabytes) * 1e6 / info.nominal_size)
                for name, megabytes in (("megabytes_up", megabytes_up), ("megabytes_down", megabytes_down)))
    return TreePolicy(GradientStep(), up, server_rule(info), down,
                      Fixed(local_steps=local_steps, fraction=fraction, quorum=quorum), tree)


def _in_bounds(name: str, megabytes: float) -> float:
    if not 0 <= megabytes <= MOST_MEGABYTES:
        raise PolicyError(f"{name} = {megabytes!r}: must be >= 0 and <= {MOST_MEGABYTES:g}, of 10^6 bytes")
    return megabytes


MOST_MEGABYTES = 1e9
"""A petabyte a message."""
RECIPES: dict[str, Recipe] = {
    "accordion": accordion,
    "ace-sync": ace_sync,
    "ace-sync-plus": ace.PLUS,
    "ace-sync-plus/turns": ace.TURNS,
    "ace-sync/adaptive-interval": ace.ADAPTIVE_INTERVAL,
    "ace-sync/cache": ace.CACHE,
    "ace-sync/flat": ace.FLAT,
    "ace-sync/latency-weights": ace.LATENCY_WEIGHTS,
    "ace-sync/no-attention": ace.NO_ATTENTION,
    "ace-sync/no-clusters": ace.NO_CLUSTERS,
    "ace-sync/no-error-feedback": ace.NO_ERROR_FEEDBACK,
    "ace-sync/no-knapsack": ace.NO_KNAPSACK,
    "ace-sync/paper": ace.PAPER,
    "ace-sync/personal": ace.PERSONAL,
    "ace-sync/top-p": ace.TOP_P,
    "asgd": asgd,
    "cloud-only": cloud_only,
    "dagc-a": dagc_a,
    "dagc-r": dagc_r,
    "dgc": dgc,
    "dgc-async": dgc_async,
    "dgs": dgs,
    "fedavg": fedavg,
    "full-sync": full_sync,
    "full-sync-optimised": full_sync_optimised,
    "gd-async": gd_async,
    "given-bytes": given_bytes,
    "hard-threshold": hard_threshold,
    "local-only": local_only,
    "qsgd": qsgd,
    "sketch-fusion": sketch_fusion,
    "top-k": top_k,
    "uniform-quantised": uniform_quantised,
}
